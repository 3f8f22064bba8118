"""The search over equations: learning rules that evolve."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.checks import Check, Whole

DEEPEST = 3
"""binary operators in one another, in any equation"""


@dataclass(frozen=True)
class EvolutionConfig:
    """The search over equations, learning rules that evolve (docs/rules.md)."""

    depth: int = 1
    """how many binary operators an equation may have in one another, 1 to 3"""
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """learning rates that every equation is tried at, all at once"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.evolution``."""
    own = config.evolution
    yield 1 <= own.depth <= DEEPEST, f"evolution.depth is {own.depth}; give 1 to {DEEPEST}."
    yield bool(own.rates), "evolution.rates is empty; give at least one learning rate."
    yield min(own.rates, default=1.0) > 0, f"evolution.rates has {min(own.rates, default=1.0)}; give learning rates above 0."
