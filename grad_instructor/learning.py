"""What goes backwards: the registry of learning rules, and their contract; with terms a :class:`grad_instructor.Update`."""

from pipeline.learning import SIGNALS, SignalRule, Training, bound, named
from pipeline.learning.modules import Replaced, replace, replaced, restore
from pipeline.targets import Context

__all__ = [
    "SIGNALS",
    "Context",
    "Replaced",
    "SignalRule",
    "Training",
    "bound",
    "named",
    "replace",
    "replaced",
    "restore",
]
