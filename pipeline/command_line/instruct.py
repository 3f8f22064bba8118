"""``grad-instructor instruct``: fresh targets with and without instruction."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.command_line.options import Command
from pipeline.command_line.stages import do
from pipeline.command_line.work import Work, load_critics, untrained
from pipeline.config import to_dotted
from pipeline.files import read_json
from pipeline.progress import stage


def command(options: Command, line: str) -> int:
    """Stage 2 alone."""
    return do(Work("instruct", options, line), [instruct])


def instruct(job: Work) -> None:
    """Stage 2: fresh targets with and without instruction."""
    from pipeline.compare import compare

    config, placement = job.config, job.command.placement
    critics = load_critics(job)
    if not placement.local and untrained(job):
        job.start_ray()
    with stage("train targets", 1) as bar:

        def on_task(name: str, done: int, total: int) -> None:
            bar.of(total)
            if _record_task(job, name):
                bar.advance(name)
            else:
                bar.skip()

        compare(config, job.dataset, critics, job.folder, placement, on_task, job.provenance)
    job.send()


def _angles(result: Mapping[str, Any]) -> dict[str, list[float]]:
    """The mean angle to the gradient at every point, by layer; a layer that gets nothing at any of them is left out."""
    if "angles" not in result:
        return {}
    values = np.array(result["angles"], dtype=np.float64)  # points, members, layers
    there = np.isfinite(values)
    means = np.where(there, values, 0.0).sum(1) / np.where(there.any(1), there.sum(1), np.nan)
    return {f"angle/layer{number}": row.tolist() for number, row in enumerate(means.T, 1) if np.isfinite(row).any()}


def _record_task(job: Work, name: str) -> bool:
    """A finished population: one child run with its curves; whether it was trained just now."""
    result = read_json(job.folder / "arms" / f"{name}.json", math.nan)
    params = {"arm": result["arm"], "seeds": len(result["seeds"]), "strengths": sorted(set(result["strengths"]))}
    params |= {
        key: value for key, value in to_dotted(job.config).items() if key.split(".")[0] in ("data", "target", "training")
    }
    rows = {key: result[key] for key in ("accuracy", "loss", "strength", "gradient_norm", "instruction_norm")}
    rows |= {f"predicted/{reader}": predicted for reader, predicted in result["predicted"].items()}
    curves = {key: np.array(of_points).mean(axis=1).tolist() for key, of_points in rows.items()}
    curves["seconds"] = result["seconds"]
    curves |= _angles(result)
    run = f"{job.name}/{name}"
    if any(job.records.differs("series", run, name=key, values=values) for key, values in curves.items()):
        job.records.anew(run)  # it was trained again, since its result was lost
    job.child(name, name, params)
    for key, values in curves.items():
        job.records.series(run, key, result["steps"][-len(values) :], values)
    job.records.end(run, "FINISHED")
    job.send()
    return job.made(result)
