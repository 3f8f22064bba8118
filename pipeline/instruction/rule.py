"""The rule contract, and the rules that need no ENN.

A rule turns a population and a batch into the gradients that the optimiser applies. Rules × targets are factored: a rule knows
a population's tensors and their layout, never which network they make.

Letters: P members, B examples.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.seeding import torch_stream
from pipeline.targets import Population

FLOOR = 1e-3
"""a tensor's norm counts as at least FLOOR · √(number of its values), or biases that start at 0 could never be pushed"""


class Batch(NamedTuple):
    """Inputs (P, B, in) and labels (P, B), or without P where all members share the batch."""

    x: Tensor
    y: Tensor


@runtime_checkable
class Rule(Protocol):
    """How a target's update is made."""

    def init(self, population: Population) -> Any:
        """The rule's state for this population."""
        ...

    def update(self, population: Population, batch: Batch, state: Any) -> Sequence[Tensor]:
        """Gradients to apply, one tensor (P, …) per parameter; may be the population's own, changed in place."""
        ...


def per_member(values: Float[Tensor, " P"], like: Tensor) -> Tensor:
    """``values`` shaped (P, 1, …) so that they multiply ``like`` (P, …) member by member."""
    return values.view(-1, *[1] * (like.dim() - 1))


def least_norm(values: int) -> float:
    """What the norm of a tensor of so many values counts as at least."""
    return FLOOR * values**0.5


def trust_radius(parameter: Float[Tensor, "P ..."], trust_region: float) -> Float[Tensor, " P"]:
    """The largest step of each member's tensor θₖ (P, …): ``trust_region · max(‖θₖ‖, FLOOR · √n)`` for n values."""
    return trust_region * parameter.flatten(1).norm(dim=1).clamp_min(least_norm(parameter[0].numel()))


def within(strength: Tensor, step: Tensor, radius: Tensor) -> Tensor:
    """λ / (1 + λ s / r): the factor on ∂V/∂θₖ, where s is the step at λ = 1 and r the radius of the trust region.

    So it is λ for small steps, and the step never reaches r. (With the smaller of λ and r / s an ENN that chooses λ would have
    no gradient by which to lower it.)
    """
    return strength / (1 + strength * step / radius)


class Backprop:
    """Conventional training: the gradient of the loss and nothing else."""

    def init(self, population: Population) -> None:
        return None

    def update(self, population: Population, batch: Batch, state: None) -> Sequence[Tensor]:
        return population.grads(batch.x, batch.y)


class L1:
    """Adds the gradient of ``strength · Σ|w|`` over the weight matrices (biases are left alone)."""

    def __init__(self, strength: Float[Tensor, " P"]) -> None:
        self.strength = strength

    def init(self, population: Population) -> None:
        return None

    def update(self, population: Population, batch: Batch, state: None) -> Sequence[Tensor]:
        gradients = population.grads(batch.x, batch.y)
        for gradient, parameter in zip(gradients[0::2], population.parameters[0::2], strict=True):
            gradient.addcmul_(per_member(self.strength, parameter), parameter.sign())
        return gradients


class L2:
    """Adds the gradient of ``strength / 2 · ‖θ‖²`` over all parameters: with SGD exactly torch's ``weight_decay``."""

    def __init__(self, strength: Float[Tensor, " P"]) -> None:
        self.strength = strength

    def init(self, population: Population) -> None:
        return None

    def update(self, population: Population, batch: Batch, state: None) -> Sequence[Tensor]:
        gradients = population.grads(batch.x, batch.y)
        for gradient, parameter in zip(gradients, population.parameters, strict=True):
            gradient.addcmul_(per_member(self.strength, parameter), parameter)
        return gradients


class Growth:
    """A control without an ENN: weights grow by ``rate`` a step until they have the norm of He initialisation.

    What an ENN gains from small weights beyond this is its own; up to this it may merely have made the weights larger. The
    weights are moved beside the optimiser's step, as a decoupled instruction moves them: what goes through an optimiser is
    repeated by its momentum or normalised by Adam, and would end elsewhere.

    Args:
        last: the last layer grows to so many times He's norm (P,). Large last weights speed up all layers before them: with
            plain SGD at a low learning rate the stronger control, when it is chosen on validation data.
    """

    def __init__(self, rate: float = 0.02, last: Float[Tensor, " P"] | None = None) -> None:
        self.rate, self.last = rate, last

    def init(self, population: Population) -> list[Tensor]:
        weights, one = population.parameters[0::2], population.losses.new_ones(population.members)
        norms = [math.sqrt(weight[0].numel() * 2 / weight.shape[-1]) * one for weight in weights]
        return norms if self.last is None else [*norms[:-1], norms[-1] * self.last]

    def update(self, population: Population, batch: Batch, state: list[Tensor]) -> Sequence[Tensor]:
        gradients, alive = population.grads(batch.x, batch.y), population.diverged_at < 0
        for weight, norm in zip(population.parameters[0::2], state, strict=True):
            missing = norm / weight.flatten(1).norm(dim=1) - 1  # never beyond the norm itself
            weight.mul_(per_member(1 + missing.clamp(0, self.rate) * alive, weight))
        return gradients


class RandomPush:
    """A control without an ENN: for the first ``steps`` steps, a fixed random direction per tensor, as large as the
    instruction's trust region allows: a step of :func:`trust_radius`, beside the optimiser's step (see :class:`Growth`)."""

    def __init__(self, seeds: Sequence[int], trust_region: float = 0.02, steps: int = 100) -> None:
        self.seeds, self.trust_region, self.steps = seeds, trust_region, steps

    def init(self, population: Population) -> list[Tensor]:
        directions = []
        for index, parameter in enumerate(population.parameters):
            draws = [
                torch.randn(parameter.shape[1:], generator=torch_stream(seed, "random push", index)) for seed in self.seeds
            ]
            stacked = torch.stack(draws).to(parameter)
            directions.append(stacked / per_member(stacked.flatten(1).norm(dim=1), stacked))
        return directions

    def update(self, population: Population, batch: Batch, state: list[Tensor]) -> Sequence[Tensor]:
        gradients = population.grads(batch.x, batch.y)
        if population.step < self.steps:
            radii = [trust_radius(parameter, self.trust_region) for parameter in population.parameters]
            pushes = [per_member(r, direction) * direction for r, direction in zip(radii, state, strict=True)]
            population.move(pushes, 1.0)
        return gradients
