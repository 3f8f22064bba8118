"""The network that is trained."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.checks import Check, Whole
from pipeline.names import Activation, Initialisation


@dataclass(frozen=True)
class TargetConfig:
    """The network that is trained: a multilayer perceptron."""

    hidden: tuple[int, ...] = (32,)
    """widths of the hidden layers"""
    activation: Activation = "relu"
    """nonlinearity of the hidden layers"""
    initialisation: Initialisation = "normal"
    """initial weights of the conventional arm (the He arms always start from He)"""
    sigma: float = 0.01
    """standard deviation of the initial weights when initialisation is normal"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.target``."""
    target = config.target
    yield bool(target.hidden), "target.hidden is empty; give at least one hidden width."
    yield min(target.hidden, default=1) >= 1, f"target.hidden is {target.hidden}; give widths of at least 1."
    yield target.sigma > 0, f"target.sigma is {target.sigma}; give one above 0."
