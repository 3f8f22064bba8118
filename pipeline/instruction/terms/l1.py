"""The L1 penalty."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from pipeline.instruction.update import Term
from pipeline.targets import Population
from pipeline.targets.members import per_member
from pipeline.targets.target import weights


class L1(Term):
    """Adds the gradient of ``strength · Σ|w|`` over the weights (biases and scales are left alone).

    Args:
        strength: of each member (P,).
    """

    def __init__(self, strength: Float[Tensor, " P"]) -> None:
        self.strength = strength

    def add(self, population: Population, gradients: Sequence[Tensor], state: None) -> None:
        slots = population.target.slots
        for gradient, parameter in zip(weights(gradients, slots), weights(population.parameters, slots), strict=True):
            gradient.addcmul_(per_member(self.strength, parameter), parameter.sign())
