"""How far learning rules are from backpropagation while they train."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from pipeline.results.figures.style import BAND, DASHES, colour_of, legend, plain, save


def angles(curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """The angle to the gradient over training, a panel per layer: mean over seeds and the 95 % band of the mean (Student's t).

    A layer that gets nothing, and a target that diverged, have no angle and are left out.

    Args:
        curves: per arm "steps" [E] and "angles" [[[L] per evaluation E] per seed], in degrees.
    """
    layers = max((np.shape(curve["angles"])[2] for curve in curves.values()), default=1)
    figure = Figure(figsize=(3.6 * layers + 0.6, 4.4), layout="constrained")
    panels = figure.subplots(1, layers, sharey=True, squeeze=False)[0]
    for layer, panel in enumerate(panels):
        for number, (arm, curve) in enumerate(curves.items()):
            values_SE = np.asarray(curve["angles"], dtype=np.float64)[:, :, layer]
            counts = np.isfinite(values_SE).sum(0)
            seen = counts > 0
            found = np.where(np.isfinite(values_SE), values_SE, 0.0)[:, seen]
            counts = counts[seen]
            mean = found.sum(0) / counts
            apart = np.where(np.isfinite(values_SE[:, seen]), found - mean, 0.0)
            spread = np.sqrt((apart**2).sum(0) / np.maximum(counts - 1, 1))
            half = np.where(counts > 1, stats.t.ppf(0.975, np.maximum(counts - 1, 1)), 0.0) * spread / np.sqrt(counts)
            steps, colour = np.asarray(curve["steps"])[seen], colour_of(arm, number)
            panel.plot(steps, mean, color=colour, linestyle=DASHES.get(arm, "-"), linewidth=1.6, label=arm)
            panel.fill_between(steps, mean - half, mean + half, color=colour, alpha=BAND, linewidth=0)
        panel.axhline(90, color="#999999", linewidth=0.8, linestyle=(0, (2, 2)))
        panel.set(title=f"layer {layer + 1}" if layers > 1 else "", xlabel="optimiser steps", ylim=(0, None))
        plain(panel)
    top = max((panel.get_ylim()[1] for panel in panels), default=90.0)
    panels[0].set_ylim(0, max(95.0, min(180.0, math.ceil(top))))
    panels[0].set_ylabel("angle to the gradient, °")
    legend(figure, panels[0])
    save(figure, path)
