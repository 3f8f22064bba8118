"""What a learning rule may see of one layer: all that a signal can be made of.

A rule says, for every layer, what goes back to its pre-activation: the signal ``b_i`` (P, width, B), in whose place
backpropagation has ∂L/∂z_i. The layer's gradients follow from it: ``b_i h_{i−1}ᵀ`` for the weight and ``Σ b_i`` for the bias.

Letters: P members, B examples, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.targets.activations import Activation
from pipeline.targets.forward import outer, pull, push


@dataclass(eq=False)
class Context:
    """One layer of P members on one batch. Its tensors are buffers of the population: they are overwritten by the next batch,
    and a rule changes none of them."""

    layer: int
    """number of the layer, from 0 at the inputs"""
    weight: Float[Tensor, "P out in_"]
    received: Float[Tensor, "P in_ B"] | Float[Tensor, "in_ B"]
    """h of the layer below, or the inputs (without P where all members share the batch)"""
    z: Float[Tensor, "P out B"]
    """pre-activation"""
    h: Float[Tensor, "P out B"]
    """σ(z); the logits themselves at the output"""
    error: Float[Tensor, "P K B"]
    """∂L/∂z of the output layer, (p − y) / B for the mean cross entropy"""
    labels: Int[Tensor, " B"] | Int[Tensor, "P B"]
    activation: Activation | None
    """σ; None at the output"""
    below: "Context | None" = field(default=None, repr=False)
    above: "Context | None" = field(default=None, repr=False)
    signal: Float[Tensor, "P out B"] | None = None
    """what goes back to z; there once the rule has been asked for it, so that a neighbour's can be read"""

    kept: Any = field(default=None, repr=False)
    """what a rule leaves for its neighbours and for its own learning to read in this step"""
    room: Float[Tensor, "P out B"] | None = field(default=None, repr=False)
    """memory of z's shape that a rule may write its signal to (``out=``), so that a step allocates nothing"""

    @property
    def slope(self) -> Float[Tensor, "P out B"]:
        """σ′(z); ones at the output."""
        return self.through(torch.ones_like(self.z))

    @property
    def output(self) -> "Context":
        """The output layer."""
        return self if self.above is None else self.above.output

    @property
    def examples(self) -> int:
        """B, by which the mean loss divides."""
        return self.labels.shape[-1]

    def through(self, delta: Float[Tensor, "P out B"], out: Tensor | None = None) -> Float[Tensor, "P out B"]:
        """δ ∘ σ′(z), as a new tensor or in ``out``, which may be δ itself."""
        if self.activation is None:
            return delta.clone() if out is None else out.copy_(delta)
        out = torch.empty_like(delta) if out is None else out
        self.activation.backward(delta, self.z, self.h, out)
        return out

    def activate(self, z: Float[Tensor, "P out B"]) -> Float[Tensor, "P out B"]:
        """σ of any z, as a new tensor; z itself at the output."""
        return z if self.activation is None else self.activation.function(z)

    def pull(self, delta: Float[Tensor, "P out B"], weights: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Wᵀ δ: what the layer below receives where δ goes back to z, (P, in, B).

        Args:
            weights: in place of W, such as random feedback (P, out, in).
            out: where it is written; default: a new tensor.
        """
        return pull(self.weight if weights is None else weights, delta, out)

    def push(self, h: Float[Tensor, "P in_ B"], out: Tensor | None = None) -> Float[Tensor, "P out B"]:
        """W h, without the bias: what z receives from the layer below."""
        return push(self.weight, h, out)

    def outer(self, delta: Float[Tensor, "P out B"], h: Float[Tensor, "P in_ B"]) -> Float[Tensor, "P out in_"]:
        """δ hᵀ: the gradient with respect to weights in W's place where δ goes back to z and h comes from below. With
        δ = h₂ and h = δ₁ it is that of weights which :meth:`pull` h₂ down to where δ₁ goes back."""
        return outer(delta, h.transpose(1, 2), delta.new_empty(len(delta), delta.shape[1], h.shape[1]))


Signals = Callable[[list[Context]], object]
"""Gives every context its ``signal``; contexts come from the inputs on (:func:`pipeline.learning.bound` makes one of a rule)"""
