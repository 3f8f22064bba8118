"""Multiply-adds of live weights for one image: those of layers that lie on a path from input to output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.predictors.counts import Count
from pipeline.targets.nasbench201 import Layer


@dataclass(frozen=True)
class LiveFlops(Count):
    """Live multiply-adds."""

    source: ClassVar[str] = "a count, of this project"

    def count(self, network: nn.Module, layers: Sequence[Layer]) -> int:
        return sum(layer.weights * layer.positions for layer in layers if layer.live)


PREDICTOR = LiveFlops
