"""The table of a comparison of learning rules: errors instead of accuracies, and how far each rule is from backpropagation.

Its rows are those of :mod:`pipeline.results.tables`, with ``learning_rate`` and ``angles`` beside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.results.fitted import Fitted
from pipeline.results.tables import NONE, as_cell, corrected, drawn, p_value, with_interval, written

COLUMNS = (
    "arm",
    "n",
    "test\nerror %",
    "paired\ndifference,\npoints",
    "p\n(Holm)",
    "angle to the\ngradient, °",
    "learning\nrate",
    "ms per\nstep",
    "di-\nverged",
)
ABOUT = (
    "Angle: between what goes to a layer's weights and the gradient of the loss there, mean over training and targets with its "
    "95 % interval, from the first layer to the last; 0 is backpropagation, 90 no relation, – a layer that gets nothing."
)


def rich_table(rows: Sequence[Mapping[str, Any]]) -> Fitted:
    """The rows for a terminal: one table in 100 columns, several below each other in fewer."""
    return drawn(COLUMNS, [_cells(row, "\n") for row in corrected(rows)])


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table."""
    return written(COLUMNS, cells(rows))


def cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The rows' cells, each on one line."""
    return [_cells(row, " ") for row in corrected(rows)]


def errors(row: Mapping[str, Any]) -> dict[str, Any]:
    """The error and its difference to the baseline's, with their intervals, from a row's accuracies."""
    found = {}
    for name, own, of in (("error", "accuracy", 1.0), ("more", "difference", 0.0)):
        for end, other in (("", ""), ("_low", "_high"), ("_high", "_low")):
            value = row[f"{own}{other}"]
            found[f"{name}{end}"] = None if value is None else of - value
    return found


def _cells(row: Mapping[str, Any], between: str) -> list[str]:
    own = errors(row)
    return [
        row["arm"],
        str(row["n"]),
        with_interval(own, "error", ".2f", between, 100),
        with_interval(own, "more", "+.2f", between, 100),
        p_value(row["p_holm"]),
        angles_in_words(row, between),
        as_cell(row.get("learning_rate"), ".4g") + ("*" if row.get("edge") else ""),
        as_cell(row["ms_per_step"], ".2f"),
        str(row["diverged"]),
    ]


def angles_in_words(row: Mapping[str, Any], between: str = ", ") -> str:
    """All layers', from the first on. An arm that has none noted sends the gradient itself back."""
    return (between if between == "\n" else ", ").join(_angle(layer) for layer in row.get("angles", {}).values()) or "0"


def _angle(layer: Mapping[str, Any]) -> str:
    mean, low, high = (as_cell(layer[name], ".0f") for name in ("mean", "low", "high"))
    return mean if low in (NONE, mean) and high in (NONE, mean) else f"{mean} [{low}, {high}]"
