"""Target propagation (Bengio, 2014; as Lee, Zhang, Fischer & Bengio, 2015, describe it): targets come down through inverses.

    t_i = V_{i+1}(t_{i+1})

so that all that an inverse gets wrong is in the signal. For the rest see :mod:`pipeline.learning.target_propagation`.
"""

from jaxtyping import Float
from torch import Tensor

from pipeline.learning.target_propagation import Inverses, Targets
from pipeline.targets import Context


class TargetPropagation(Targets):
    """A target is what the inverse makes of the one above."""

    def down(self, above: Context, state: Inverses) -> Float[Tensor, "P width B"]:
        return self.inverse(above, above.kept, state)


SIGNAL = TargetPropagation
