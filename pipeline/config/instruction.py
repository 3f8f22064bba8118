"""How an ENN's gradient is added to backpropagation's."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.checks import Check, Whole, at_least_one


@dataclass(frozen=True)
class InstructionConfig:
    """How an ENN's gradient is added to backpropagation's."""

    ladder: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0)
    """the levels of the strength λ that the policy chooses from; the first must be 0 (conventional training)"""
    refresh: int = 10
    """optimiser steps for which one instruction is reused, counted from the start of each period"""
    trust_region: float = 0.01
    """largest instructed step, as a fraction of each weight tensor's norm"""
    decoupled: bool = False
    """move the weights directly, beside the optimiser's step, instead of adding to the gradient that it reads"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.instruction``."""
    instruction = config.instruction
    yield (
        len(instruction.ladder) >= 2 and instruction.ladder[0] == 0.0 and min(instruction.ladder[1:]) > 0,
        f"instruction.ladder is {instruction.ladder}; start it with 0 and follow with strengths above 0.",
    )
    yield (
        0.0 < instruction.trust_region <= 1.0,
        f"instruction.trust_region is {instruction.trust_region}; give one in (0, 1].",
    )
    yield from at_least_one(instruction, "instruction", "refresh")
