"""SNIP (Lee et al., ICLR 2019, eq. 4; summed over the network as Abdelfattah et al., 2021, do): Σ_k |θ_k ∂loss/∂θ_k|, how much
the loss of one batch would change, to first order, if a weight went."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.predictors.batch import batch_gradients
from pipeline.predictors.predictor import Predictor
from pipeline.predictors.weights import weights


@dataclass(frozen=True)
class Snip(Predictor):
    """Σ |θ g|."""

    source: ClassVar[str] = "Lee, Ajanthan & Torr, SNIP, ICLR 2019"

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        pairs = zip(weights(network).values(), batch_gradients(network, x, y), strict=True)
        return sum(float((weight.detach() * gradient).abs().sum()) for weight, gradient in pairs)


PREDICTOR = Snip
