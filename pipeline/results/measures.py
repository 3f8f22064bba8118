"""How numbers are written for people: each measure with its unit, each setting in its shortest form."""

from collections.abc import Mapping
from typing import Any

UNITS = {
    "accuracy": "%",
    "accuracy_spread": "points",
    "error": "share",
    "gain": "points",
    "gain_small": "points",
    "gain_he": "points",
    "loss": "nats",
    "seconds": "of the processor",
    "simulated_seconds": "of a GPU",
}
"""of what a search measures, where the name does not say it; correlations, cosines and counts have none"""
DIGITS = 12
"""significant ones, of which a number of somebody's has fewer: what a product in binary leaves behind (0.1 × 3 =
0.30000000000000004) comes after them"""


def in_words(name: str) -> str:
    """A measure as it is called in texts."""
    return name.replace("_", " ")


def with_unit(name: str) -> str:
    """A measure and its unit, at a column or an axis."""
    unit = UNITS.get(name.replace(" ", "_"))
    return f"{in_words(name)} ({unit})" if unit else in_words(name)


def quantity(name: str, value: str) -> str:
    """A value that is written already, and its unit."""
    unit = UNITS.get(name)
    return f"{value} {unit}" if unit in ("%", "points", "nats") else value


def significant(value: float | int, digits: int) -> str:
    """A number by so many digits, with a true minus sign; by powers of ten only where it is below 0.0001 or a million at least:
    3,010 and not 3.01e+03."""
    rounded = float(f"{value:.{digits}g}")
    return (f"{rounded:,.10g}" if abs(rounded) < 1e6 else f"{rounded:.{digits}g}").replace("-", "−")


def short(value: Any) -> Any:
    """A setting, its numbers by as few digits as say them: 0.3 and not 0.30000000000000004, 10 and not 10.0."""
    if isinstance(value, Mapping):
        return {name: short(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [short(own) for own in value]
    if not isinstance(value, float):
        return value
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 10**DIGITS else rounded
