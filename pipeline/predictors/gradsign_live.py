"""GradSign's mean over the live weights, ours: Σ_k |Σ_n sgn g_n[k]| / number of weights with a gradient that is not 0.

What is left of GradSign once the count of live weights is divided out. NaN where no weight has a gradient.
"""

import math
from dataclasses import dataclass

from jaxtyping import Int, Shaped
from torch import Tensor, nn

from pipeline.predictors.gradsign import GradSign, signs_and_count, total


@dataclass(frozen=True)
class GradSignLive(GradSign):
    """The mean over live weights."""

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        sums, count = signs_and_count(network, x, y, self.chunk)
        return total(sums) / count if count else math.nan


PREDICTOR = GradSignLive
