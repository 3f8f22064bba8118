"""What an ENN looks at, over a target's weights."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.results.figures.drawing import Drawing, Panel, drawn

WIDTH = 4.6
"""inches of a panel"""


@dataclass(frozen=True)
class Scale:
    """The ends of both colour scales, which all maps of a series share; 0 is in the middle."""

    image: float
    map: float


def scale_of(maps: Iterable[Mapping[str, Any]]) -> Scale:
    """The scale on which the largest magnitudes of these maps lie at the ends."""
    maps = list(maps)
    return Scale(_limit(item["image"] for item in maps), _limit(item["map"] for item in maps))


def gradcam(
    maps: Sequence[Mapping[str, Any]], path: Path | None = None, *, of: str = "", scale: Scale | None = None
) -> Drawing:
    """Grad-CAM over weight images, a row each: the weights, and where they raise (red) or lower (blue) the predicted score.

    Args:
        maps: "title", "image" (weights, H × W) and "map" (signed, h × w). All maps share one scale, and so do all images.
        of: whose weights these are.
        scale: of the series that these maps belong to (default: their own).
    """
    scale = scale or scale_of(maps)
    panels = [panel for item in maps for panel in _row(item, scale)]
    notes = (
        "n = 1 target, the first of its arm. Weights: the first channel of the weight image, layer 1 with the bias as last "
        "input, at the ENN's resolution, in units of He's standard deviation. Grad-CAM: at the ENN's last convolution, over "
        "the same image, whose channels are all layers: red raises the predicted score V, blue lowers it, white does neither. "
        "All of a kind have one colour scale.",
    )
    return drawn(
        Drawing(f"What the ENN looks at in the weights{f' of {of}' if of else ''}", notes, tuple(panels), columns=2), path
    )


def _row(item: Mapping[str, Any], scale: Scale) -> tuple[Panel, Panel]:
    height, width = np.asarray(item["image"]).shape
    ratio = max(height, width) / min(height, width)
    size = (WIDTH, min(max(2.9 / ratio, 0.6), 2.9) + 1.15)
    parts = ((item["image"], "weights of layer 1", "PuOr", scale.image), (item["map"], "Grad-CAM", "RdBu_r", scale.map))
    bars = ("weight / He's standard deviation", "lowers V (blue), raises it (red)")
    first, second = (
        Panel(partial(_shown, array=array, title=f"{item['title']}: {name}", colours=colours, limit=limit, bar=bar), size)
        for (array, name, colours, limit), bar in zip(parts, bars, strict=True)
    )
    return first, second


def _shown(panel: Axes, array: Any, title: str, colours: str, limit: float, bar: str) -> None:
    values = np.asarray(array, dtype=float)
    turned = values.shape[0] > values.shape[1]  # the long side lies across
    names = ("input (pixels of the image)", "unit (pixels)")
    shown = panel.imshow(
        values.T if turned else values,
        cmap=colours,
        vmin=-limit,
        vmax=limit,
        aspect="auto" if max(values.shape) > 3 * min(values.shape) else "equal",
        interpolation="nearest",
    )
    panel.set_title(title, fontsize=9.5)
    panel.set_xlabel(names[turned], fontsize=9)
    panel.set_ylabel(names[not turned], fontsize=9)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    made: Any = panel.figure.colorbar(shown, ax=panel, pad=0.02)
    made.set_label(bar, fontsize=7.5)
    made.ax.tick_params(labelsize=8)
    made.locator = MaxNLocator(5)
    made.update_ticks()


def _limit(arrays: Iterable[Float[np.ndarray, "H W"]]) -> float:
    """The largest magnitude, so that a colour scale is centred on 0 (and not empty)."""
    found = [np.asarray(array, dtype=float) for array in arrays]
    return max([*(float(np.nanmax(np.abs(array))) for array in found if np.isfinite(array).any()), 1e-12])
