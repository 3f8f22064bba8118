"""The forward pass of multilayer perceptrons, ``z_i = W_i h_{i−1} + b_i`` and ``h_i = σ(z_i)``: its one description.

:func:`propagate` says what follows what. Whoever runs it brings the arithmetic: new tensors that autograd can follow
(:meth:`pipeline.targets.MLP.logits`), buffers that are written in place and used again (:mod:`pipeline.targets.backprop`),
pairs of a value and its tangent (:mod:`pipeline.targets.tangent`), one member without its axis
(:mod:`pipeline.instruction.low_rank`), weights that are scaled on the way (LSUV). Buffers are no use to autograd and new
tensors too slow for training, and they round differently.

Activations of populations are (P, width, B), examples last. So a shared batch makes the first layer one matrix product over
the stacked weights (P·width, inputs).

P members, B examples.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

Layer = tuple[Tensor, Tensor]
"""weight (P, out, in) and bias (P, out)"""
L = TypeVar("L")
H = TypeVar("H")


def propagate(layers: Sequence[L], x: H, linear: Callable[[int, L, H], H], activate: Callable[[int, H], H]) -> H:
    """The logits: ``linear(number, layer, h)`` at every layer, ``activate(number, z)`` between them."""
    last = len(layers) - 1
    for number, layer in enumerate(layers):
        x = linear(number, layer, x)
        if number < last:
            x = activate(number, x)
    return x


def examples_last(x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"]) -> Tensor:
    """(inputs, B) where all members share the batch, else (P, inputs, B)."""
    return x.t() if x.dim() == 2 else x.transpose(1, 2)


def affine(weight: Tensor, bias: Tensor, h: Tensor, out: Tensor) -> Tensor:
    """W h + b of every member, written to ``out`` (P, out, B); h (P, in, B), or (in, B) where members share it."""
    if h.dim() == 2:
        torch.addmm(bias.reshape(-1, 1), weight.reshape(-1, len(h)), h, out=out.view(-1, h.shape[1]))
    else:
        torch.baddbmm(bias.unsqueeze(-1), weight, h, out=out)
    return out


def affine_differentiable(weight: Tensor, bias: Tensor, h: Tensor) -> Float[Tensor, "P out B"]:
    """W h + b of every member as a new tensor that autograd can follow; h as in :func:`affine`."""
    bias = bias.unsqueeze(-1)
    if h.dim() == 2:
        return (weight.reshape(-1, weight.shape[-1]) @ h).view(*weight.shape[:2], -1) + bias
    return torch.baddbmm(bias, weight, h)


def outer(delta: Float[Tensor, "P out B"], examples: Tensor, out: Tensor) -> Tensor:
    """δ hᵀ of every member, the gradient with respect to W, written to ``out`` (P, out, in).

    Args:
        examples: hᵀ, examples first: (P, B, in), or (B, in) where members share them.
    """
    if examples.dim() == 2:
        torch.mm(delta.view(-1, len(examples)), examples, out=out.view(-1, examples.shape[1]))
    else:
        torch.bmm(delta, examples, out=out)
    return out


def pull(weight: Float[Tensor, "P out in_"], delta: Float[Tensor, "P out B"], out: Tensor | None = None) -> Tensor:
    """Wᵀ δ of every member, the gradient with respect to h, (P, in, B)."""
    return torch.bmm(weight.transpose(1, 2), delta, out=out)


def push(weight: Float[Tensor, "P out in_"], h: Float[Tensor, "P in_ B"], out: Tensor | None = None) -> Tensor:
    """W h of every member, without the bias, (P, out, B)."""
    return torch.bmm(weight, h, out=out)
