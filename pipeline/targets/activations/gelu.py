"""GELU (Hendrycks & Gimpel, 2016): σ(z) = z Φ(z), with the exact Φ (torch's default)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.targets.activations.activation import Activation


def bend(z: Tensor, h: Tensor, r: Tensor, s: Tensor) -> Tensor:
    """φ(z) (2 − z²) r, φ the density of N(0, 1)."""
    square, scale = z.square(), (2 * math.pi) ** -0.5
    curve = (square * -scale).add_(2 * scale)
    return curve.mul_(square.mul_(-0.5).exp_()).mul_(r)


ACTIVATION = Activation(
    nn.GELU,
    F.gelu,
    lambda z, h: torch.ops.aten.gelu.out(z, out=h),
    lambda d, z, h, out: torch.ops.aten.gelu_backward.grad_input(d, z, grad_input=out),
    bend,
    needs_z=True,
)
