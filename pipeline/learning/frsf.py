"""Fixed random sign-concordant feedback, frSF (Liao, Leibo & Poggio, 2016): B = M ∘ sgn(W), M drawn once.

Ours: M = |Glorot's uniform|, as biotorch has it. For the rest see :mod:`pipeline.learning.sign_symmetric`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pipeline.learning.feedback import Feedback, feedback, matrix, pulling
from pipeline.learning.sign_symmetric import SignSymmetric
from pipeline.targets import Target


@dataclass(frozen=True, eq=False)
class FixedSignSymmetric(SignSymmetric):
    """M is random and fixed.

    Raises:
        UserError: (at the first step) feedback that has not the shapes of the weights above the first layer.
    """

    feedback: Sequence[Tensor] | None = None
    """of which M is the size, of each layer above the first, (P, out, in) or (out, in); None: drawn from each member's seed"""

    def init(self, target: Target, seeds: Sequence[int]) -> Feedback:
        return [None if own is None else own.abs() for own in feedback(pulling(target), seeds, self.feedback)]

    def magnitude(self, layer: int, state: Feedback) -> Tensor:
        return matrix(state, layer)


SIGNAL = FixedSignSymmetric
