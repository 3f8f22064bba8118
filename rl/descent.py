"""The targets' optimisers, as functions that a costate can be led back through.

SGD with momentum, Adam and AdamW, as ``torch.optim`` defines them, all have the form

    m ← k m + c (∇L + w θ),        θ ← d θ − η D m,

with D = 1 for SGD, and for Adam the inverse of its running size of the gradient. A cost J of what comes after therefore goes
back one step by (a = ∂J/∂θ, b = ∂J/∂m)

    q = b − η D a,       ∂J/∂∇L = c q,       a ← d a + c (H + w) q,       b ← k q,

H the Hessian of the step's loss. Two approximations: D counts as constant, and in the way back, never in the step itself, it is
limited (:data:`DAMPING`), or weights that hardly have a gradient would be all that a costate sees.

Letters: P members.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.config import TrainingConfig
from pipeline.instruction.rules import per_member
from pipeline.targets.optimisers import SCHEDULES, Settings

DAMPING = 0.3
"""of a tensor's mean running size, added to each weight's in the way back"""


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
        self.training, self.settings, self.device = training, Settings(training.learning_rate), parameters[0].device
        self.adaptive = training.optimiser != "sgd"
        self.decoupled = training.weight_decay if training.optimiser == "adamw" else 0.0
        self.coupled = training.weight_decay - self.decoupled
        self.keep, self.gain = (
            (self.settings.betas[0], 1 - self.settings.betas[0]) if self.adaptive else (training.momentum, 1.0)
        )
        names = (*(("momentum",) if self.keep else ()), *(("square",) if self.adaptive else ()))
        self.state = {name: [torch.zeros_like(tensor) for tensor in parameters] for name in names}

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
            gradient = gradient + self.coupled * parameter if self.coupled else gradient
            direction = gradient
            if self.decoupled:
                parameter.mul_(1 - per_member(rate, parameter) * self.decoupled)
            if self.keep:
                direction = self.state["momentum"][index].mul_(self.keep).add_(direction, alpha=self.gain)
            if self.adaptive:
                direction = direction / self._sizes(index, gradient, ages, taken)
            parameter.sub_(per_member(rate, parameter) * direction)
        return taken

    @torch.no_grad()
    def back(self, costate: Costate, taken: Step, product: Callable[[list[Tensor]], list[Tensor]]) -> list[Tensor]:
        """Lead ``costate`` back over a step, in place; ∂J/∂gradient of the step, a list of (P, …).

        Args:
            product: H times a vector, at the step's parameters and batch.
        """
        pushes = []
        for index, own in enumerate(costate.parameters):
            push = own * per_member(-taken.rate, own)
            if taken.slopes:
                push.mul_(taken.slopes[index])
            if costate.momentum:
                push.add_(costate.momentum[index])
            pushes.append(push)
        if self.keep:
            costate.momentum = [push * self.keep for push in pushes]
        pushes = [push.mul_(self.gain) for push in pushes] if self.gain != 1.0 else pushes
        for own, push, curved in zip(costate.parameters, pushes, product(pushes), strict=True):
            if self.decoupled:
                own.mul_(1 - per_member(taken.rate, own) * self.decoupled)
            own.add_(curved).add_(push, alpha=self.coupled)
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

    def _sizes(self, index: int, gradient: Tensor, ages: Sequence[int], taken: Step) -> Tensor:
        first, second = self.settings.betas
        square = self.state["square"][index].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        unbiased = [torch.tensor([1 - beta ** (age + 1) for age in ages], device=square.device) for beta in (first, second)]
        root = (square / per_member(unbiased[1], square)).sqrt_()
        typical = root.flatten(1).mean(1)
        correction = per_member(unbiased[0], square)
        taken.slopes.append(1 / ((root + per_member(DAMPING * typical, root) + self.settings.eps) * correction))
        return root.add_(self.settings.eps).mul_(correction)


def annealed(rate: Float[Tensor, " P"], step: int, steps: int) -> Float[Tensor, " P"]:
    """The rate on its way to 0 in ``steps`` steps, at the one of that number (from 0)."""
    return rate * (1 - (step + 1) / (steps + 1))
