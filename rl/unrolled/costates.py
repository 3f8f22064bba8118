"""Where a way back begins, and how long a costate may be.

Letters: P members.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from pipeline.targets import Population
from pipeline.targets.members import dot, per_member
from rl.descent import Costate

SMALLEST_LOSS = 1e-2
"""losses count as at least this where their logarithm is differentiated"""


def log_loss_costate(population: Population, examples: tuple[Tensor, Tensor]) -> Costate:
    """∂ log(loss) / ∂θ of each member on its own examples, (P, n, inputs) and (P, n); where a way back begins."""
    gradients = population.grads(*examples)
    weight = 1 / population.losses.clamp_min(SMALLEST_LOSS)
    return Costate([gradient * per_member(weight, gradient) for gradient in gradients])


def shorten(costate: Costate, largest: float) -> None:
    """Each member's costate to a norm of at most ``largest``; what is not finite becomes 0."""
    costate.scale((largest / _norm(costate.parameters).clamp_min(1e-9)).clamp_max(1.0))


def _norm(tensors: Sequence[Tensor]) -> Float[Tensor, " P"]:
    return dot(tensors, tensors).sqrt()
