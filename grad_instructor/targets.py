"""Targets, the networks that are trained, and what they may be made of: each registry takes new entries by name."""

from pipeline.targets import ACTIVATIONS, MLP, Batches, Evaluation, Population, initialise
from pipeline.targets.convnet import SmallConvNet
from pipeline.targets.networks import network
from pipeline.targets.optimisers import OPTIMISERS
from pipeline.targets.position import Position
from pipeline.targets.schedules import SCHEDULES
from pipeline.targets.wide_resnet import WideResNet

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "OPTIMISERS",
    "SCHEDULES",
    "Batches",
    "Evaluation",
    "Population",
    "Position",
    "SmallConvNet",
    "WideResNet",
    "initialise",
    "network",
]
