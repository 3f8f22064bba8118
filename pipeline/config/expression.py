"""The learning rule that is an equation, and the search over such equations."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.checks import Check, Whole

DEEPEST = 3
"""binary operators in one another, in any equation"""


@dataclass(frozen=True)
class ExpressionConfig:
    """The learning rule that is an equation (docs/rules.md), and the search over such equations."""

    equation: str = "(Wᵀs)∘σ′ + (Rᵀs)∘σ′"
    """the signal of every hidden layer in the arm expression"""
    depth: int = 1
    """of a search: how many binary operators an equation may have in one another"""
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """of a search: learning rates that every equation is tried at, all at once"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.expression``. Whether the equation can be read is checked where torch is at hand."""
    own = config.expression
    yield 1 <= own.depth <= DEEPEST, f"expression.depth is {own.depth}; give 1 to {DEEPEST}."
    yield bool(own.rates), "expression.rates is empty; give at least one learning rate."
    yield min(own.rates, default=1.0) > 0, f"expression.rates has {min(own.rates, default=1.0)}; give learning rates above 0."
