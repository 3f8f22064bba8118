"""The logistic function: σ′ = h (1 − h), σ″ = (1 − 2 h) σ′."""

import torch
from torch import nn

from pipeline.targets.activations.activation import Activation

ACTIVATION = Activation(
    nn.Sigmoid,
    torch.sigmoid,
    lambda z, h: torch.sigmoid(z, out=h),
    lambda d, z, h, out: torch.ops.aten.sigmoid_backward.grad_input(d, h, grad_input=out),
    lambda z, h, r, s: torch.addcmul(s, h, s, value=-2),
)
