"""Learning rules: what goes backwards, one file each. A new one is a file with a ``SIGNAL``, its class, and its line in
:data:`pipeline.names.Signal`; the tests of all rules then run on it."""

from typing import Any

from pipeline import names
from pipeline.errors import UserError, nearest, shown
from pipeline.learning.settings import check
from pipeline.learning.signal import Bound, SignalRule, bound, require_gradient
from pipeline.learning.trained import Training

SIGNALS: dict[str, type[SignalRule]] = names.registered(names.Signal, __name__, "SIGNAL")


def named(name: str, **settings: Any) -> SignalRule:
    """The learning rule of this name, with settings of its own.

    Raises:
        UserError: there is no such rule, it has no such setting, or the setting is of another kind.
    """
    if name not in SIGNALS:
        near = nearest(name, SIGNALS)
        raise UserError(f"unknown learning rule {shown(name)}; did you mean {near!r}? choose from {', '.join(SIGNALS)}.")
    kind = SIGNALS[name]
    known = getattr(kind, "__dataclass_fields__", {})
    if wrong := [key for key in settings if key not in known]:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise UserError(f"the learning rule {name!r} has no setting {wrong[0]!r}; {takes}.")
    check(name, kind, settings)
    return kind(**settings)


__all__ = ["SIGNALS", "Bound", "SignalRule", "Training", "bound", "named", "require_gradient"]
