"""The L2 penalty."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from pipeline.instruction.update import Term
from pipeline.targets import Population
from pipeline.targets.members import per_member


class L2(Term):
    """Adds the gradient of ``strength / 2 · ‖θ‖²`` over all parameters: with SGD exactly torch's ``weight_decay``.

    Args:
        strength: of each member (P,).
    """

    def __init__(self, strength: Float[Tensor, " P"]) -> None:
        self.strength = strength

    def add(self, population: Population, gradients: Sequence[Tensor], state: None) -> None:
        for gradient, parameter in zip(gradients, population.parameters, strict=True):
            gradient.addcmul_(per_member(self.strength, parameter), parameter)
