"""How far learning rules are from backpropagation while they train."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from pipeline.results.figures.style import BAND, DASHES, colour_of, legend, plain, save

NOTHING = 0.01
"""degrees: a layer in which no rule turns further than this gets the gradient itself, and no panel"""


def angles(curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """The angle to the gradient over training, a panel per layer: mean over seeds and the 95 % band of the mean (Student's t).

    A layer that gets nothing, and a target that diverged, have no angle and are left out.

    Args:
        curves: per arm "steps" [E] and "angles" [[[L] per evaluation E] per seed], in degrees.
    """
    values = {arm: np.asarray(curve["angles"], dtype=np.float64) for arm, curve in curves.items()}
    most = np.max([np.nan_to_num(of_arm).max((0, 1)) for of_arm in values.values()], axis=0)
    layers = [layer for layer, largest in enumerate(most) if largest > NOTHING] or [0]
    figure = Figure(figsize=(3.6 * len(layers) + 2.6, 4.6), layout="constrained")
    panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
    for layer, panel in zip(layers, panels, strict=True):
        for number, (arm, of_arm) in enumerate(values.items()):
            _turned(panel, np.asarray(curves[arm]["steps"]), of_arm[:, :, layer], arm, number)
        panel.axhline(90, color="#999999", linewidth=0.8, linestyle=(0, (2, 2)))
        panel.set(title=f"layer {layer + 1}", xlabel="optimiser steps")
        plain(panel)
    panels[0].set(ylim=(0, max(95.0, *(panel.get_ylim()[1] for panel in panels))), ylabel="angle to the gradient, °")
    legend(figure, panels[0])
    save(figure, path)


def _turned(panel: Axes, steps: np.ndarray, values_SE: Float[np.ndarray, "S E"], arm: str, number: int) -> None:
    """Mean over the seeds S that have an angle at an evaluation E, and the band of that mean."""
    there = np.isfinite(values_SE)
    seen = there.any(0)
    values_SE, there, counts = values_SE[:, seen], there[:, seen], there.sum(0)[seen]
    mean = np.where(there, values_SE, 0.0).sum(0) / counts
    apart = np.where(there, values_SE - mean, 0.0)
    freedom = np.maximum(counts - 1, 1)
    half = np.where(counts > 1, stats.t.ppf(0.975, freedom) * np.sqrt((apart**2).sum(0) / freedom / counts), 0.0)
    colour = colour_of(arm, number)
    panel.plot(steps[seen], mean, color=colour, linestyle=DASHES.get(arm, "-"), linewidth=1.6, label=arm)
    panel.fill_between(steps[seen], mean - half, mean + half, color=colour, alpha=BAND, linewidth=0)
