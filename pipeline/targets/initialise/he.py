"""Normal, by fan in with gain √2: He et al. 2015, eq. 10."""

import math

import torch
from torch import Generator, Tensor

from pipeline.targets.initialise.scheme import Scheme
from pipeline.targets.target import Slot


def draw(slot: Slot, generator: Generator, sigma: float) -> Tensor:
    return math.sqrt(2 / slot.fan_in) * torch.randn(slot.shape, generator=generator)


SCHEME = Scheme(draw)
