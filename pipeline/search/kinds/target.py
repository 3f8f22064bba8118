"""Searches over ways of training targets, without an ENN: the baselines' search."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.search.kinds import training
from pipeline.search.kinds.kind import Checks, Kind
from pipeline.search.values import Record, Stage

if TYPE_CHECKING:
    import pipeline.data.dataset


def decide(base: Mapping[str, Any], last: Stage, record: Record) -> dict[str, Any]:
    """How long targets are trained, where the last stage says so."""
    del base, record
    return training.decided(last)


def reason(key: str) -> str:
    """Why a setting cannot be searched or given."""
    del key
    return f"a search over targets varies {' and '.join(f'{name}*' for name in KIND.searched)} settings."


def check(stages: Sequence[Stage], groups: Sequence[Config], searched: frozenset[str]) -> Checks:
    """What must hold of the stages."""
    del groups
    return training.checks(KIND.over, stages) + training.one_length(stages, searched)


def judge(
    config: Config, stages: Sequence[Stage], folder: Path | None, *, dataset: "pipeline.data.dataset.Dataset"
) -> dict[str, Any]:
    """Validation accuracy and loss of fresh targets after the last stage's steps, and the processor's seconds per target.

    Raises:
        Failed: a batch would be larger than the training data.
    """
    import torch

    from pipeline.instruction import Backprop
    from pipeline.instruction.loop import advance
    from pipeline.setting import new_population, selection_data, target_of
    from pipeline.targets import Batches

    del folder  # nothing is kept: a stage is trained from the start
    torch.set_num_threads(1)
    stage, (x, y), started = stages[-1], training.training_data(config, dataset), time.thread_time()
    steps, seeds = training.steps_and_seeds(config, stage)
    population = new_population(config, target_of(config, dataset), seeds, x)
    batches = Batches(x, y, config.training.batch_size, seeds, config.training.shared_order)
    advance(population, Backprop(), None, batches, steps)
    seconds = (time.thread_time() - started) / stage.targets
    found = population.evaluate(*selection_data(config, dataset))
    return training.judged(found, stage.targets, seconds, steps)


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
    prepare=training.judged_by(judge),
)
