"""Optimisers, one file each: the step, its state, and the way back over it. A new one is a file with an ``OPTIMISER``, and its
line in :data:`pipeline.names.Optimiser`."""

from pipeline import names
from pipeline.targets.optimisers.form import Form
from pipeline.targets.optimisers.optimiser import Optimiser, Piece, Settings

OPTIMISERS: dict[str, Optimiser] = names.registered(names.Optimiser, __name__, "OPTIMISER")

__all__ = ["OPTIMISERS", "Form", "Optimiser", "Piece", "Settings"]
