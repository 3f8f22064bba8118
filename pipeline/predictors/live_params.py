"""The number of live weights: those of convolutions and linear layers that lie on a path from input to output.

It needs no data, and GradSign is nearly this number times a constant: a weight counts there if it has a gradient at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.predictors.counts import Count
from pipeline.targets.nasbench201 import Layer


@dataclass(frozen=True)
class LiveParams(Count):
    """Live #params."""

    source: ClassVar[str] = "a count, of this project"

    def count(self, network: nn.Module, layers: Sequence[Layer]) -> int:
        return sum(layer.weights for layer in layers if layer.live)


PREDICTOR = LiveParams
