"""Backpropagation (Rumelhart, Hinton & Williams, 1986), written as a learning rule: b_i = W_{i+1}ᵀ b_{i+1} ∘ σ′(z_i).

It says what a rule looks like and is what others are compared with. Training takes the fused path instead
(:mod:`pipeline.targets.backprop`), which gives the same numbers with less memory.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from pipeline.learning.signal import SignalRule
from pipeline.targets import Context


class Backpropagation(SignalRule):
    """The gradient of the loss."""

    exact = True
    serves = "layers"

    def signal(self, context: Context, state: Any) -> Float[Tensor, "..."]:
        above = context.above
        if above is None or above.signal is None:
            return context.error
        return context.through(above.pull(above.signal, out=context.room), context.room)


SIGNAL = Backpropagation
