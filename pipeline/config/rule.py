"""What goes backwards: the learning rule of a search over rules, and the settings that rules have of their own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.config.checks import Check, Whole
from pipeline.names import Signal

PHI = ("w1", "b1", "w2", "b2")
"""φ of pblf, in its order"""
TAKES: dict[str, tuple[str, ...]] = {
    "pblf": (*PHI, "modes"),
    "tp": ("rate", "noise"),
    "dtp": ("rate", "noise"),
    "usf": ("scale",),
    "pfa": ("expansion",),
    "expression": ("equation",),
}
"""settings by the rule that has them; all others have none that is a number or a text"""


@dataclass(frozen=True)
class RuleConfig:
    """What goes backwards: settings that learning rules have of their own, and the rule that a search over rules judges."""

    name: Signal = "backprop"
    """the rule of a search over rules; an arm of a comparison has its own"""
    w1: float = 0.824
    """pblf: of f(h) = w2 a(w1 h + b1) + b2, from -1 to 1"""
    b1: float = 0.3945
    """pblf: of f(h), from -1 to 1"""
    w2: float = 0.2906
    """pblf: of f(h), from -1 to 1"""
    b2: float = 0.8482
    """pblf: of f(h), from -1 to 1; w2 = 0 and b2 = 1 are backpropagation"""
    modes: tuple[int, ...] = ()
    """pblf: for each hidden layer whether its derivative is multiplied by f, 1 or 0 (none given: at all of them)"""
    rate: float = 0.5
    """tp, dtp: how far along the gradient the first target lies"""
    noise: float = 0.1
    """tp, dtp: standard deviation of what inverses learn to undo"""
    scale: float = 1.0
    """usf: size of the feedback"""
    expansion: int = 1
    """pfa: neurons between its two matrices, for each output of the layer"""
    equation: str = "(Wᵀs)∘σ′ + (Rᵀs)∘σ′"
    """expression: the signal of every hidden layer"""


def rule_settings(rule: RuleConfig, name: str) -> dict[str, Any]:
    """What :func:`pipeline.learning.named` is given for the rule of this name."""
    if name == "pblf":
        return {"phi": tuple(getattr(rule, own) for own in PHI), "modes": rule.modes or None}
    return {own: getattr(rule, own) for own in TAKES.get(name, ())}


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.rule``."""
    rule, hidden = config.rule, len(config.target.hidden)
    for name in PHI:
        value = getattr(rule, name)
        yield -1 <= value <= 1, f"rule.{name} is {value}; give a number from -1 to 1."
    yield (
        len(rule.modes) in (0, hidden) and set(rule.modes) <= {0, 1},
        f"rule.modes is {list(rule.modes)}; give a 0 or a 1 for each of the {hidden} hidden layers of target.hidden, or none.",
    )
    yield rule.rate > 0, f"rule.rate is {rule.rate}; give one above 0."
    yield rule.noise >= 0, f"rule.noise is {rule.noise}; give one of at least 0."
    yield rule.scale > 0, f"rule.scale is {rule.scale}; give one above 0."
    yield rule.expansion >= 1, f"rule.expansion is {rule.expansion}; give at least 1."
