"""SWAP (Peng, Song, Fayek, Ciesielski & Chang, SWAP-NAS, ICLR 2024, definitions 3.2 and 3.3): how many different patterns there
are among units, where a unit's pattern says for which of the N examples its ReLU lets through. Not regularised by size.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.predictors.observe import relus
from pipeline.predictors.predictor import Predictor


@dataclass(frozen=True)
class Swap(Predictor):
    """Number of patterns."""

    source: ClassVar[str] = "Peng et al., SWAP-NAS: Sample-Wise Activation Patterns for Ultra-fast NAS, ICLR 2024"
    labels: ClassVar[bool] = False
    layers: ClassVar[str] = "ReLUs"

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        packed = [np.packbits(own.T.cpu().numpy(), axis=1) for own in relus(network, x, "swap")]
        patterns = np.ascontiguousarray(np.concatenate(packed))
        return float(len(np.unique(patterns.view(np.dtype((np.void, patterns.shape[1]))))))


PREDICTOR = Swap
