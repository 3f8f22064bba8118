"""How ENNs learn, and how well they predict."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.results.figures.drawing import Drawing, Panel, drawn, named
from pipeline.results.figures.style import BAND, COLOURS, finite, plain, shades


def prediction(
    points: Mapping[str, Mapping[str, Any]], path: Path | None = None, *, data: str = "", score: str = "score"
) -> Drawing:
    """Predicted against realised score, one panel per reader, with the diagonal of perfect prediction.

    Args:
        points: per reader "predicted" [N], "realised" [N], "kendall", "r2"; if known "low" and "high", the interval of τ.
        data: name of the data set.
        score: what is predicted, in a few words.
    """
    ends = _ends([value for point in points.values() for name in ("predicted", "realised") for value in point[name]])
    panels = tuple(
        Panel(partial(_predicted, reader=name, point=point, ends=ends), (4.6, 4.5)) for name, point in points.items()
    )
    counts = {len(point["realised"]) for point in points.values()}
    notes = (
        f"n = {max(counts, default=0)} points for each ENN: several moments of each of the compared targets, none of which it "
        f"has seen. Score: {score}. τ: Kendall's rank correlation with its 95 % interval over targets; R²: the share of the "
        "variance that is predicted (below 0: worse than the mean). The diagonal is perfect prediction.",
    )
    return drawn(Drawing(f"What ENNs predict, and what comes true, on validation data{named(data)}", notes, panels), path)


def _predicted(panel: Axes, reader: str, point: Mapping[str, Any], ends: tuple[float, float]) -> None:
    panel.plot(ends, ends, color="#999999", linewidth=1, linestyle="--", zorder=1, label="perfect prediction")
    opacity = min(0.7, max(0.08, 6 / math.sqrt(max(len(point["realised"]), 1))))
    look = {"s": 9, "alpha": opacity, "color": COLOURS["instructed-he"], "edgecolor": "none", "zorder": 2, "rasterized": True}
    panel.scatter(finite(point["realised"]), finite(point["predicted"]), label="a target at a moment", **look)
    tau, low, high, r2 = (finite([point.get(name)])[0] for name in ("kendall", "low", "high", "r2"))
    interval = f" [{low:.2f}, {high:.2f}]" if math.isfinite(low) and math.isfinite(high) else ""
    panel.set_title(f"{reader}: τ = {tau:.2f}{interval}, R² = {r2:.2f}".replace("-", "−").replace("nan", "–"), fontsize=10)
    panel.set(xlabel="realised score", ylabel="predicted score V", xlim=ends, ylim=ends)
    panel.set_aspect("equal", adjustable="box")
    plain(panel)


def _ends(values: list[float]) -> tuple[float, float]:
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    margin = 0.04 * (max(finite) - min(finite)) or 0.05
    return min(finite) - margin, max(finite) + margin


def learning(rounds: Sequence[Mapping[str, Any]], path: Path | None = None, *, data: str = "", members: int = 0) -> Drawing:
    """The ENN's training, by round: the score reached at each λ, the critic's error, the rank correlation of its predictions.

    Args:
        rounds: per round "round", "scores" {λ: score}, "critic_error", "kendall", and if known "kendall_low", "kendall_high".
        data: name of the data set.
        members: targets that are trained in a round; 0: not known.
    """
    size = (4.2, 3.4)
    panels = (
        Panel(partial(_scores, rounds=rounds), size),
        Panel(partial(_errors, rounds=rounds), size),
        Panel(partial(_kendall, rounds=rounds), size),
    )
    known = any(row.get("kendall_low") is not None for row in rounds)
    notes = (
        f"{f'n = {members}' if members else 'All'} targets of a round, none of which the ENN had learned from. Score: the mean "
        "over those from small weights that stay at one λ. Error and τ: of Q at the λ that was played, against the return that "
        f"came true. {'Band: the 95 % interval of τ.' if known else 'No bands: a round is one sample.'}",
    )
    return drawn(Drawing(f"How the ENN learns, on validation data{named(data)}", notes, panels), path)


def _scores(panel: Axes, rounds: Sequence[Mapping[str, Any]]) -> None:
    levels = sorted({float(level) for row in rounds for level in row["scores"]})
    for level, colour in zip(levels, shades(len(levels)), strict=True):
        scores = [{float(name): score for name, score in row["scores"].items()}.get(level) for row in rounds]
        style = {"marker": "o", "markersize": 4, "color": colour}
        panel.plot(_numbers(rounds), finite(scores), label=f"λ = {level:g}", **style)
    panel.set(title="score reached", ylabel="score, 0 to 1")
    _by_round(panel)


def _errors(panel: Axes, rounds: Sequence[Mapping[str, Any]]) -> None:
    panel.plot(_numbers(rounds), finite([row["critic_error"] for row in rounds]), marker="o", markersize=4, color="#000000")
    panel.set(title="critic's error", ylabel="root mean square error of Q")
    _by_round(panel)


def _kendall(panel: Axes, rounds: Sequence[Mapping[str, Any]]) -> None:
    numbers = _numbers(rounds)
    panel.plot(numbers, finite([row["kendall"] for row in rounds]), marker="o", markersize=4, color="#000000")
    low, high = (finite([row.get(f"kendall_{end}") for row in rounds]) for end in ("low", "high"))
    panel.fill_between(numbers, low, high, color="#000000", alpha=BAND, linewidth=0)
    panel.axhline(0, color="#999999", linewidth=0.8)
    panel.set(title="rank correlation of Q and the return", ylabel="Kendall's τ, −1 to 1")
    _by_round(panel)


def _numbers(rounds: Sequence[Mapping[str, Any]]) -> list[int]:
    return [row["round"] for row in rounds]


def _by_round(panel: Axes) -> None:
    panel.set_xlabel("round of RL")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(panel)
