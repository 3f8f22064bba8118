"""Replay of whole recorded runs.

RLlib never checkpoints a replay buffer and its own recorder loses rows. Here the buffer *is* the recordings: each round of
populations is written to one safetensors file (observations as float16, which loses nothing: the environment rounds them), and
a restarted training reads them back. One recording serves every ENN.

Departure from RLlib's buffers: an n-step return stops at the end of its run and says how many steps it took, so that
``n_step`` of a whole run is a Monte Carlo return and never loops or skips.

Letters: E episodes (members × rounds), T decisions in a run, N + 1 values of an observation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers.episode_replay_buffer import EpisodeReplayBuffer


@dataclass(frozen=True)
class Recording:
    """One round: the runs of one population (or of several, one per env runner, one after the other)."""

    observations: np.ndarray
    """(E, T + 1, N + 1) float16"""
    actions: np.ndarray
    """(E, T) int64, levels of λ"""
    rewards: np.ndarray
    """(E, T) float32"""

    def tensors(self) -> dict[str, torch.Tensor]:
        """For a safetensors file."""
        return {name: torch.from_numpy(getattr(self, name)) for name in ("observations", "actions", "rewards")}

    @classmethod
    def of(cls, tensors: dict[str, torch.Tensor]) -> "Recording":
        """From a safetensors file."""
        return cls(*(tensors[name].numpy() for name in ("observations", "actions", "rewards")))

    @classmethod
    def of_episodes(cls, episodes: Sequence[SingleAgentEpisode]) -> "Recording":
        """From what RLlib's env runners sampled; every episode must be complete."""
        if not all(episode.is_terminated for episode in episodes):
            raise RuntimeError("an env runner returned an unfinished run; batch_mode must be complete_episodes")
        return cls(
            np.stack([np.asarray(episode.get_observations(), np.float16) for episode in episodes]),
            np.stack([np.asarray(episode.get_actions(), np.int64) for episode in episodes]),
            np.stack([np.asarray(episode.get_rewards(), np.float32) for episode in episodes]),
        )


class RecordingEpisodeReplayBuffer(EpisodeReplayBuffer):
    """Uniform replay over recordings. (RLlib's DQN asks for "EpisodeReplayBuffer" in the name.)"""

    def __init__(self, capacity: int = 10_000, **kwargs: Any) -> None:
        super().__init__(capacity, **kwargs)
        self.recordings: list[Recording] = []
        self.start_round(0)  # RLlib's generator starts from the clock: a round that nobody started would never come again

    def add(self, episodes: SingleAgentEpisode | Sequence[SingleAgentEpisode]) -> None:
        """Keep a round of episodes; the oldest rounds leave when more than ``capacity`` transitions are held."""
        self.keep(Recording.of_episodes([episodes] if isinstance(episodes, SingleAgentEpisode) else list(episodes)))

    def keep(self, recording: Recording) -> None:
        """Keep a round that was recorded, in this process or in another one."""
        self.recordings.append(recording)
        while self.get_num_timesteps() > self.capacity and len(self.recordings) > 1:
            self.recordings.pop(0)

    def start_round(self, seed: int) -> None:
        """What is drawn from here on depends on ``seed`` alone, so that a restarted round draws the same."""
        self.rng = np.random.default_rng(seed)

    def get_num_timesteps(self, module_id: str | None = None) -> int:
        """How many transitions are held."""
        return sum(recording.actions.size for recording in self.recordings)

    def get_num_episodes(self, module_id: str | None = None) -> int:
        """How many runs are held."""
        return sum(len(recording.actions) for recording in self.recordings)

    def sample(  # pyright: ignore[reportIncompatibleMethodOverride]  (a tuple of n_steps is not wanted)
        self, num_items: int | None = None, *, n_step: int = 1, gamma: float = 0.99, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """``num_items`` transitions in RLlib's columns: observation, action, n-step return, the observation after it.

        Arrays rather than episodes of length 1 (as RLlib's buffers give): half of the time of a gradient step went into those.
        """
        sizes = np.array([recording.actions.size for recording in self.recordings])
        drawn = self.rng.integers(sizes.sum(), size=num_items or self.batch_size_B)
        which = np.searchsorted(sizes.cumsum(), drawn, side="right")
        inside = drawn - (sizes.cumsum() - sizes)[which]
        parts = [_transitions(self.recordings[number], inside[which == number], n_step, gamma) for number in np.unique(which)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _transitions(recording: Recording, index: np.ndarray, n_step: int, gamma: float) -> dict[str, np.ndarray]:
    decisions = recording.actions.shape[1]
    run, start = np.divmod(index, decisions)
    taken = np.minimum(n_step, decisions - start)
    places = start[:, None] + np.arange(taken.max())
    inside = np.arange(taken.max()) < taken[:, None]
    rewards = recording.rewards[run[:, None], np.minimum(places, decisions - 1)] * inside
    return {
        Columns.OBS: recording.observations[run, start].astype(np.float32),
        Columns.NEXT_OBS: recording.observations[run, start + taken].astype(np.float32),
        Columns.ACTIONS: recording.actions[run, start],
        Columns.REWARDS: (rewards @ gamma ** np.arange(taken.max())).astype(np.float32),
        Columns.TERMINATEDS: start + taken == decisions,
        "n_step": taken.astype(np.float32),
        "weights": np.ones(len(index), np.float32),
    }
