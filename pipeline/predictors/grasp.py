"""GraSP (Wang, Zhang & Grosse, ICLR 2020, eq. 8; summed over the network as Abdelfattah et al., 2021, do):

    score = − Σ_k θ_k (H g)_k,        g = ∂loss/∂θ,  H = ∂²loss/∂θ²

over the weights of convolutions and linear layers, of one batch: how much the flow of gradients would lose if weights went. The
product H g is exact (Pearlmutter, 1994). *Departure*: the paper divides class scores by a temperature; it is 1 here, as in
Abdelfattah et al.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.predictors.batch import batch_gradients, or_zeros
from pipeline.predictors.predictor import Predictor
from pipeline.predictors.weights import weights


@dataclass(frozen=True)
class Grasp(Predictor):
    """− θ · H g."""

    source: ClassVar[str] = (
        "Wang, Zhang & Grosse, Picking Winning Tickets Before Training by Preserving Gradient Flow, ICLR 2020"
    )

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        parameters: list[Tensor] = list(weights(network).values())
        with sdpa_kernel(SDPBackend.MATH):  # the others cannot be differentiated twice
            gradients = batch_gradients(network, x, y, graph=True)
            along = torch.stack([(gradient.detach() * gradient).sum() for gradient in gradients]).sum()
            products = or_zeros(along, parameters)
        return -sum(float((own.detach() * product).sum()) for own, product in zip(parameters, products, strict=True))


PREDICTOR = Grasp
