"""What an ENN looks at, over a target's weights."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.results.figures.style import save


def gradcam(maps: list[dict[str, Any]], path: Path) -> None:
    """Grad-CAM over weight images, a row each: the weights, and where they raise (red) or lower (blue) the predicted score.

    Args:
        maps: "title", "image" (weights, H × W) and "map" (signed, h × w). All maps share one scale, and so do all images.
    """
    count = max(len(maps), 1)
    images, signed = ([np.asarray(item[name], dtype=float) for item in maps] for name in ("image", "map"))
    turned = [image.shape[0] > image.shape[1] for image in images]  # the long side lies across
    ratio = max((max(image.shape) / min(image.shape) for image in images), default=1.0)
    height, aspect = min(max(5.2 / ratio, 0.5), 2.2), "auto" if ratio > 3 else "equal"
    figure = Figure(figsize=(12 if ratio > 3 else 7, count * (height + 0.4) + 0.8), layout="constrained")
    panels = figure.subplots(count, 2, squeeze=False)
    columns = (("weights", images, "PuOr"), ("Grad-CAM", signed, "RdBu_r"))
    for column, (name, arrays, colours) in enumerate(columns):
        limit = _limit(arrays)
        shown = None
        for panel, array, item, turn in zip(panels[:, column], arrays, maps, turned, strict=True):
            scale = {"cmap": colours, "vmin": -limit, "vmax": limit, "aspect": aspect, "interpolation": "nearest"}
            shown = panel.imshow(array.T if turn else array, **scale)
            panel.set_title(f"{item['title']}: {name}", fontsize=9, loc="left")
            panel.set(xticks=[], yticks=[])
        if shown is not None:
            bar = figure.colorbar(shown, ax=panels[:, column].tolist(), location="bottom", aspect=40, shrink=0.7)
            bar.ax.tick_params(labelsize=8)
            bar.locator = MaxNLocator(5)
            bar.update_ticks()
    save(figure, path)


def _limit(arrays: Iterable[Float[np.ndarray, "H W"]]) -> float:
    """The largest magnitude, so that a colour scale is centred on 0 (and not empty)."""
    magnitudes = [float(np.nanmax(np.abs(array))) for array in arrays if np.isfinite(array).any()]
    return max([*magnitudes, 1e-12])
