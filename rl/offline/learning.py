"""Learning off-policy from recorded runs: double Q, as in :mod:`rl.module`, without an environment."""

import copy

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from pipeline.config import Config
from pipeline.enn import Critic
from pipeline.seeding import stream
from pipeline.targets import unflatten
from rl.module import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS, double_q_loss
from rl.offline.recorded import Recorded
from rl.replay import Recording, RecordingEpisodeReplayBuffer
from rl.state import load_optimiser, optimiser_tensors


class Learning:
    """Double Q-learning of one critic from recorded runs: what RLlib's learner does in a round, without the environment."""

    def __init__(self, config: Config, critic: Critic, recorded: Recorded, runs: np.ndarray) -> None:
        self.config, self.critic, self.target = config, critic.train(), copy.deepcopy(critic).requires_grad_(False)
        self.optimiser = torch.optim.Adam(critic.parameters(), lr=config.rl.learning_rate)
        self.buffer = RecordingEpisodeReplayBuffer(config.rl.replay)
        recording = recorded.recording(config, runs)
        kept = -(-config.rl.replay // max(1, recording.actions.shape[1]))  # whole runs, the newest
        self.buffer.keep(Recording(recording.observations[-kept:], recording.actions[-kept:], recording.rewards[-kept:]))
        self.updates = 0

    def advance(self, updates: int) -> None:
        rl = self.config.rl
        for _ in range(updates):
            self.buffer.start_round(stream(self.config.seed, "offline", self.updates))
            columns = self.buffer.sample(rl.batch_size, n_step=rl.n_step, gamma=rl.gamma)
            batch = {name: torch.from_numpy(values) for name, values in columns.items()}
            self.optimiser.zero_grad()
            double_q_loss(self._outputs(batch), batch, rl.gamma).backward()
            self.optimiser.step()
            with torch.no_grad():
                for slow, fast in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                    slow.lerp_(fast, rl.tau)
            self.updates += 1

    def _outputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        shapes = self.critic.home.target.shapes
        both = torch.cat([batch[Columns.OBS], batch[Columns.NEXT_OBS]])
        now, then = self.critic.q_values(unflatten(both[:, :-1], shapes), both[:, -1]).chunk(2)
        following = batch[Columns.NEXT_OBS]
        with torch.no_grad():
            target = self.target.q_values(unflatten(following[:, :-1], shapes), following[:, -1])
        return {QF_PREDS: now, QF_NEXT_PREDS: then, QF_TARGET_NEXT_PREDS: target}

    def tensors(self) -> dict[str, Tensor]:
        """All that a bit-identical continuation needs."""
        tensors = {f"critic/{name}": tensor for name, tensor in self.critic.state_dict().items()}
        tensors |= {f"target/{name}": tensor for name, tensor in self.target.state_dict().items()}
        return tensors | optimiser_tensors(self.optimiser) | {"updates": torch.tensor(self.updates)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of :meth:`tensors`."""
        for name, network in (("critic/", self.critic), ("target/", self.target)):
            network.load_state_dict({key.removeprefix(name): t for key, t in tensors.items() if key.startswith(name)})
        load_optimiser(self.optimiser, tensors)
        self.updates = int(tensors["updates"])
