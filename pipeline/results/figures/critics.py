"""How ENNs learn, and how well they predict."""

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.results.figures.style import BAND, COLOURS, finite, plain, save, shades


def prediction(points: dict[str, dict[str, Any]], path: Path) -> None:
    """Predicted against realised score, one panel per reader, with the diagonal of perfect prediction.

    Args:
        points: per reader "predicted" [N], "realised" [N], "kendall", "r2".
    """
    count = max(len(points), 1)
    figure = Figure(figsize=(4.2 * count + 0.4, 5.2), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False, sharex=True, sharey=True)[0]
    ends = _ends([value for point in points.values() for name in ("predicted", "realised") for value in point[name]])
    for panel, (reader, point) in zip(panels, points.items(), strict=False):
        panel.plot(ends, ends, color="#999999", linewidth=1, linestyle="--", zorder=1)
        opacity = min(0.7, max(0.08, 6 / math.sqrt(max(len(point["realised"]), 1))))
        look = {"s": 9, "alpha": opacity, "color": COLOURS["instructed-he"], "edgecolor": "none", "zorder": 2}
        panel.scatter(point["realised"], point["predicted"], **look)
        panel.set_title(f"{reader}: τ = {point['kendall']:.2f}, R² = {point['r2']:.2f}")
        panel.set(xlabel="realised score", xlim=ends, ylim=ends, box_aspect=1)
        plain(panel)
    panels[0].set_ylabel("predicted score")
    save(figure, path)


def _ends(values: list[float]) -> tuple[float, float]:
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    margin = 0.04 * (max(finite) - min(finite)) or 0.05
    return min(finite) - margin, max(finite) + margin


def learning(rounds: list[dict[str, Any]], path: Path) -> None:
    """The ENN's training, by round: the score reached at each λ, the critic's error, the rank correlation of its predictions.

    Args:
        rounds: per round "round", "scores" {λ: score}, "critic_error", "kendall", and if known "kendall_low", "kendall_high".
    """
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    numbers = [row["round"] for row in rounds]
    levels = sorted({float(level) for row in rounds for level in row["scores"]})
    for level, colour in zip(levels, shades(len(levels)), strict=True):
        scores = [{float(name): score for name, score in row["scores"].items()}.get(level) for row in rounds]
        panels[0].plot(numbers, finite(scores), marker="o", markersize=4, color=colour, label=f"λ = {level:g}")
    panels[1].plot(numbers, finite([row["critic_error"] for row in rounds]), marker="o", markersize=4, color="#000000")
    _kendall(panels[2], numbers, rounds)
    for panel, title in zip(panels, ("score reached", "critic's error (RMS)", "rank correlation τ"), strict=True):
        panel.set(title=title, xlabel="round")
        panel.xaxis.get_major_locator().set_params(integer=True)
        plain(panel)
    if levels:
        panels[0].legend(frameon=False, fontsize=8)
    save(figure, path)


def _kendall(panel: Axes, numbers: list[int], rounds: list[dict[str, Any]]) -> None:
    panel.plot(numbers, finite([row["kendall"] for row in rounds]), marker="o", markersize=4, color="#000000")
    low, high = (finite([row.get(f"kendall_{end}") for row in rounds]) for end in ("low", "high"))
    panel.fill_between(numbers, low, high, color="#000000", alpha=BAND, linewidth=0)
    panel.axhline(0, color="#999999", linewidth=0.8)
