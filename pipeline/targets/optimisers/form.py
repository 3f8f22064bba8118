"""The form that SGD with momentum, Adam and AdamW have in common, and the way back over one of its steps:

    m ← k m + c (∇L + w θ),        θ ← (1 − η s) θ − η D m,

with D = 1 for SGD, and for Adam the inverse of its running size of the gradient; w is a coupled weight decay and s a decoupled
one. A cost J of what comes after therefore goes back one step by (a = ∂J/∂θ, b = ∂J/∂m)

    q = b − η D a,       ∂J/∂∇L = c q,       a ← (1 − η s) a + c (H + w) q,       b ← k q,

H the Hessian of the step's loss. Two approximations: D counts as constant, and in the way back, never in the step itself, it is
limited, or weights that hardly have a gradient would be all that a costate sees.

Everything is elementwise. Letters: P members.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pipeline.targets.members import per_member

Sizes = Callable[[Tensor, Tensor, Sequence[int]], tuple[Tensor, Tensor]]
"""``(square, gradient, ages)``: updates ``square`` in place; what m is divided by, and the limited D"""


@dataclass(frozen=True)
class Form:
    """One update rule, on one tensor (P, …) of P members at a time."""

    keep: float = 0.0
    """k"""
    gain: float = 1.0
    """c"""
    coupled: float = 0.0
    """w"""
    decoupled: float = 0.0
    """s"""
    sizes: Sizes | None = None
    """of the gradient, by which Adam divides; None where D = 1"""

    @property
    def state(self) -> tuple[str, ...]:
        """What a step remembers, by name."""
        return (*(("momentum",) if self.keep else ()), *(("square",) if self.sizes else ()))

    def step(
        self, parameter: Tensor, gradient: Tensor, state: Mapping[str, Tensor], rate: Float[Tensor, " P"], ages: Sequence[int]
    ) -> Tensor | None:
        """One step, in place, of members that have taken ``ages`` steps; D, or None where it is 1."""
        gradient = gradient + self.coupled * parameter if self.coupled else gradient
        direction, slope = gradient, None
        if self.decoupled:
            parameter.mul_(1 - per_member(rate, parameter) * self.decoupled)
        if self.keep:
            direction = state["momentum"].mul_(self.keep).add_(direction, alpha=self.gain)
        if self.sizes is not None:
            size, slope = self.sizes(state["square"], gradient, ages)
            direction = direction / size
        parameter.sub_(per_member(rate, parameter) * direction)
        return slope

    def push(
        self, costate: Tensor, momentum: Tensor | None, rate: Float[Tensor, " P"], slope: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """∂J/∂∇L, and the new ∂J/∂m, None where there is no momentum. ``costate`` and ``momentum`` are ∂J/∂θ and ∂J/∂m after
        the step."""
        push = costate * per_member(-rate, costate)
        if slope is not None:
            push.mul_(slope)
        if momentum is not None:
            push.add_(momentum)
        kept = push * self.keep if self.keep else None
        return (push.mul_(self.gain) if self.gain != 1.0 else push), kept

    def back(self, costate: Tensor, push: Tensor, curved: Tensor, rate: Float[Tensor, " P"]) -> None:
        """∂J/∂θ before the step in place of the one after it. ``curved`` is H times ``push``."""
        if self.decoupled:
            costate.mul_(1 - per_member(rate, costate) * self.decoupled)
        costate.add_(curved).add_(push, alpha=self.coupled)
