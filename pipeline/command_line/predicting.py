"""Scores that are not all there: check, score on workers, rank, report."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline import interrupts
from pipeline.architectures.accuracies import accuracy_of
from pipeline.architectures.recorded import COLUMNS, Recorded, recorded
from pipeline.architectures.scoring import Wanted, batch_of, check_refused, drawn, places, score, tasks
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.table import read_tables
from pipeline.cluster.pool import run_tasks
from pipeline.command_line.checks import fetch
from pipeline.command_line.finished import note_finished
from pipeline.command_line.folders import locked, make_folder
from pipeline.command_line.options import ARCHITECTURES, PredictCommand
from pipeline.command_line.predicted import SCORES, report
from pipeline.command_line.recording import recorded_as
from pipeline.command_line.work import Work
from pipeline.compare.folder import check_data
from pipeline.data import data_folder
from pipeline.digests import digest_of_json
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.names import parts_of
from pipeline.progress import console, stage
from pipeline.received import refuse_links
from pipeline.results.origin import brief, data_of, mapping

CHANNELS = 3
"""that networks of the cell space take"""


def predict(
    job: Work,
    asked: PredictCommand,
    source: str,
    function: str,
    written: dict[str, Any],
    tables: Mapping[str, str],
    show: Callable[[Work], None],
) -> None:
    """Check everything first, then score, rank, and report.

    Args:
        source, function: of --models; empty without.
        written: what decides the scores, as the folder keeps it.
        tables: digests of the files that accuracies come from.
    """
    parts = tuple(dict.fromkeys(part for name in asked.predictors for part in parts_of(name)))
    wanted = Wanted("" if source else asked.space, parts, asked.seed, source, function)
    zoo = recorded(asked.space, job.dataset.name, job.dataset.digest) if asked.accuracies == "recorded" else None
    names = _names(wanted, asked, zoo)
    known = _accuracies(job, wanted, names, zoo)
    batch = batch_of(job.dataset, asked.examples, asked.seed, CHANNELS if wanted.space == "nasbench201" else None)
    wanted.network(names[0], tuple(batch[0].shape[1:]), job.dataset.classes)  # which may not take such data
    fetch(job)
    _check_folder(job, written)
    _ = job.mirror
    with locked(make_folder(job.command)):
        refuse_links(job.folder)
        _check_folder(job, written)
        write_json(job.folder / "plan.json", written | {"data": data_of(job.dataset)})
        with recorded_as(job, {name: value for name, value in written.items() if name != "form"}):
            console.print(f"results go to {job.folder}", soft_wrap=True)
            job.records.artifact("predict", "plan.json", "")
            found = _scored(job, wanted, names, batch)
            if known is None:
                known = {"validation": _trained(job, wanted, names)}
            report(job, wanted, asked.predictors, names, found, known, zoo)
            show(job)
            job.send()
        with suppress(UserError):  # a file was put there meanwhile: the next command says so
            _check_folder(job, written)
            note_finished(job, written | {"tables": dict(tables)}, [])


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


# -- scoring -----------------------------------------------------------------------------------------------------------


def _scored(job: Work, wanted: Wanted, names: Sequence[str], batch: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """By architecture and predictor: value and milliseconds; those that were scored before are read."""
    where = places(wanted, names)
    every = tasks(where)
    shared = {"wanted": wanted, "batch": batch, "classes": job.dataset.classes, "others": True}
    found = _done(job, "scores", SCORES, every, score, shared)
    check_refused(wanted.predictors, found)
    return {key: found[network][key[1]] for key, network in where.items()}


def _trained(job: Work, wanted: Wanted, names: Sequence[str]) -> list[float]:
    """Validation accuracies in percent, by training; equal networks once."""
    space = SPACES[wanted.space]
    own = {name: str(space.canonical(space.code(name))) for name in names}
    every = [(name, ("accuracy",)) for name in dict.fromkeys(own.values())]
    shared = {"space": wanted.space, "config": job.config, "dataset": job.dataset}
    found = _done(job, "training", "accuracies", every, accuracy_of, shared)
    return [float(found[own[name]]["accuracy"]) for name in names]


def _done(
    job: Work,
    title: str,
    place: str,
    every: Sequence[tuple[str, tuple[str, ...]]],
    function: Callable[..., dict[str, Any]],
    shared: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    """What a function finds out of every network, each on disk as soon as it is known, in a file of its own."""
    paths = {network: job.folder / place / f"{digest_of_json(network)}.json" for network, _ in every}
    found = {network: kept for network, wanted in every if (kept := _kept(paths[network], network, wanted)) is not None}
    left = [task for task in every if task[0] not in found]
    if left and not job.command.placement.local:
        job.start_ray()
    with stage(title, len(every), job.at_once) as bar:
        bar.skip(len(found))
        for index, result in run_tasks(function, left, shared, job.command.placement):
            network = left[index][0]
            write_json(paths[network], {"network": network, "found": result, "provenance": brief(job.provenance)})
            found[network] = read_json(paths[network])["found"]
            bar.advance()
            interrupts.check()
    return found


def _kept(path: Path, network: str, wanted: Sequence[str]) -> dict[str, Any] | None:
    """What a file holds of a network; None where there is none.

    Raises:
        UserError: it is damaged, or of another network.
    """
    if not path.exists():
        return None
    kept = mapping(read_json(path))
    found = mapping(kept.get("found"))
    if kept.get("network") != network or not all(map(_is_whole, (found.get(name) for name in wanted))):
        raise UserError(f"{path} is truncated or corrupt; delete it and give the same command again.")
    return dict(found)


def _is_whole(value: Any) -> bool:
    """Whether it is what a file says of a network: an accuracy, or a score with its milliseconds."""
    if isinstance(value, Mapping):
        return _is_number(value.get("ms")) and (_is_number(value.get("value")) or value.get("value") in ("nan", "inf", "-inf"))
    return _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_folder(job: Work, here: Mapping[str, Any]) -> None:
    """Raises UserError where the folder holds something else, or scores of other data. Nothing is written."""
    folder, path = job.folder, job.folder / "plan.json"
    if (folder / "config.json").exists():
        raise UserError(f"{folder} holds a run, no scores; choose another --output.")
    saved, unlike = mapping(read_json(path)) if path.exists() else {}, ("data", "dataset")
    if saved and any(saved.get(name) != here.get(name) for name in here.keys() | saved.keys() if name not in unlike):
        raise UserError(f"{folder} holds other work (its plan.json is not what is asked for); choose another --output.")
    check_data(folder, job.dataset, [], "plan.json")
