"""Targets: the networks that are trained, one by one or as a population."""

from pipeline.targets.activations import ACTIVATIONS
from pipeline.targets.batches import Batches
from pipeline.targets.initialise import initialise
from pipeline.targets.mlp import MLP, unflatten
from pipeline.targets.population import Evaluation, Population

__all__ = ["ACTIVATIONS", "MLP", "Batches", "Evaluation", "Population", "initialise", "unflatten"]
