"""What the predictors that count have in common: they need no data, and no pass where a network says what it is made of."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from pipeline.predictors import checks
from pipeline.predictors.paths import layers
from pipeline.predictors.predictor import Predictor
from pipeline.targets.nasbench201 import CellNetwork, Layer


@dataclass(frozen=True)
class Count(Predictor):
    """A number of the layers of a network."""

    data: ClassVar[bool] = False
    labels: ClassVar[bool] = False
    statistics: ClassVar[str] = "none"

    def score(self, network: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> float:
        x = checks.pair(batch)[0]
        if isinstance(network, CellNetwork) and x.ndim == 4 and x.shape[1] == 3:  # nothing is used, so nothing is put back
            return float(self.count(network, list(network.layers(*x.shape[2:]))))
        return super().score(network, batch, generator)

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        return float(self.count(network, layers(network, x)))

    @abstractmethod
    def count(self, network: nn.Module, layers: Sequence[Layer]) -> int:
        """The number."""
