"""Searches over ways of training targets, without an ENN: the baselines' search."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.search.kinds.kind import Checks, Judging, Kind
from pipeline.search.values import Failed, Record, Stage

if TYPE_CHECKING:
    import pipeline.data.dataset

WORST_LOSS = 1e3
"""of a target that diverged"""


def decide(base: Mapping[str, Any], last: Stage, record: Record) -> dict[str, Any]:
    """How long targets are trained, where the last stage says so."""
    del base, record
    return {"training.steps": last.steps} if last.steps else {}


def reason(key: str) -> str:
    """Why a setting cannot be searched or given."""
    del key
    return f"a search over targets varies {' and '.join(f'{name}*' for name in KIND.searched)} settings."


def check(stages: Sequence[Stage], groups: Sequence[Config], searched: frozenset[str]) -> Checks:
    """What must hold of the stages."""
    del groups
    return [
        (
            not any(stage.updates or stage.segments for stage in stages),
            "stages: a search over targets has no updates, no segments.",
        ),
        (all(stage.targets for stage in stages), "stages: in a search over targets each one needs 'targets'."),
        (
            not (stages[-1].steps and "training.steps" in searched),
            "stages: the last one gives 'steps', so that training.steps cannot be searched; drop one of them.",
        ),
    ]


def prepare(
    stages: Sequence[Stage],
    record: Record,
    recordings: Mapping[str, Config],
    dataset: "pipeline.data.dataset.Dataset",
    folder: Path,
) -> Judging:
    """Nothing is to be made ready."""
    del stages, record, recordings, folder
    return Judging(judge, {"dataset": dataset})


def judge(
    config: Config, stages: Sequence[Stage], folder: Path | None, *, dataset: "pipeline.data.dataset.Dataset"
) -> dict[str, Any]:
    """Validation accuracy and loss of fresh targets after the last stage's steps, and the processor's seconds per target.

    Raises:
        Failed: a batch would be larger than the training data.
    """
    import numpy as np
    import torch

    from pipeline.instruction import Backprop
    from pipeline.instruction.loop import advance
    from pipeline.seeding import stream
    from pipeline.setting import new_population, selection_data, target_of
    from pipeline.targets import Batches

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


KIND = Kind(
    name="target",
    over="targets",
    searched=("training.", "target."),
    objectives=("accuracy", "loss", "seconds"),
    smaller=("loss", "seconds"),
    ranked="accuracy",
    stands_for={"seconds": "steps_per_target"},
    least_targets=1,
    trained_by="run",
    decide=decide,
    reason=reason,
    check=check,
    prepare=prepare,
)
