"""Feedback alignment (Lillicrap, Cownden, Tweed & Akerman, 2016): fixed random weights go backwards.

    s_L = g_L,        s_i = (B_{i+1}ᵀ s_{i+1}) ∘ σ′(z_i)

B_{i+1} (P, out, in) has the shape of W_{i+1}; the paper writes its transpose. Ours: B is Glorot's uniform, once drawn.
With B = W it is backpropagation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pipeline.learning.feedback import Feedback, feedback, matrix, pulling
from pipeline.learning.signal import SignalRule
from pipeline.targets import Context, Target


@dataclass(frozen=True, eq=False)
class FeedbackAlignment(SignalRule):
    """What goes back is pulled by B.

    Raises:
        UserError: (at the first step) feedback that has not the shapes of the weights above the first layer.
    """

    serves = "layers"
    feedback: Sequence[Tensor] | None = None
    """B of each layer above the first, (P, out, in) or one for all members (out, in); None: drawn from each member's seed"""

    def init(self, target: Target, seeds: Sequence[int]) -> Feedback:
        return feedback(pulling(target), seeds, self.feedback)

    def signal(self, context: Context, state: Feedback) -> Float[Tensor, "..."]:
        above = context.above
        if above is None or above.signal is None:
            return context.error
        return context.through(above.pull(above.signal, matrix(state, above.layer), context.room), context.room)


SIGNAL = FeedbackAlignment
