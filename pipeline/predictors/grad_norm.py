"""Gradient norm (Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021, §3.1): Σ over layers of ‖∂loss/∂W‖₂, at
the initial weights, for one batch."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.predictors.batch import batch_gradients
from pipeline.predictors.predictor import Predictor


@dataclass(frozen=True)
class GradNorm(Predictor):
    """Σ ‖g‖."""

    source: ClassVar[str] = "Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021"

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        return sum(float(own.norm()) for own in batch_gradients(network, x, y))


PREDICTOR = GradNorm
