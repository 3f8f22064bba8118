"""What a rule trains of its own: parameters of all members with an optimiser's state, as a part of the rule's state.

Letters: P members.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.targets.optimisers import OPTIMISERS, Piece, Settings
from pipeline.targets.schedules import SCHEDULES


class Trained(NamedTuple):
    """Parameters and what their optimiser remembers."""

    parameters: list[Tensor]
    """each (P, …)"""
    remembered: list[list[Tensor]]
    """for each of them what the optimiser's state has, of its shape"""
    step: Tensor
    """steps taken, ()"""


@dataclass(frozen=True, eq=False)
class Training:
    """How a rule trains parameters of its own, beside the target's optimiser.

    Raises:
        UserError: an unknown optimiser, a schedule that is unknown or does not know how many steps there are, or (at the first
            step) learning rates that are not one per member.
    """

    learning_rate: float | Tensor = 1e-3
    """one for all members, or each member's (P,)"""
    optimiser: str = "adam"
    """as :data:`pipeline.targets.optimisers.OPTIMISERS` names it"""
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    """of the learning rate, as :data:`pipeline.targets.schedules.SCHEDULES` names it"""
    steps: int = 0
    """of the whole training, which a schedule needs to know"""

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise UserError(f"unknown optimiser {self.optimiser!r}; choose from {', '.join(OPTIMISERS)}.")
        if self.schedule not in SCHEDULES or (self.schedule != "constant" and self.steps < 1):
            raise UserError(
                f"schedule {self.schedule!r}: choose from {', '.join(SCHEDULES)}, and say how many steps there are."
            )

    def start(self, parameters: Sequence[Tensor]) -> Trained:
        """Parameters that have not been trained yet."""
        rate = self.learning_rate
        if parameters and isinstance(rate, Tensor) and rate.shape not in ((), (len(parameters[0]),)):
            raise UserError(
                f"a learning rule's own learning rates have shape {tuple(rate.shape)}; give one, or {len(parameters[0])}."
            )
        names = OPTIMISERS[self.optimiser].state(self._settings(torch.zeros(())))
        remembered = [[torch.zeros_like(own) for _ in names] for own in parameters]
        return Trained(list(parameters), remembered, torch.zeros((), dtype=torch.int64))

    def step(self, trained: Trained, gradients: Sequence[Tensor]) -> None:
        """One step, in place. Everything is elementwise, so that no member touches another."""
        step = OPTIMISERS[self.optimiser].step
        for own, gradient, remembered in zip(trained.parameters, gradients, trained.remembered, strict=True):
            rows = [tensor.view(len(own), -1) for tensor in (own, gradient, *remembered)]
            piece = Piece(rows[0], rows[1], tuple(rows[2:]), torch.empty_like(rows[0]))
            step(piece, self._settings(own, int(trained.step)), int(trained.step))
        trained.step.add_(1)

    def _settings(self, like: Tensor, step: int = 0) -> Settings:
        rate = self.learning_rate
        if isinstance(rate, Tensor):
            rate = rate.to(like.device, like.dtype).view(-1, 1)
        if self.schedule != "constant":
            rate = rate * SCHEDULES[self.schedule](min(1.0, step / self.steps))
        return Settings(rate, self.momentum, self.weight_decay)
