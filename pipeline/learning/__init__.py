"""Learning rules: what goes backwards, one file each. A new one is a file with a ``SIGNAL``, its class, and its line in
:data:`pipeline.names.Signal`."""

from pipeline import names
from pipeline.learning.signal import Bound, SignalRule, bound, require_gradient

SIGNALS: dict[str, type[SignalRule]] = names.registered(names.Signal, __name__, "SIGNAL")

__all__ = ["SIGNALS", "Bound", "SignalRule", "bound", "require_gradient"]
