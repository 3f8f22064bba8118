"""Whether the values of a space can go together, before any work: no candidate may fail by what its file allowed.

Whole candidates are put together until every value and every pair of values was in one that is sound; one such candidate
settles many pairs. Where one is not sound, the value, or the pair of values, that can never be had is named. A choice stands
for all of its values, a range for its ends and the whole numbers beside them, where a condition such as "a multiple of" shows.
"""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from pipeline.config import from_dotted, validate
from pipeline.errors import UserError, shown
from pipeline.search.values import Dimension

MOST_ALONE, MOST_PAIRED, MOST_CHOICES = 64, 8, 32
"""values of a setting that are looked at: those of a range by themselves and with those of another setting, and choices with
those of another (by themselves: all)"""


def check_together(space: Sequence[Dimension], base: Mapping[str, Any]) -> None:
    """Raises UserError where a value, or a pair of values, cannot be had; the sentence names the settings and values.

    Args:
        base: all settings of the group.
    """
    _Space(space, base).check()


def values_of(dimension: Dimension, most: int | None) -> tuple[Any, ...]:
    """The choices, the whole numbers of the range, or both ends; of more than ``most`` the first and the last ones."""
    if not dimension.choice and not dimension.whole:
        return dimension.ends
    values = dimension.choice or range(int(dimension.low), int(dimension.high) + 1)
    if most is None or len(values) <= most:
        return tuple(values)
    return (*values[: most // 2], *values[-(most // 2) :])


def paired(dimension: Dimension) -> tuple[Any, ...]:
    """The values that are looked at with those of other settings."""
    return values_of(dimension, MOST_CHOICES if dimension.choice else MOST_PAIRED)


class _Space:
    def __init__(self, space: Sequence[Dimension], base: Mapping[str, Any]) -> None:
        self.space, self.base = {dimension.key: dimension for dimension in space}, dict(base)
        self.draws = random.Random(0)  # the same file is always looked at in the same way

    def check(self) -> None:
        """Every value, then every pair."""
        self._settle({own.key: value} for own in self.space.values() for value in self._alone(own))
        pairs = itertools.combinations(self.space.values(), 2)
        few = {key: paired(dimension) for key, dimension in self.space.items()}
        self._settle({a.key: x, b.key: y} for a, b in pairs for x, y in itertools.product(few[a.key], few[b.key]))

    def _alone(self, dimension: Dimension) -> tuple[Any, ...]:
        return values_of(dimension, None if dimension.choice else MOST_ALONE)

    def _settle(self, parts: Iterable[dict[str, Any]]) -> None:
        """Until each of them was in a sound candidate, or can be in none for want of another setting's value."""
        settled: set[tuple[tuple[str, str], ...]] = set()
        for part in parts:
            if _spelt(part) in settled:
                continue
            candidate = self._candidate(part)
            if candidate is None:  # it never matters; by itself it is to be sound all the same
                if len(part) == 1 and (why := self._why_not(part)):
                    _refuse(part, why)
                continue
            if why := self._refusal(candidate):
                self._blame(candidate, why)
            settled.update(itertools.combinations(_spelt(candidate), len(part)))

    def _candidate(self, chosen: Mapping[str, Any]) -> dict[str, Any] | None:
        """The settings of a candidate with these among them; None where there is none."""
        needed = self._needed(chosen)
        if needed is None:
            return None
        found: dict[str, Any] = {}
        for key, dimension in self.space.items():
            if all((self.base | found)[other] in wanted for other, wanted in dimension.when):
                found[key] = needed[key] if key in needed else self.draws.choice(paired(dimension))
        return found if chosen.keys() <= found.keys() else None

    def _needed(self, chosen: Mapping[str, Any]) -> dict[str, Any] | None:
        """``chosen`` with the values of other settings at which these matter; None where they never matter at once."""
        needed, asked = dict(chosen), list(chosen)
        while asked:
            for other, wanted in self.space[asked.pop()].when:
                if other in self.space and other not in needed:
                    both = [value for value in wanted if value in (self.space[other].choice or wanted)]
                    both = [value for value in both if all(value in own for own in self._wanted(other, needed))]
                    if not both:
                        return None
                    needed[other] = both[0]
                    asked.append(other)
                elif (self.base | needed)[other] not in wanted:
                    return None
        return needed

    def _wanted(self, key: str, chosen: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """What the conditions of the chosen settings say of another one."""
        return (wanted for own in chosen for other, wanted in self.space[own].when if other == key)

    def _blame(self, candidate: Mapping[str, Any], why: str) -> NoReturn:
        """Name the value, or the pair of values, by which a candidate is not sound."""
        for count in (1, 2):
            for keys in itertools.combinations(candidate, count):
                part = {key: candidate[key] for key in keys}
                if own := self._why_not(part):
                    _refuse(part, own)
        _refuse(candidate, why)

    def _why_not(self, chosen: Mapping[str, Any]) -> str:
        """Why values do not go with the settings of the group; nothing where they do, by some value of one more setting."""
        settings = {key: wanted[0] for own in chosen for key, wanted in self.space[own].when if self.base[key] not in wanted}
        settings |= self._needed(chosen) or dict(chosen)
        why = self._refusal(settings)
        others = [own for key, own in self.space.items() if why and key not in settings]
        if any(not self._refusal(settings | {own.key: value}) for own in others for value in paired(own)):
            return ""
        return why

    def _refusal(self, settings: Mapping[str, Any]) -> str:
        try:
            validate(from_dotted(self.base | dict(settings)))
        except UserError as error:
            return str(error)
        return ""


def _spelt(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Settings, in the order of the space, as what can be a member of a set."""
    return tuple((key, repr(value)) for key, value in settings.items())


def _refuse(chosen: Mapping[str, Any], why: str) -> NoReturn:
    if len(chosen) == 1:
        raise UserError(f"space.{next(iter(chosen))}: {why}")
    values = " and ".join(f"{key} {shown(value)}" for key, value in chosen.items())
    raise UserError(
        f"space: {values} can never go together ({why.removesuffix('.')}); take one of these values out, or keep them apart "
        "with 'when'."
    )
