"""``grad-instructor predict``: what it takes, whether it is finished, and what it shows."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

from pipeline import cluster, names
from pipeline.architectures.recorded import file_of
from pipeline.architectures.sources import sources
from pipeline.command_line.finished import is_finished
from pipeline.command_line.options import ARCHITECTURES, Command, Options, Places, PredictCommand
from pipeline.command_line.stages import where_mlflow_is
from pipeline.command_line.work import Work
from pipeline.config import Config
from pipeline.data import data_folder
from pipeline.digests import digest_of_json
from pipeline.errors import UserError, nearest, shown
from pipeline.files import read_json, sha256_of
from pipeline.progress import console
from pipeline.received import refuse_links
from pipeline.results.fitted import Fitted

FORM = 2
"""of what the folder holds; scores of another form were computed otherwise, or do not say what of, and the two do not mix"""
SPACES: tuple[str, ...] = typing.get_args(names.SpaceName)
PREDICTORS: tuple[str, ...] = typing.get_args(names.PredictorName)
LEAST = 2
"""architectures, to rank anything"""
ACCURACIES = ("trained", "recorded")
TRAINED = ("mlp", "cnn")
"""spaces whose networks are trained here"""


def command(predict: PredictCommand, line: str) -> int:
    """Score and rank. What is finished is only shown."""
    cluster.check(predict.placement)
    source, function = _models(predict)
    job, written = _job(predict, line, source), _written(predict, source)
    refuse_links(job.folder, begun_only=True)
    beside = {"networks": _networks(source, function, predict.seed)} if source else {"tables": _tables(predict)}
    if is_finished(job, written | beside, []):
        console.print("finished; nothing to do")
        show(job)
    else:
        from pipeline.command_line import predicting

        predicting.predict(job, predict, source, function, written, beside, show)
    console.print(f"\nresults   {job.folder}", soft_wrap=True)
    for name, what in (("report.html", "page"), ("predict.md", "table")):
        console.print(f"{what:<9} {job.folder / name}", soft_wrap=True)
    console.print(f"MLflow    {where_mlflow_is(job)}", soft_wrap=True)
    return 0


def check(predict: PredictCommand) -> None:
    """Raises UserError where an option makes no sense; the sentence names the nearest that does."""
    combined = [(frozenset(own.parts), own.by) for own in map(names.combination, predict.predictors)]
    if len(set(combined)) != len(combined):
        raise UserError("--predictors: one is given twice; give each once.")
    if not predict.predictors:
        raise UserError(f"--predictors is empty; give some of {', '.join(PREDICTORS)}.")
    if predict.space not in SPACES:
        near = nearest(predict.space, SPACES)
        raise UserError(f"unknown space {shown(predict.space)}; did you mean {near!r}? choose from {', '.join(SPACES)}.")
    if predict.accuracies is not None:
        _check_accuracies(predict.accuracies, "" if predict.models else predict.space)
    for name, value, least in (("architectures", _count(predict), LEAST), ("examples", predict.examples, 1)):
        if value < least:
            raise UserError(f"--{name} is {value}; give at least {least}.")


def _check_accuracies(accuracies: str, space: str) -> None:
    if accuracies not in ACCURACIES:
        near = nearest(accuracies, ACCURACIES)
        raise UserError(f"--accuracies is {shown(accuracies)}; did you mean {near!r}? give {' or '.join(ACCURACIES)}.")
    if space not in TRAINED:
        raise UserError(f"--accuracies is for networks of the spaces {' and '.join(TRAINED)}; leave it out.")


def _count(predict: PredictCommand) -> int:
    """How many architectures are drawn, at most."""
    return ARCHITECTURES if predict.architectures is None else predict.architectures


def _models(predict: PredictCommand) -> tuple[str, str]:
    """The text of the user's file, and the function in it; empty without --models."""
    check(predict)
    if predict.models is None:
        return "", ""
    file, colon, function = predict.models.rpartition(":")
    if not colon or not file or not function.isidentifier():
        raise UserError(f"--models is {shown(predict.models)}; give FILE.py:FUNCTION, a function that gives networks.")
    try:
        return Path(file).read_text(encoding="utf-8"), function
    except OSError as error:
        raise UserError(f"--models: {file} cannot be read ({error.strerror}); give FILE.py:FUNCTION.") from error
    except ValueError as error:
        raise UserError(f"--models: {file} is not text; give FILE.py:FUNCTION.") from error


def _job(predict: PredictCommand, line: str, source: str) -> Work:
    what = Path(str(predict.models).rpartition(":")[0]).stem if source else predict.space
    folder = predict.output or Path("runs") / f"predict-{what}-{digest_of_json(_written(predict, source), 8)}"
    places: dict[str, Any] = {own.name: getattr(predict, own.name) for own in dataclasses.fields(Places)}
    options = dataclasses.replace(Options(**places), output=folder)
    return Work("predict", Command(options, predict.placement, Config(seed=predict.seed, data=predict.data)), line)


def _written(predict: PredictCommand, source: str) -> dict[str, Any]:
    """All that decides the scores, as the folder keeps it."""
    networks: dict[str, Any] = {"space": predict.space, "architectures": _count(predict)}
    if source:
        networks = {"models": digest_of_json(source), "function": str(predict.models).rpartition(":")[2]}
    decided = {"predictors": list(predict.predictors), "examples": predict.examples, "seed": predict.seed}
    if predict.accuracies == "recorded":
        decided["accuracies"] = predict.accuracies
    return {"form": FORM, **networks, **decided, "dataset": predict.data.dataset}


def _networks(source: str, function: str, seed: int) -> dict[str, Any]:
    """Digest and accuracy of each network of the user's file: it may take them from other files, so that its text says too
    little. It is run for that."""
    from pipeline.architectures.scoring import Wanted

    return {name: [own.digest, own.accuracy] for name, own in Wanted("", (), seed, source, function).models().items()}


def _tables(predict: PredictCommand) -> dict[str, str]:
    """The files of accuracies that are there, by their SHA-256."""
    found = sources(data_folder(predict.data_folder)) if predict.space == "nasbench201" else []
    if predict.accuracies == "recorded":
        found = [file_of(predict.space, Path(predict.data.dataset).name)]
    return {path.name: sha256_of(path) for path in found if path.is_file()}


def show(job: Work) -> None:
    """Print the table, from the folder's files alone."""
    from pipeline.results.ranking import narrow_cells, notes

    found = read_json(job.folder / "predict.json")
    try:
        rows = [narrow_cells(row, found["columns"]) for row in found["rows"]]
        table = Fitted(["predictor", "n", *found["columns"], "ms"], rows, between=1)
        said = notes(found["rows"])
        console.print(f"\n{found['caption']}")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{job.folder / 'predict.json'} is not what this program writes; delete it and give the same command again."
        ) from error
    console.print(table)
    for sentence in said:
        console.print(sentence)
