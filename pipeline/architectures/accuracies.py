"""Accuracies of this project's own small networks, by training them: targets as a population."""

from typing import Any

import torch

from pipeline.architectures.spaces import SPACES
from pipeline.architectures.spaces.mlp import settings_of
from pipeline.config import Config, from_dotted, to_dotted
from pipeline.data.dataset import Dataset
from pipeline.instruction import Backprop
from pipeline.instruction.loop import advance
from pipeline.seeding import stream
from pipeline.setting import new_population, selection_data, target_of
from pipeline.targets import Batches

MEMBERS = 4
"""of the population that an accuracy is the mean of"""


def accuracy_of(
    task: tuple[str, tuple[str, ...]], *, device: str, space: str, config: Config, dataset: Dataset
) -> dict[str, Any]:
    """The mean validation accuracy, in percent, of four trained networks of a name."""
    torch.set_num_threads(1)
    chosen = settings_of(SPACES[space].code(task[0]))
    config = from_dotted(to_dotted(config) | chosen | {"target.initialisation": "he"})
    seeds = [stream(config.seed, "trained", number) for number in range(MEMBERS)]
    x, y = dataset.tensors("train", device)
    population = new_population(config, target_of(config, dataset), seeds, x)
    batch = min(config.training.batch_size, len(x))
    advance(population, Backprop(), None, Batches(x, y, batch, seeds, config.training.shared_order), config.training.steps)
    found = population.evaluate(*selection_data(config, dataset, device))
    return {"accuracy": 100 * found.accuracy.mean().item()}
