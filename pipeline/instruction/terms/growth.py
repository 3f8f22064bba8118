"""Growth of the weights to He's norm: a control without an ENN.

Letters: P members.
"""

import math

from jaxtyping import Float
from torch import Tensor

from pipeline.instruction.update import Term
from pipeline.targets import Population
from pipeline.targets.members import norm, per_member
from pipeline.targets.target import weights


class Growth(Term):
    """A control without an ENN: weights grow by ``rate`` a step until they have the norm of He initialisation.

    What an ENN gains from small weights beyond this is its own; up to this it may merely have made the weights larger. The
    weights are moved beside the optimiser's step, as a decoupled instruction moves them: what goes through an optimiser is
    repeated by its momentum or normalised by Adam, and would end elsewhere.

    Args:
        rate: the largest growth of a step, as a fraction of a weight's norm.
        last: the last layer grows to so many times He's norm (P,). Large last weights speed up all layers before them: with
            plain SGD at a low learning rate the stronger control, when it is chosen on validation data.
    """

    def __init__(self, rate: float = 0.02, last: Float[Tensor, " P"] | None = None) -> None:
        self.rate, self.last = rate, last

    def init(self, population: Population) -> list[Tensor]:
        """Of each weight, the norm that it grows to (P,)."""
        slots, one = population.target.slots, population.losses.new_ones(population.members)
        found = []
        for slot in weights(slots, slots):
            he = math.sqrt(math.prod(slot.shape) * 2 / slot.fan_in) * one
            found.append(he * self.last if self.last is not None and slot.layer == population.target.depth - 1 else he)
        return found

    def move(self, population: Population, state: list[Tensor]) -> None:
        alive = population.diverged_at < 0
        for weight, largest in zip(weights(population.parameters, population.target.slots), state, strict=True):
            missing = largest / norm(weight) - 1  # never beyond the norm itself
            weight.mul_(per_member(1 + missing.clamp(0, self.rate) * alive, weight))
