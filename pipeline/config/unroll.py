"""Fine-tuning of the instructing ENN through unrolled instructed training."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.checks import Check, Whole, at_least_one


@dataclass(frozen=True)
class UnrollConfig:
    """Fine-tuning of the instructing ENN, after RL, through unrolled instructed training (beyond the paper)."""

    start: str = ""
    """the ENN to go on from, in place of RL: a file, or the name of one that comes with the package (with rl.rounds 0)"""
    segments: int = 0
    """gradient steps on the ENN, each through one segment of the runs of all members; 0 leaves the ENN as RL left it"""
    steps: int = 60
    """optimiser steps that the score is backpropagated through"""
    members: int = 8
    """targets trained at once; every other one starts from He"""
    strength: float = 5.0
    """λ from which the ENN's own choice of λ starts"""
    learning_rate: float = 0.01
    """step size of the ENN's optimiser (Adam), falling to 0"""
    largest_costate: float = 10.0
    """norm to which a costate is shortened; else members on a plateau, where it explodes, are all that the ENN learns from"""
    anneal: int = 0
    """steps without instruction after each segment, the learning rate falling to 0, before its end is scored; for runs whose
    learning rate is high and falls later, where a score in their midst says little"""
    folds: int = 10
    """a member trains without one of so many folds of the training data and is scored on it; 1: scored on validation data"""
    score_examples: int = 500
    """examples on which a member is scored at the end of a segment"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.unroll``."""
    unroll, coarse = config.unroll, config.enn.coarsening
    yield (
        not unroll.start or (config.rl.rounds == 0 and len(config.enn.readers) == 1),
        "unroll.start names an ENN to go on from; set rl.rounds to 0 and one reader with it.",
    )
    yield unroll.segments >= 0, f"unroll.segments is {unroll.segments}; give at least 0."
    yield unroll.anneal >= 0, f"unroll.anneal is {unroll.anneal}; give at least 0."
    yield from at_least_one(unroll, "unroll", "steps", "members", "folds", "score_examples")
    for name in ("strength", "learning_rate", "largest_costate"):
        yield getattr(unroll, name) > 0, f"unroll.{name} is {getattr(unroll, name)}; give one above 0."
    if not unroll.segments:
        return
    refresh, longest = config.instruction.refresh // coarse, config.training.steps // coarse
    yield (
        unroll.steps % refresh == 0,
        f"unroll.steps ({unroll.steps}) must be a multiple of instruction.refresh / enn.coarsening ({refresh}).",
    )
    yield (
        unroll.steps <= longest,
        f"unroll.steps ({unroll.steps}) is more than a whole run of the ENN's training ({longest} steps); make it smaller.",
    )
