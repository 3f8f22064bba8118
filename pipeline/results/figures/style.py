"""What all figures share. One arm has one colour in all of them (Okabe and Ito's palette, safe for colour-blind eyes).

matplotlib is used through its objects, without pyplot's global state, so that threads and notebooks are left alone.
"""

import math
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.arms import ARMS
from pipeline.files import write_atomic
from pipeline.results.measures import significant

DPI = 150
COLOURS = {name: arm.colour for name, arm in ARMS.items()}
DASHES = {name: arm.dash for name, arm in ARMS.items() if arm.dash}
OTHERS = ("#661100", "#332288", "#44AA99", "#AA4499")
"""colours of what is no arm above, in the order of appearance"""
KINDS = (*(COLOURS[name] for name in ("instructed", "instructed-he", "instructed-image")), *OTHERS)
"""colours of what a search tried, by kind"""
BAND = 0.18
"""opacity of a 95 % band"""


def colour_of(arm: str, number: int) -> str:
    """An arm's colour, or that of the ``number``-th of what is no arm."""
    return COLOURS.get(arm, OTHERS[number % len(OTHERS)])


def shades(count: int) -> list[Any]:
    """Light grey for λ = 0, then from yellow to dark as λ grows (viridis is safe for colour-blind eyes)."""
    import matplotlib

    colours = matplotlib.colormaps["viridis_r"](np.linspace(0.15, 0.95, max(count - 1, 1)))
    return ["#D9D9D9", *colours][:count]


def matrix(rows: Any) -> Float[np.ndarray, "S E"]:
    """Rows of a record, one per seed."""
    return np.array(_rows(rows), dtype=np.float64)


def _rows(rows: Any) -> list[list[float]]:
    """Nulls of a record read back are numbers that were not finite."""
    return [[math.nan if value is None else float(value) for value in row] for row in rows]


def finite(values: Iterable[float | None]) -> list[float]:
    """Nulls of a record read back are numbers that were not finite."""
    return [math.nan if value is None else float(value) for value in values]


def plain(panel: Axes, grid: bool = True) -> None:
    """Two spines and a light grid."""
    panel.spines[["top", "right"]].set_visible(False)
    if grid:
        panel.grid(color="#E5E5E5", linewidth=0.6)
        panel.set_axisbelow(True)


def few(axis: Axis) -> None:
    """A logarithmic axis with few plain numbers on it: powers of ten, or where it spans less than two, round numbers. Powers as
    such, with marks between, take longer to draw than the rest of a panel."""
    low, high = sorted(float(end) for end in axis.get_view_interval())
    span = high / low if low > 0 else 1.0
    round_ones = LogLocator(subs=(1.0, 2.0, 5.0), numticks=9) if span > 4 else MaxNLocator(4)
    axis.set_major_locator(LogLocator(numticks=5) if span > 100 else round_ones)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: significant(value, 4)))


def colour_bar(panel: Axes, shown: ScalarMappable, label: str, gap: float = 0.04) -> None:
    """A scale of colours to the right of a panel, wherever that is put.

    Args:
        gap: between them, as a share of the panel's width.
    """
    panel.figure.colorbar(shown, cax=panel.inset_axes((1 + gap, 0.0, 0.04, 1.0)), label=label)


def legend(figure: Figure, panel: Axes) -> None:
    """Below the panels."""
    handles, labels = panel.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(handles), 7), frameon=False)


def save(figure: Figure, path: Path) -> None:
    """As PNG, whole or not at all."""
    buffer = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI)
    write_atomic(path, buffer.getvalue())
