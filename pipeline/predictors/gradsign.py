"""GradSign (Zhang & Jia, ICLR 2022, arXiv 2110.08616, algorithm 1): on how many examples each weight's gradient agrees in sign.

    score = Σ_k | Σ_n sgn g_n[k] |,        g_n = the gradient of example n's cross entropy

over the weights k of all convolutions and linear layers. The network sees one example at a time, in training mode, so that
BatchNorm normalises each by its own statistics. sgn 0 = 0; a weight without a gradient counts 0. The authors take N = 128
examples.

The theory bounds the training and the true loss by Ψ, how densely the optima of single examples lie; agreeing signs stand for
it. As a sum over weights the score is, nearly, a count of those with a gradient: `gradsign_mean` and `gradsign_live` divide it
out.

*Departures*: N examples are computed in passes of several (:mod:`pipeline.predictors.gradients`): the same integer but for
gradients that rounding decides the sign of. Dropout is off. Attention's projections count as linear layers.

Letters: N examples, n of a pass.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from pipeline.predictors.gradients import each_gradient
from pipeline.predictors.predictor import Predictor
from pipeline.predictors.weights import weights


@dataclass(frozen=True)
class GradSign(Predictor):
    """The sum over weights."""

    source: ClassVar[str] = "Zhang & Jia, GradSign: Model Performance Inference with Theoretical Insights, ICLR 2022"
    statistics: ClassVar[str] = "example"

    chunk: int = 0
    """examples of a pass; 0: as suits the device"""

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        return float(total(sign_sums(network, x, y, self.chunk)))


def sign_sums(network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"], chunk: int = 0) -> list[Tensor]:
    """Σ_n sgn g_n of every weight."""
    sums = _zeros(network)

    def take(number: int, gradients: Tensor) -> None:
        sums[number] += gradients.sign_().sum(0)

    each_gradient(network, x, y, take, chunk)
    return sums


def signs_and_count(
    network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"], chunk: int = 0
) -> tuple[list[Tensor], int]:
    """Σ_n sgn g_n of every weight, and how many weights have a g_n that is not 0."""
    sums, counts = _zeros(network), _zeros(network)

    def take(number: int, gradients: Tensor) -> None:
        sums[number] += gradients.sign_().sum(0)
        counts[number] += gradients.abs_().sum(0)

    each_gradient(network, x, y, take, chunk)
    return sums, sum(int(own.ne(0).sum()) for own in counts)


def _zeros(network: nn.Module) -> list[Tensor]:
    """Of at least single precision, in which whole numbers are exact."""
    return [torch.zeros(own.shape, dtype=torch.float32, device=own.device) for own in weights(network).values()]


def total(sums: list[Tensor]) -> int:
    """Σ_k |…|, exactly."""
    return sum(int(own.abs().sum(dtype=torch.float64)) for own in sums)


PREDICTOR = GradSign
