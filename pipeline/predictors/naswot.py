"""NASWOT (Mellor, Turner, Storkey & Crowley, ICML 2021, eq. 1-2): log |det K|, where K_nm is the number of ReLUs that let
through for both examples n and m or for neither. −∞ where two examples have the same pattern, or K is singular otherwise.

*Departure*: K is decomposed in double precision, and what rounding alone keeps from being singular is.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pipeline.predictors.observe import relus
from pipeline.predictors.predictor import Predictor


@dataclass(frozen=True)
class Naswot(Predictor):
    """log |det K|."""

    source: ClassVar[str] = "Mellor et al., Neural Architecture Search without Training, ICML 2021"
    labels: ClassVar[bool] = False
    layers: ClassVar[str] = "ReLUs"
    least: ClassVar[int] = 2

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        spectrum = torch.linalg.eigvalsh(agreements(relus(network, x, "naswot")))
        singular = spectrum[0] <= len(spectrum) * torch.finfo(spectrum.dtype).eps * spectrum[-1]
        return -math.inf if bool(singular) else float(spectrum.log().sum())


def agreements(codes: list[Bool[Tensor, "N _"]]) -> Float[Tensor, "N N"]:
    """K: of how many units two examples have the same code."""
    total = torch.zeros(len(codes[0]), len(codes[0]), dtype=torch.float64, device=codes[0].device)
    for code in codes:
        signs = code.float() * 2 - 1  # agreements less disagreements, exact below 2²⁴ units
        total += ((signs @ signs.T).double() + code.shape[1]) / 2
    return total


PREDICTOR = Naswot
