"""SynFlow (Tanaka, Kunin, Yamins & Ganguli, NeurIPS 2020, eq. 2; summed over the network as Abdelfattah et al., 2021, do):

    score = Σ_k |θ_k ∂R/∂θ_k|,        R = the sum of the outputs for an image of ones, with every parameter replaced by its size

over the weights of convolutions and linear layers. It looks at no data; BatchNorm is left out, and numbers are double
precision, for they grow with depth.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from pipeline.predictors.batch import or_zeros
from pipeline.predictors.observe import WithoutBatchNorm
from pipeline.predictors.predictor import Predictor
from pipeline.predictors.weights import weights


@dataclass(frozen=True)
class SynFlow(Predictor):
    """Σ |θ ∂R/∂θ|."""

    source: ClassVar[str] = (
        "Tanaka et al., Pruning neural networks without any data by iteratively conserving synaptic flow, NeurIPS 2020"
    )
    data: ClassVar[bool] = False
    labels: ClassVar[bool] = False
    statistics: ClassVar[str] = "none"

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        sizes = {name: own.detach().abs().double().requires_grad_() for name, own in network.named_parameters()}
        buffers = {name: own.double() if own.is_floating_point() else own for name, own in network.named_buffers()}
        ones = torch.ones_like(x[:1], dtype=torch.float64 if x.is_floating_point() else x.dtype)
        with WithoutBatchNorm():
            outputs = torch.func.functional_call(network, sizes | buffers, (ones,))
        own = [sizes[name] for name in weights(network)]
        return sum(
            float((size.detach() * flow).abs().sum()) for size, flow in zip(own, or_zeros(outputs.sum(), own), strict=True)
        )


PREDICTOR = SynFlow
