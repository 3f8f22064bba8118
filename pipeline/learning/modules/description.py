"""What a learning rule is told about a module: its linear and convolutional layers, numbered as they are called."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from pipeline.targets import Slot, Target


@dataclass(frozen=True)
class ModuleTarget(Target):
    """A module as a target: a weight for each layer, and how much comes to each."""

    weights: tuple[Slot, ...]
    widths: tuple[tuple[int, int], ...]
    """``received`` as pairs"""
    outputs: int
    """``classes``"""

    @property
    def slots(self) -> tuple[Slot, ...]:
        return self.weights

    @property
    def received(self) -> dict[int, int]:
        return dict(self.widths)

    @property
    def classes(self) -> int:
        return self.outputs

    def module(self, parameters: Sequence[Tensor] | None = None) -> nn.Module:
        raise NotImplementedError("this describes a module that there is")

    def logits(self, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        raise NotImplementedError("this describes a module that there is")


def slot(name: str, shape: Sequence[int], layer: int) -> Slot:
    """A layer's weight; its first axis are the outputs."""
    return Slot(f"{name}.weight", tuple(shape), "weight", math.prod(shape[1:]), layer)
