"""Targets: the networks that are trained, one by one or as a population."""

from pipeline.targets.batches import Batches
from pipeline.targets.initialise import initialise
from pipeline.targets.mlp import ACTIVATIONS, MLP, unflatten
from pipeline.targets.population import Evaluation, Population

__all__ = ["ACTIVATIONS", "MLP", "Batches", "Evaluation", "Population", "initialise", "unflatten"]
