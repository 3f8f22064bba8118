"""What an activation is: all that the fused backward pass, the exact tangent and a learning rule ask of σ."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Activation:
    """h = σ(z) and its first two derivatives. Everything is elementwise; tensors are of one shape."""

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
