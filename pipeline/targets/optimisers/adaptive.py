"""What Adam and AdamW share: running means of the gradient and of its square (Kingma & Ba, 2015, algorithm 1).

Letters: P members.
"""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.targets.members import per_member
from pipeline.targets.optimisers.form import Form
from pipeline.targets.optimisers.optimiser import Piece, Settings, descend

DAMPING = 0.3
"""of a tensor's mean running size, added to each weight's in the way back"""


def step(piece: Piece, gradient: Tensor, settings: Settings, step: int) -> None:
    """The step once weight decay is dealt with."""
    (first, second), (mean, square) = settings.betas, piece.state
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    size = torch.sqrt(square, out=piece.scratch).div_(math.sqrt(1 - second ** (step + 1))).add_(settings.eps)
    descend(piece.parameters, torch.div(mean, size, out=piece.scratch), settings.learning_rate, 1 / (1 - first ** (step + 1)))


def state(settings: Settings) -> tuple[str, ...]:
    return ("mean", "square")


def form(settings: Settings, coupled: float = 0.0, decoupled: float = 0.0) -> Form:
    sizes = functools.partial(_sizes, betas=settings.betas, eps=settings.eps)
    return Form(settings.betas[0], 1 - settings.betas[0], coupled, decoupled, sizes)


def _sizes(
    square: Tensor, gradient: Tensor, ages: Sequence[int], betas: tuple[float, float], eps: float
) -> tuple[Tensor, Tensor]:
    first, second = betas
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    unbiased = [torch.tensor([1 - beta ** (age + 1) for age in ages], device=square.device) for beta in (first, second)]
    root = (square / per_member(unbiased[1], square)).sqrt_()
    typical = root.flatten(1).mean(1)
    correction = per_member(unbiased[0], square)
    slope = 1 / ((root + per_member(DAMPING * typical, root) + eps) * correction)
    return root.add_(eps).mul_(correction), slope
