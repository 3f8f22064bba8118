"""The activations of targets, one file each. A new one is a file with an ``ACTIVATION``, and its line in
:data:`pipeline.names.Activation`; the tests of all of them then run on it."""

from pipeline import names
from pipeline.targets.activations.activation import Activation

ACTIVATIONS: dict[str, Activation] = names.registered(names.Activation, __name__, "ACTIVATION")

__all__ = ["ACTIVATIONS", "Activation"]
