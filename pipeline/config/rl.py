"""How the ENN is trained: off-policy deep RL."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.config.checks import Check, Whole, at_least_one


@dataclass(frozen=True)
class RLConfig:
    """How the ENN is trained: off-policy deep RL (DQN) on the targets' own training runs."""

    gamma: float = 0.7
    """discount per period: 0 predicts the score after one period (the paper's ENN), towards 1 the final score"""
    score: Literal["loss", "accuracy"] = "loss"
    """what is maximised on validation data: exp(-loss) or accuracy"""
    score_examples: int = 1000
    """validation examples in the reward (at most two thirds of them); the others choose strengths and draw curves"""
    period: int = 25
    """optimiser steps between two decisions on λ"""
    members: int = 128
    """targets trained at once in one environment"""
    rounds: int = 6
    """rounds of: collect runs under the current ENN, then learn"""
    updates: int = 300
    """gradient steps on the ENN per round"""
    batch_size: int = 128
    """transitions per gradient step"""
    learning_rate: float = 3e-3
    """step size of the ENN's optimiser (Adam)"""
    n_step: int = 5
    """rewards summed before the target network is asked; at least the number of decisions per run means whole returns. V is the
    score of runs that follow the ENN in every n_step-th period, and between as the recorded ones did"""
    tau: float = 0.02
    """how far the target network moves towards the ENN at each gradient step"""
    epsilon: float = 0.5
    """fraction of the policy's decisions that are taken at random while collecting"""
    replay: int = 20_000
    """transitions kept for replay"""
    env_runners: int = 0
    """Ray processes that collect runs, each with its own environment; 0 collects in the driver"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.rl``."""
    rl, unroll, recorded = config.rl, config.unroll, config.recorded
    yield 0.0 <= rl.gamma < 1.0, f"rl.gamma is {rl.gamma}; give a discount of at least 0 and below 1."
    yield rl.learning_rate > 0, f"rl.learning_rate is {rl.learning_rate}; give one above 0."
    yield 0.0 < rl.tau <= 1.0, f"rl.tau is {rl.tau}; give one in (0, 1]."
    yield rl.env_runners >= 0, f"rl.env_runners is {rl.env_runners}; give at least 0."
    yield 0.0 <= rl.epsilon <= 1.0, f"rl.epsilon is {rl.epsilon}; give a fraction between 0 and 1."
    yield (
        rl.rounds >= 2 or (rl.rounds == 0 and bool(unroll.start or recorded.rounds)),
        f"rl.rounds is {rl.rounds}; give at least 2 (the last judges what was learned before it); or 0, and unroll.start "
        "or recorded.rounds.",
    )
    yield from at_least_one(rl, "rl", "period", "members", "batch_size", "n_step", "score_examples", "replay")
    yield (
        rl.updates >= (1 if rl.rounds else 0),
        f"rl.updates is {rl.updates}; give at least 1 (or, where rl.rounds is 0, at least 0).",
    )
