"""A figure as a value: what it says above its panels, and how each panel is filled. Drawn as one picture (PNG) or, for a page
that must be readable on a small screen, a panel at a time (SVG).
"""

import textwrap
from collections.abc import Callable, Iterable, Sequence
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
MARGINS = (0.75, 0.2, 0.42, 0.55)
"""inches to the left, right, above and below the axes of a panel that is drawn alone"""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    draw: Callable[[Axes], None]
    """fills them: with a title, names of both axes with units, and labels of what belongs into the legend"""
    size: tuple[float, float] = (4.6, 3.5)
    """width and height in inches, without the legend"""
    left: float = MARGINS[0]
    """inches for what stands to the left of the axes, where the panel is drawn alone"""


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
    title = textwrap.wrap(drawing.title, int(9 * sum(widths)))
    notes = textwrap.wrap(" ".join(drawing.notes), int(16 * sum(widths)))
    head = 0.2 + 0.24 * len(title) + LINE * len(notes)
    height = head + sum(heights) + 0.4
    figure = Figure(figsize=(sum(widths), height))
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - head / height))
    shape: Any = {"width_ratios": widths, "height_ratios": heights, "sharey": "row" if drawing.aligned else False}
    grid: Any = figure.subplots(len(heights), len(widths), squeeze=False, **shape)
    panels: list[Axes] = grid.ravel().tolist()
    for panel, filled in zip(panels, drawing.panels, strict=False):
        filled.draw(panel)
        if drawing.aligned:
            panel.label_outer()
    for unused in panels[len(drawing.panels) :]:
        unused.set_visible(False)
    place = 1 - 0.08 / height
    figure.text(0.012, place, "\n".join(title), fontsize=TITLE, fontweight="bold", va="top")
    figure.text(0.012, place - 0.25 * len(title) / height, "\n".join(notes), fontsize=TEXT, color="#444444", va="top")
    if handles := labelled(panels):
        beside = _beside(list(handles), sum(widths))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=beside, frameon=False)
    return figure


def _sizes(drawing: Drawing) -> tuple[list[float], list[float]]:
    """Widths of the columns and heights of the rows, in inches."""
    sizes = [panel.size for panel in drawing.panels] or [(6.0, 1.0)]
    columns = min(drawing.columns or len(sizes), len(sizes))
    widths = [max(width for width, _ in sizes[at::columns]) for at in range(columns)]
    return widths, [max(height for _, height in sizes[at : at + columns]) for at in range(0, len(sizes), columns)]


def alone(panel: Panel) -> Figure:
    """One panel with its legend, and no words of the figure's: those stand beside it on a page.

    Its margins are fixed: to find them by measuring texts takes as long as drawing does.
    """
    width, height = panel.size
    figure = Figure(figsize=panel.size)
    axes = figure.add_axes(_place(panel, height, 0.0))
    panel.draw(axes)
    if handles := labelled([axes]):
        beside = _beside(list(handles), width)
        legend = 0.08 + 0.2 * -(-len(handles) // beside)
        figure.set_size_inches(width, height + legend)
        axes.set_position(_place(panel, height, legend))
        look: Any = {"loc": "lower center", "ncols": beside, "frameon": False, "fontsize": TEXT}
        figure.legend(handles.values(), handles.keys(), **look)
    return figure


def _place(panel: Panel, height: float, legend: float) -> tuple[float, float, float, float]:
    """Left, lower end, width and height of the axes, as shares of a figure that is ``legend`` inches higher."""
    _, right, above, below = MARGINS
    width, total = panel.size[0], height + legend
    return panel.left / width, (below + legend) / total, 1 - (panel.left + right) / width, 1 - (below + legend + above) / total


def labelled(panels: Iterable[Axes]) -> dict[str, Any]:
    """What a legend has: by label, in the order of appearance, each once."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


def _beside(labels: Sequence[str], width: float) -> int:
    """Entries of a legend that fit beside each other."""
    longest = max(map(len, labels), default=0)
    return max(1, min(len(labels), int(width / (0.62 + 0.085 * longest))))


def count(numbers: Iterable[int]) -> str:
    """``n = 30``, or from the smallest to the largest where they differ."""
    found = sorted(set(numbers)) or [0]
    return f"n = {found[0]}" if len(found) == 1 else f"n = {found[0]} to {found[-1]}"


def named(data: str) -> str:
    """`` of digits``; nothing where the data have no name."""
    return f" of {data}" if data else ""
