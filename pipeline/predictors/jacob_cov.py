"""Jacobian covariance (Mellor, Turner, Storkey & Crowley, 2020, arXiv 2006.04647 v1, eq. 4-7):

    score = − Σ_i ( log(σ_i + k) + 1 / (σ_i + k) ),        k = 10⁻⁵

where σ_i are the eigenvalues of the correlations among the examples of J_n, the gradient of the summed class scores with
respect to example n. NaN where an example has no gradient, as where no path leads from input to output.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from pipeline.predictors.batch import or_zeros
from pipeline.predictors.predictor import Predictor

SMALL = 1e-5
"""k"""


@dataclass(frozen=True)
class JacobCov(Predictor):
    """How uncorrelated the Jacobians of examples are."""

    source: ClassVar[str] = "Mellor et al., Neural Architecture Search without Training, 2020 (arXiv 2006.04647, version 1)"
    labels: ClassVar[bool] = False
    real: ClassVar[bool] = True
    layers: ClassVar[str] = "all"
    least: ClassVar[int] = 2

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        inputs = x.clone().requires_grad_()
        (jacobian,) = or_zeros(network(inputs.clone()).sum(), [inputs])
        return of_jacobian(jacobian.flatten(1))


def of_jacobian(jacobian: Float[Tensor, "N inputs"]) -> float:
    """The score of the rows J_n."""
    rows = jacobian.double()
    rows = rows - rows.mean(1, keepdim=True)
    lengths = rows.norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()) or not bool(torch.isfinite(lengths).all()):
        return math.nan
    rows = rows / lengths
    shifted = torch.linalg.eigvalsh(rows @ rows.T) + SMALL
    return float(-(shifted.log() + 1 / shifted).sum())


PREDICTOR = JacobCov
