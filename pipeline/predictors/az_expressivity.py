"""AZ-NAS's expressivity (Lee & Ham, CVPR 2024, eq. 2-5): the sum over features of the entropy of their principal components,
−Σ λ̃ log λ̃ where λ̃ are the eigenvalues of the channels' covariance, scaled to sum to 1. −∞ where a feature is constant."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.predictors.az_nas import AZNAS, entropies, lowest


@dataclass(frozen=True)
class Expressivity(AZNAS):
    """Σ entropy."""

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        return lowest(sum(entropies(self.drawn_features(network, x))))


PREDICTOR = Expressivity
