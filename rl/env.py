"""The environment: the targets' own training run.

P sub-environments are the P members of one population; one ``step`` is ``period`` optimiser steps of all of them in one
batched computation. All members start and end together, so autoreset (NEXT_STEP) is one reset of the whole population.

Letters: P members, N parameters of a member.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.instruction import Instruct
from pipeline.instruction.loop import advance, score
from pipeline.seeding import stream
from pipeline.setting import new_population, reward_data, target_of
from pipeline.targets import Batches
from rl.roles import collected_from_he, start_from

LARGEST = 6e4
"""observations are rounded to float16 so that recordings are lossless; larger parameters are cut off here"""


class TrainingRunEnv(VectorEnv):
    """Observation: the member's parameters, flat, and t / T, (P, N + 1) float32. Action: a level of the ladder of λ.

    Reward: ``(1 − γ) · score`` after the period, plus ``γ · score`` at the last step, so that V is in [0, 1].

    The live ENN is asked for through ``critic_source`` at every step; without one, level 0 is all that can be played.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012  (gymnasium's own form)

    def __init__(self, config: Config, dataset: Dataset, members: int, worker: int = 0, device: str = "cpu") -> None:
        self.config, self.worker, self.num_envs = config, worker, members
        self.target = target_of(config, dataset)
        self.train_data = dataset.tensors("train", device)
        self.score_data = reward_data(config, dataset, device)
        self.critic_source: Callable[[], Critic] | None = None
        self.round = 0
        size = self.target.size + 1
        self.single_observation_space = gymnasium.spaces.Box(-LARGEST, LARGEST, (size,), np.float32)
        self.single_action_space = gymnasium.spaces.Discrete(len(config.instruction.ladder))
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, members)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, members)
        self.ladder = torch.tensor(config.instruction.ladder, device=device)
        self.finished = True

    def start_round(self, number: int) -> None:
        """The next reset starts the runs of this round: which targets they are depends on the round alone."""
        self.round = number

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Fresh targets. ``seed`` is not used: members are named by the configuration's seed, round and worker."""
        del seed, options
        x, y = self.train_data
        seeds = [stream(self.config.seed, "collect", self.round, self.worker, member) for member in range(self.num_envs)]
        he = collected_from_he(torch.arange(self.num_envs, device=x.device))
        self.population = new_population(self.config, self.target, seeds, x)
        start_from(self.population.parameters, new_population(self.config, self.target, seeds, x, "he").parameters, he)
        self.batches = Batches(x, y, self.config.training.batch_size, seeds, self.config.training.shared_order)
        self.rule, self.state, self.finished = None, None, False
        self.scores = score(self.population.evaluate(*self.score_data), self.config.rl.score).cpu().numpy()
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One period of every member at the chosen λ; after the last period the next call resets."""
        if self.finished:
            observation, infos = self.reset()
            none = np.zeros(self.num_envs, dtype=bool)
            return observation, np.zeros(self.num_envs), none, none, infos
        advance(self.population, *self._rule(torch.as_tensor(actions)), self.batches, self.config.rl.period)
        self.scores = score(self.population.evaluate(*self.score_data), self.config.rl.score).cpu().numpy()
        self.finished = self.population.step >= self.config.training.steps
        gamma = self.config.rl.gamma
        rewards = self.scores * ((1 - gamma) + gamma * self.finished)
        terminated = np.full(self.num_envs, self.finished)
        return self._observe(), rewards.astype(np.float64), terminated, np.zeros(self.num_envs, dtype=bool), {}

    def _rule(self, actions: Tensor) -> tuple[Instruct, Any]:
        """The instruction by the ENN as it is now, with λ of each member set by its action."""
        strengths = self.ladder[actions.to(self.ladder.device).long()].to(self.population.dtype)
        if self.critic_source is None:
            raise RuntimeError("the environment has no ENN: set critic_source before stepping it")
        rule = Instruct(
            self.critic_source(),
            self.config.training.steps,
            self.config.training.learning_rate,
            lambda _population, _t: strengths,
        )
        return rule, rule.init(self.population)

    def _observe(self) -> np.ndarray:
        """A fresh array at every call: RLlib keeps what it is given."""
        flat = self.population.flat().nan_to_num(0.0).clamp(-LARGEST, LARGEST)
        progress = torch.full((self.num_envs, 1), self.population.step / self.config.training.steps, device=flat.device)
        return torch.cat([flat.float(), progress], dim=1).half().float().cpu().numpy()
