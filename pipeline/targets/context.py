"""What a learning rule may see of one layer: all that a signal can be made of.

A rule says, for every layer, what goes back to its pre-activation: the signal ``b_i`` (P, width, B), in whose place
backpropagation has ∂L/∂z_i. The layer's gradients follow from it: ``b_i h_{i−1}ᵀ`` for the weight and ``Σ b_i`` for the bias.

Letters: P members, B examples, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.targets.activations import Activation
from pipeline.targets.forward import pull


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

    @property
    def slope(self) -> Float[Tensor, "P out B"]:
        """σ′(z); ones at the output."""
        return self.through(torch.ones_like(self.z))

    def through(self, delta: Float[Tensor, "P out B"]) -> Float[Tensor, "P out B"]:
        """δ ∘ σ′(z), as a new tensor."""
        if self.activation is None:
            return delta.clone()
        out = torch.empty_like(delta)
        self.activation.backward(delta, self.z, self.h, out)
        return out

    def pull(self, delta: Float[Tensor, "P out B"], weights: Tensor | None = None) -> Tensor:
        """Wᵀ δ: what the layer below receives where δ goes back to z, (P, in, B).

        Args:
            weights: in place of W, such as random feedback (P, out, in).
        """
        return pull(self.weight if weights is None else weights, delta)


Signals = Callable[[list[Context]], object]
"""Gives every context its ``signal``; contexts come from the inputs on (:func:`pipeline.learning.bound` makes one of a rule)"""
