"""The rectifier: σ(z) = max(z, 0), whose slope at its kink counts as 0."""

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.targets.activations.activation import Activation

ACTIVATION = Activation(
    nn.ReLU,
    F.relu,
    lambda z, h: torch.clamp_min(z, 0, out=h),
    lambda d, z, h, out: torch.ops.aten.threshold_backward.grad_input(d, h, 0, grad_input=out),
    bend=None,
)
