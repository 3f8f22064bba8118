"""A command's own run in the records: started, prepared in MLflow meanwhile, and ended truthfully."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipeline import cluster, interrupts
from pipeline.command_line.work import Work
from pipeline.errors import UserError
from pipeline.results.records import Records

TO_PREPARE = 3.0
"""seconds that an interrupt waits for MLflow to be ready, so that it can say KILLED"""


@contextmanager
def recorded_as(job: Work, params: dict[str, Any]) -> Iterator[None]:
    """The command's own run: started in the records, prepared in MLflow meanwhile, and ended truthfully."""
    records = job.records
    for run in records.running():  # left by a command that was killed outright
        if run.partition("/")[0] != job.root:
            records.end(run, "KILLED")
    before = len(records.events)
    preparing, stop_ray = threading.Thread(target=job.mirror.prepare, daemon=True), _stop_ray()
    try:
        records.start(job.root, title_of(job.root, job.folder.name), None, params, tags_of(job), lazily=True)
        job.tell_data(job.root)
        preparing.start()
        yield
        interrupts.check()
        records.end(job.root, "FINISHED")
        preparing.join()
        job.send(last=True)
        interrupts.check()
    except KeyboardInterrupt:
        with _told_alone(stop_ray):
            _killed(job, preparing, before)
        raise
    except BaseException:
        with _told_alone(stop_ray):
            for run in records.running():
                records.end(run, "FAILED")
            job.send(last=True)
            _copy_last(job)
        raise
    try:
        stop_ray()
        _copy_last(job)
    except KeyboardInterrupt:
        with _told_alone():
            _killed(job, preparing, before)
        raise


@contextmanager
def _told_alone(finally_do: Callable[[], None] = lambda: None) -> Iterator[None]:
    """What is under way is the one thing to tell, though its status cannot be written either: the disk is full, say, or the
    folder is gone."""
    try:
        with suppress(UserError):
            yield
    finally:
        finally_do()


def title_of(root: str, folder: str) -> str:
    """What the folder's own run is called: the command, once, and the folder."""
    return folder if folder.startswith(root) else f"{root} {folder}"


def _killed(job: Work, preparing: threading.Thread, before: int) -> None:
    """After a signal: the truth in the records, then in MLflow as far as it can be had in a few seconds.

    Args:
        before: how many events there were when the command began; where there are no more, what had finished has.
    """
    interrupts.hear()
    own = [job.root] if len(job.records.events) > before else []
    records = job.records = Records(job.folder)  # the old ones may have been cut off in the midst of a line
    for run in [*records.running(), *own]:
        if records.knows(run):
            records.end(run, "KILLED")
    if preparing.is_alive():
        preparing.join(TO_PREPARE)
    job.mirror.interrupted(records)


def _stop_ray() -> Callable[[], None]:
    """What ends the command's Ray; one that runs already is somebody else's, and stays."""
    return (lambda: None) if cluster.is_running() else cluster.stop


def _copy_last(job: Work) -> None:
    if job.storage:
        job.storage.send(last=True)


def tags_of(job: Work) -> dict[str, Any]:
    """Of the folder's own run: the command, and what it was given by."""
    facts = job.provenance
    machine = facts["hardware"]
    told = {name: facts[name] for name in ("command", "commit", "version", "torch", "date")}
    return {"role": "parent", "stage": job.name, **told, "hardware": f"{machine['cpu']}, {machine['cores']} cores"}
