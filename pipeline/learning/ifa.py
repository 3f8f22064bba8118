"""Indirect feedback alignment (Nøkland, 2016, fig. 1 d): the error goes to the first layer and from there upwards.

    s_1 = (Bᵀ g_L) ∘ σ′(z_1),        s_{i+1} = (W_{i+1} s_i) ∘ σ′(z_{i+1}),        s_L = g_L

B is (P, K, width of the first hidden layer), the transpose of the paper's; ours is Glorot's uniform. On one hidden layer it is
direct feedback alignment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pipeline.learning.feedback import Feedback, direct, feedback, matrix
from pipeline.learning.signal import SignalRule
from pipeline.targets import Context, Target


@dataclass(frozen=True, eq=False)
class IndirectFeedbackAlignment(SignalRule):
    """What goes to the first layer is the output's error, pulled by B, and to every other what the one below has, pushed by W.

    Raises:
        UserError: (at the first step) feedback that is not one matrix (K, width of the first hidden layer).
    """

    order = "up"
    feedback: Sequence[Tensor] | None = None
    """B alone in a list, (P, K, width) or one for all members (K, width); None: drawn from each member's seed"""

    def init(self, target: Target, seeds: Sequence[int]) -> Feedback:
        return feedback(direct(target)[:1], seeds, self.feedback)

    def signal(self, context: Context, state: Feedback) -> Float[Tensor, "P out B"]:
        below = context.below
        if context.above is None:
            return context.error
        if below is None or below.signal is None:
            came = context.output.pull(context.error, matrix(state, 1), context.room)
        else:
            came = context.push(below.signal, context.room)
        return context.through(came, context.room)


SIGNAL = IndirectFeedbackAlignment
