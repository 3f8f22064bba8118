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

from pipeline.targets.activations import ACTIVATIONS
from pipeline.targets.mlp import MLP


class TangentWorkspace:
    """Buffers for batches of B examples, reused from call to call."""

    def __init__(self, target: MLP, members: int, examples: int, like: Tensor) -> None:
        def new() -> list[Tensor]:
            return [like.new_empty(members, width, examples) for width in target.widths[1:]]

        self.keeps_z = ACTIVATIONS[target.activation].needs_z
        self.z, self.z_tangent = new(), new()
        self.h, self.h_tangent = (new(), new()) if self.keeps_z else (self.z, self.z_tangent)
        self.slope = [torch.empty_like(z) for z in self.z] if self.keeps_z else []
        self.ones = [torch.ones_like(z) for z in self.z] if self.keeps_z else []
        self.delta, self.delta_tangent = new(), new()
        self.minus_one = like.new_full((1, 1, 1), -1.0).expand(members, 1, examples)


def tangent(
    target: MLP,
    parameters: Sequence[Tensor],
    vector: Sequence[Tensor],
    product: Sequence[Tensor],
    x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
    y: Int[Tensor, " B"] | Int[Tensor, "P B"],
    work: TangentWorkspace,
) -> None:
    """Writes H v of each member's mean cross entropy to ``product``; ``parameters``, ``vector`` and it are lists of (P, …)."""
    layers = len(work.z)
    _forward(target, parameters, vector, x, work)
    _at_the_output(work, y)
    activation = ACTIVATIONS[target.activation]
    for layer in reversed(range(layers)):
        weight, direction = parameters[2 * layer], vector[2 * layer]
        delta, moved = work.delta[layer], work.delta_tangent[layer]
        torch.sum(moved, -1, out=product[2 * layer + 1])
        if layer == 0:
            _outer(moved, x, product[0])
            return
        below, h = layer - 1, work.h[layer - 1]
        torch.bmm(moved, h.transpose(1, 2), out=product[2 * layer])
        product[2 * layer].baddbmm_(delta, work.h_tangent[below].transpose(1, 2))
        received = torch.bmm(weight.transpose(1, 2), delta, out=work.delta[below])
        shifted = torch.bmm(weight.transpose(1, 2), moved, out=work.delta_tangent[below])
        shifted.baddbmm_(direction.transpose(1, 2), delta)
        _slope(target, shifted, below, work)
        if activation.bend is not None:
            shifted.addcmul_(received, activation.bend(work.z[below], h, work.z_tangent[below], work.h_tangent[below]))
        _slope(target, received, below, work)


def _forward(target: MLP, parameters: Sequence[Tensor], vector: Sequence[Tensor], x: Tensor, work: TangentWorkspace) -> None:
    """z, h and their tangents at every layer."""
    activation = ACTIVATIONS[target.activation]
    for layer, (z, moved) in enumerate(zip(work.z, work.z_tangent, strict=True)):
        weight, bias = parameters[2 * layer], parameters[2 * layer + 1]
        direction, shift = vector[2 * layer], vector[2 * layer + 1]
        if layer == 0:
            _affine(bias, weight, x, z)
            _affine(shift, direction, x, moved)
        else:
            h, h_tangent = work.h[layer - 1], work.h_tangent[layer - 1]
            torch.baddbmm(bias.unsqueeze(-1), weight, h, out=z)
            torch.baddbmm(shift.unsqueeze(-1), direction, h, out=moved)
            moved.baddbmm_(weight, h_tangent)
        if layer + 1 < len(work.z):
            activation.forward(z, work.h[layer])
            if work.keeps_z:
                activation.backward(work.ones[layer], z, work.h[layer], work.slope[layer])
                torch.mul(work.slope[layer], moved, out=work.h_tangent[layer])
            else:
                _slope(target, moved, layer, work)


def _slope(target: MLP, d: Tensor, layer: int, work: TangentWorkspace) -> None:
    """d ∘ σ′(z), in place. Where σ′ costs more than the product (it reads z), it is computed once a call."""
    if work.keeps_z:
        d.mul_(work.slope[layer])
    else:
        ACTIVATIONS[target.activation].backward(d, work.z[layer], work.h[layer], d)


def _at_the_output(work: TangentWorkspace, y: Tensor) -> None:
    """δ_L and its tangent."""
    delta, moved, share = work.delta[-1], work.delta_tangent[-1], 1 / y.shape[-1]
    index = y.long().unsqueeze(-2).expand(len(delta), 1, -1)
    torch.softmax(work.z[-1], 1, out=delta)
    torch.mul(delta, work.z_tangent[-1], out=moved)
    moved.addcmul_(delta, moved.sum(1, keepdim=True), value=-1).mul_(share)
    delta.scatter_add_(1, index, work.minus_one).mul_(share)


def _affine(bias: Tensor, weight: Tensor, x: Tensor, out: Tensor) -> None:
    """W x + b of the first layer, whose x (B, inputs) or (P, B, inputs) has its examples first."""
    if x.dim() == 2:  # one matrix product over the stacked weights
        torch.addmm(bias.reshape(-1, 1), weight.reshape(-1, x.shape[1]), x.t(), out=out.view(-1, len(x)))
    else:
        torch.baddbmm(bias.unsqueeze(-1), weight, x.transpose(1, 2), out=out)


def _outer(delta: Tensor, x: Tensor, out: Tensor) -> None:
    """δ xᵀ of the first layer."""
    if x.dim() == 2:
        torch.mm(delta.view(-1, len(x)), x, out=out.view(-1, x.shape[1]))
    else:
        torch.bmm(delta, x, out=out)
