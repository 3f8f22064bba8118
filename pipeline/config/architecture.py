"""Architectures of searches: a cell of NAS-Bench-201, which its table judges, or a small convolutional network, which the
search trains. No other command has a use for these settings."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from pipeline.config.checks import Check, Whole

Operation = Literal["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
EPOCHS = 200
"""that the table's accuracies are of"""


@dataclass(frozen=True)
class ArchitectureConfig:
    """A cell of NAS-Bench-201 and the table that judges it, or a small convolutional network, for searches over architectures;
    what trains multilayer perceptrons has neither."""

    table: Literal["", "cifar10", "cifar100", "imagenet16-120"] = ""
    """data set of the table; empty: target.* settings are searched, and targets are trained"""
    seconds: float = 12_000.0
    """simulated seconds of training that the search may spend on the table"""
    epochs: float = 12.0
    """that one training on the table is charged for, of the 200 that its accuracies are of"""
    edge01: Operation = "none"
    """operation between nodes 0 and 1"""
    edge02: Operation = "none"
    """operation between nodes 0 and 2"""
    edge12: Operation = "none"
    """operation between nodes 1 and 2"""
    edge03: Operation = "none"
    """operation between nodes 0 and 3"""
    edge13: Operation = "none"
    """operation between nodes 1 and 3"""
    edge23: Operation = "none"
    """operation between nodes 2 and 3"""
    channels: tuple[int, ...] = ()
    """of a small convolutional network in place of a multilayer perceptron, after each convolution; none: no such one"""
    kernel: int = 3
    """of its convolutions: pixels of a side, an odd number"""
    normalisation: Literal["none", "batch"] = "batch"
    """what follows each of its convolutions: nothing, or batch normalisation"""
    shortcut: bool = False
    """whether a convolution's input is added to what comes of it, where both have as many channels"""


def operations(own: ArchitectureConfig) -> tuple[str, ...]:
    """Of the cell: on the edges, in the order of a cell's string."""
    return tuple(getattr(own, setting.name) for setting in fields(own) if setting.name.startswith("edge"))


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.architecture``."""
    own = config.architecture
    yield own.seconds > 0, f"architecture.seconds is {own.seconds}; give more than 0."
    yield min(own.channels, default=1) >= 1, f"architecture.channels is {own.channels}; give numbers of at least 1."
    yield own.kernel >= 1 and own.kernel % 2 == 1, f"architecture.kernel is {own.kernel}; give an odd number, such as 3."
    yield (
        not (own.channels and own.table),
        f"architecture.channels are of a network that is trained, and architecture.table is {own.table}; leave out one.",
    )
    yield 0 < own.epochs <= EPOCHS, f"architecture.epochs is {own.epochs}; give more than 0 and at most {EPOCHS}."
