"""Fisher (Turner et al., BlockSwap, ICLR 2020, eq. 3; summed over the network as Abdelfattah et al., 2021, do):

    score = Σ over layers and channels c of  ½ mean_n ( Σ_positions a_nc ∂loss/∂a_nc )²

where a are the outputs of convolutions and linear layers for one batch: how much the loss would change if a channel went.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.predictors.batch import or_zeros
from pipeline.predictors.observe import Outputs
from pipeline.predictors.predictor import Predictor


@dataclass(frozen=True)
class Fisher(Predictor):
    """Σ ½ mean (Σ a g)²."""

    source: ClassVar[str] = "Turner et al., BlockSwap: Fisher-guided Block Substitution for Network Compression, ICLR 2020"

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        with Outputs(network, linear=True) as seen:
            loss = cross_entropy(network(x), y)
        followed = [one for one in seen.linear if one[0].requires_grad]  # and not what is computed without gradients
        total = 0.0
        for (own, last), gradient in zip(followed, or_zeros(loss, [own for own, _ in followed]), strict=True):
            product = (own.detach() * gradient).movedim(-1 if last else 1, 1)
            total += float(
                product.flatten(2).sum(2).pow(2).mean(0).sum() / 2 if product.ndim > 2 else product.pow(2).mean(0).sum() / 2
            )
        return total


PREDICTOR = Fisher
