"""What a ``predict`` run ends with: the table, the plots, the page, and a run for each predictor in the records."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.architectures.recorded import Recorded
from pipeline.architectures.scoring import Wanted
from pipeline.command_line.work import Work
from pipeline.files import read_json, write_atomic, write_changed
from pipeline.names import parts_of
from pipeline.predictors.rank import combined
from pipeline.results import figures
from pipeline.results.figures import Drawing
from pipeline.results.figures.style import KINDS
from pipeline.results.page import FILE, write
from pipeline.results.page.ranking import page_of
from pipeline.results.ranking import agreement, ranking_markdown, ranking_rows

SCORES = "scores"
"""folder, in a run's, of one file for each network that is scored"""
COLOUR = "mlflow.runColor"


def report(
    job: Work,
    wanted: Wanted,
    predictors: Sequence[str],
    names: Sequence[str],
    found: Mapping[tuple[str, str], Mapping[str, Any]],
    known: Mapping[str, Sequence[float]],
    zoo: Recorded | None,
) -> None:
    """The table and the plots, as files and in the records.

    Args:
        predictors: what was asked for, combinations among them; those of ``wanted`` are their parts.
    """
    values = {own: [float(found[name, own]["value"]) for name in names] for own in wanted.predictors}
    cost = {own: [float(found[name, own]["ms"]) for name in names] for own in wanted.predictors}
    scores = {own: combined(own, values) for own in predictors}
    parts = {own: parts_of(own) for own in predictors if own not in values}
    rows, among = ranking_rows(scores, known, cost, parts), agreement(scores)
    for row in rows:
        row |= _why(row["predictor"], names, found)
    facts = {"caption": _caption(job, wanted, names, known, zoo), "columns": list(known), "rows": rows, "agreement": among}
    facts |= {"architectures": list(names), "scores": {own: list(map(_number, values)) for own, values in scores.items()}}
    facts |= {"accuracies": {name: list(values) for name, values in known.items()}, "provenance": job.provenance}
    write_changed(job.folder / "predict.json", facts, ("provenance",))
    write_atomic(job.folder / "predict.md", ranking_markdown(read_json(job.folder / "predict.json")))
    drawn = _draw(job.folder / "figures", rows, scores, known, among)
    page = page_of(read_json(job.folder / "predict.json"), read_json(job.folder / "plan.json"), drawn)
    write(page, job.folder)
    _record(job, wanted, rows, len(names))
    job.records.tags("predict", {"mlflow.note.content": (job.folder / "predict.md").read_text(encoding="utf-8")})
    for path, place in [(FILE, ""), ("predict.json", ""), ("predict.md", ""), *((f"figures/{f}", "figures") for f in drawn)]:
        job.records.artifact("predict", path, place)


def _record(job: Work, wanted: Wanted, rows: Sequence[Mapping[str, Any]], networks: int) -> None:
    """A run for each predictor, from when the first network was scored to when the last one was; and the answer in the
    folder's own run."""
    (began, ended), plan = _span(job.folder / SCORES), read_json(job.folder / "plan.json")
    shared = {"space": wanted.space or "--models", "data.dataset": job.dataset.name, "architectures": networks}
    shared |= {"examples": plan["examples"], "seed": wanted.seed}
    for row, colour in zip(rows, itertools.cycle(KINDS)):  # MLflow gives several the same
        run = f"predict/{row['predictor']}"
        if job.records.status(run) != "FINISHED":
            job.start(run, row["predictor"], {"predictor": row["predictor"], **shared}, "predictor", began, **{COLOUR: colour})
        job.records.metrics(run, 0, _metrics(row), ended)
        job.records.end(run, "FINISHED", ended)
    answer = {f"kendall_{column}/{row['predictor']}": own["kendall"] for row in rows for column, own in row["against"].items()}
    if known := {name: value for name, value in answer.items() if math.isfinite(value)}:
        job.records.result("predict", known)


def _span(folder: Path) -> tuple[int, int]:
    """When the scores of a folder were begun and ended, in ms since epoch: by when each file was written, and how long its
    scores took."""
    ended = {path: path.stat().st_mtime_ns // 1_000_000 for path in sorted(folder.glob("*.json"))}
    began = [time - math.ceil(sum(own["ms"] for own in read_json(path)["found"].values())) for path, time in ended.items()]
    return min(began), max(ended.values())


def _why(predictor: str, names: Sequence[str], found: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, str]:
    """Of a predictor that is not made for some networks: the first, and the reason."""
    for name in names:
        for part in parts_of(predictor):
            if why := found[name, part].get("why"):
                return {"why": f"{predictor} has no score of some networks, such as {name}: {why}"}
    return {}


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _caption(job: Work, wanted: Wanted, names: Sequence[str], known: Mapping[str, Any], zoo: Recorded | None) -> str:
    what = f"architectures of {wanted.space}" if wanted.space else "networks"
    text = f"{len(names)} {what}, scored on {job.dataset.name}"
    if zoo:
        text += f"; accuracies recorded by commit {zoo.commit[:10]}, {zoo.seeds} seeds each"
    return f"{text}; Kendall's τ with its 95 % interval and Spearman's ρ." if known else f"{text}; no accuracies are known."


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for column, own in row["against"].items():
        found |= {f"{measure}_{column}": own[measure] for measure in ("kendall", "spearman")}
        found |= {f"kendall_{column}_{end}": own[end] for end in ("low", "high")}
    found |= {"ms_per_architecture": row["ms"], "undefined": row["undefined"]}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _draw(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Sequence[float]],
    known: Mapping[str, Sequence[float]],
    among: Sequence[Sequence[float]],
) -> dict[str, Drawing]:
    """A scatter plot per predictor, and how much they agree; by the names of the files."""
    drawn = {}
    for row in rows if known else ():
        name = row["predictor"]
        panels = [
            {"title": column, "accuracy": values, "kendall": row["against"][column]["kendall"]}
            for column, values in known.items()
        ]
        drawn[f"{name}.png"] = figures.scatter(name, scores[name], panels, folder / f"{name}.png")
    if len(rows) > 1:
        count = max(map(len, scores.values()))
        drawn["agreement.png"] = figures.agreement(list(scores), among, folder / "agreement.png", architectures=count)
    return drawn
