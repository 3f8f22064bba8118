"""Choices at the edge of their candidates: what was chosen there might have been better further out. Tables mark them."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.results.edges import PENALTIES, edge_of, end_of_range

MARK = "†"
FOOTNOTE = (
    f"{MARK} a strength, learning rate or weight decay that was chosen lies at the edge of its candidates "
    "(of two, either does)."
)


def at_edge(chosen: float, candidates: Iterable[float], zero_is_free: bool = False) -> bool:
    """Whether ``chosen`` is an end of its candidates (:func:`pipeline.results.edges.edge_of`)."""
    return edge_of([chosen], candidates, zero_is_free) is not None


def of_arm(arm: str, found: Mapping[str, Any] | None) -> bool:
    """Whether an arm of a comparison has its strength from an edge.

    Args:
        found: of its candidates, {"strength", "validation_accuracy": by candidate}; None where nothing was chosen.
    """
    return bool(found) and at_edge(found["strength"], map(float, found["validation_accuracy"]), arm in PENALTIES)


def of_settings(chosen: Mapping[str, Any], candidates: Iterable[Mapping[str, Any]], names: Iterable[str]) -> bool:
    """Whether one of several settings, chosen together, is from the edge of the values that were tried of it."""
    tried = list(candidates)
    return any(at_edge(chosen[name], (own[name] for own in tried), name in PENALTIES) for name in names)


def marked(cell: str, edge: bool) -> str:
    """A cell of a table, with the mark where it belongs."""
    return cell + MARK * edge


def in_range(chosen: float, low: float, high: float, logarithmic: bool, name: str) -> bool:
    """Whether what a search proposed is an end of its range (:func:`pipeline.results.edges.end_of_range`)."""
    return end_of_range(chosen, low, high, logarithmic, name in PENALTIES) is not None


def noted(table: str) -> str:
    """A table with its caption, and the footnote where a cell is marked."""
    return f"{table}\n\n{FOOTNOTE}" if MARK in table else table
