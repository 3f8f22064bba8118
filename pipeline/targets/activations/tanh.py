"""The hyperbolic tangent: σ′ = 1 − h², σ″ = −2 h σ′."""

import torch
from torch import nn

from pipeline.targets.activations.activation import Activation

ACTIVATION = Activation(
    nn.Tanh,
    torch.tanh,
    lambda z, h: torch.tanh(z, out=h),
    lambda d, z, h, out: torch.ops.aten.tanh_backward.grad_input(d, h, grad_input=out),
    lambda z, h, r, s: (h * s).mul_(-2),
)
