"""Scores that are not all there: check, score on workers, rank, report."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeline.architectures.accuracies import accuracy_of, trained_as
from pipeline.architectures.recorded import COLUMNS, Recorded, recorded
from pipeline.architectures.scoring import Wanted, batch_of, check_refused, drawn, places, score, tasks
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.table import read_tables
from pipeline.command_line.checks import fetch
from pipeline.command_line.each import Each, Task
from pipeline.command_line.finished import note_finished
from pipeline.command_line.folders import locked, make_folder
from pipeline.command_line.options import ARCHITECTURES, PredictCommand
from pipeline.command_line.predicted import SCORES, report
from pipeline.command_line.recording import recorded_as
from pipeline.command_line.work import Work
from pipeline.compare.folder import check_data
from pipeline.data import data_folder
from pipeline.errors import UserError, shown
from pipeline.files import read_json, write_json
from pipeline.names import parts_of
from pipeline.predictors import named
from pipeline.progress import console
from pipeline.received import refuse_links
from pipeline.results.origin import Origin, data_of, mapping

CHANNELS = 3
"""that networks of the cell space take"""
TRAINED = ("seed", "target.", "training.", "architecture.")
"""settings, or the beginnings of their names, that decide an accuracy"""


def predict(
    job: Work,
    asked: PredictCommand,
    source: str,
    function: str,
    written: dict[str, Any],
    beside: dict[str, Any],
    show: Callable[[Work], None],
) -> None:
    """Check everything first, then score, rank, and report.

    Args:
        source, function: of --models; empty without.
        written: what decides the scores, as the folder keeps it.
        beside: what else decides what is shown: digests of the files that accuracies come from, and of networks.
    """
    parts = tuple(dict.fromkeys(part for name in asked.predictors for part in parts_of(name)))
    wanted = Wanted("" if source else asked.space, parts, asked.seed, source, function)
    zoo = recorded(asked.space, job.dataset.name, job.dataset.digest) if asked.accuracies == "recorded" else None
    names = _names(wanted, asked, zoo)
    known = _accuracies(job, wanted, names, zoo)
    where = places(wanted, names)
    batch = batch_of(job.dataset, asked.examples, asked.seed, CHANNELS if wanted.space == "nasbench201" else None)
    wanted.network(names[0], tuple(batch[0].shape[1:]), job.dataset.classes)  # which may not take such data
    own = _stand_ins(wanted, names) if known is None else {}
    scores = _scores(job, wanted, where, batch)
    training = _training(job, wanted, own.values()) if known is None else None
    fetch(job)
    _check_folder(job, written)
    _ = job.mirror
    with locked(make_folder(job.command)):
        refuse_links(job.folder)
        _check_folder(job, written)
        kept, accuracies = scores.kept(job.folder), training.kept(job.folder) if training else {}
        write_json(job.folder / "plan.json", written | {"data": data_of(job.dataset)})
        with recorded_as(job, {name: value for name, value in written.items() if name != "form"}):
            console.print(f"results go to {job.folder}", soft_wrap=True)
            job.records.artifact("predict", "plan.json", "")
            scored = scores.find(job, kept)
            check_refused(wanted.predictors, scored)
            if training:
                trained = training.find(job, accuracies)
                known = {"validation": [float(trained[own[name]]["accuracy"]) for name in names]}
            found = {key: scored[network][key[1]] for key, network in where.items()}
            report(job, wanted, asked.predictors, names, found, known or {}, zoo)
            show(job)
            job.send()
        with suppress(UserError):  # a file was put there meanwhile: the next command says so
            _check_folder(job, written)
            note_finished(job, written | beside, [])


# -- what is asked -----------------------------------------------------------------------------------------------------


def _names(wanted: Wanted, asked: PredictCommand, zoo: Recorded | None) -> list[str]:
    """Of the architectures, in the order of the report."""
    if not wanted.space:
        found = list(wanted.models())
        if len(found) < 2:
            raise UserError(f"--models gives {len(found)} network; give at least 2, so that there is something to rank.")
        return found
    space = SPACES[wanted.space]
    count, most = asked.architectures or ARCHITECTURES, len(zoo.accuracies) if zoo else space.architectures
    if asked.architectures and count > most:
        has = f"of {space.name} {most:,} are recorded" if zoo else f"{space.name} has {most:,}"
        raise UserError(f"--architectures is {count} and {has}; give at most so many.")
    names = (space.text(code) for code in drawn(wanted.space, space.size if zoo else count, asked.seed))
    return [name for name in names if zoo is None or name in zoo.accuracies][:count]


def _accuracies(job: Work, wanted: Wanted, names: Sequence[str], zoo: Recorded | None) -> dict[str, list[float]] | None:
    """In percent, by data set; None where they are still to be found by training, nothing where nobody knows them.

    Raises:
        UserError: the table is missing or damaged.
    """
    if wanted.space == "nasbench201":
        space, found = SPACES[wanted.space], read_tables(data_folder(job.command.options.data_folder))
        indices = [space.index(space.code(name)) for name in names]
        return {name: table.accuracy[indices].tolist() for name, table in found.items()}
    if zoo:
        return {column: [zoo.accuracies[name][n] for name in names] for n, column in enumerate(COLUMNS)}
    if wanted.space:
        return None
    models = wanted.models()
    accuracies = [models[name].accuracy for name in names]
    if all(value is None for value in accuracies):
        return {}
    return {"accuracy": [math.nan if value is None else value for value in accuracies]}


def _stand_ins(wanted: Wanted, names: Sequence[str]) -> dict[str, str]:
    """By name, the network that is trained for it: of equal ones always the same."""
    space = SPACES[wanted.space]
    return {name: str(space.canonical(space.code(name))) for name in names}


# -- scoring -----------------------------------------------------------------------------------------------------------


def _scores(job: Work, wanted: Wanted, where: Mapping[tuple[str, str], str], batch: Any) -> Each:
    """Of each network that is scored."""
    settings = {"seed": wanted.seed, "examples": len(batch[1]), "input_shape": list(batch[0].shape[1:])}
    settings |= {"space": wanted.space or "--models"}

    def origin(task: Task) -> Origin:
        network, predictors = task
        own: dict[str, Any] = {"predictors": sorted(repr(named(predictor)) for predictor in predictors)}
        if not wanted.space:  # those of a space are what their names say
            own["network"] = wanted.models()[network].digest
        return Origin(data_of(job.dataset), settings | own)

    shared = {"wanted": wanted, "batch": batch, "classes": job.dataset.classes, "others": True}
    return Each("scores", SCORES, tasks(where), score, shared, origin)


def _training(job: Work, wanted: Wanted, networks: Iterable[str]) -> Each:
    """Validation accuracies in percent, by training."""

    def origin(task: Task) -> Origin:
        return Origin.of(trained_as(task[0], wanted.space, job.config), job.dataset, TRAINED)

    shared = {"space": wanted.space, "config": job.config, "dataset": job.dataset}
    every = [(name, ("accuracy",)) for name in dict.fromkeys(networks)]
    return Each("training", "accuracies", every, accuracy_of, shared, origin)


def _check_folder(job: Work, here: Mapping[str, Any]) -> None:
    """Raises UserError where the folder holds something else, or scores of other data. Nothing is written."""
    folder, path = job.folder, job.folder / "plan.json"
    if (folder / "config.json").exists():
        raise UserError(f"{folder} holds a run, no scores; choose another --output.")
    saved, unlike = mapping(read_json(path)) if path.exists() else {}, ("data", "dataset")
    if "predictors" in saved and saved.get("form") != here["form"]:
        raise UserError(
            f"{folder} holds scores of another version (form {shown(saved.get('form'))} there and {here['form']} here); choose "
            "another --output."
        )
    if saved and any(saved.get(name) != here.get(name) for name in here.keys() | saved.keys() if name not in unlike):
        raise UserError(f"{folder} holds other work (its plan.json is not what is asked for); choose another --output.")
    check_data(folder, job.dataset, [], "plan.json")
