"""The table of a comparison: one row per arm, every number with its interval, differences paired by seed, p corrected by Holm.

A row's ``p`` is that of its own test; ``p_holm``, which is shown, is corrected for the number of tests in the table.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.results.fitted import Fitted
from pipeline.results.measures import significant
from pipeline.results.statistics import holm, mean_interval, paired

NONE = "–"
COLUMNS = (
    "arm",
    "n",
    "test\naccuracy %",
    "paired\ndifference,\npoints",
    "p\n(Holm)",
    "test − train\nloss, nats",
    "ms per\nstep",
    "strength",
    "di-\nverged",
)


def report_rows(arms: dict[str, dict[str, Any]], baseline: str = "conventional") -> list[dict[str, Any]]:
    """Rows of numbers, in the order given.

    Args:
        arms: per arm "seeds", and per seed "test_accuracy" (0 to 1), "test_loss", "train_loss", "ms_per_step"; also
            "strength" (words) and "diverged" (members that were frozen). Where losses are not finite, there is no gap to count.
        baseline: the arm that differences are taken from.

    Raises:
        ValueError: the baseline is absent, or an arm has other seeds than it (order does not matter).
    """
    if baseline not in arms:
        raise ValueError(f"there is no arm {baseline!r} to compare with")
    compared = {name: _by_seed(name, arm) for name, arm in arms.items()}
    for name, accuracies in compared.items():
        if accuracies.keys() != compared[baseline].keys():
            raise ValueError(f"the arm {name!r} has other seeds than {baseline!r}; run both on the same ones")
    rows = [_row(name, arm, compared[name], None if name == baseline else compared[baseline]) for name, arm in arms.items()]
    return corrected(rows)


def corrected(tests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table, or duels, with ``p_holm``: their p corrected for the number of those that have one (the baseline has
    none). What was read from a file of an earlier version lacks it; what has it is left as it is."""
    found = holm([test["p"] for test in tests])
    return [{**test, "p_holm": test.get("p_holm", p)} for test, p in zip(tests, found, strict=True)]


def _by_seed(name: str, arm: dict[str, Any]) -> dict[int, float]:
    accuracies = dict(zip(arm["seeds"], arm["test_accuracy"], strict=True))
    if len(accuracies) != len(arm["seeds"]):
        raise ValueError(f"the arm {name!r} has a seed twice")
    return accuracies


def _row(name: str, arm: dict[str, Any], accuracies: dict[int, float], baseline: dict[int, float] | None) -> dict[str, Any]:
    """``baseline``: None for the baseline itself."""
    difference = dict.fromkeys(("difference", "low", "high", "p"), math.nan)
    if baseline is not None:
        difference = paired([accuracies[seed] for seed in baseline], list(baseline.values()))
    gaps = [test - train for test, train in zip(arm["test_loss"], arm["train_loss"], strict=True) if math.isfinite(test)]
    return {
        "arm": name,
        "n": len(accuracies),
        **_interval("accuracy", list(accuracies.values())),
        "difference": difference["difference"],
        "difference_low": difference["low"],
        "difference_high": difference["high"],
        "p": difference["p"],
        **_interval("gap", gaps),
        "ms_per_step": float(np.median(arm["ms_per_step"])),
        "strength": arm["strength"],
        "diverged": arm["diverged"],
        **{name: arm[name] for name in MORE if name in arm},
    }


def _interval(name: str, values: list[float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), mean_interval(values), strict=True))


def rich_table(rows: list[dict[str, Any]]) -> Fitted:
    """The rows for a terminal: one table in 100 columns, several below each other in fewer."""
    return drawn(COLUMNS, [_cells(row, "\n") for row in corrected(rows)])


def edge_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which arms' strengths or learning rates lie at an edge of what was tried, a sentence each."""
    found = []
    for row in (row for row in rows if row.get("edge")):
        what = f"learning rate {row['learning_rate']:.4g}" if "learning_rate" in row else f"strength {row['strength']}"
        found.append(
            f"* {row['arm']}: its {what} is the {row['edge']} that was tried; a better one may lie beyond it "
            f"(compare.{row.get('edge_of', 'rates')})."
        )
    return found


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    return written(COLUMNS, cells(rows))


def drawn(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Fitted:
    """Cells for a terminal, the first column's to the left."""
    return Fitted(columns, cells)


def one_line(heading: str) -> str:
    """A heading of a column without its breaks."""
    return heading.replace("-\n", "").replace("\n", " ")


def cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The rows' cells, each on one line."""
    return [_cells(row, " ") for row in corrected(rows)]


def written(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """The same as Markdown."""
    head = [one_line(name) for name in columns]
    lines = [head, ["---", *["---:"] * (len(columns) - 1)], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cells(row: dict[str, Any], between: str) -> list[str]:
    accuracy = with_interval(row, "accuracy", ".2f", between, 100)
    difference = with_interval(row, "difference", "+.2f", between, 100)
    gap = with_interval(row, "gap", ".3f", between)
    strength = (row["strength"] or NONE) + "*" * ("edge" in row and "learning_rate" not in row)
    others = [as_cell(row["ms_per_step"], ".2f"), strength, str(row["diverged"])]
    return [row["arm"], str(row["n"]), accuracy, difference, p_value(row["p_holm"]), gap, *others]


MORE = ("learning_rate", "edge", "edge_of", "angles")
"""what some rows have beside: what was chosen, and of learning rules more (:mod:`pipeline.results.rule_tables`)"""
_ENDS = ("", "_low", "_high")


def with_interval(row: Mapping[str, Any], name: str, form: str, between: str, scale: float | int = 1) -> str:
    """A row's mean of this name and, where there is one, its interval."""
    return _with_interval([row[f"{name}{end}"] for end in _ENDS], form, between, scale)


def difference_cell(duel: Mapping[str, Any]) -> str:
    """A duel's difference in points, and its interval."""
    return _with_interval([duel[name] for name in ("difference", "low", "high")], "+.2f", " ", 100)


def _with_interval(values: Sequence[float | int | None], form: str, between: str, scale: float | int) -> str:
    mean, low, high = (as_cell(value, form, scale) for value in values)
    return mean if low == NONE else f"{mean}{between}[{low}, {high}]"


def as_cell(value: float | int | None, form: str, scale: float | int = 1) -> str:
    """``scale`` times a value, with a true minus sign; a dash where there is none (None, as JSON has it, or one that is not
    finite). Significant digits, such as ``.3g``, are written as :func:`pipeline.results.measures.significant` does."""
    if value is None or not math.isfinite(value):
        return NONE
    if digits := re.fullmatch(r"\.(\d+)g", form):
        return significant(scale * value, int(digits[1]))
    return format(scale * value, form).replace("-", "−")


def p_value(p: float | int | None) -> str:
    """As tables show it."""
    return "<0.001" if p is not None and p < 0.001 else as_cell(p, ".3f")


# -- lines beside the table --------------------------------------------------------------------------------------------


def head_to_head_line(duel: Mapping[str, Any]) -> str:
    """One duel in words, in points of test accuracy; its p is corrected where it says by how many duels."""
    difference, low, high = (as_cell(duel[name], "+.2f", 100) for name in ("difference", "low", "high"))
    name, value = ("p", duel["p"]) if duel.get("p_holm") is None else ("p (Holm)", duel["p_holm"])
    p = f"{name} < 0.001" if p_value(value) == "<0.001" else f"{name} = {p_value(value)}"
    return f"{duel['arm']} against {duel['against']}: {difference} [{low}, {high}], {p} ({duel['test']}, n = {duel['n']})"


def prediction_line(point: Mapping[str, Any]) -> str:
    """How well an ENN predicted, in words."""
    tau, low, high, r2 = (as_cell(point[name], ".2f") for name in ("kendall", "low", "high", "r2"))
    return f"τ = {tau} [{low}, {high}], R² = {r2}"
