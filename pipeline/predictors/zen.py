"""Zen (Lin et al., ICCV 2021, algorithm 1): how much a network that is drawn from N(0, 1) changes its features f when Gaussian
noise is added to a Gaussian image,

    score = log mean_n ‖f(x_n) − f(x_n + α ε_n)‖₁ + Σ over BatchNorms of log √(mean over channels of the variance),    α = 0.01

The second term puts back what BatchNorm divides out. f is what the last linear layer reads, or, where that is an average
pooling to one position (`nn.AdaptiveAvgPool2d(1)`), what the pooling reads. It looks at no data; NaN where f is the same
whatever the image.

*Departures*: one draw and as many images as the batch has, where the authors take the mean over 32 draws; the variances are
those of the batch x and not running ones; residual connections stay, which the authors take out; a mean over the image that is
no pooling layer or function is part of f.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from pipeline.predictors.drawn import drawn
from pipeline.predictors.observe import Outputs
from pipeline.predictors.predictor import Predictor

NOISE = 0.01
"""α"""


@dataclass(frozen=True)
class Zen(Predictor):
    """log of the change of features."""

    source: ClassVar[str] = "Lin et al., Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition, ICCV 2021"
    data: ClassVar[bool] = False
    labels: ClassVar[bool] = False
    real: ClassVar[bool] = True

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        parameters = drawn(network, "unit")
        image, noise = (torch.randn(x.shape, dtype=x.dtype).to(x.device) for _ in range(2))
        return change(network, parameters, image, noise)


def change(
    network: nn.Module, parameters: dict[str, Tensor], image: Float[Tensor, "N ..."], noise: Float[Tensor, "N ..."]
) -> float:
    """The score for these parameters, images and noise."""
    with torch.no_grad():
        with Outputs(network, parameters, rest=True) as plain:
            torch.func.functional_call(network, parameters, (image.clone(),))
        with Outputs(network, parameters, rest=True) as noisy:
            torch.func.functional_call(network, parameters, (image + NOISE * noise,))
    moved = float((plain.before - noisy.before).abs().flatten(1).sum(1).mean())
    scales = [float(own.mean().sqrt()) for own in plain.variances]
    if not moved > 0 or not all(scale > 0 for scale in scales):
        return math.nan
    return math.log(moved) + sum(map(math.log, scales))


PREDICTOR = Zen
