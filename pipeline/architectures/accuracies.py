"""Accuracies of this project's own small networks, by training them."""

from typing import Any

import torch

from pipeline.architectures.spaces import SPACES
from pipeline.architectures.training import targets_of
from pipeline.config import Config, from_dotted, to_dotted
from pipeline.data.dataset import Dataset
from pipeline.seeding import stream
from pipeline.setting import selection_data

MEMBERS = {"mlp": 4, "cnn": 2}
"""networks that an accuracy is the mean of, by space: those of a population cost hardly more than one"""


def trained_as(name: str, space: str, config: Config) -> Config:
    """The settings that the network of a name is trained with, from He's initialisation."""
    own = SPACES[space]
    assert own.settings is not None, f"nothing of {space} is trained here"
    return from_dotted(to_dotted(config) | own.settings(own.code(name)) | {"target.initialisation": "he"})


def seeds_of(space: str, config: Config) -> list[int]:
    """Of the networks that are trained of each name."""
    return [stream(config.seed, "trained", number) for number in range(MEMBERS[space])]


def accuracy_of(
    task: tuple[str, tuple[str, ...]], *, device: str, space: str, config: Config, dataset: Dataset
) -> dict[str, Any]:
    """The mean validation accuracy, in percent, of :data:`MEMBERS` trained networks of a name."""
    torch.set_num_threads(1)
    config = trained_as(task[0], space, config)
    targets = targets_of(config, dataset, seeds_of(space, config), device)
    targets.advance(config.training.steps)
    found = targets.evaluate(*selection_data(config, dataset, device))
    return {"accuracy": 100 * found.accuracy.mean().item()}
