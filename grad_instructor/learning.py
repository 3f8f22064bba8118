"""What goes backwards: the registry of learning rules, and their contract; with terms a :class:`grad_instructor.Update`, and on
an ``nn.Module`` of one's own by :func:`replace`."""

from pipeline.learning import SIGNALS, SignalRule, Training, bound, named
from pipeline.learning.modules import Replaced, gradient, replace, replaced, restore
from pipeline.targets import Context

__all__ = [
    "SIGNALS",
    "Context",
    "Replaced",
    "SignalRule",
    "Training",
    "bound",
    "gradient",
    "named",
    "replace",
    "replaced",
    "restore",
]
