"""``grad-instructor instruct``: fresh targets with and without instruction."""

import math

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
    run = f"{job.name}/{name}"
    if any(job.records.differs("series", run, name=key, values=values) for key, values in curves.items()):
        job.records.anew(run)  # it was trained again, since its result was lost
    job.child(name, name, params)
    for key, values in curves.items():
        job.records.series(run, key, result["steps"][-len(values) :], values)
    job.records.end(run, "FINISHED")
    job.send()
    return job.made(result)
