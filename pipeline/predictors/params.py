"""The number of parameters, with those that no path uses and those of BatchNorm; one that is shared counts once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.predictors.counts import Count
from pipeline.targets.nasbench201 import Layer


@dataclass(frozen=True)
class Params(Count):
    """#params."""

    source: ClassVar[str] = "a count"
    layers: ClassVar[str] = "all"
    dead_weights: ClassVar[bool] = True

    def count(self, network: nn.Module, layers: Sequence[Layer]) -> int:
        return sum(parameter.numel() for parameter in network.parameters())


PREDICTOR = Params
