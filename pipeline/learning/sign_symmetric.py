"""Sign-symmetric feedback: B has the signs of W and sizes of its own (Liao, Leibo & Poggio, 2016; Moskovitz, Litwin-Kumar &
Abbott, 2018; Xiao et al., 2019).

    s_L = g_L,        s_i = (B_{i+1}ᵀ s_{i+1}) ∘ σ′(z_i),        B = M ∘ sgn(W)

The three rules differ in M alone: :mod:`pipeline.learning.usf`, ``brsf``, ``frsf``. M and B are (P, out, in) as W. Biases have
no feedback.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.learning.signal import SignalRule
from pipeline.targets import Context


class SignSymmetric(SignalRule):
    """What goes back is pulled by M ∘ sgn(W). A rule of this kind says what M is."""

    serves = "layers"

    def magnitude(self, layer: int, state: Any) -> Tensor:
        """M of the layer that pulls, such that it multiplies the signs (P, out, in)."""
        raise NotImplementedError

    def signal(self, context: Context, state: Any) -> Float[Tensor, "..."]:
        above = context.above
        if above is None or above.signal is None:
            return context.error
        backward = torch.sign(above.weight).mul_(self.magnitude(above.layer, state))
        return context.through(above.pull(above.signal, backward, context.room), context.room)
