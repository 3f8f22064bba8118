"""Recorded populations: what serves every candidate of a search, and which of their runs are held out.

Letters: R recorded runs, T decisions in a run, N parameters of a target, K points of held-out runs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.config import Config
from rl.replay import Recording
from rl.roles import BLOCK

HELD_OUT = 4
"""one recorded run of so many (by blocks of members, which hold every start and level of λ) is never learned from"""
POINTS = 4
"""checkpoints of a held-out run at which gradients are compared"""


@dataclass(frozen=True)
class Recorded:
    """What was recorded once and serves every candidate. Plain arrays, so that Ray's workers share them."""

    observations: np.ndarray
    """(R, T + 1, N + 1) float16: parameters and progress"""
    strengths: np.ndarray
    """(R, T) float32: λ that was played"""
    loss: np.ndarray
    """(R, T + 1) float32, on the reward's validation examples"""
    accuracy: np.ndarray
    """(R, T + 1) float32, likewise"""
    gradients: np.ndarray
    """(K, N) float32: gradient of the loss on other validation examples, at POINTS checkpoints of every held-out run"""
    costates: np.ndarray
    """(K, N) float32: ∂ log(that loss at the end of the run) / ∂θ at the same checkpoints, trained on conventionally"""
    conventional: np.ndarray
    """(targets,) float32: last validation accuracy of the fresh targets, trained without an ENN"""

    def held_out(self) -> np.ndarray:
        """(R,) bool."""
        blocks = np.arange(len(self.loss)) // min(BLOCK, max(1, len(self.loss) // HELD_OUT))
        return blocks % HELD_OUT == HELD_OUT - 1

    def scores(self, kind: str) -> np.ndarray:
        """(R, T + 1) in [0, 1]."""
        return np.exp(-self.loss) if kind == "loss" else self.accuracy

    def recording(self, config: Config, runs: np.ndarray) -> Recording:
        """Those of ``runs`` (bool, R) whose every λ is on the candidate's ladder, with the candidate's rewards."""
        ladder = np.array(config.instruction.ladder, np.float32)
        chosen = runs & np.isin(self.strengths, ladder).all(1)
        scores, gamma = self.scores(config.rl.score)[chosen, 1:], config.rl.gamma
        rewards = (1 - gamma) * scores
        rewards[:, -1] += gamma * scores[:, -1]
        actions = np.searchsorted(ladder, self.strengths[chosen])
        return Recording(self.observations[chosen], actions.astype(np.int64), rewards.astype(np.float32))


def points_of(recorded: Recorded) -> list[tuple[Tensor, Tensor]]:
    """Parameters (POINTS, N) and progress (POINTS,) of every held-out run, from its first decision to its last."""
    places = np.linspace(1, recorded.loss.shape[1] - 2, POINTS).round().astype(int)
    runs = recorded.observations[recorded.held_out()]
    return [
        (torch.from_numpy(run[places, :-1].astype(np.float32)), torch.from_numpy(run[places, -1] * 1.0).float()) for run in runs
    ]
