"""GradSign's mean over all weights (Zhang & Jia's repository has both it and the sum): Σ_k |Σ_n sgn g_n[k]| / number of
weights.

On NAS-Bench-201 it ranks the other way round than the sum: it takes away the count that the sum lives on. Weights that no path
uses count in the number.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int, Shaped
from torch import Tensor, nn

from pipeline.predictors.gradsign import GradSign, sign_sums, total


@dataclass(frozen=True)
class GradSignMean(GradSign):
    """The mean over weights."""

    dead_weights: ClassVar[bool] = True

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        sums = sign_sums(network, x, y, self.chunk)
        return total(sums) / sum(own.numel() for own in sums)


PREDICTOR = GradSignMean
