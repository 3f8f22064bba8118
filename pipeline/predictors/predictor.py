"""What a predictor is: a number from a network at its initialisation and a batch, larger where the network should do better.

A predictor reads the network and leaves it as it was: parameters, buffers, gradients, hooks, modes, ``requires_grad`` and the
random numbers of the process. What is random in it comes from the generator that it is given. Noise of the network (dropout) is
off, so that a score is the network's and not that of one draw.

Letters: N examples, K classes.
"""

import math
import time
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from pipeline.predictors import checks
from pipeline.predictors.untouched import untouched
from pipeline.predictors.uses import Uses, refuse_others
from pipeline.targets.nasbench201 import CellNetwork

LAYERS = "convolutions and linear layers"


class Labelled(NamedTuple):
    """Examples with their labels."""

    x: Tensor
    """(N, …)"""
    y: Tensor
    """(N,), whole numbers"""


class Scored(NamedTuple):
    """A score and what it cost."""

    value: float
    """larger is better; NaN where it is not defined"""
    milliseconds: float
    """by the clock, of the whole call"""


@dataclass(frozen=True)
class Predictor(ABC):
    """A number that ranks networks. What it needs and where it comes from is said by its class; its fields are its settings.

    Raises:
        UserError: a setting of another type than its default's, or below 0.
    """

    source: ClassVar[str]
    """the paper"""
    data: ClassVar[bool] = True
    """whether it looks at the images; otherwise only at their shape"""
    labels: ClassVar[bool] = True
    """whether it looks at the labels"""
    statistics: ClassVar[str] = "batch"
    """what BatchNorm normalises by: the statistics of the "batch", those of each "example" alone, or "none" (it is left out, or
    does not matter)"""
    layers: ClassVar[str] = LAYERS
    """whose weights, gradients or outputs it looks at"""
    dead_weights: ClassVar[bool] = False
    """whether weights that no path from input to output uses count; if so, equal cells score differently"""
    real: ClassVar[bool] = False
    """whether it puts images of its own in the place of those given, or differentiates by them: whole numbers will not do"""
    least: ClassVar[int] = 1
    """examples that it needs"""
    batches: ClassVar[int] = 1
    """into how many it divides the examples"""

    examples: int = 0
    """N, how many of the batch it looks at; 0: all of them"""

    def __post_init__(self) -> None:
        for own in fields(self):
            object.__setattr__(self, own.name, checks.setting(own.name, getattr(self, own.name), own.default))

    def score(self, network: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> float:
        """The network's score; NaN where it is not defined for this network, and never +∞. It can be −∞.

        Args:
            network: any module that makes class scores (N, K) of inputs (N, …); it is left as it was.
            batch: inputs (N, …) and labels (N,), moved to where the network is.
            generator: of the CPU, for what is random.

        Raises:
            UserError: the network, the batch or the examples asked for are none that this predictor can use.
        """
        checks.network(network)
        checks.generator(generator)
        # a cell's network is known to have no other weights, and its counts take less time than to look would
        uses = Uses(network) if self.layers == LAYERS and not isinstance(network, CellNetwork) else None
        watch = nullcontext if uses is None else uses.follow
        with untouched(network, int(torch.randint(1 << 62, (), generator=generator))):
            try:
                x, y = checks.batch(network, batch, self.examples, self.least, self.data, self.labels, self.real, watch)
            except checks.Undefined:
                return math.nan
            refuse_others(network, set() if uses is None else uses.found)
            try:
                value = float(self.value(network, x, y))
            except checks.Undefined:
                return math.nan
            except checks.NETWORKS_OWN:  # in training mode, which is said in a sentence, or else a fault of ours
                checks.trains(network, x.chunk(self.batches)[-1])
                raise
        return math.nan if value == math.inf else value

    def scored(self, network: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Scored:
        """The score and its cost in milliseconds."""
        started = time.perf_counter()
        value = self.score(network, batch, generator)
        return Scored(value, 1000 * (time.perf_counter() - started))

    @abstractmethod
    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        """The score of a network that may be used freely: it is in training mode, dropout off, and is put back afterwards; the
        process's random numbers are seeded."""
