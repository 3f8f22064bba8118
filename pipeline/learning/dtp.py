"""Difference target propagation (Lee, Zhang, Fischer & Bengio, 2015): targets come down as differences.

    t_i = h_i + V_{i+1}(t_{i+1}) − V_{i+1}(h_{i+1})

so that what an inverse gets wrong at h cancels. For the rest see :mod:`pipeline.learning.target_propagation`.
"""

from jaxtyping import Float
from torch import Tensor

from pipeline.learning.target_propagation import Inverses, Targets
from pipeline.targets import Context


class DifferenceTargetPropagation(Targets):
    """A target moves as far as inverses move."""

    def down(self, above: Context, state: Inverses) -> Float[Tensor, "P width B"]:
        assert above.below is not None
        return self.inverse(above, above.kept, state).sub_(self.inverse(above, above.h, state)).add_(above.below.h)


SIGNAL = DifferenceTargetPropagation
