"""The comparison of training with and without instruction."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.arms import ARMS, unmet
from pipeline.config.checks import Check, Whole, at_least_one
from pipeline.config.choices import Arm


@dataclass(frozen=True)
class CompareConfig:
    """The comparison of training with and without instruction."""

    arms: tuple[Arm, ...] = ("conventional", "l1", "l2", "growth", "he", "instructed", "instructed-he")
    """ways of training to compare, paired by seed"""
    baseline: Arm = "conventional"
    """the arm that every other is compared with"""
    seeds: int = 30
    """fresh targets per arm"""
    group: int = 15
    """targets trained as one population on one worker; 0: all of an arm's, or as many of them as a GPU has memory for"""
    tuning_seeds: int = 8
    """targets per candidate when a strength is chosen on validation data"""
    rates: tuple[float, ...] = ()
    """candidates for the learning rate of every arm, times training.learning_rate, chosen on validation data; empty: all arms
    learn at training.learning_rate"""
    l1: tuple[float, ...] = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    """candidate strengths of the L1 penalty; with 0 among them, and listed first, a penalty that helps nothing is not chosen"""
    l2: tuple[float, ...] = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    """candidate strengths of the L2 penalty"""
    growth: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    """candidates for growth-tuned: times He's norm that the last layer grows to"""
    instruction: tuple[float, ...] = (-1.0, 1.0, 3.0, 10.0, 30.0, 100.0)
    """candidate strengths λ of the instruction; -1 lets the ENN's advantages choose λ at each period"""
    curve_examples: int = 2000
    """at most this many validation examples, none of them in the reward, for curves and the choice of strengths"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.compare``."""
    compare, arms = config.compare, config.compare.arms
    yield compare.seeds >= 2, f"compare.seeds is {compare.seeds}; give at least 2, or there is no interval."
    yield (
        compare.baseline in arms,
        f"compare.arms lacks {compare.baseline!r}, which every arm is compared with; add it, or set compare.baseline.",
    )
    for sentence in unmet(tuple(ARMS[arm] for arm in arms), config.enn.readers, config.unroll.segments):
        yield False, sentence
    yield compare.group >= 0, f"compare.group is {compare.group}; give at least 0."
    yield from at_least_one(compare, "compare", "tuning_seeds", "curve_examples")
    yield (
        min(compare.rates, default=1.0) > 0 and len(set(compare.rates)) == len(compare.rates),
        f"compare.rates is {compare.rates}; give factors above 0, each once.",
    )
    chosen = [arm for arm in arms if ARMS[arm].strengths]
    yield (
        not (compare.rates and chosen),
        f"compare.rates chooses a learning rate for every arm and compare.{ARMS[(chosen or arms)[0]].strengths} a strength for "
        f"{(chosen or arms)[0]!r}, which would have more candidates than others; drop the arm, or give an empty compare.rates.",
    )
    for name in dict.fromkeys(arm.strengths for arm in ARMS.values() if arm.strengths):
        yield bool(getattr(compare, name)), f"compare.{name} is empty; give at least one candidate strength."
