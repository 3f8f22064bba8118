"""How targets train: their accuracy, and what instructs them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy import stats

from pipeline.results.figures.style import BAND, DASHES, colour_of, legend, matrix, plain, save, shades

MOST_LEVELS = 8
"""more different λ than these are drawn as a curve, fewer as shares of the targets"""


def accuracy(curves: dict[str, dict[str, Any]], path: Path) -> None:
    """Accuracy against steps and against seconds: mean over seeds and the 95 % band of the mean (Student's t).

    Args:
        curves: per arm "steps" [E], "seconds" [E] (mean per member, cumulative), "accuracy" [[E] per seed] in [0, 1].
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, axis, label in zip(panels, ("steps", "seconds"), ("optimiser steps", "seconds per target"), strict=True):
        for number, (arm, curve) in enumerate(curves.items()):
            _band(panel, curve[axis], matrix(curve["accuracy"]), arm, number)
        panel.set_xlabel(label)
        plain(panel)
    _logit(panels[0], [value for line in panels[0].lines for value in np.asarray(line.get_ydata())])
    panels[0].set_ylabel("accuracy, % (logit scale)")
    legend(figure, panels[0])
    save(figure, path)


def _band(panel: Axes, x: Sequence[float | int], values_SE: Float[np.ndarray, "S E"], arm: str, number: int) -> None:
    """Mean over seeds S at evaluations E and the 95 % band of that mean."""
    mean, half = values_SE.mean(0), np.zeros(values_SE.shape[1])
    if len(values_SE) > 1:
        half = stats.t.ppf(0.975, len(values_SE) - 1) * values_SE.std(0, ddof=1) / math.sqrt(len(values_SE))
    colour = colour_of(arm, number)
    panel.plot(x, mean, color=colour, linestyle=DASHES.get(arm, "-"), linewidth=1.6, label=arm)
    panel.fill_between(x, mean - half, mean + half, color=colour, alpha=BAND, linewidth=0)


def _logit(panel: Axes, means: list[float]) -> None:
    """Stretch the axis where curves end (95 to 98 % is as far as 10 to 22 %): on a plain one all of them end in one line."""
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999]
    low, high = (min(max(end, 0.005), 0.9995) for end in (min(means, default=0.1), max(means, default=0.9)))
    panel.set_yscale("logit", nonpositive="clip")
    panel.set_ylim(low / (low + 1.15 * (1 - low)), 1.15 * high / (1.15 * high + 1 - high))
    panel.yaxis.set_major_locator(FixedLocator(ticks))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def instruction(curves: dict[str, dict[str, Any]], path: Path) -> None:
    """The strength λ that was chosen, and the sizes of the loss's gradient and of the instruction, against progress.

    Args:
        curves: per arm "progress" [D] in [0, 1], and per seed [D]: "strength", "gradient_norm", "instruction_norm".
    """
    figure = Figure(figsize=(3.7 * max(len(curves), 1) + 1.3, 7), layout="constrained")
    panels = figure.subplots(2, max(len(curves), 1), squeeze=False, sharex=True)
    used = {arm: sorted({float(level) for level in np.unique(matrix(curve["strength"]))}) for arm, curve in curves.items()}
    few = [arm for arm, levels in used.items() if len(levels) <= MOST_LEVELS]
    levels = sorted({level for arm in few for level in used[arm]})
    for number, (arm, curve) in enumerate(curves.items()):
        if arm in few:
            _levels(panels[0, number], curve, levels)
            panels[0, number].set_ylabel("share of the targets, %")
        else:
            _typical(panels[0, number], curve, "strength", "λ", "#0072B2")
            panels[0, number].set_ylabel("λ")
        panels[0, number].set_title(arm, color=colour_of(arm, number), fontweight="bold")
        _norms(panels[1, number], curve)
    panels[1, 0].set_ylabel("norm of the gradient of …")
    for panel in (panels[0, number] for number, arm in reversed(list(enumerate(curves))) if arm in few):
        _beside(panel)
        break
    _beside(panels[1, -1])
    save(figure, path)


def _levels(panel: Axes, curve: dict[str, Any], levels: list[float]) -> None:
    """Which share of the seeds is at each level of λ, as a stacked area over progress."""
    strength = matrix(curve["strength"])
    shares = [100 * (strength == level).mean(0) for level in levels]
    labels = ["λ = 0 (none)" if level == 0 else f"λ = {level:g}" for level in levels]
    progress = [0.0, *curve["progress"]]  # what is recorded at the end of a period was chosen at its start
    shares = [np.concatenate([share[:1], share]) for share in shares]
    panel.stackplot(progress, *shares, labels=labels, colors=shades(len(levels)), step="pre", linewidth=0)
    panel.set(xlim=(0, 1), ylim=(0, 100))
    plain(panel, grid=False)


def _beside(panel: Axes) -> None:
    handles, labels = panel.get_legend_handles_labels()
    panel.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)


def _norms(panel: Axes, curve: dict[str, Any]) -> None:
    """Geometric means over seeds with the range from the 10th to the 90th percentile; zeros (no instruction) are left out."""
    _typical(panel, curve, "gradient_norm", "loss", "#000000")
    _typical(panel, curve, "instruction_norm", "instruction", "#D55E00")
    panel.set(xlabel="progress")


def _typical(panel: Axes, curve: dict[str, Any], name: str, label: str, colour: str) -> None:
    """Geometric mean over seeds and the range from the 10th to the 90th percentile of what is above 0."""
    panel.set(yscale="log", xlim=(0, 1))
    plain(panel)
    values = matrix(curve[name])
    logs_SD = np.log(np.where(np.isfinite(values) & (values > 0), values, np.nan))
    seen = np.isfinite(logs_SD).any(0)
    if not seen.any():
        return
    progress, logs_SD = np.asarray(curve["progress"])[seen], logs_SD[:, seen]
    low, high = np.exp(np.nanpercentile(logs_SD, [10, 90], axis=0))
    panel.plot(progress, np.exp(np.nanmean(logs_SD, axis=0)), color=colour, linewidth=1.6, label=label)
    panel.fill_between(progress, low, high, color=colour, alpha=BAND, linewidth=0)
