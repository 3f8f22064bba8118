"""The runs of a comparison's arms in the records: one for each, with its curves, its results and the times of all that."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arms import ARMS
from pipeline.command_line import described
from pipeline.command_line.work import Work
from pipeline.files import read_json

TESTED = {
    "accuracy": "accuracy",
    "gap": "loss_above_training",
    "difference": "difference",
    "p": "p",
    "p_holm": "p_holm",
}
"""numbers of a report's row by what they are called below test/"""
ENDS = ("", "_low", "_high")


def run_of(job: Work, arm: str) -> str:
    """The name of an arm's run."""
    return f"{job.root}/{arm}"


def begin(job: Work, arm: str) -> None:
    """Some of an arm's populations are trained: its run has started, and goes on."""
    if job.records.status(run_of(job, arm)) != "FINISHED":
        _start(job, arm, min(span["began"] for span in _spans(job, arm)), {})


def record(job: Work, arm: str) -> None:
    """All populations of an arm are trained: its run with its curves, which are means over its targets."""
    from pipeline.compare import chosen_strengths, collect_arm, final_tasks, tuned_arms

    config, run = job.config, run_of(job, arm)
    values = collect_arm(config, job.folder, arm)
    curves = _curves(values, bool(ARMS[arm].enn))
    if any(job.records.differs("series", run, name=name, values=own) for name, own in curves.items()):
        job.records.anew(run)  # it was trained again, since a result was lost
    if job.records.status(run) == "FINISHED":
        return
    spans = {name: _span(job.folder / "arms" / f"{name}.json") for name in _trained(job, arm)}
    final = [spans[task.name]["points"] for task in final_tasks(config, [arm], {})]
    times = np.maximum.accumulate(np.max(final, axis=0)).tolist()
    choice = chosen_strengths(config, job.folder)[arm] if arm in tuned_arms(config) else {}
    _start(job, arm, min(span["began"] for span in spans.values()), choice)
    for name, own in curves.items():
        job.records.series(run, name, values["steps"][-len(own) :], own, times[-len(own) :])
    job.records.end(run, "FINISHED", times[-1])


def ensure(job: Work, arm: str) -> str:
    """The name of an arm's run, which is there afterwards: its records may have been lost."""
    if not job.records.knows(run_of(job, arm)):
        record(job, arm)
    return run_of(job, arm)


def record_test(job: Work, row: Mapping[str, Any]) -> None:
    """What a row of the report says of an arm."""
    numbers = {f"test/{name}{end}": row.get(f"{own}{end}") for own, name in TESTED.items() for end in ENDS}
    numbers |= {"ms_per_step": row["ms_per_step"], "diverged": row["diverged"]}
    words = {"edge": row["edge"]} if "edge" in row else {}
    words |= {"commits": row["provenance"]["commits"]} if "commits" in row["provenance"] else {}
    job.records.result(ensure(job, row["arm"]), {name: value for name, value in numbers.items() if _is_number(value)} | words)


def _is_number(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _start(job: Work, arm: str, began: int, choice: Mapping[str, Any]) -> None:
    from pipeline.compare import chooses_rate
    from pipeline.compare.page.asked import candidates, what_it_is
    from pipeline.results.origin import mapping

    made_by = [mapping(mapping(read_json(path)).get("provenance")) for path in _files(job, arm)]
    commits = sorted((str(one.get("date")), str(one["commit"])) for one in made_by if "commit" in one)
    tried = f"\n\nTried, and the accuracy on validation data, in %: {candidates(job.config, arm, choice)}." if choice else ""
    about = what_it_is(job.config, arm) + tried
    told = {"arm": arm, "stage": "instruct", "mlflow.note.content": about, "mlflow.runColor": ARMS[arm].colour}
    told |= {"commit": commits[-1][1]} if commits else {}
    params = described.of_arm(job.config, arm, choice.get("strength"), chooses_rate(job.config, arm))
    job.start(run_of(job, arm), arm, params, "arm", began, **told)


def _trained(job: Work, arm: str) -> list[str]:
    """Names of an arm's populations, those among which a strength is chosen first."""
    from pipeline.compare import all_tasks

    return [task.name for task in all_tasks(job.config) if task.arm == arm]


def _files(job: Work, arm: str) -> list[Path]:
    paths = [job.folder / "arms" / f"{name}.json" for name in _trained(job, arm)]
    return [path for path in paths if path.exists()]


def _spans(job: Work, arm: str) -> list[dict[str, Any]]:
    return [_span(path) for path in _files(job, arm)]


def _span(path: Path) -> dict[str, Any]:
    """When a population's training began and reached each of its points, in ms since epoch.

    Earlier versions did not note it: then its file was written when it ended.
    """
    from pipeline.results.origin import mapping

    result = mapping(read_json(path, math.nan))
    times = mapping(mapping(result.get("provenance")).get("times"))
    began, points = times.get("began"), times.get("points")
    if isinstance(began, int) and _are_times(points, len(result["steps"])):
        return {"began": began, "points": points}
    ended, seconds = path.stat().st_mtime_ns // 1_000_000, np.array(result["seconds"], dtype=np.float64)
    began = ended - int(1000 * result["wall_seconds"])
    shares = seconds / max(seconds[-1], 1e-9)
    return {"began": began, "points": (began + shares * (ended - began)).astype(np.int64).tolist()}


def _are_times(points: Any, count: int) -> bool:
    return isinstance(points, list) and len(points) == count and all(isinstance(point, int) for point in points)


def _curves(values: Mapping[str, Any], instructed: bool) -> dict[str, list[float]]:
    """An arm's curves by the names that MLflow shows: what is measured on validation data says so."""
    rows = {"val/accuracy": values["accuracy"], "val/loss": values["loss"], "train/gradient_norm": values["gradient_norm"]}
    if instructed:
        rows |= {"instruction/lambda": values["strength"], "instruction/norm": values["instruction_norm"]}
    rows |= {f"predicted/{reader}": predicted for reader, predicted in values["predicted"].items()}
    curves = {name: np.mean(of_targets, axis=0).tolist() for name, of_targets in rows.items()}
    return curves | {"train/seconds": values["seconds"]} | _angles(values.get("angles"))


def _angles(of_targets: Sequence[Any] | None) -> dict[str, list[float]]:
    """The mean angle to the gradient at every point, by layer; a layer that gets nothing at any of them is left out."""
    if of_targets is None:
        return {}
    values = np.array(of_targets, dtype=np.float64)  # targets, points, layers
    there = np.isfinite(values)
    means = np.where(there, values, 0.0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)
    return {f"angle/layer{number}": row.tolist() for number, row in enumerate(means.T, 1) if np.isfinite(row).any()}
