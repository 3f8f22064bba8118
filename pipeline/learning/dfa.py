"""Direct feedback alignment (Nøkland, 2016): the error at the output goes to every layer at once.

    s_L = g_L,        s_i = (B_iᵀ g_L) ∘ σ′(z_i)

B_i is (P, K, width of i), the transpose of the paper's. Ours: Glorot's uniform.
On one hidden layer it is feedback alignment, and with B = W₂ backpropagation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pipeline.learning.feedback import Feedback, direct, feedback, matrix
from pipeline.learning.signal import SignalRule
from pipeline.targets import Context, Target


@dataclass(frozen=True, eq=False)
class DirectFeedbackAlignment(SignalRule):
    """What goes back is the output's error, pulled by a matrix of each layer's own.

    Raises:
        UserError: (at the first step) feedback that is not one matrix (K, width) per hidden layer.
    """

    serves = "layers"
    feedback: Sequence[Tensor] | None = None
    """B of each hidden layer, (P, K, width) or one for all members (K, width); None: drawn from each member's seed"""

    def init(self, target: Target, seeds: Sequence[int]) -> Feedback:
        return feedback(direct(target), seeds, self.feedback)

    def signal(self, context: Context, state: Feedback) -> Float[Tensor, "..."]:
        if context.above is None:
            return context.error
        return context.through(context.output.pull(context.error, matrix(state, context.layer + 1), context.room), context.room)


SIGNAL = DirectFeedbackAlignment
