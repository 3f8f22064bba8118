"""AZ-NAS's progressivity (Lee & Ham, CVPR 2024, eq. 6): the smallest gain of entropy from one feature to the next (see
`az_expressivity`). −∞ where a feature is constant."""

import itertools
import math
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.predictors.az_nas import AZNAS, entropies, lowest


@dataclass(frozen=True)
class Progressivity(AZNAS):
    """min over l of the gain of entropy."""

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        gains = [after - before for before, after in itertools.pairwise(entropies(self.drawn_features(network, x)))]
        return -math.inf if any(map(math.isnan, gains)) else lowest(min(gains))


PREDICTOR = Progressivity
