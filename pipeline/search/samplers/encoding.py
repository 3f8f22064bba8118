"""Settings as points of the unit cube, for models that compare candidates by their distance.

A range is one coordinate, on its own scale; a choice among lists of numbers of one length, such as mode bits, has a coordinate
for each place; any other choice has one for each of its values, of which one is 1.

In between a candidate is a row of *marks*, one for each setting: the place within a range, the number of a choice, NaN where
the setting did not matter.

Letters: N candidates, S settings, D coordinates.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

MIDDLE = 0.5
"""of a coordinate, for a setting that did not matter to a candidate"""
ANEW = 0.25
"""probability that a choice is drawn anew for a candidate near another one"""


@dataclass(frozen=True)
class Encoding:
    """Of the settings of a space, in its order."""

    space: Mapping[str, BaseDistribution]

    def marks(self, candidates: Sequence[Mapping[str, Any]]) -> Float[np.ndarray, "N S"]:
        """Of candidates given by their values, of which some may be missing."""
        rows = [[_mark(own, values.get(key)) for key, own in self.space.items()] for values in candidates]
        return np.array(rows, dtype=np.float64).reshape(len(candidates), len(self.space))

    def values(self, marks: Float[np.ndarray, " S"]) -> dict[str, Any]:
        """The inverse of :meth:`marks` for one candidate, within the bounds whatever rounding does."""
        return {key: _value(own, float(mark)) for (key, own), mark in zip(self.space.items(), marks, strict=True)}

    def points(self, marks: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N D"]:
        """Coordinates."""
        return np.concatenate([_places(own, column) for own, column in zip(self.space.values(), marks.T, strict=True)], axis=1)

    def draw(self, count: int, draws: np.random.Generator) -> Float[np.ndarray, "N S"]:
        """Independent candidates."""
        return np.stack([_drawn(own, count, draws) for own in self.space.values()], axis=1)

    def near(
        self, marks: Float[np.ndarray, " S"], spread: float, count: int, draws: np.random.Generator
    ) -> Float[np.ndarray, "N S"]:
        """Candidates close to another one: ranges by a Gaussian of ``spread`` of their width, some choices anew."""
        found = self.draw(count, draws)
        for column, (own, mark) in enumerate(zip(self.space.values(), marks, strict=True)):
            if np.isnan(mark):
                continue
            if isinstance(own, CategoricalDistribution):
                kept = draws.random(count) >= ANEW
                found[kept, column] = mark
            else:
                moved = mark + spread * draws.standard_normal(count)
                found[:, column] = np.clip(1 - np.abs(1 - np.abs(moved)), 0, 1)  # reflected at the bounds
        return found


def _mark(own: BaseDistribution, value: Any) -> float:
    if value is None:
        return np.nan
    if isinstance(own, CategoricalDistribution):
        return float(own.choices.index(value))
    low, high = _ends(own)
    return (float(np.log(value) if own.log else value) - low) / (high - low)  # pyright: ignore[reportAttributeAccessIssue]


def _value(own: BaseDistribution, mark: float) -> Any:
    if isinstance(own, CategoricalDistribution):
        return own.choices[int(mark)]
    assert isinstance(own, FloatDistribution | IntDistribution)
    low, high = _ends(own)
    value = low + mark * (high - low)
    value = float(np.exp(value)) if own.log else value
    return min(max(round(value) if isinstance(own, IntDistribution) else value, own.low), own.high)


def _ends(own: BaseDistribution) -> tuple[float, float]:
    """Of a range, on its scale."""
    assert isinstance(own, FloatDistribution | IntDistribution)
    return (float(np.log(own.low)), float(np.log(own.high))) if own.log else (float(own.low), float(own.high))


def _places(own: BaseDistribution, marks: Float[np.ndarray, " N"]) -> Float[np.ndarray, "N places"]:
    missing = np.isnan(marks)
    if not isinstance(own, CategoricalDistribution):
        return np.where(missing, MIDDLE, marks)[:, None]
    table = _table(own)
    return np.where(missing[:, None], MIDDLE, table[np.where(missing, 0, marks).astype(int)])


def _table(own: CategoricalDistribution) -> Float[np.ndarray, "values places"]:
    """The coordinates of every value."""
    lists = [_numbers(choice) for choice in own.choices]
    if all(lists) and len({len(numbers) for numbers in lists}) == 1:
        table = np.array(lists, dtype=np.float64)
        low, width = table.min(0), np.ptp(table, axis=0)
        return (table - low) / np.where(width > 0, width, 1.0)
    return np.eye(len(lists))


def _numbers(choice: Any) -> list[float]:
    """Those of a list that is written as JSON, or of a number; none where it is something else."""
    found = choice
    if isinstance(choice, str):
        try:
            found = json.loads(choice)
        except ValueError:
            return []
    found = found if isinstance(found, list) else [found]
    return [float(own) for own in found] if all(type(own) in (int, float) for own in found) else []


def _drawn(own: BaseDistribution, count: int, draws: np.random.Generator) -> Float[np.ndarray, " N"]:
    if isinstance(own, CategoricalDistribution):
        return draws.integers(len(own.choices), size=count).astype(np.float64)
    return draws.random(count)
