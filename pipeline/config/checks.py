"""What a check is, and those that hold for settings of every stage."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import shown

Check = tuple[bool, str]
"""whether it holds, and the sentence to say where it does not"""
Whole = Any
"""a ``Config``: it is made of the stages, and no stage imports what it is a part of"""
LARGEST_COUNT = 2**31 - 1
"""of anything; a slip of the keyboard is told apart from a machine without memory"""


def every_number(settings: Mapping[str, Any]) -> Iterator[Check]:
    """What must hold of every setting, by dotted name: comes first, so that no other check meets a NaN."""
    for key, value in settings.items():  # there are many, and validating is most of what reading a search file takes
        if not _is_finite(value):
            yield False, f"{key} is {shown(value)}; give finite numbers."
    for key, value in settings.items():
        if key != "seed" and not _is_small(value):
            yield False, f"{key} is {shown(value)}; give whole numbers of at most {LARGEST_COUNT}."


def at_least_one(stage: Any, prefix: str, *names: str) -> Iterator[Check]:
    """Counts of a stage of which none makes no sense."""
    for name in names:
        yield getattr(stage, name) >= 1, f"{prefix}.{name} is {getattr(stage, name)}; give at least 1."


def _is_finite(value: Any) -> bool:
    return all(math.isfinite(item) for item in (value if isinstance(value, list) else [value]) if isinstance(item, float))


def _is_small(value: Any) -> bool:
    return all(abs(item) <= LARGEST_COUNT for item in (value if isinstance(value, list) else [value]) if isinstance(item, int))
