"""A figure as a value: what it says above its panels, and how each panel is filled. Drawn as one picture (PNG) or, for a page
that must be readable on a small screen, a panel at a time (SVG).
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.results.figures.style import save

TITLE, TEXT = 12, 8.5
"""points"""
LINE = 0.17
"""inches that a line of text takes"""
ABOVE = 0.42
"""inches above a panel's axes, for its title"""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    draw: Callable[[Axes], None]
    """fills them: with a title, names of both axes with units, and labels of what belongs into the legend"""
    size: tuple[float, float] = (4.6, 3.5)
    """width and height in inches, without the legend"""
    left: float = 0.85
    """inches for what stands to the left of the axes"""
    right: float = 0.2
    """inches for what stands to their right"""
    below: float = 0.55
    """inches for what stands below them, without the legend"""


@dataclass(frozen=True)
class Drawing:
    """A whole figure."""

    title: str
    """what it shows, and of which data"""
    notes: tuple[str, ...]
    """sentences: n, what lines and bands are, units"""
    panels: tuple[Panel, ...]
    columns: int = 0
    """panels beside each other; 0: all of them"""
    aligned: bool = False
    """panels beside each other share their y axis"""

    @property
    def words(self) -> str:
        """All that stands above the panels."""
        return " ".join((f"{self.title}.", *self.notes))


def drawn(drawing: Drawing, path: Path | None) -> Drawing:
    """The drawing, saved as PNG where a path is given."""
    if path is not None:
        save(whole(drawing), path)
    return drawing


def whole(drawing: Drawing) -> Figure:
    """Title, notes, all panels, and one legend below them."""
    widths, heights = _sizes(drawing)
    width = sum(widths)
    title = textwrap.wrap(drawing.title, int(9 * width))
    notes = textwrap.wrap(" ".join(drawing.notes), int(16 * width))
    head = 0.25 + 0.24 * len(title) + LINE * len(notes)
    figure = Figure(figsize=(width, 1.0))
    panels = [figure.add_axes((0, 0, 1, 1)) for _ in drawing.panels]
    for filled, panel in zip(drawing.panels, panels, strict=True):
        filled.draw(panel)
    handles = labelled(panels)
    height = head + sum(heights) + _legend(figure, handles, width)
    figure.set_size_inches(width, height)
    for number, (filled, panel) in enumerate(zip(drawing.panels, panels, strict=True)):
        row, column = divmod(number, len(widths))
        top, right = head + sum(heights[: row + 1]), sum(widths[: column + 1])
        space = (right - widths[column], height - top, widths[column], heights[row])
        panel.set_position(_inside(filled, space, (width, height)))
    if drawing.aligned:
        _align(panels, len(widths))
    place = 1 - 0.08 / height
    figure.text(0.012, place, "\n".join(title), fontsize=TITLE, fontweight="bold", va="top")
    figure.text(0.012, place - 0.25 * len(title) / height, "\n".join(notes), fontsize=TEXT, color="#444444", va="top")
    return figure


def alone(panel: Panel) -> Figure:
    """One panel with its legend, and no words of the figure's: those stand beside it on a page."""
    width, height = panel.size
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    panel.draw(axes)
    legend = _legend(figure, labelled([axes]), width)
    figure.set_size_inches(width, height + legend)
    axes.set_position(_inside(panel, (0.0, legend, width, height), (width, height + legend)))
    return figure


def _sizes(drawing: Drawing) -> tuple[list[float], list[float]]:
    """Widths of the columns and heights of the rows, in inches."""
    sizes = [panel.size for panel in drawing.panels] or [(6.0, 0.5)]
    columns = min(drawing.columns or len(sizes), len(sizes))
    widths = [max(width for width, _ in sizes[at::columns]) for at in range(columns)]
    return widths, [max(height for _, height in sizes[at : at + columns]) for at in range(0, len(sizes), columns)]


def _inside(
    panel: Panel, space: tuple[float, float, float, float], size: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Where the axes are in a figure, as shares of it.

    The margins are fixed: to find them by measuring texts, as matplotlib's layouts do, takes as long as drawing does.

    Args:
        space: left, lower end, width and height in inches of what the panel is given, with its margins.
        size: of the figure, in inches.
    """
    left, lower, width, height = space
    own = width - panel.left - panel.right, height - ABOVE - panel.below
    return (left + panel.left) / size[0], (lower + panel.below) / size[1], own[0] / size[0], own[1] / size[1]


def _legend(figure: Figure, handles: Mapping[str, Any], width: float) -> float:
    """A legend at the lower end, and its height in inches."""
    if not handles:
        return 0.0
    longest = max(map(len, handles))
    beside = max(1, min(len(handles), int(width / (0.62 + 0.085 * longest))))
    look: Any = {"loc": "lower center", "ncols": beside, "frameon": False, "fontsize": TEXT}
    figure.legend(handles.values(), handles.keys(), **look)
    return 0.12 + 0.2 * -(-len(handles) // beside)


def _align(panels: Sequence[Axes], columns: int) -> None:
    """Panels beside each other show the same part of their y axis."""
    for first in range(0, len(panels), columns):
        row = panels[first : first + columns]
        ends = [end for panel in row for end in panel.get_ylim()]
        for panel in row:
            panel.set_ylim(min(ends), max(ends))


def labelled(panels: Iterable[Axes]) -> dict[str, Any]:
    """What a legend has: by label, in the order of appearance, each once."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


def count(numbers: Iterable[int]) -> str:
    """``n = 30``, or from the smallest to the largest where they differ."""
    found = sorted(set(numbers)) or [0]
    return f"n = {found[0]}" if len(found) == 1 else f"n = {found[0]} to {found[-1]}"


def on(data: str) -> str:
    """`` on digits``; nothing where the data have no name."""
    return f" on {data}" if data else ""


def named(data: str) -> str:
    """`` of digits``; nothing where the data have no name."""
    return f" of {data}" if data else ""
