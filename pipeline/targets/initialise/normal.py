"""Normal, of one standard deviation in every layer."""

import torch
from torch import Generator, Tensor

from pipeline.targets.initialise.scheme import Scheme
from pipeline.targets.target import Slot


def draw(slot: Slot, generator: Generator, sigma: float) -> Tensor:
    return sigma * torch.randn(slot.shape, generator=generator)


SCHEME = Scheme(draw)
