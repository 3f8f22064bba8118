"""An equation of Backprop Evolution's language (Alber et al., 2018; as Eyono, 2020, describes it) in place of backpropagation.

    s_L = g_L,        s_i = f(u₁(o₁), u₂(o₂))

of operands o, unary operators u and a binary operator f, where an operand may be such an equation again. The language is
below. ``(Wᵀs)∘σ′`` is backpropagation, ``(Rᵀs)∘σ′`` feedback alignment, ``(R_Lg)∘σ′`` direct feedback alignment,
``(W±ᵀ · s) ∘ σ′`` uniform sign-symmetric feedback.

A member in which anything is not finite on the way (1 / 0, a norm of 0, an overflow) is frozen as diverged, and no other
notices. Matrices, noise and dropout come from the member's seed; running averages are the state of a layer, and at its first
step are that step's own.

Ours: the constants of c·x and x + c, the variance of Gaussian matrices (Glorot's), σ′ as an operand of its own, which no
search proposes. The default is the sum of what backpropagation and feedback alignment send down.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.config import RuleConfig
from pipeline.errors import UserError
from pipeline.learning.expression.evaluate import (
    Own,
    Ready,
    Scratch,
    Sizes,
    all_parts,
    averages_of,
    evaluate,
    matrices_of,
    ready,
)
from pipeline.learning.expression.grammar import Tree
from pipeline.learning.expression.operands import MATRICES, Drawn
from pipeline.learning.expression.spelling import parse
from pipeline.learning.expression.typing import check
from pipeline.learning.signal import SignalRule
from pipeline.seeding import torch_stream
from pipeline.targets import Context, Target
from pipeline.targets.target import weights

DEFAULT = RuleConfig.equation


@dataclass(frozen=True, eq=False)
class Expression(SignalRule):
    """What an equation gives.

    Raises:
        UserError: an equation that cannot be read or that does not type, or (at the first step) a layer that is no matrix.
    """

    equation: str = DEFAULT
    """the signal of every hidden layer, as text"""

    def __post_init__(self) -> None:
        check(self.tree)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.equation,)  # what it is made ready as holds functions, which cannot be pickled

    @functools.cached_property
    def tree(self) -> Tree:
        """What the text says."""
        return parse(self.equation)

    @functools.cached_property
    def top(self) -> Ready:
        """The same, ready to be evaluated."""
        return ready(self.tree)

    def init(self, target: Target, seeds: Sequence[int]) -> Own:
        members = tuple(map(int, seeds))
        layers = _sizes(target)
        parts = all_parts(self.top)
        drawn = [_drawn(matrices_of(parts), layer, sizes, members) for layer, sizes in enumerate(layers)]
        averages = [averages_of(self.top, len(members), sizes) for sizes in layers]
        return Own(drawn, averages, torch.zeros((), dtype=torch.int64), members, Scratch())

    def signal(self, context: Context, state: Own) -> Float[Tensor, "P out B"]:
        if context.above is None:
            return context.error
        if context.z.dim() != 3 or context.above.weight.dim() != 3:
            raise UserError(
                f"an equation needs layers whose weights are matrices, and layer {context.layer + 1} or the one above it has "
                "others; take another learning rule."
            )
        return evaluate(self.top, context, state, int(state.step))

    def learn(self, contexts: Sequence[Context], state: Own) -> None:
        """Counts the step."""
        state.step.add_(1)


def _sizes(target: Target) -> list[Sizes]:
    """Of every layer below another."""
    widths = [slot.shape[0] for slot in weights(target.slots, target.slots)]
    return [{"n": own, "m": above, "K": widths[-1]} for own, above in itertools.pairwise(widths)]


def _drawn(names: set[str], layer: int, sizes: Sizes, seeds: Sequence[int]) -> Drawn:
    """A layer's random matrices, (P, rows, columns)."""
    found = {}
    for name in sorted(names):
        (rows, columns), draw = MATRICES[name]
        shape = sizes[rows], sizes[columns]
        found[name] = torch.stack([draw(shape, torch_stream(seed, "equation", name, layer)) for seed in seeds])
    return found


SIGNAL = Expression
