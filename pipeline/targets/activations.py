"""The activations of targets: a new one is one entry of ``ACTIVATIONS``, and the tests of all of them then run on it.

Each says what the fused backward pass and the exact tangent need: σ as a module and as a function, σ into a buffer, the slope
σ′(z) on a gradient, and the curvature σ″(z) on a tangent. Everything is elementwise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """h = σ(z) and its first two derivatives. Tensors are of one shape."""

    module: type[nn.Module]
    function: Callable[[Tensor], Tensor]
    """differentiable by autograd"""
    forward: Callable[[Tensor, Tensor], object]
    """``(z, h)``: writes σ(z) to h, which may be z itself unless ``needs_z``"""
    backward: Callable[[Tensor, Tensor, Tensor, Tensor], object]
    """``(d, z, h, out)``: writes d ∘ σ′(z) to out, which may be d itself"""
    bend: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None
    """``(z, h, r, s)``: σ″(z) ∘ r, where r is a tangent of z and s = σ′(z) ∘ r that of h; None where σ is piecewise linear"""
    needs_z: bool = False
    """whether the derivatives read z; else they make do with h, which then takes its place"""


def _bend_gelu(z: Tensor, h: Tensor, r: Tensor, s: Tensor) -> Tensor:
    """φ(z) (2 − z²) r, φ the density of N(0, 1): GELU is z Φ(z)."""
    square, scale = z.square(), (2 * math.pi) ** -0.5
    curve = (square * -scale).add_(2 * scale)
    return curve.mul_(square.mul_(-0.5).exp_()).mul_(r)


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(
        nn.ReLU,
        F.relu,
        lambda z, h: torch.clamp_min(z, 0, out=h),
        lambda d, z, h, out: aten.threshold_backward.grad_input(d, h, 0, grad_input=out),
        bend=None,
    ),
    "tanh": Activation(
        nn.Tanh,
        torch.tanh,
        lambda z, h: torch.tanh(z, out=h),
        lambda d, z, h, out: aten.tanh_backward.grad_input(d, h, grad_input=out),
        lambda z, h, r, s: (h * s).mul_(-2),  # σ″ = −2 h σ′
    ),
    "sigmoid": Activation(
        nn.Sigmoid,
        torch.sigmoid,
        lambda z, h: torch.sigmoid(z, out=h),
        lambda d, z, h, out: aten.sigmoid_backward.grad_input(d, h, grad_input=out),
        lambda z, h, r, s: torch.addcmul(s, h, s, value=-2),  # σ″ = (1 − 2 h) σ′
    ),
    "gelu": Activation(
        nn.GELU,
        F.gelu,
        lambda z, h: aten.gelu.out(z, out=h),
        lambda d, z, h, out: aten.gelu_backward.grad_input(d, z, grad_input=out),
        _bend_gelu,
        needs_z=True,
    ),
}
