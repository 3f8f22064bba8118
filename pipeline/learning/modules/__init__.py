"""Learning rules on anyone's ``nn.Module``: the same rule files, over contexts that are made of a module's layers.

What a rule says of itself (:attr:`pipeline.learning.SignalRule.serves`) decides how: :mod:`~pipeline.learning.modules.layers`,
:mod:`~pipeline.learning.modules.positions` or :mod:`~pipeline.learning.modules.chains`.
"""

from pipeline.learning.modules.replaced import (
    Replaced,
    gradient,
    of_a_rule,
    replace,
    replaced,
    require_gradient_of,
    restore,
)

__all__ = ["Replaced", "gradient", "of_a_rule", "replace", "replaced", "require_gradient_of", "restore"]
