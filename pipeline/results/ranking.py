"""How well predictors rank: the table of a ``predict`` run. One row per predictor; every τ with its bootstrap interval."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.results.statistics import rank_correlation
from pipeline.results.tables import NONE, as_cell

Scores = Mapping[str, Sequence[float]]
"""by predictor, one per architecture; NaN where it is not defined"""


def ranking_rows(
    scores: Scores, accuracies: Scores, milliseconds: Mapping[str, Sequence[float]], parts: Mapping[str, Sequence[str]] = {}
) -> list[dict[str, Any]]:
    """Numbers of each predictor, in the order given.

    Scores that are NaN are left out and counted; −∞, the worst, is ranked below every number.

    Args:
        accuracies: by data set, one per architecture; NaN where it is unknown.
        milliseconds: by predictor, one per network that was scored.
        parts: by the name of a combination, the predictors that it is made of: it costs what they cost together, and its row
            says what each of them does.
    """
    spent = {
        name: [sum(own) for own in zip(*map(milliseconds.__getitem__, parts.get(name, [name])), strict=True)] for name in scores
    }
    return [
        {
            "predictor": name,
            "n": sum(not math.isnan(value) for value in values),
            "undefined": sum(math.isnan(value) for value in values),
            "against": {column: ranked(values, known) for column, known in accuracies.items()},
            "ms": _median(spent[name]),
            **({"parts": {part: _median(milliseconds[part]) for part in parts[name]}} if name in parts else {}),
        }
        for name, values in scores.items()
    ]


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else math.nan


def ranked(scores: Sequence[float], accuracies: Sequence[float]) -> dict[str, float]:
    """Kendall's τ-b with its interval, and Spearman's ρ."""
    found = rank_correlation(_ranks(scores), accuracies)
    return {name: found[name] for name in ("kendall", "low", "high", "spearman", "n")}


def _ranks(scores: Sequence[float]) -> list[float]:
    """The scores, with a number below all others in the place of −∞."""
    known = [value for value in scores if math.isfinite(value)]
    lowest = min(known, default=0.0) - 1.0 - abs(min(known, default=0.0))
    return [lowest if value == -math.inf else value for value in scores]


def agreement(scores: Scores) -> list[list[float]]:
    """Kendall's τ-b between each two predictors, over the architectures that both are defined for."""
    from scipy import stats

    ranks = [np.array(_ranks(values)) for values in scores.values()]

    def tau(one: np.ndarray, other: np.ndarray) -> float:
        both = np.isfinite(one) & np.isfinite(other)
        if both.sum() < 2:
            return math.nan
        found: Any = stats.kendalltau(one[both], other[both])
        return float(found.statistic)

    return [[1.0 if a is b else tau(a, b) for b in ranks] for a in ranks]


# -- as text -----------------------------------------------------------------------------------------------------------


def headings(columns: Sequence[str]) -> list[str]:
    """Of :func:`cells`."""
    found = [f"{measure} {column}" for column in columns for measure in ("τ", "ρ")]
    return ["predictor", "n", *found, "ms per architecture"]


def cells(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """One row of the table."""
    found = []
    for column in columns:
        own = row["against"][column]
        low, high = (as_cell(own[end], ".3f") for end in ("low", "high"))
        interval = "" if low == NONE else f" [{low}, {high}]"
        found += [f"{as_cell(own['kendall'], '.3f')}{interval}", as_cell(own["spearman"], ".3f")]
    undefined = f" ({row['undefined']} undefined)" if row["undefined"] else ""
    return [row["predictor"], f"{row['n']}{undefined}", *found, as_cell(row["ms"], ".3g")]


def narrow_cells(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """One row for a terminal: what belongs to a data set stands below one another."""
    name, count, *found, cost = cells(row, columns)
    pairs = zip(found[::2], found[1::2], strict=True)
    return [name, count, *(f"τ {tau.replace(' [', chr(10) + '[')}\nρ {rho}" for tau, rho in pairs), cost]


def notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each combination: what it is of, and what each part costs; and one for each predictor that has no score of
    some networks."""
    return [str(row["why"]) for row in rows if row.get("why")] + [
        f"{row['predictor']} combines ranks; of its {as_cell(row['ms'], '.3g')} ms per architecture "
        + ", ".join(f"{part} takes {as_cell(cost, '.3g')}" for part, cost in row["parts"].items())
        + "."
        for row in rows
        if "parts" in row
    ]


def ranking_markdown(found: Mapping[str, Any]) -> str:
    """The table and the correlation among predictors."""
    head = headings(found["columns"])
    parts = [found["caption"], _table([head, *(cells(row, found["columns"]) for row in found["rows"])]), *notes(found["rows"])]
    if len(found["rows"]) > 1:
        names = [row["predictor"] for row in found["rows"]]
        lines = [[name, *(as_cell(value, ".2f") for value in row)] for name, row in zip(names, found["agreement"], strict=True)]
        parts += ["Kendall's τ between predictors:", _table([["", *names], *lines])]
    return "\n\n".join(parts) + "\n"


def _table(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])
