"""Uniform sign-concordant feedback, uSF (Liao, Leibo & Poggio, 2016): B = c sgn(W).

The scale c differs between papers: Liao et al. take 1, beside batch normalisation; biotorch, after Xiao et al. (2019), takes
the standard deviation of the layer's initial weights. Ours: c = √(2 / (fan in + fan out)), that of Glorot's scheme, whatever
the target began with. For the rest see :mod:`pipeline.learning.sign_symmetric`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.learning.feedback import Feedback, matrix, pulling
from pipeline.learning.sign_symmetric import SignSymmetric
from pipeline.targets import Target


@dataclass(frozen=True, eq=False)
class UniformSignSymmetric(SignSymmetric):
    """M is one number.

    Raises:
        UserError: (at the first step) scales that are not one per member.
    """

    scale: float | Tensor = 1.0
    """times c; one for all members or each member's (P,)"""

    def init(self, target: Target, seeds: Sequence[int]) -> Feedback:
        scale = torch.as_tensor(self.scale, dtype=torch.float64)  # so that members in float64 have all its digits
        if scale.shape not in ((), (len(seeds),)):
            raise UserError(f"scales of shape {tuple(scale.shape)} for {len(seeds)} members; give one number, or one for each.")
        scale = scale.expand(len(seeds)).view(-1, 1, 1)
        found: Feedback = [None] * target.depth
        for slot in pulling(target):
            found[slot.layer] = math.sqrt(2 / (slot.fan_in + slot.fan_out)) * scale
        return found

    def magnitude(self, layer: int, state: Feedback) -> Tensor:
        return matrix(state, layer)


SIGNAL = UniformSignSymmetric
