"""Targets, the networks that are trained, and what they may be made of: each registry takes new entries by name."""

from pipeline.targets import ACTIVATIONS, MLP, Batches, Evaluation, Population, initialise
from pipeline.targets.optimisers import OPTIMISERS
from pipeline.targets.schedules import SCHEDULES

__all__ = ["ACTIVATIONS", "MLP", "OPTIMISERS", "SCHEDULES", "Batches", "Evaluation", "Population", "initialise"]
