"""Judging a candidate that is a way of training targets, without an ENN: the baselines' search."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.instruction import Backprop
from pipeline.instruction.loop import advance
from pipeline.search.ladder import Failed
from pipeline.search.plan import Stage
from pipeline.seeding import stream
from pipeline.setting import new_population, selection_data, target_of
from pipeline.targets import Batches

WORST_LOSS = 1e3
"""of a target that diverged"""


def judge(config: Config, stages: Sequence[Stage], folder: Path | None, *, dataset: Dataset) -> dict[str, Any]:
    """Validation accuracy and loss of fresh targets after the last stage's steps, and the processor's seconds per target.

    Raises:
        Failed: a batch would be larger than the training data.
    """
    del folder  # nothing is kept: a stage is trained from the start
    torch.set_num_threads(1)
    stage, (x, y), started = stages[-1], dataset.tensors("train"), time.thread_time()
    if config.training.batch_size > len(x):
        raise Failed(f"training.batch_size is {config.training.batch_size} and there are {len(x)} training examples")
    steps = min(stage.steps or config.training.steps, config.training.steps)
    seeds = [stream(config.seed, "judged", number) for number in range(stage.targets)]
    population = new_population(config, target_of(config, dataset), seeds, x)
    batches = Batches(x, y, config.training.batch_size, seeds, config.training.shared_order)
    advance(population, Backprop(), None, batches, steps)
    seconds = (time.thread_time() - started) / stage.targets
    found = population.evaluate(*selection_data(config, dataset))
    return {
        "accuracy": 100 * found.accuracy.mean().item(),
        "accuracy_spread": 100 * float(np.std(found.accuracy.numpy())),
        "loss": found.loss.nan_to_num(WORST_LOSS).clamp_max(WORST_LOSS).mean().item(),
        "targets": stage.targets,
        "seconds": seconds,
        "steps_per_target": float(steps),
    }
