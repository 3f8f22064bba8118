"""Targets: the networks that are trained, one by one or as a population."""

from pipeline.targets.activations import ACTIVATIONS
from pipeline.targets.batches import Batches
from pipeline.targets.context import Context
from pipeline.targets.initialise import initialise
from pipeline.targets.mlp import MLP
from pipeline.targets.population import Evaluation, Population
from pipeline.targets.target import Slot, Target, unflatten

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Batches",
    "Context",
    "Evaluation",
    "Population",
    "Slot",
    "Target",
    "initialise",
    "unflatten",
]
