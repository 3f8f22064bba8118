"""The trust region: how far one step of an instruction, or of a push that is compared with one, may move a tensor.

Letters: P members.
"""

from jaxtyping import Float
from torch import Tensor

from pipeline.targets.members import norm

FLOOR = 1e-3
"""a tensor's norm counts as at least FLOOR · √(number of its values), or biases that start at 0 could never be pushed"""


def least_norm(values: int) -> float:
    """What the norm of a tensor of so many values counts as at least."""
    return FLOOR * values**0.5


def trust_radius(parameter: Float[Tensor, "P ..."], trust_region: float) -> Float[Tensor, " P"]:
    """The largest step of each member's tensor θₖ (P, …): ``trust_region · max(‖θₖ‖, FLOOR · √n)`` for n values."""
    return trust_region * norm(parameter).clamp_min(least_norm(parameter[0].numel()))


def within(strength: Tensor, step: Tensor, radius: Tensor) -> Tensor:
    """λ / (1 + λ s / r): the factor on ∂V/∂θₖ, where s is the step at λ = 1 and r the radius of the trust region.

    So it is λ for small steps, and the step never reaches r. (With the smaller of λ and r / s an ENN that chooses λ would have
    no gradient by which to lower it.)
    """
    return strength / (1 + strength * step / radius)
