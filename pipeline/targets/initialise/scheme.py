"""What an initialisation is: a draw for each weight, and for some a fit to a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Generator, Tensor

from pipeline.targets.mlp import MLP
from pipeline.targets.target import Slot


@dataclass(frozen=True)
class Scheme:
    """How one member's weights begin; biases are 0 and scales 1."""

    draw: Callable[[Slot, Generator, float], Tensor]
    """``(slot, generator, sigma)``: a weight"""
    fit: Callable[[MLP, Sequence[Tensor], Tensor], None] | None = None
    """``(target, tensors, x)``: changes what was drawn, in place, by what it makes of a batch (B, inputs)"""
