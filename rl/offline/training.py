"""An ENN trained from recorded populations alone: what a search with the same settings judges, without a search."""

import dataclasses
from pathlib import Path

import torch

from pipeline.config import Config, coarsened, recording_config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.results.checkpoints import read_checkpoint, write_checkpoint
from pipeline.results.origin import Origin
from rl.critics import fresh_critic
from rl.offline.learning import Learning
from rl.offline.recording import record_rounds

KEEP = 100
"""gradient steps on recorded runs between two checkpoints of a training"""


def learn_from_recordings(config: Config, dataset: Dataset, reader: str, folder: Path, origin: Origin | None = None) -> Critic:
    """The ENN with this reader after ``rl.updates`` steps on the populations that ``recorded`` describes, which are recorded
    unless ``folder`` holds them: the ENN that a search with these settings judges, before its fine-tuning.

    Continues where an earlier call in the same folder stopped, and ends with the same numbers.
    """
    torch.set_num_threads(1)
    recording, rounds = recording_config(config), config.recorded
    config = coarsened(dataclasses.replace(config, enn=dataclasses.replace(config.enn, readers=(reader,))))
    critic = fresh_critic(config, dataset)
    if not config.rl.updates:
        return critic
    recorded = record_rounds(recording, dataset, folder, rounds.rounds, rounds.updates, origin)
    learning, state = Learning(config, critic, recorded, ~recorded.held_out()), folder / f"state-{reader}.safetensors"
    if state.exists():
        learning.load(read_checkpoint(state, origin))
    while learning.updates < config.rl.updates:
        learning.advance(min(KEEP, config.rl.updates - learning.updates))
        write_checkpoint(state, learning.tensors(), origin)
    return learning.critic
