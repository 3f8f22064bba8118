"""Uniform on ± √(6 / (fan in + fan out)): Glorot & Bengio 2010, eq. 16."""

import math

import torch
from torch import Generator, Tensor

from pipeline.targets.initialise.scheme import Scheme
from pipeline.targets.target import Slot


def draw(slot: Slot, generator: Generator, sigma: float) -> Tensor:
    return math.sqrt(6 / (slot.fan_in + slot.fan_out)) * (2 * torch.rand(slot.shape, generator=generator) - 1)


SCHEME = Scheme(draw)
