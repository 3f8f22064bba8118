"""What an ENN looks at, over a target's weights."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.results.figures.drawing import Drawing, Panel, drawn
from pipeline.results.figures.panels import GRADCAM, MEANS, NAMES, WEIGHTS

SMALLEST = 1e-12
"""end of a scale of nothing but zeros"""
WIDTH = 4.6
"""inches of a panel"""


@dataclass(frozen=True)
class Scale:
    """The ends of both colour scales, which all maps of a series share; 0 is in the middle."""

    image: float
    map: float


@dataclass(frozen=True)
class Kind:
    """What is shown of a weight image."""

    name: str
    colours: str
    """a map of colours that is light at 0"""


KINDS = {
    "image": Kind("weights of layer 1", WEIGHTS),
    "map": Kind("Grad-CAM", GRADCAM),
}


def scale_of(maps: Iterable[Mapping[str, Any]]) -> Scale:
    """The scale on which the largest magnitudes of these maps lie at the ends."""
    maps = list(maps)
    image, signed = (_largest([np.asarray(item[name], dtype=float) for item in maps]) for name in KINDS)
    return Scale(image, signed)


def _largest(arrays: list[np.ndarray]) -> float:
    """The largest finite magnitude in several arrays, or ``SMALLEST``."""
    return max([SMALLEST, *(float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) for array in arrays)])


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
    panels += [Panel(partial(_scale, kind=kind, limit=getattr(scale, name)), (WIDTH, 1.2)) for name, kind in KINDS.items()]
    notes = (
        "n = 1 target, the first of its arm. Weights: the first channel of the weight image, layer 1 with the bias as last "
        "input, at the ENN's resolution, in units of He's standard deviation. Grad-CAM: at the ENN's last convolution, over "
        "the same image, whose channels are all layers: red raises the predicted score V, blue lowers it, white does neither. "
        "All of a kind have one colour scale.",
    )
    return drawn(
        Drawing(f"What the ENN looks at in the weights{f' of {of}' if of else ''}", notes, tuple(panels), columns=2), path
    )


def _row(item: Mapping[str, Any], scale: Scale) -> tuple[Panel, ...]:
    height, width = np.asarray(item["image"]).shape
    ratio = max(height, width) / min(height, width)
    size = (WIDTH, min(max(3.6 / ratio, 0.6), 3.6) + 1.0)
    return tuple(
        Panel(partial(_shown, array=item[name], title=item["title"], kind=kind, limit=getattr(scale, name)), size)
        for name, kind in KINDS.items()
    )


def _shown(panel: Axes, array: Any, title: str, kind: Kind, limit: float) -> None:
    values = np.asarray(array, dtype=float)
    turned = values.shape[0] > values.shape[1]  # the long side lies across
    panel.imshow(
        values.T if turned else values,
        cmap=kind.colours,
        vmin=-limit,
        vmax=limit,
        aspect="auto" if max(values.shape) > 3 * min(values.shape) else "equal",
        interpolation="nearest",
    )
    panel.set_title(f"{title}: {kind.name}", fontsize=9.5)
    panel.set_xlabel(NAMES[turned], fontsize=9)
    panel.set_ylabel(NAMES[not turned], fontsize=9)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))


def _scale(panel: Axes, kind: Kind, limit: float) -> None:
    """The colours of all panels of a kind, and what they mean."""
    values = np.linspace(-limit, limit, 128)[None]
    panel.imshow(values, cmap=kind.colours, extent=(-limit, limit, 0, 1), aspect="auto", interpolation="nearest")
    panel.set(title=f"colours of {kind.name}", xlabel=MEANS[kind.colours], yticks=[])
    panel.xaxis.set_major_locator(MaxNLocator(5))
