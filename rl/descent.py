"""The targets' optimisers with every member of its own age, and the way back of a costate over their steps.

The update rules and their adjoints are the optimisers' own (:mod:`pipeline.targets.optimisers.form`); this holds their state
for a whole population, step by step.

Letters: P members.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.config import TrainingConfig
from pipeline.targets.members import per_member
from pipeline.targets.optimisers import OPTIMISERS, Settings
from pipeline.targets.schedules import SCHEDULES


@dataclass
class Step:
    """What the way back needs of one step."""

    rate: Float[Tensor, " P"]
    slopes: list[Tensor]
    """D, one tensor (P, …) per parameter; none where D = 1"""


@dataclass
class Costate:
    """∂J/∂θ and ∂J/∂m, lists of (P, …)."""

    parameters: list[Tensor]
    momentum: list[Tensor] = field(default_factory=list)

    def scale(self, factor: Float[Tensor, " P"]) -> None:
        """Multiply each member's; what is not finite becomes 0."""
        for tensor in (*self.parameters, *self.momentum):
            tensor.mul_(per_member(factor, tensor)).nan_to_num_(0.0, 0.0, 0.0)


class Descent:
    """The optimiser of P targets, with its state; every member has its own age.

    Attributes:
        state: by name, one tensor (P, …) per parameter.
    """

    def __init__(self, training: TrainingConfig, parameters: Sequence[Tensor]) -> None:
        self.training, self.device = training, parameters[0].device
        settings = Settings(training.learning_rate, training.momentum, training.weight_decay)
        self.form = OPTIMISERS[training.optimiser].form(settings)
        self.state = {name: [torch.zeros_like(tensor) for tensor in parameters] for name in self.form.state}

    def rates(self, ages: Sequence[int]) -> Float[Tensor, " P"]:
        """The learning rate of members that have taken so many steps."""
        factor, steps = SCHEDULES[self.training.schedule], self.training.steps
        values = [self.training.learning_rate * factor(min(1.0, age / steps)) for age in ages]
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    @torch.no_grad()
    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor, ages: Sequence[int]) -> Step:
        """One step of every member, in place; ``gradients`` are those of the loss with the instruction subtracted."""
        taken = Step(rate, [])
        for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            state = {name: tensors[index] for name, tensors in self.state.items()}
            slope = self.form.step(parameter, gradient, state, rate, ages)
            if slope is not None:
                taken.slopes.append(slope)
        return taken

    @torch.no_grad()
    def back(self, costate: Costate, taken: Step, product: Callable[[list[Tensor]], list[Tensor]]) -> list[Tensor]:
        """Lead ``costate`` back over a step, in place; ∂J/∂gradient of the step, a list of (P, …).

        Args:
            product: H times a vector, at the step's parameters and batch.
        """
        pushes, kept = [], []
        for index, own in enumerate(costate.parameters):
            momentum = costate.momentum[index] if costate.momentum else None
            slope = taken.slopes[index] if taken.slopes else None
            push, left = self.form.push(own, momentum, taken.rate, slope)
            pushes.append(push)
            kept += [] if left is None else [left]
        costate.momentum = kept
        for own, push, curved in zip(costate.parameters, pushes, product(pushes), strict=True):
            self.form.back(own, push, curved, taken.rate)
        return pushes

    @torch.no_grad()
    def forget(self, member: int) -> None:
        """A new target takes the place of one."""
        for tensors in self.state.values():
            for tensor in tensors:
                tensor[member] = 0.0

    def copy(self) -> dict[str, list[Tensor]]:
        """The state as it is now."""
        return {name: [tensor.clone() for tensor in tensors] for name, tensors in self.state.items()}


def annealed(rate: Float[Tensor, " P"], step: int, steps: int) -> Float[Tensor, " P"]:
    """The rate on its way to 0 in ``steps`` steps, at the one of that number (from 0)."""
    return rate * (1 - (step + 1) / (steps + 1))
