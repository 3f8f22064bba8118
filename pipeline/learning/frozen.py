"""The control of all learning rules: hidden layers stay as they began, and only the last one learns.

    s_L = g_L,        s_i = 0

(A weight decay or a penalty still shrinks the hidden layers' weights.)
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.learning.signal import SignalRule
from pipeline.targets import Context


class Frozen(SignalRule):
    """Nothing goes back."""

    serves = "layers"

    def signal(self, context: Context, state: Any) -> Float[Tensor, "..."]:
        return context.error if context.above is None else torch.zeros_like(context.z)


SIGNAL = Frozen
