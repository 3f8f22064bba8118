"""The exact Hessian-vector product of P members at once, by hand: the R-operator of Pearlmutter (1994, §3).

``R{f}(θ) = ∂/∂ε f(θ + ε v)`` at ε = 0 is led through the forward pass and through the backward pass of
:mod:`pipeline.targets.backprop`, so that ``R{∇L} = H v``. With h₀ = x, which has no tangent, and p the softmax of the logits:

    R{z_i} = V_i h_{i−1} + W_i R{h_{i−1}} + R{b_i},        R{h_i} = σ′(z_i) ∘ R{z_i}
    δ_L = (p − y) / B,                                     R{δ_L} = (p ∘ R{z_L} − p Σ p ∘ R{z_L}) / B
    d_i = W_{i+1}ᵀ δ_{i+1},                                R{d_i} = V_{i+1}ᵀ δ_{i+1} + W_{i+1}ᵀ R{δ_{i+1}}
    δ_i = σ′(z_i) ∘ d_i,                                   R{δ_i} = σ′(z_i) ∘ R{d_i} + σ″(z_i) ∘ R{z_i} ∘ d_i
    ∂L/∂W_i = δ_i h_{i−1}ᵀ,                                R{∂L/∂W_i} = R{δ_i} h_{i−1}ᵀ + δ_i R{h_{i−1}}ᵀ

Where σ has kinks (ReLU) σ″ counts as 0, as autograd counts it: the product of the piece that θ lies in. A difference of two
gradients crosses into other pieces instead, and is no Hessian of anything.

Activations are (P, width, B), as in the backward pass. P members, B examples, K classes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.targets.forward import Layer, affine, examples_last, outer, propagate, pull
from pipeline.targets.mlp import MLP

Moving = tuple[Tensor, Tensor | None]
"""h, or z, and its tangent; None where it has none, as the inputs"""
MovingLayer = tuple[Layer, Layer]
"""weight and bias, and their directions V"""


class TangentWorkspace:
    """Buffers for batches of B examples, reused from call to call."""

    def __init__(self, target: MLP, members: int, examples: int, like: Tensor) -> None:
        def new() -> list[Tensor]:
            return [like.new_empty(members, width, examples) for width in target.widths[1:]]

        self.activation = target.nonlinearity
        self.keeps_z = self.activation.needs_z
        self.z, self.z_tangent = new(), new()
        self.h, self.h_tangent = (new(), new()) if self.keeps_z else (self.z, self.z_tangent)
        self._slopes = [torch.empty_like(z) for z in self.z] if self.keeps_z else []
        self._ones = [torch.ones_like(z) for z in self.z] if self.keeps_z else []
        self.delta, self.delta_tangent = new(), new()
        self.minus_one = like.new_full((1, 1, 1), -1.0).expand(members, 1, examples)

    def linear(self, number: int, layer: MovingLayer, moving: Moving) -> Moving:
        """z of a layer and its tangent V h + R{b} + W R{h}, in their buffers."""
        (weight, bias), direction = layer
        h, h_tangent = moving
        z = affine(weight, bias, h, self.z[number])
        moved = affine(*direction, h, self.z_tangent[number])
        if h_tangent is not None:
            moved.baddbmm_(weight, h_tangent)
        return z, moved

    def activate(self, number: int, moving: Moving) -> Moving:
        """h of a layer and its tangent, in their buffers."""
        (z, moved), h, h_tangent = moving, self.h[number], self.h_tangent[number]
        assert moved is not None, "only the inputs have no tangent"
        self.activation.forward(z, h)
        if self.keeps_z:
            self.activation.backward(self._ones[number], z, h, self._slopes[number])
            torch.mul(self._slopes[number], moved, out=h_tangent)
        else:
            self.times_slope(number, moved)
        return h, h_tangent

    def times_slope(self, number: int, d: Tensor) -> None:
        """d ∘ σ′(z), in place. Where σ′ costs more than the product (it reads z), it is computed once a call."""
        if self.keeps_z:
            d.mul_(self._slopes[number])
        else:
            self.activation.backward(d, self.z[number], self.h[number], d)


def tangent(
    layers: Sequence[Layer],
    directions: Sequence[Layer],
    products: Sequence[Layer],
    x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
    y: Int[Tensor, " B"] | Int[Tensor, "P B"],
    work: TangentWorkspace,
) -> None:
    """Writes H v of each member's mean cross entropy to ``products``; it, the parameters and v are the weight's and the bias's
    per layer, (P, …)."""
    propagate(list(zip(layers, directions, strict=True)), (examples_last(x), None), work.linear, work.activate)
    _at_the_output(work, y)
    activation = work.activation
    for layer in reversed(range(len(layers))):
        (weight, _), (direction, _), (weight_product, bias_product) = layers[layer], directions[layer], products[layer]
        delta, moved = work.delta[layer], work.delta_tangent[layer]
        torch.sum(moved, -1, out=bias_product)
        if layer == 0:
            outer(moved, x, weight_product)
            return
        below, h = layer - 1, work.h[layer - 1]
        outer(moved, h.transpose(1, 2), weight_product)
        weight_product.baddbmm_(delta, work.h_tangent[below].transpose(1, 2))
        received = pull(weight, delta, out=work.delta[below])
        shifted = pull(weight, moved, out=work.delta_tangent[below])
        shifted.baddbmm_(direction.transpose(1, 2), delta)
        work.times_slope(below, shifted)
        if activation.bend is not None:
            shifted.addcmul_(received, activation.bend(work.z[below], h, work.z_tangent[below], work.h_tangent[below]))
        work.times_slope(below, received)


def _at_the_output(work: TangentWorkspace, y: Tensor) -> None:
    """δ_L and its tangent."""
    delta, moved, share = work.delta[-1], work.delta_tangent[-1], 1 / y.shape[-1]
    index = y.long().unsqueeze(-2).expand(len(delta), 1, -1)
    torch.softmax(work.z[-1], 1, out=delta)
    torch.mul(delta, work.z_tangent[-1], out=moved)
    moved.addcmul_(delta, moved.sum(1, keepdim=True), value=-1).mul_(share)
    delta.scatter_add_(1, index, work.minus_one).mul_(share)
