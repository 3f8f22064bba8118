"""How targets train: their accuracy, what they cost, and what instructs them."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy import stats

from pipeline.arms import ENN_COLOUR
from pipeline.results.figures.drawing import Drawing, Panel, count, drawn, named, on
from pipeline.results.figures.style import BAND, DASHES, colour_of, few, matrix, plain, shades
from pipeline.results.measures import significant

MOST_LEVELS = 8
"""more different λ than these are drawn as a curve, fewer as shares of the targets"""
NEAR = 10.0
"""times the λ that are drawn: a bound beyond is left out of the picture"""
AT_BOUND = 0.98
"""of the largest λ: what a bounded function approaches, it does not reach"""


def accuracy(
    curves: Mapping[str, Mapping[str, Any]], path: Path | None = None, *, data: str = "", enn: Mapping[str, float] | None = None
) -> Drawing:
    """Accuracy against steps and against seconds: mean over seeds and the 95 % band of the mean (Student's t); beside it, where
    an ENN was trained for some of the arms, what that took.

    Args:
        curves: per arm "steps" [E], "seconds" [E] (mean per member, cumulative), "accuracy" [[E] per seed] in [0, 1].
        data: name of the data set.
        enn: seconds that training an ENN took, once for all arms, by what was done.
    """
    seeds = [len(curve["accuracy"]) for curve in curves.values()]
    labels = {"steps": "optimiser steps", "seconds": "seconds of one target's training"}
    panels = [Panel(partial(_accuracies, curves=curves, axis=axis, label=label)) for axis, label in labels.items()]
    notes = [f"{count(seeds)} targets for each arm; line: their mean, band: its 95 % interval (Student's t)."]
    if enn:
        notes.append("Seconds are those of the targets' own training; that of the ENN, once for all targets, stands beside.")
        lines = len(curves) + len(enn)
        panels.append(Panel(partial(_costs, curves=curves, enn=enn), (4.6, max(3.5, 1.3 + 0.24 * lines)), 1.55))
    return drawn(Drawing(f"Accuracy on validation data{named(data)}", tuple(notes), tuple(panels)), path)


def _accuracies(panel: Axes, curves: Mapping[str, Mapping[str, Any]], axis: str, label: str) -> None:
    for number, (arm, curve) in enumerate(curves.items()):
        _band(panel, curve[axis], matrix(curve["accuracy"]), arm, number)
    panel.set(title=f"against {axis}", xlabel=label, ylabel="accuracy on validation data, %")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    _logit(panel, [value for line in panel.lines for value in np.asarray(line.get_ydata())])
    plain(panel)


def _band(panel: Axes, x: Sequence[float | int], values_SE: Float[np.ndarray, "S E"], arm: str, number: int) -> None:
    """Mean over seeds S at evaluations E and the 95 % band of that mean."""
    mean, half = values_SE.mean(0), np.zeros(values_SE.shape[1])
    if len(values_SE) > 1:
        half = stats.t.ppf(0.975, len(values_SE) - 1) * values_SE.std(0, ddof=1) / math.sqrt(len(values_SE))
    colour = colour_of(arm, number)
    style = {"color": colour, "linestyle": DASHES.get(arm, "-"), "linewidth": 1.6, "gid": f"line-{arm}"}
    panel.plot(x, mean, label=arm, **style)
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


def _costs(panel: Axes, curves: Mapping[str, Mapping[str, Any]], enn: Mapping[str, float]) -> None:
    """A bar for one target of each arm, and one for each part of the ENN's training."""
    targets = {arm: (float(curve["seconds"][-1]), colour_of(arm, at)) for at, (arm, curve) in enumerate(curves.items())}
    bars = targets | {name: (seconds, ENN_COLOUR) for name, seconds in enn.items()}
    values = [value if math.isfinite(value) and value > 0 else math.nan for value, _ in bars.values()]
    panel.barh(range(len(bars)), values, color=[colour for _, colour in bars.values()], height=0.65)
    panel.set_yticks(range(len(bars)), list(bars), fontsize=8.5)
    panel.invert_yaxis()
    known = [value for value in values if value == value] or [1.0]
    panel.set_xscale("log")
    panel.set_xlim(min(known) / 3, max(known) * 12)
    few(panel.xaxis)
    for at, value in enumerate(values):
        if value == value:
            panel.text(value * 1.15, at, f"{significant(value, 3)} s", va="center", fontsize=8.5)
    panel.set(title="training: a target, the ENN", xlabel="seconds (logarithmic)", ylabel="")
    plain(panel)


def instruction(curves: Mapping[str, Mapping[str, Any]], path: Path | None = None, *, data: str = "") -> Drawing:
    """The strength λ that was chosen, and the sizes of the loss's gradient and of the instruction, against progress.

    Args:
        curves: per arm "progress" [D] in [0, 1], and per seed [D]: "strength", "gradient_norm", "instruction_norm"; if known
            "bound", the largest λ that could be chosen.
        data: name of the data set.
    """
    used = {arm: sorted({float(level) for level in np.unique(matrix(curve["strength"]))}) for arm, curve in curves.items()}
    few = [arm for arm, levels in used.items() if len(levels) <= MOST_LEVELS]
    levels = sorted({level for arm in few for level in used[arm]})
    above = [
        Panel(partial(_strengths, curve=curve, arm=arm, levels=levels if arm in few else None), (3.9, 3.3))
        for arm, curve in curves.items()
    ]
    below = [Panel(partial(_norms, curve=curve, arm=arm), (3.9, 3.0)) for arm, curve in curves.items()]
    seeds = [len(curve["strength"]) for curve in curves.values()]
    areas = "Areas: the share of them that is at each λ; lines" if few else "Lines"
    notes = (
        f"{count(seeds)} targets for each arm. {areas}: geometric means over them, bands: from the 10th to the 90th "
        "percentile. Norms are over all weights.",
        *filter(None, (bound_sentence(arm, curve) for arm, curve in curves.items())),
    )
    title = f"Strength λ of the instruction, and norms, in training{on(data)}"
    return drawn(Drawing(title, notes, (*above, *below), columns=len(curves)), path)


def share_at_bound(curve: Mapping[str, Any]) -> float:
    """The share of all decisions that chose the largest λ there was; NaN where that is not known."""
    bound = curve.get("bound")
    return math.nan if bound is None else float((matrix(curve["strength"]) >= AT_BOUND * bound).mean())


def bound_sentence(arm: str, curve: Mapping[str, Any]) -> str:
    """That λ is at its bound, where it is for some of the time: then a larger one might be better."""
    share = share_at_bound(curve)
    return f"{arm}: λ is at its bound, {curve['bound']:.3g}, in {100 * share:.0f} % of all periods." if share > 0 else ""


def _strengths(panel: Axes, curve: Mapping[str, Any], arm: str, levels: list[float] | None) -> None:
    if levels is None:
        _typical(panel, curve, "strength", "λ", "#0072B2")
        if (curve.get("bound") or math.inf) < NEAR * panel.get_ylim()[1]:
            panel.axhline(curve["bound"], color="#999999", linewidth=0.8, linestyle="--", label="largest λ there is")
        panel.set_ylabel("λ (logarithmic)")
    else:
        _levels(panel, curve, levels)
        panel.set_ylabel("share of the targets, %")
    share = share_at_bound(curve)
    said = f"\nλ at its bound ({curve['bound']:.3g}): {100 * share:.0f} %" if share > 0 else ""
    panel.set_title(f"{arm}: strength λ{said}", fontsize=10)
    panel.set_xlabel("progress of the training, 0 to 1")


def _levels(panel: Axes, curve: Mapping[str, Any], levels: list[float]) -> None:
    """Which share of the seeds is at each level of λ, as a stacked area over progress."""
    strength = matrix(curve["strength"])
    shares = [100 * (strength == level).mean(0) for level in levels]
    labels = ["λ = 0 (none)" if level == 0 else f"λ = {level:g}" for level in levels]
    progress = [0.0, *curve["progress"]]  # what is recorded at the end of a period was chosen at its start
    shares = [np.concatenate([share[:1], share]) for share in shares]
    panel.stackplot(progress, *shares, labels=labels, colors=_colours(levels), step="pre", linewidth=0)
    panel.set(xlim=(0, 1), ylim=(0, 100))
    plain(panel, grid=False)


def _colours(levels: Sequence[float]) -> list[Any]:
    """Light grey for λ = 0, which is no instruction, and for nothing else."""
    none = [level for level in levels if level == 0]
    return shades(len(levels)) if none else shades(len(levels) + 1)[1:]


def _norms(panel: Axes, curve: Mapping[str, Any], arm: str) -> None:
    """Geometric means over seeds with the range from the 10th to the 90th percentile; zeros (no instruction) are left out."""
    _typical(panel, curve, "gradient_norm", "gradient of the loss", "#000000")
    _typical(panel, curve, "instruction_norm", "instruction", "#D55E00")
    panel.set_title(f"{arm}: norms", fontsize=10)
    panel.set(xlabel="progress of the training, 0 to 1", ylabel="norm (logarithmic)")


def _typical(panel: Axes, curve: Mapping[str, Any], name: str, label: str, colour: str) -> None:
    """Geometric mean over seeds and the range from the 10th to the 90th percentile of what is above 0."""
    panel.set(yscale="log", xlim=(0, 1))
    plain(panel)
    values = matrix(curve[name])
    logs_SD = np.log(np.where(np.isfinite(values) & (values > 0), values, np.nan))
    seen = np.isfinite(logs_SD).any(0)
    if not seen.any():
        panel.plot([], [], color=colour, linewidth=1.6, label=f"{label} (none)")
        return
    progress, logs_SD = np.asarray(curve["progress"])[seen], logs_SD[:, seen]
    low, high = np.exp(np.nanpercentile(logs_SD, [10, 90], axis=0))
    panel.plot(progress, np.exp(np.nanmean(logs_SD, axis=0)), color=colour, linewidth=1.6, label=label)
    panel.fill_between(progress, low, high, color=colour, alpha=BAND, linewidth=0)
    few(panel.yaxis)
