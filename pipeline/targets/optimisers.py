"""SGD with momentum, Adam and AdamW as torch.optim defines them, on stacked members.

Every step is elementwise, so that no member can touch another. A :class:`Piece` is a stretch of the population's buffers: a
cache-sized chunk where all members share one learning rate, else one tensor of all members as rows (P, size).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """Views of equal shape."""

    parameters: Tensor
    update: Tensor
    state: tuple[Tensor, ...]
    scratch: Tensor


@dataclass(frozen=True)
class Settings:
    """What the steps below read."""

    learning_rate: float | Tensor
    """one for all, or (P, 1)"""
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


def sgd(piece: Piece, settings: Settings, step: int) -> None:
    """``torch.optim.SGD`` (dampening 0, no Nesterov): v ← μ v + g + w θ, θ ← θ − η v."""
    parameters, direction = piece.parameters, piece.update
    if settings.momentum:
        direction = piece.state[0].mul_(settings.momentum).add_(piece.update)
        if settings.weight_decay:
            direction.add_(parameters, alpha=settings.weight_decay)
    elif settings.weight_decay:
        parameters.mul_(1 - settings.learning_rate * settings.weight_decay)
    _descend(parameters, direction, settings.learning_rate)


def adam(piece: Piece, settings: Settings, step: int) -> None:
    """``torch.optim.Adam``: weight decay is added to the gradient."""
    gradient = piece.update
    if settings.weight_decay:
        gradient = torch.add(gradient, piece.parameters, alpha=settings.weight_decay, out=piece.scratch)
    _adaptive(piece, gradient, settings, step)


def adamw(piece: Piece, settings: Settings, step: int) -> None:
    """``torch.optim.AdamW``: weight decay shrinks the parameters directly."""
    if settings.weight_decay:
        piece.parameters.mul_(1 - settings.learning_rate * settings.weight_decay)
    _adaptive(piece, piece.update, settings, step)


def _adaptive(piece: Piece, gradient: Tensor, settings: Settings, step: int) -> None:
    (first, second), (mean, square) = settings.betas, piece.state
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    size = torch.sqrt(square, out=piece.scratch).div_(math.sqrt(1 - second ** (step + 1))).add_(settings.eps)
    _descend(piece.parameters, torch.div(mean, size, out=piece.scratch), settings.learning_rate, 1 / (1 - first ** (step + 1)))


def _descend(parameters: Tensor, direction: Tensor, rate: float | Tensor, scale: float = 1.0) -> None:
    if isinstance(rate, Tensor):
        parameters.addcmul_(direction, rate, value=-scale)
    else:
        parameters.add_(direction, alpha=-rate * scale)


OPTIMISERS: dict[str, tuple[Callable[[Piece, Settings, int], None], tuple[str, ...]]] = {
    "sgd": (sgd, ("velocity",)),
    "adam": (adam, ("mean", "square")),
    "adamw": (adamw, ("mean", "square")),
}
"""The step, which takes a piece, the settings and the number of steps before it, and the names of its state"""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
}
"""The factor on the learning rate at t / T; cosine: Loshchilov & Hutter, 2017, eq. 5, without restarts"""
