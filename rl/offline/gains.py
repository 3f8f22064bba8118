"""What fresh targets gain by an ENN, in validation accuracy."""

from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.instruction import Backprop, Instruct, Rule
from pipeline.instruction.loop import advance
from pipeline.results.statistics import mean_interval, paired
from pipeline.seeding import stream
from pipeline.setting import new_population, selection_data, target_of
from pipeline.targets import Batches
from rl.offline.recorded import Recorded
from rl.roles import STARTS, all_from_he, start_from


def gain(config: Config, dataset: Dataset, critic: Critic, recorded: Recorded, targets: int) -> dict[str, Any]:
    """What ``targets`` fresh targets gain in validation accuracy, in points, paired by seed: all, and by their start."""
    ours = np.array(instruct_targets(config, dataset, critic, targets))
    plain = recorded.conventional[:targets]
    difference = paired((100 * ours).tolist(), (100 * plain).tolist())
    he = all_from_he(targets).numpy()
    starts = {f"gain_{name}": 100 * float((ours - plain)[own].mean()) for name, own in zip(STARTS, (~he, he), strict=True)}
    _, low, high = mean_interval((100 * (ours - plain)).tolist())
    return {"gain": difference["difference"], "gain_low": low, "gain_high": high, **starts, "targets": targets}


def instruct_targets(config: Config, dataset: Dataset, critic: Critic | None, targets: int) -> list[float]:
    """Last validation accuracy of fresh targets, every other one from He; a few at a time, with the same result."""
    x, y = dataset.tensors("train")
    training, target, found = config.training, target_of(config, dataset), []
    for first in range(0, targets, 8):
        numbers = range(first, min(first + 8, targets))
        seeds = [stream(config.seed, "judged", number) for number in numbers]
        small, strong = (new_population(config, target, seeds, x, start) for start in (None, "he"))
        start_from(small.parameters, strong.parameters, all_from_he(len(seeds)))
        rule: Rule = Instruct(critic, training.steps, training.learning_rate) if critic else Backprop()
        batches = Batches(x, y, training.batch_size, seeds, False)
        advance(small, rule, rule.init(small), batches, training.steps)
        found += small.evaluate(*selection_data(config, dataset)).accuracy.tolist()
    return found
