"""Batchwise random sign-concordant feedback, brSF (Liao, Leibo & Poggio, 2016): B = M ∘ sgn(W), M drawn anew for each batch.

Ours: M = |Glorot's uniform|, as in :mod:`pipeline.learning.frsf`; a member's come from its seed and the number of the step. For
the rest see :mod:`pipeline.learning.sign_symmetric`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.learning.feedback import Feedback, matrix, pulling
from pipeline.learning.sign_symmetric import SignSymmetric
from pipeline.seeding import torch_stream
from pipeline.targets import Context, Slot, Target


class Redrawn(NamedTuple):
    """What is drawn anew, and from what."""

    magnitudes: Feedback
    slots: tuple[Slot, ...]
    seeds: tuple[int, ...]
    step: Tensor
    """steps taken, ()"""


@dataclass(frozen=True, eq=False)
class BatchwiseSignSymmetric(SignSymmetric):
    """M is random, and another at each step."""

    def init(self, target: Target, seeds: Sequence[int]) -> Redrawn:
        slots, step = tuple(pulling(target)), torch.zeros((), dtype=torch.int64)
        return Redrawn(_magnitudes(slots, seeds, 0), slots, tuple(map(int, seeds)), step)

    def magnitude(self, layer: int, state: Redrawn) -> Tensor:
        return matrix(state.magnitudes, layer)

    def learn(self, contexts: Sequence[Context], state: Redrawn) -> None:
        """Draws what the next step needs."""
        state.step.add_(1)
        for own, new in zip(state.magnitudes, _magnitudes(state.slots, state.seeds, int(state.step)), strict=True):
            if own is not None and new is not None:
                own.copy_(new)


def _magnitudes(slots: Sequence[Slot], seeds: Sequence[int], step: int) -> Feedback:
    """The absolute values of numbers that are uniform on ± c, which are uniform up to c."""
    found: Feedback = [None] * (1 + max((slot.layer for slot in slots), default=0))
    for slot in slots:
        streams = [torch_stream(int(seed), "feedback", slot.layer, step) for seed in seeds]
        bound = math.sqrt(6 / (slot.fan_in + slot.fan_out))
        found[slot.layer] = torch.stack([torch.rand(slot.shape, generator=generator) for generator in streams]).mul_(bound)
    return found


SIGNAL = BatchwiseSignSymmetric
