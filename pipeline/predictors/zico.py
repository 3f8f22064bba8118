"""ZiCo (Li, Yang, Bhardwaj & Marculescu, ICLR 2023, eq. 6):

    score = Σ over layers of log Σ_k  mean_b |g_b[k]| / std_b g_b[k]

where g_b is the gradient of the mean cross entropy of batch b, and the sum leaves out weights whose std is 0. As in the
authors' code there are two batches, here the halves of the one that is given.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from pipeline.predictors.batch import batch_gradients
from pipeline.predictors.checks import defined
from pipeline.predictors.predictor import Predictor

BATCHES = 2


@dataclass(frozen=True)
class ZiCo(Predictor):
    """Σ log Σ mean / std."""

    source: ClassVar[str] = "Li et al., ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients, ICLR 2023"
    least: ClassVar[int] = BATCHES
    batches: ClassVar[int] = BATCHES

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        parts = zip(x.chunk(BATCHES), y.chunk(BATCHES), strict=True)
        found = [batch_gradients(network, xs, ys) for xs, ys in parts]
        return sum(_of_layer(torch.stack(gradients)) for gradients in zip(*found, strict=True))


def _of_layer(gradients: Tensor) -> float:
    defined(gradients)
    mean, deviation = gradients.abs().mean(0), gradients.std(0, correction=0)
    varying = deviation > 0
    total = float((mean[varying] / deviation[varying]).sum())
    return math.log(total) if total > 0 else 0.0


PREDICTOR = ZiCo
