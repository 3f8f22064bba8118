"""The Evaluation Neural Network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.config.checks import Check, Whole, at_least_one
from pipeline.names import ReaderName


@dataclass(frozen=True)
class ENNConfig:
    """The Evaluation Neural Network."""

    readers: tuple[ReaderName, ...] = ("probes", "convnet")
    """the readers to train on the same experience; the first one instructs, the others only learn and are explained"""
    coarsening: int = 1
    """the ENN learns on runs so much coarser than the real ones (learning rate × c, steps ÷ c), nearly on the same path"""
    hidden: int = 64
    """width of the hidden layer between a reader and the value head"""
    probes: int = 32
    """probes: how many learned inputs are pushed through the target"""
    resolution: float = 0.15
    """convnet: resolution ρ of the weight image; 0.15 keeps 0.15² of the pixels"""
    interpolation: Literal["area", "bilinear"] = "area"
    """convnet: how the weight image is made smaller"""
    channels: Literal["signed", "magnitude", "both"] = "both"
    """convnet: what a pixel holds: the mean weight, the mean |weight|, or both"""
    depth: int = 3
    """convnet: number of convolutions"""
    width: int = 16
    """convnet: channels of each convolution"""
    kernel: int = 3
    """convnet: size of each convolution's kernel (odd)"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.enn``."""
    enn = config.enn
    yield 0.0 < enn.resolution <= 1.0, f"enn.resolution is {enn.resolution}; give a ρ above 0 and at most 1."
    yield bool(enn.readers), "enn.readers is empty; name at least one reader."
    yield len(set(enn.readers)) == len(enn.readers), f"enn.readers is {enn.readers}; name each reader once."
    yield enn.kernel % 2 == 1 and enn.kernel >= 1, f"enn.kernel is {enn.kernel}; give an odd kernel size."
    yield from at_least_one(enn, "enn", "probes", "hidden", "depth", "width", "coarsening")
    counts = (config.training.steps, config.rl.period, config.instruction.refresh)
    yield (
        enn.coarsening == 1 or all(count % enn.coarsening == 0 for count in counts),
        f"training.steps, rl.period and instruction.refresh {counts} must be multiples of enn.coarsening ({enn.coarsening}).",
    )
