"""One array over a target's weights as an image of its own: what MLflow's image grid puts beside others, by step."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from pipeline.results.figures.style import save

WEIGHTS, GRADCAM = "PuOr", "RdBu_r"
"""colour maps that are light at 0"""
MEANS = {
    WEIGHTS: "weight, in units of He's standard deviation",
    GRADCAM: "blue lowers the predicted score V, red raises it",
}
"""what the colours say"""
NAMES = ("input (pixels of the image)", "unit (pixels)")
"""of the columns and the rows of a weight image"""


def panel(array: Float[np.ndarray, "H W"], limit: float, colours: str, title: str, path: Path) -> None:
    """A signed array, its scale beside it.

    Args:
        limit: the magnitude at both ends of the scale, not 0; images that are to be compared have the same.
    """
    turned = array.shape[0] > array.shape[1]  # the long side lies across
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(
        array.T if turned else array, cmap=colours, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    axes.set_title(title, fontsize=11)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(NAMES[turned], fontsize=9)
    axes.set_ylabel(NAMES[not turned], fontsize=9)
    bar = figure.colorbar(shown, ax=axes, location="bottom", ticks=[-limit, 0, limit], aspect=30)
    bar.ax.set_xticklabels([f"−{limit:.2g}", "0", f"{limit:.2g}"], fontsize=10)
    bar.set_label(MEANS[colours], fontsize=9)
    save(figure, path)
