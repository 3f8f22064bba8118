"""What a search found: the front of its objectives, which settings matter, and how they go together."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pipeline.results.figures.drawing import Drawing, Panel, drawn, on
from pipeline.results.figures.style import COLOURS, KINDS, colour_bar, few, plain
from pipeline.results.measures import in_words, short, with_unit

FRONT = (6.6, 4.4)
"""inches of the panel of a front"""
AXES = np.array([72 * (FRONT[0] - 1.25), 72 * (FRONT[1] - 0.97)])
"""points of its axes, from side to side"""
LETTER, LETTERS_HEIGHT = 5.2, 9.0
"""points of a letter of a candidate's name"""


def front(
    points: Sequence[Mapping[str, Any]], names: Sequence[str], path: Path | None = None, *, data: str = "", note: str = ""
) -> Drawing:
    """Two objectives of a search's finished candidates; those on the Pareto front are joined and named.

    Args:
        points: per candidate "x", "y", "name", "kind" (its colour) and "front" (whether it is on it).
        names: of the objective on the y axis, then of that on the x axis.
        data: name of the data set.
        note: a sentence more.
    """
    first, second = map(in_words, names)
    notes = (f"n = {len(points)} candidates that were judged to the end, a point each; on validation data.",)
    notes += ("The grey line joins the front: those that no other is at least as good as in both.", *filter(None, (note,)))
    panel = Panel(partial(_front, points=points, names=(first, second)), FRONT, 1.05)
    return drawn(Drawing(f"Search{on(data)}: {first} against {second}", notes, (panel,)), path)


def _front(panel: Axes, points: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    for number, kind in enumerate(sorted({point["kind"] for point in points})):
        own = [point for point in points if point["kind"] == kind]
        colour = KINDS[number % len(KINDS)]
        panel.scatter([p["x"] for p in own], [p["y"] for p in own], s=22, color=colour, label=kind, zorder=3)
    best = sorted((point for point in points if point["front"]), key=lambda point: point["x"])
    panel.plot([p["x"] for p in best], [p["y"] for p in best], color="#999999", linewidth=1, zorder=2, label="front")
    panel.margins(x=0.1, y=0.25)  # for the names
    if points and min(point["x"] for point in points) > 0:
        panel.set_xscale("log")
        few(panel.xaxis)
    panel.set(title="finished candidates", ylabel=with_unit(names[0]), xlabel=with_unit(names[1]))
    plain(panel)
    _name(panel, best)


def _name(panel: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    """Write each point's name beside it, where it stands on none that is written already; where there is no room farther above,
    at the end of a line, and not at all where there is none either: the table has them all."""
    taken: list[tuple[float, float, float, float]] = []
    for point in points:
        place, name = (point["x"], point["y"]), str(point["name"])
        x, y = panel.transAxes.inverted().transform(panel.transData.transform(place)) * AXES
        wide = LETTER * len(name)
        for right, up in [(right, up) for up in range(4, 60, 12) for right in (4, -4 - wide, -wide / 2)]:
            box = (x + right, y + up, x + right + wide, y + up + LETTERS_HEIGHT)
            if not any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in taken):
                taken.append(box)
                line: dict[str, Any] | None = (
                    {"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "shrinkA": 0} if up > 4 else None
                )
                panel.annotate(name, place, xytext=(right, up), textcoords="offset points", fontsize=8, arrowprops=line)
                break


def importance(
    shares: Mapping[str, float], objective: str, path: Path | None = None, *, candidates: int = 0, data: str = ""
) -> Drawing:
    """Bars: each setting's share of what the objective varies by, largest first.

    Args:
        candidates: how many this was found from; 0: not known.
        data: name of the data set.
    """
    name = in_words(objective)
    counted = f"n = {candidates} candidates that were judged to the end" if candidates else f"n = {len(shares)} settings"
    notes = (f"{counted}; mean decrease of impurity in a random forest. A setting that varied little matters little here.",)
    panel = Panel(partial(_importance, shares=shares, name=name), (7.2, 1.5 + 0.34 * len(shares)), 2.4)
    return drawn(Drawing(f"Search{on(data)}: which settings the {name} depends on", notes, (panel,)), path)


def _importance(panel: Axes, shares: Mapping[str, float], name: str) -> None:
    names = sorted(shares, key=lambda name: shares[name])
    panel.barh(names, [100 * shares[name] for name in names], color=COLOURS["instructed-he"])
    panel.set(title="importance", xlabel=f"share of what the {name} varies by, %", ylabel="setting")
    plain(panel)


def parallel(
    settings: Sequence[Mapping[str, Any]], values: Sequence[float], objective: str, path: Path | None = None, *, data: str = ""
) -> Drawing:
    """Parallel coordinates: one line per candidate through its settings, coloured by the objective; each axis from its smallest
    to its largest value, words in alphabetical order, a setting that did not matter at the bottom."""
    name = in_words(objective)
    notes = (
        f"n = {len(settings)} candidates that were judged to the end, a line each, coloured by the {name} on validation data.",
    )
    panel = Panel(
        partial(_parallel, settings=settings, values=values, name=name), (1.5 * len(settings[0]) + 2.8, 4.6), 0.75, 1.9, 0.75
    )
    return drawn(Drawing(f"Search{on(data)}: settings, and the {name} that they lead to", notes, (panel,)), path)


def _parallel(panel: Axes, settings: Sequence[Mapping[str, Any]], values: Sequence[float], name: str) -> None:
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    keys = list(settings[0])
    axes = [[row[key] for row in settings] for key in keys]
    norm, colours = Normalize(min(values), max(values)), matplotlib.colormaps["viridis"]
    heights = [_heights(axis) for axis in axes]
    for number in np.argsort(values):
        line = [height[number] for height in heights]
        panel.plot(range(len(keys)), line, color=colours(norm(values[number])), linewidth=1.2, alpha=0.8)
    for place, axis in enumerate(axes):
        panel.axvline(place, color="#BBBBBB", linewidth=0.8, zorder=0)
        for label, height in _labels_of(axis).items():
            behind = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6}
            look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7, "color": "#444444", "bbox": behind}
            panel.annotate(label.replace("-", "−") if _is_number(label) else label, (place, height), xytext=(3, 2), **look)
    panel.set_xticks(range(len(keys)), [key.replace(".", ".\n", 1) for key in keys], fontsize=8)
    panel.set_yticks([])
    panel.set(title="candidates", xlabel="setting", ylabel="from the smallest to the largest value")
    panel.spines[["top", "right", "left", "bottom"]].set_visible(False)
    colour_bar(panel, ScalarMappable(norm, colours), with_unit(name), 0.5 / len(keys))


def _is_number(label: str) -> bool:
    return label.removeprefix("-")[:1].isdigit()


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
    known = {str(short(value)): height for value, height in zip(values, _heights(values), strict=True) if value is not None}
    if all(isinstance(value, int | float) for value in values if value is not None) and known:
        ends = sorted(known, key=lambda label: known[label])
        known = {label: known[label] for label in (ends[0], ends[-1])}
    return {label.strip("[]").replace("'", ""): height for label, height in known.items()}
