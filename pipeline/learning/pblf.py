"""A learned derivative (Eyono, 2020; the dissertation calls it PBLF): what goes back is multiplied by a function of h.

    s_L = g_L,    s_i = (W_{i+1}ᵀ s_{i+1}) ∘ σ′(z_i) ∘ f_φ(h_i) where the mode bit of i is 1,    f_φ(h) = w₂ a(w₁ h + b₁) + b₂

with φ = (w₁, b₁, w₂, b₂) in [−1, 1]; without its mode bit f is 1. φ = (0, 0, 0, 1) is backpropagation, and so are mode bits
that are all 0; f = c at some layers multiplies a layer's gradient by c once for each of them at or above it.

Ours: a is the target's own activation, which the dissertation does not name; f takes h = σ(z), and σ′(z) stays. The default is
the equation that the dissertation's random search found for 20 epochs, at every hidden layer.

P members.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import UserError
from pipeline.learning.signal import SignalRule
from pipeline.targets import Context, Target

RANDOM_20 = (0.824, 0.3945, 0.2906, 0.8482)
"""w₁, b₁, w₂, b₂ of the dissertation's random search for 20 epochs"""
PLAIN = (0.0, 0.0, 0.0, 1.0)
"""with which f is 1"""


class Derivative(NamedTuple):
    """φ of one layer, each (P, 1, 1); of members without its mode bit it is PLAIN."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


@dataclass(frozen=True, eq=False)
class LearnedDerivative(SignalRule):
    """Backpropagation, times f_φ(h).

    Raises:
        UserError: a φ that is not four numbers in [−1, 1], or (at the first step) not one per member, or mode bits that are not
            one per hidden layer.
    """

    serves = "positions"
    phi: Tensor | Sequence[float] = RANDOM_20
    """(P, 4), or (4,) for all members"""
    modes: Tensor | Sequence[int] | None = None
    """bits (P, hidden layers), or (hidden layers,) for all members; None: all are 1"""

    def __post_init__(self) -> None:
        phi = torch.as_tensor(self.phi)
        if phi.dim() not in (1, 2) or phi.shape[-1] != len(PLAIN):
            raise UserError(f"φ has shape {tuple(phi.shape)}; give w₁, b₁, w₂, b₂, or such a row for each member.")
        if not bool((phi.abs() <= 1).all()):
            raise UserError(f"φ has {phi.flatten()[~(phi.flatten().abs() <= 1)][0]:g}; all of it lies in [−1, 1].")

    def init(self, target: Target, seeds: Sequence[int]) -> list[Derivative | None]:
        members, hidden = len(seeds), target.depth - 1
        phi = torch.as_tensor(self.phi, dtype=torch.float64)  # so that members in float64 have all its digits
        if phi.dim() == 2 and len(phi) != members:
            raise UserError(f"φ is given for {len(phi)} members of {members}; give one row for each, or one for all.")
        modes = torch.ones(hidden) if self.modes is None else torch.as_tensor(self.modes)
        if modes.shape not in ((hidden,), (members, hidden)) or not bool(((modes == 0) | (modes == 1)).all()):
            raise UserError(
                f"mode bits of shape {tuple(modes.shape)} for {hidden} hidden layers and {members} members; give a 0 or a 1 "
                "for each hidden layer (of a module: for each of its positions), or such a row for each member."
            )
        on, phi = modes.expand(members, hidden).bool(), phi.expand(members, len(PLAIN))
        return [_derivative(phi, on[:, layer]) if bool(on[:, layer].any()) else None for layer in range(hidden)]

    def signal(self, context: Context, state: list[Derivative | None]) -> Float[Tensor, "..."]:
        above = context.above
        if above is None or above.signal is None:
            return context.error
        signal = context.through(above.pull(above.signal, out=context.room), context.room)
        own = state[context.layer]
        return signal if own is None else _f(context, own).mul_(signal)


def _derivative(phi: Tensor, on: Tensor) -> Derivative:
    own = torch.where(on.unsqueeze(-1), phi, torch.tensor(PLAIN).to(phi))
    return Derivative(*(own[:, place].clone().view(-1, 1, 1) for place in range(len(PLAIN))))


def _f(context: Context, own: Derivative) -> Tensor:
    """f_φ(h)."""
    assert context.activation is not None
    inner = torch.mul(context.h, own.w1).add_(own.b1)
    out = torch.empty_like(inner) if context.activation.needs_z else inner
    context.activation.forward(inner, out)
    return out.mul_(own.w2).add_(own.b2)


SIGNAL = LearnedDerivative
