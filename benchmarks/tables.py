"""What the tables of several benchmarks have in common: cells, commits, footnotes, p-values, and words for what they say."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.results.statistics import holm
from pipeline.results.tables import as_cell, p_value

KEPT = "\u00a0"
"""a space at which no line ends"""
CORRECTED, EARLIER = "2026-11-26", "‡"
"""when the code was corrected last in a way that changes numbers, and the mark of what was made before"""
LEVEL = 0.05
"""of a corrected p-value, below which something is told"""
GAIN, LOSS, NOTHING = "a gain", "a loss", "no difference that can be told"
P = "p (Holm)"
"""head of a column"""
CORRECTED_P = "p: of paired t tests, corrected for all comparisons of this table (Holm)"


@dataclass(frozen=True)
class Doubt:
    """Something that was hoped for, and what came of it."""

    hope: str
    found: str
    held: bool


# -- numbers -----------------------------------------------------------------------------------------------------------


def percent(value: float | None, form: str = ".2f") -> str:
    """A share of 1 as a number of percent, without the sign."""
    return as_cell(value, form, 100)


def interval(row: Mapping[str, Any], name: str, form: str, scale: float) -> str:
    """``row[name]`` with its ends ``row[name_low]`` and ``row[name_high]``."""
    mean, low, high = (as_cell(row[f"{name}{end}"], form, scale) for end in ("", "_low", "_high"))
    return f"{mean} [{low},{KEPT}{high}]"


def signed(difference: Mapping[str, Any], scale: float = 100) -> str:
    """A difference with its interval."""
    mean, low, high = (as_cell(difference[name], "+.2f", scale) for name in ("difference", "low", "high"))
    return f"{mean} [{low},{KEPT}{high}]"


def gained(difference: Mapping[str, Any], scale: float = 100, form: str = "+.2f") -> str:
    """A difference without its interval."""
    return as_cell(difference["difference"], form, scale)


def spread(values: Iterable[float | None], form: str = ".2f", scale: float = 1.0, between: str = " to ") -> str:
    """The smallest and the largest of several numbers; one where they look the same."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return "–"
    low, high = (as_cell(value, form, scale) for value in (min(known), max(known)))
    return low if low == high else f"{low}{between}{high}"


def pick(rows: Iterable[Mapping[str, Any]], **wanted: Any) -> Any:
    """The one row with these values.

    Raises:
        KeyError: there is none, or more than one.
    """
    found = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    if len(found) != 1:
        raise KeyError(f"{len(found)} rows have {wanted}")
    return found[0]


# -- p-values and what they tell -----------------------------------------------------------------------------------------


def correct(comparisons: Iterable[dict[str, Any]]) -> None:
    """Put "p_holm" into each of them: its "p", corrected for there being so many."""
    known = [own for own in comparisons if own.get("p") is not None and math.isfinite(own["p"])]
    for own, adjusted in zip(known, holm([own["p"] for own in known]), strict=True):
        own["p_holm"] = adjusted


def p_cell(comparison: Mapping[str, Any]) -> str:
    return p_value(comparison.get("p_holm"))


def p_text(comparison: Mapping[str, Any]) -> str:
    shown = p_cell(comparison)
    return f"p {shown[0]} {shown[1:]}" if shown.startswith("<") else f"p = {shown}"


def told(comparison: Mapping[str, Any]) -> str:
    """GAIN, LOSS or NOTHING: by the corrected p-value."""
    p, difference = comparison.get("p_holm"), comparison["difference"]
    if p is None or not p < LEVEL:
        return NOTHING
    return GAIN if difference > 0 else LOSS


def outcome(comparison: Mapping[str, Any], scale: float = 100) -> str:
    """A difference in words: its size, its p-value, and what that tells."""
    return f"{gained(comparison, scale)} points ({told(comparison)}, {p_text(comparison)})"


def counted(found: Sequence[Any], of: Sequence[Any]) -> str:
    """How many of how many."""
    return f"{len(found)} of {len(of)}"


# -- lines of Markdown -----------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; all but the first ``left`` columns are set to the right."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(head), rule, *map(list, rows)])


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def blocks(*parts: str) -> str:
    """Paragraphs; empty ones are left out."""
    return "\n\n".join(part for part in parts if part)


# -- where numbers come from -------------------------------------------------------------------------------------------


class Origins:
    """Which commit made which row: the caption names the one that made most; a number at a row's name leads to another.

    Attributes:
        facts: a provenance of the caption's commit.
        marks: by row, "" or a number.
        others: what each mark leads to.
        notes: all of them as a line below the caption, or "".
    """

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        commits = [short(facts) for facts in rows]
        main = Counter(commits).most_common(1)[0][0]
        self.facts = rows[commits.index(main)]
        numbers = {other: _raised(number) for number, other in enumerate(dict.fromkeys(c for c in commits if c != main), 1)}
        self.marks = [numbers.get(commit, "") for commit in commits]
        dates = {commit: facts["date"][:10] for commit, facts in zip(commits, rows, strict=True)}
        self.others = {mark: f"made by commit {commit}, {dates[commit]}" for commit, mark in numbers.items()}
        self.notes = "; ".join(f"{mark} {other}" for mark, other in self.others.items()) + "." if self.others else ""


def is_earlier(found: Any) -> bool:
    """Whether a result, or a part of it, was made before the last correction of the code."""
    return any(date < CORRECTED for date in _dates(found))


def _dates(found: Any) -> Iterator[str]:
    """Of all provenances in a result, YYYY-MM-DD."""
    for key, value in found.items() if isinstance(found, dict) else enumerate(found):
        if key == "date":
            yield value[:10]
        elif isinstance(value, dict | list):
            yield from _dates(value)


def _raised(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


def short(facts: Mapping[str, Any]) -> str:
    """The commit, or all of them where a row comes of several; what was not committed is said to be so."""
    commits = facts.get("commits") or [facts["commit"]]
    return " and ".join(commit[:10] + "-dirty" * commit.endswith("-dirty") for commit in commits)


def where(facts: Mapping[str, Any]) -> str:
    """Processor, date, commit."""
    return f"{facts['hardware']['cpu']}; {facts['date'][:10]}; commit {short(facts)}"


def command(facts: Mapping[str, Any]) -> str:
    """The command that made a result, as it is given today: benchmarks were files once, and are modules."""
    text = re.sub(r"(?<=python )benchmarks/(faults|fuzz)\.py", r"-m tests.support.\1", facts["command"])
    return re.sub(r"(?<=python )benchmarks/(\w+)\.py", r"-m benchmarks.\1", text)
