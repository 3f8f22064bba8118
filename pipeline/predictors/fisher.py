"""Fisher (Turner et al., BlockSwap, ICLR 2020, eq. 3; summed over the network as Abdelfattah et al., 2021, do):

    score = Σ over layers and channels c of  ½ mean_n ( Σ_positions a_nc ∂loss/∂a_nc )²

where a are the outputs of convolutions and linear layers for one batch: how much the loss would change if a channel went.
Attention's projections are looked at within it. Recurrent layers, which show none of their steps, are refused, and so is a
layer of which it cannot be told what belongs to which example.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.predictors.batch import or_zeros
from pipeline.predictors.observe import Outputs, layouts_of
from pipeline.predictors.predictor import Predictor


@dataclass(frozen=True)
class Fisher(Predictor):
    """Σ ½ mean (Σ a g)²."""

    source: ClassVar[str] = "Turner et al., BlockSwap: Fisher-guided Block Substitution for Network Compression, ICLR 2020"

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        with Outputs(network, linear=True) as seen:
            loss = cross_entropy(network(x), y)
        followed = [own for own in seen.linear if own.values.requires_grad]  # and not what is computed without gradients
        gradients = or_zeros(loss, [own.values for own in followed])
        places = {id(own): place for own, place in zip(seen.linear, layouts_of(network, x, seen.linear), strict=True)}
        total = 0.0
        for own, gradient in zip(followed, gradients, strict=True):
            product = places[id(own)].ordered(own.values.detach() * gradient)
            total += float(
                product.flatten(2).sum(2).pow(2).mean(0).sum() / 2 if product.ndim > 2 else product.pow(2).mean(0).sum() / 2
            )
        return total


PREDICTOR = Fisher
