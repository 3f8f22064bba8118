"""The figures of a report, as PNG. One arm has one colour in all of them (Okabe and Ito's palette, safe for colour-blind eyes).

matplotlib is used through its objects, without pyplot's global state, so that threads and notebooks are left alone.
"""

import math
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy import stats

from pipeline.arms import ARMS
from pipeline.files import write_atomic

DPI = 150
COLOURS = {name: arm.colour for name, arm in ARMS.items()}
DASHES = {name: arm.dash for name, arm in ARMS.items() if arm.dash}
OTHERS = ("#661100", "#332288", "#44AA99", "#AA4499")
"""colours of what is no arm above, in the order of appearance"""
KINDS = (*(COLOURS[name] for name in ("instructed", "instructed-he", "instructed-image")), *OTHERS)
"""colours of what a search tried, by kind"""
BAND = 0.18
"""opacity of a 95 % band"""


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
            _band(panel, curve[axis], _matrix(curve["accuracy"]), arm, number)
        panel.set_xlabel(label)
        _plain(panel)
    _logit(panels[0], [value for line in panels[0].lines for value in np.asarray(line.get_ydata())])
    panels[0].set_ylabel("accuracy, % (logit scale)")
    _legend(figure, panels[0])
    _save(figure, path)


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
    used = {arm: sorted({float(level) for level in np.unique(_matrix(curve["strength"]))}) for arm, curve in curves.items()}
    few = [arm for arm, levels in used.items() if len(levels) <= MOST_LEVELS]
    levels = sorted({level for arm in few for level in used[arm]})
    for number, (arm, curve) in enumerate(curves.items()):
        if arm in few:
            _levels(panels[0, number], curve, levels)
            panels[0, number].set_ylabel("share of the targets, %")
        else:
            _typical(panels[0, number], curve, "strength", "λ", "#0072B2")
            panels[0, number].set_ylabel("λ")
        panels[0, number].set_title(arm, color=_colour(arm, number), fontweight="bold")
        _norms(panels[1, number], curve)
    panels[1, 0].set_ylabel("norm of the gradient of …")
    for panel in (panels[0, number] for number, arm in reversed(list(enumerate(curves))) if arm in few):
        _beside(panel)
        break
    _beside(panels[1, -1])
    _save(figure, path)


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
        _plain(panel)
    panels[0].set_ylabel("predicted score")
    _save(figure, path)


def learning(rounds: list[dict[str, Any]], path: Path) -> None:
    """The ENN's training, by round: the score reached at each λ, the critic's error, the rank correlation of its predictions.

    Args:
        rounds: per round "round", "scores" {λ: score}, "critic_error", "kendall", and if known "kendall_low", "kendall_high".
    """
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    numbers = [row["round"] for row in rounds]
    levels = sorted({float(level) for row in rounds for level in row["scores"]})
    for level, colour in zip(levels, _shades(len(levels)), strict=True):
        scores = [{float(name): score for name, score in row["scores"].items()}.get(level) for row in rounds]
        panels[0].plot(numbers, _finite(scores), marker="o", markersize=4, color=colour, label=f"λ = {level:g}")
    panels[1].plot(numbers, _finite([row["critic_error"] for row in rounds]), marker="o", markersize=4, color="#000000")
    _kendall(panels[2], numbers, rounds)
    for panel, title in zip(panels, ("score reached", "critic's error (RMS)", "rank correlation τ"), strict=True):
        panel.set(title=title, xlabel="round")
        panel.xaxis.get_major_locator().set_params(integer=True)
        _plain(panel)
    if levels:
        panels[0].legend(frameon=False, fontsize=8)
    _save(figure, path)


def _kendall(panel: Axes, numbers: list[int], rounds: list[dict[str, Any]]) -> None:
    panel.plot(numbers, _finite([row["kendall"] for row in rounds]), marker="o", markersize=4, color="#000000")
    low, high = (_finite([row.get(f"kendall_{end}") for row in rounds]) for end in ("low", "high"))
    panel.fill_between(numbers, low, high, color="#000000", alpha=BAND, linewidth=0)
    panel.axhline(0, color="#999999", linewidth=0.8)


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
    _save(figure, path)


def _limit(arrays: Iterable[Float[np.ndarray, "H W"]]) -> float:
    """The largest magnitude, so that a colour scale is centred on 0 (and not empty)."""
    magnitudes = [float(np.nanmax(np.abs(array))) for array in arrays if np.isfinite(array).any()]
    return max([*magnitudes, 1e-12])


def _band(panel: Axes, x: Sequence[float | int], values_SE: Float[np.ndarray, "S E"], arm: str, number: int) -> None:
    """Mean over seeds S at evaluations E and the 95 % band of that mean."""
    mean, half = values_SE.mean(0), np.zeros(values_SE.shape[1])
    if len(values_SE) > 1:
        half = stats.t.ppf(0.975, len(values_SE) - 1) * values_SE.std(0, ddof=1) / math.sqrt(len(values_SE))
    colour = _colour(arm, number)
    panel.plot(x, mean, color=colour, linestyle=DASHES.get(arm, "-"), linewidth=1.6, label=arm)
    panel.fill_between(x, mean - half, mean + half, color=colour, alpha=BAND, linewidth=0)


def _levels(panel: Axes, curve: dict[str, Any], levels: list[float]) -> None:
    """Which share of the seeds is at each level of λ, as a stacked area over progress."""
    strength = _matrix(curve["strength"])
    shares = [100 * (strength == level).mean(0) for level in levels]
    labels = ["λ = 0 (none)" if level == 0 else f"λ = {level:g}" for level in levels]
    progress = [0.0, *curve["progress"]]  # what is recorded at the end of a period was chosen at its start
    shares = [np.concatenate([share[:1], share]) for share in shares]
    panel.stackplot(progress, *shares, labels=labels, colors=_shades(len(levels)), step="pre", linewidth=0)
    panel.set(xlim=(0, 1), ylim=(0, 100))
    _plain(panel, grid=False)


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
    _plain(panel)
    values = _matrix(curve[name])
    logs_SD = np.log(np.where(np.isfinite(values) & (values > 0), values, np.nan))
    seen = np.isfinite(logs_SD).any(0)
    if not seen.any():
        return
    progress, logs_SD = np.asarray(curve["progress"])[seen], logs_SD[:, seen]
    low, high = np.exp(np.nanpercentile(logs_SD, [10, 90], axis=0))
    panel.plot(progress, np.exp(np.nanmean(logs_SD, axis=0)), color=colour, linewidth=1.6, label=label)
    panel.fill_between(progress, low, high, color=colour, alpha=BAND, linewidth=0)


def _matrix(rows: Any) -> Float[np.ndarray, "S E"]:
    return np.array(_rows(rows), dtype=np.float64)


def _rows(rows: Any) -> list[list[float]]:
    """Nulls of a record read back are numbers that were not finite."""
    return [[math.nan if value is None else float(value) for value in row] for row in rows]


def _finite(values: Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def front(points: Sequence[dict[str, Any]], names: Sequence[str], path: Path) -> None:
    """Two objectives of a search's finished candidates; those on the Pareto front are joined and named.

    Args:
        points: per candidate "x", "y", "name", "kind" (its colour) and "front" (whether it is on it).
        names: of the objective on the y axis, then of that on the x axis.
    """
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    panel = figure.subplots()
    kinds = list(dict.fromkeys(point["kind"] for point in points))
    for number, kind in enumerate(sorted(kinds)):
        own = [point for point in points if point["kind"] == kind]
        colour = KINDS[number % len(KINDS)]
        panel.scatter([p["x"] for p in own], [p["y"] for p in own], s=22, color=colour, label=kind, zorder=3)
    best = sorted((point for point in points if point["front"]), key=lambda point: point["x"])
    panel.plot([p["x"] for p in best], [p["y"] for p in best], color="#999999", linewidth=1, zorder=2)
    for point in best:
        panel.annotate(point["name"], (point["x"], point["y"]), xytext=(4, 4), textcoords="offset points", fontsize=8)
    if points and min(point["x"] for point in points) > 0:
        panel.set_xscale("log")
    panel.set_ylabel(names[0].replace("_", " "))
    panel.set_xlabel(names[1].replace("_", " "))
    _plain(panel)
    _legend(figure, panel)
    _save(figure, path)


def importance(shares: dict[str, float], objective: str, path: Path) -> None:
    """Bars: each setting's share of what the objective varies by, largest first."""
    names = sorted(shares, key=lambda name: shares[name])
    figure = Figure(figsize=(7, 1.2 + 0.34 * len(names)), layout="constrained")
    panel = figure.subplots()
    panel.barh(names, [100 * shares[name] for name in names], color=COLOURS["instructed-he"])
    panel.set_xlabel(f"importance for the {objective.replace('_', ' ')}, %")
    _plain(panel)
    _save(figure, path)


def parallel(settings: Sequence[dict[str, Any]], values: Sequence[float], objective: str, path: Path) -> None:
    """Parallel coordinates: one line per candidate through its settings, coloured by the objective; each axis from its smallest
    to its largest value, words in alphabetical order, a setting that did not matter at the bottom."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    keys = list(settings[0])
    axes = [[row[key] for row in settings] for key in keys]
    figure = Figure(figsize=(1.5 * len(keys) + 2.5, 4.6), layout="constrained")
    panel = figure.subplots()
    norm, colours = Normalize(min(values), max(values)), matplotlib.colormaps["viridis"]
    heights = [_heights(axis) for axis in axes]
    for number in np.argsort(values):
        line = [height[number] for height in heights]
        panel.plot(range(len(keys)), line, color=colours(norm(values[number])), linewidth=1.2, alpha=0.8)
    for place, axis in enumerate(axes):
        panel.axvline(place, color="#BBBBBB", linewidth=0.8, zorder=0)
        for label, height in _labels_of(axis).items():
            panel.annotate(label, (place, height), xytext=(3, 2), textcoords="offset points", fontsize=7, color="#444444")
    panel.set_xticks(range(len(keys)), [key.replace(".", ".\n", 1) for key in keys], fontsize=8)
    panel.set_yticks([])
    panel.spines[["top", "right", "left", "bottom"]].set_visible(False)
    figure.colorbar(ScalarMappable(norm, colours), ax=panel, label=objective.replace("_", " "))
    _save(figure, path)


def _heights(values: Sequence[Any]) -> list[float]:
    """Places on an axis from 0 to 1; by the logarithm where values vary by more than a factor of ten; −0.06 for None."""
    known = [value for value in values if value is not None]
    if not known:
        return [-0.06] * len(values)
    if not all(isinstance(value, int | float) for value in known):
        words = sorted({str(value) for value in known})
        return [-0.06 if value is None else words.index(str(value)) / max(1, len(words) - 1) for value in values]
    scale = np.log10 if min(known) > 0 and max(known) > 10 * min(known) else float
    low, high = float(scale(min(known))), float(scale(max(known)))
    return [-0.06 if value is None else (float(scale(value)) - low) / ((high - low) or 1.0) for value in values]


def _labels_of(values: Sequence[Any]) -> dict[str, float]:
    """What is written on an axis: words all, numbers the smallest and the largest."""
    known = {str(value): height for value, height in zip(values, _heights(values), strict=True) if value is not None}
    if all(isinstance(value, int | float) for value in values if value is not None) and known:
        ends = sorted(known, key=lambda label: known[label])
        known = {label: known[label] for label in (ends[0], ends[-1])}
    return {label.strip("[]").replace("'", ""): height for label, height in known.items()}


def _colour(arm: str, number: int) -> str:
    return COLOURS.get(arm, OTHERS[number % len(OTHERS)])


def _shades(count: int) -> list[Any]:
    """Light grey for λ = 0, then from yellow to dark as λ grows (viridis is safe for colour-blind eyes)."""
    import matplotlib

    colours = matplotlib.colormaps["viridis_r"](np.linspace(0.15, 0.95, max(count - 1, 1)))
    return ["#D9D9D9", *colours][:count]


def _ends(values: list[float]) -> tuple[float, float]:
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    margin = 0.04 * (max(finite) - min(finite)) or 0.05
    return min(finite) - margin, max(finite) + margin


def _plain(panel: Axes, grid: bool = True) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    if grid:
        panel.grid(color="#E5E5E5", linewidth=0.6)
        panel.set_axisbelow(True)


def _legend(figure: Figure, panel: Axes) -> None:
    handles, labels = panel.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(handles), 7), frameon=False)


def _save(figure: Figure, path: Path) -> None:
    buffer = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI)
    write_atomic(path, buffer.getvalue())
