"""Multiply-adds of the convolutions and linear layers for one image; those of edges that no path uses count where a
NAS-Bench-201 network holds them, as the benchmark counts them. Products inside of ``nn.MultiheadAttention`` do not count.
(Half of what others call FLOPs; the ranks are the same.)"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.predictors.counts import Count
from pipeline.targets.nasbench201 import Layer


@dataclass(frozen=True)
class Flops(Count):
    """Multiply-adds."""

    source: ClassVar[str] = "a count"
    dead_weights: ClassVar[bool] = True

    def count(self, network: nn.Module, layers: Sequence[Layer]) -> int:
        return sum(layer.weights * layer.positions for layer in layers)


PREDICTOR = Flops
