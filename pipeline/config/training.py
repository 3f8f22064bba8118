"""How a target is trained, in every arm alike."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.checks import Check, Whole, at_least_one
from pipeline.names import Optimiser, Schedule


@dataclass(frozen=True)
class TrainingConfig:
    """How a target is trained, in every arm alike."""

    optimiser: Optimiser = "sgd"
    """the rule that turns gradients into steps"""
    learning_rate: float = 0.1
    """step size"""
    momentum: float = 0.0
    """momentum of sgd"""
    weight_decay: float = 0.0
    """weight decay, in torch's sense of the chosen optimiser"""
    schedule: Schedule = "constant"
    """how the learning rate changes during a run; cosine: falling to 0 at its end"""
    batch_size: int = 32
    """examples per step"""
    steps: int = 600
    """optimiser steps per target"""
    shared_order: bool = False
    """give all members of a population the same batches (faster) instead of each its own order"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.training``."""
    training, period = config.training, config.rl.period
    yield (
        period < 1 or training.steps % period == 0,  # a period below 1 is named by its own check
        f"training.steps ({training.steps}) is no multiple of rl.period ({period}); change one of them.",
    )
    yield training.learning_rate > 0, f"training.learning_rate is {training.learning_rate}; give one above 0."
    yield 0.0 <= training.momentum < 1.0, f"training.momentum is {training.momentum}; give one of at least 0 and below 1."
    yield training.weight_decay >= 0, f"training.weight_decay is {training.weight_decay}; give one of at least 0."
    yield from at_least_one(training, "training", "batch_size", "steps")
