"""Searches over architectures: cells of NAS-Bench-201, judged by its table in simulated seconds, or targets that are trained.

Which one a file means is said by ``architecture.table``: with a data set's name there, the operations on a cell's edges vary.
Without, ``target.*`` settings of multilayer perceptrons do, or, where ``architecture.channels`` is given or varies, those of
small convolutional networks, which are trained one after the other. Candidates are proposed by the algorithms of
:mod:`pipeline.architectures.searches`, with or without a predictor (``assist``).
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.search.kinds import target, training
from pipeline.search.kinds.kind import Checks, Judging, Kind
from pipeline.search.values import Group, Record, Stage

if TYPE_CHECKING:
    import pipeline.data.dataset
    from pipeline.search.architectures import ArchitectureProposals
    from pipeline.search.plan import Plan
    from pipeline.search.values import Dimension

CELL = "architecture.edge"
"""how the names of a cell's settings begin"""
CHANNELS = "architecture.channels"
CONVOLUTIONS = (CHANNELS, "architecture.kernel", "architecture.normalisation", "architecture.shortcut")
"""settings of convolutional networks"""
OWN = (*CONVOLUTIONS, "target.activation")
"""settings that change one"""


def decide(base: Mapping[str, Any], last: Stage, record: Record) -> dict[str, Any]:
    """How long targets are trained, where the last stage says so."""
    return {} if base["architecture.table"] else target.decide(base, last, record)


def reason(key: str) -> str:
    """Why a setting cannot be searched or given."""
    del key
    return (
        f"a search over architectures varies target.* settings, or {' and '.join(CONVOLUTIONS)}, or with architecture.table "
        f"{CELL}* settings."
    )


def without_effect(key: str, base: Mapping[str, Any]) -> str:
    """Why a setting would not change any candidate."""
    if base["architecture.table"] and not key.startswith(CELL):
        return f"the table has cells, whose settings are {CELL}*."
    if not base["architecture.table"] and key.startswith(CELL):
        return "architecture.table names no table that judges cells; give cifar10, cifar100 or imagenet16-120 there."
    return ""


def check(stages: Sequence[Stage], groups: Sequence[Config], searched: frozenset[str]) -> Checks:
    """What must hold of the stages."""
    tables = [bool(config.architecture.table) for config in groups]
    if not any(tables):
        return target.check(stages, groups, searched) + _of_networks(groups, searched)
    counts = [(stage.updates, stage.segments, stage.steps) for stage in stages]
    return [
        (all(tables), "groups: one has an architecture.table and another has none; give all of them one, or none."),
        (len(stages) == 1, "stages: a table knows the end of a training alone; give one stage."),
        (
            not any(map(any, counts)),
            "stages: on a table nothing is trained; give 'targets' alone, which is how many of its three runs are averaged.",
        ),
        (stages[-1].targets <= RUNS, f"stages: the table has {RUNS} runs of a cell; give 'targets' from 1 to {RUNS}."),
    ]


RUNS = 3


def _of_networks(groups: Sequence[Config], searched: frozenset[str]) -> Checks:
    """What must hold where targets are trained: settings that vary change them."""
    convolutional = CHANNELS in searched or all(config.architecture.channels for config in groups)
    needless = sorted(searched - set(OWN)) if convolutional else sorted(searched & set(CONVOLUTIONS))
    why = "convolutional networks have none" if convolutional else f"{CHANNELS} is neither given nor searched"
    return [(not needless, f"space: {needless[:1]} would have no effect: {why}; leave it out.")]


def check_space(space: Sequence["Dimension"]) -> None:
    """Raises UserError where a choice is no convolutional network."""
    for own in space:
        if own.key == CHANNELS and not all(own.choice):
            raise UserError(f"space.{CHANNELS}: a choice has no convolution; give each at least one, such as [8].")


def check_data(config: Config, dataset: "pipeline.data.dataset.Dataset") -> None:
    """Raises UserError where the table is not there, or is damaged, or where convolutional networks are to see no images."""
    if config.architecture.channels and len(dataset.image_shape) != 3:
        raise UserError(f"convolutional networks take images, and {dataset.name} has none; give other data, or no {CHANNELS}.")
    if config.architecture.table:
        from pipeline.architectures.table import read_tables
        from pipeline.data import data_folder

        read_tables(data_folder(None))[config.architecture.table].need_seconds()


def prepare(
    stages: Sequence[Stage],
    record: Record,
    recordings: Mapping[str, Config],
    dataset: "pipeline.data.dataset.Dataset",
    folder: Path,
) -> Judging:
    """The table is read once where it is there; nobody who trains targets needs it."""
    del stages, record, recordings, folder
    from pipeline.architectures.sources import package_folder
    from pipeline.architectures.table import read_tables

    tables = read_tables(None) if package_folder() is not None else {}
    return Judging(judge, {"dataset": dataset, "tables": tables})


def judge(
    config: Config,
    stages: Sequence[Stage],
    folder: Path | None,
    *,
    dataset: "pipeline.data.dataset.Dataset",
    tables: Mapping[str, Any],
) -> dict[str, Any]:
    """The validation accuracy of a cell in the table, and what training it costs there; or that of targets that are trained."""
    if config.architecture.channels:
        return _judge_convnets(config, stages, dataset)
    if not config.architecture.table:
        return target.judge(config, stages, folder, dataset=dataset)
    import numpy as np

    from pipeline.architectures.spaces.nasbench201 import SPACE
    from pipeline.config.architecture import EPOCHS, operations
    from pipeline.targets.nasbench201 import Cell

    table = tables[config.architecture.table]
    index = SPACE.index(SPACE.code(str(Cell(operations(config.architecture)))))
    seconds = float(table.need_seconds()[index]) * config.architecture.epochs / EPOCHS
    accuracy = float(np.nanmean(table.validation[index][: stages[-1].targets]))
    return {"accuracy": accuracy, "simulated_seconds": seconds, "targets": stages[-1].targets, "seconds": 0.0}


def _judge_convnets(config: Config, stages: Sequence[Stage], dataset: "pipeline.data.dataset.Dataset") -> dict[str, Any]:
    """As :func:`pipeline.search.kinds.target.judge`, of convolutional networks."""
    import torch

    from pipeline.architectures.training import ConvNets
    from pipeline.setting import selection_data

    torch.set_num_threads(1)
    training.training_data(config, dataset)  # a batch that is too large is the candidate's own fault
    stage, started = stages[-1], time.thread_time()
    steps, seeds = training.steps_and_seeds(config, stage)
    networks = ConvNets(config, dataset, seeds)
    networks.advance(steps)
    seconds = (time.thread_time() - started) / stage.targets
    return training.judged(networks.evaluate(*selection_data(config, dataset)), stage.targets, seconds, steps)


def proposals(
    plan: "Plan", group: Group, folder: Path, dataset: "pipeline.data.dataset.Dataset | None"
) -> "ArchitectureProposals":
    """Who proposes candidates."""
    from pipeline.search.architectures import ArchitectureProposals

    return ArchitectureProposals(plan, group, folder, dataset)


KIND = Kind(
    name="architecture",
    over="architectures",
    searched=("target.", CELL, *CONVOLUTIONS),
    objectives=("accuracy", "loss", "seconds", "simulated_seconds"),
    smaller=("loss", "seconds", "simulated_seconds"),
    ranked="accuracy",
    stands_for=target.KIND.stands_for,
    parts=("algorithm", "assist"),
    least_targets=1,
    trained_by="run",
    decide=decide,
    reason=reason,
    without_effect=without_effect,
    check=check,
    check_data=check_data,
    check_space=check_space,
    prepare=prepare,
    proposals=proposals,
)
