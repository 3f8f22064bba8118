"""What an optimiser is. The same update rule is needed in two arithmetics, which round differently:

- :attr:`Optimiser.step`, for populations: all members of one age, in place on cache-sized pieces;
- :attr:`Optimiser.form`, for unrolled training: every member of its own age, each step remembering what a costate needs to be
  led back over it (:mod:`pipeline.targets.optimisers.form`).

Every step is elementwise, so that no member can touch another. A :class:`Piece` is a stretch of the population's buffers: a
cache-sized chunk where all members share one learning rate, else one tensor of all members as rows (P, size).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pipeline.targets.optimisers.form import Form


@dataclass(frozen=True)
class Piece:
    """Views of equal shape."""

    parameters: Tensor
    update: Tensor
    state: tuple[Tensor, ...]
    scratch: Tensor


@dataclass(frozen=True)
class Settings:
    """What the steps read."""

    learning_rate: float | Tensor
    """one for all, or (P, 1)"""
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


@dataclass(frozen=True)
class Optimiser:
    """An update rule as ``torch.optim`` defines it, on stacked members."""

    step: Callable[[Piece, Settings, int], None]
    """takes a piece, the settings and the number of steps before it"""
    state: Callable[[Settings], tuple[str, ...]]
    """names of what a piece's ``state`` holds"""
    form: Callable[[Settings], Form]
    """the rule in the form that has a way back"""


def descend(parameters: Tensor, direction: Tensor, rate: float | Tensor, scale: float = 1.0) -> None:
    """θ ← θ − η s d, in place."""
    if isinstance(rate, Tensor):
        parameters.addcmul_(direction, rate, value=-scale)
    else:
        parameters.add_(direction, alpha=-rate * scale)
