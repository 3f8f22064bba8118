"""Choices at an end of what was tried: a better one may lie beyond."""

import math
from collections.abc import Iterable

POLICY = -1.0
"""the candidate for λ that lets the ENN choose: it is on no scale"""
PENALTIES = ("l1", "l2", "weight_decay")
"""0, as the lowest candidate, is no edge for them: it is to do without"""


def edge_of(best: Iterable[float], candidates: Iterable[float], zero_is_free: bool = False) -> str | None:
    """Which end of the candidates was chosen: "smallest" or "largest"; None where it is no end.

    Args:
        best: the one that was chosen, first, and those that are as good: where one of them is no end, nothing is said.
        candidates: where the ENN's own choice of λ is among them, it is no end, and none is beside it alone.
        zero_is_free: 0 is no edge, for nothing lies beyond it.
    """
    scale = {float(value) for value in candidates if float(value) != POLICY}
    ends = {} if len(scale) < 2 else {min(scale): "smallest", max(scale): "largest"}
    if zero_is_free:
        ends.pop(0.0, None)
    found = [ends.get(float(value)) for value in best]
    return found[0] if all(found) else None


def end_of_range(chosen: float, low: float, high: float, logarithmic: bool = False, zero_is_free: bool = False) -> str | None:
    """Which end of a range was chosen, to a fiftieth of it (by logarithm where it was searched so); None where it is no end."""
    if zero_is_free and chosen == 0:
        return None
    chosen, low, high = (math.log(value) if logarithmic else value for value in (chosen, low, high))
    place = (chosen - low) / (high - low)
    return "smallest" if place <= 0.02 else "largest" if place >= 0.98 else None
