"""Settings as points of the unit cube, for models that compare candidates by their distance.

A range is one coordinate, on its own scale; a choice among lists of numbers of one length, such as mode bits, has a coordinate
for each place; any other choice has one for each of its values, of which one is 1.

Letters: N points, D coordinates.
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


@dataclass(frozen=True)
class Encoding:
    """Of the settings of a space, in its order."""

    space: Mapping[str, BaseDistribution]

    def points(self, candidates: Sequence[Mapping[str, Any]]) -> Float[np.ndarray, "N D"]:
        """Of candidates given by their values, of which some may be missing."""
        rows = [[place for key, own in self.space.items() for place in _places(own, values.get(key))] for values in candidates]
        return np.array(rows, dtype=np.float64).reshape(len(candidates), -1)

    def draw(self, count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
        """Independent candidates."""
        return [{key: _drawn(own, draws) for key, own in self.space.items()} for _ in range(count)]

    def near(self, values: Mapping[str, Any], spread: float, draws: np.random.Generator) -> dict[str, Any]:
        """A candidate close to another one: ranges by a Gaussian of ``spread`` of their width, and one choice in four anew."""
        return {key: _moved(own, values.get(key), spread, draws) for key, own in self.space.items()}


def _places(own: BaseDistribution, value: Any) -> list[float]:
    if isinstance(own, CategoricalDistribution):
        table = _table(own)
        return [MIDDLE] * table.shape[1] if value is None else table[own.choices.index(value)].tolist()
    return [MIDDLE if value is None else _inwards(own, value)]


def _table(own: CategoricalDistribution) -> Float[np.ndarray, "values D"]:
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


def _ends(own: BaseDistribution) -> tuple[float, float, bool]:
    assert isinstance(own, FloatDistribution | IntDistribution)
    low, high = float(own.low), float(own.high)
    return (float(np.log(low)), float(np.log(high)), True) if own.log else (low, high, False)


def _inwards(own: BaseDistribution, value: float) -> float:
    low, high, log = _ends(own)
    return ((float(np.log(value)) if log else float(value)) - low) / (high - low)


def _outwards(own: BaseDistribution, place: float) -> float | int:
    """The value of a place, within the bounds whatever rounding does."""
    low, high, log = _ends(own)
    value = low + min(max(place, 0.0), 1.0) * (high - low)
    value = float(np.exp(value)) if log else value
    if isinstance(own, IntDistribution):
        return min(max(round(value), own.low), own.high)
    assert isinstance(own, FloatDistribution)
    return min(max(value, own.low), own.high)


def _drawn(own: BaseDistribution, draws: np.random.Generator) -> Any:
    if isinstance(own, CategoricalDistribution):
        return own.choices[int(draws.integers(len(own.choices)))]
    return _outwards(own, draws.random())


def _moved(own: BaseDistribution, value: Any, spread: float, draws: np.random.Generator) -> Any:
    if value is None or isinstance(own, CategoricalDistribution):
        return _drawn(own, draws) if value is None or draws.random() < 0.25 else value
    place = _inwards(own, value) + spread * draws.standard_normal()
    return _outwards(own, 1 - abs(1 - abs(place)))  # reflected at the bounds, which would collect what is cut off
