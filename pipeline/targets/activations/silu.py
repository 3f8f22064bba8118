"""SiLU (Elfwing et al., 2018; swish): σ(z) = z s(z), s the logistic function; σ″ = s (1 − s) (2 + z (1 − 2 s))."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.targets.activations.activation import Activation


def bend(z: Tensor, h: Tensor, r: Tensor, s: Tensor) -> Tensor:
    logistic = torch.sigmoid(z)
    return (2 + z * (1 - 2 * logistic)).mul_(logistic * (1 - logistic)).mul_(r)


ACTIVATION = Activation(
    nn.SiLU,
    F.silu,
    lambda z, h: torch.ops.aten.silu.out(z, out=h),
    lambda d, z, h, out: torch.ops.aten.silu_backward.grad_input(d, z, grad_input=out),
    bend,
    needs_z=True,
)
