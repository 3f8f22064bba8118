"""A command's own run in the records: started, prepared in MLflow meanwhile, and ended truthfully."""

import threading
from collections.abc import Callable, Iterator, Mapping
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
    facts = {f"provenance.{key}": value for key, value in _flat(job.provenance).items()}
    records = job.records
    for run in records.running():  # left by a command that was killed outright
        if not run.startswith(job.name):
            records.end(run, "KILLED")
    preparing, stop_ray = threading.Thread(target=job.mirror.prepare, daemon=True), _stop_ray()
    try:
        records.start(job.name, f"{job.name} {job.folder.name}", None, params, facts)
        preparing.start()
        yield
        interrupts.check()
        records.end(job.name, "FINISHED")
        preparing.join()
        job.send(last=True)
        interrupts.check()
    except KeyboardInterrupt:
        _killed(job, preparing)
        stop_ray()
        raise
    except BaseException:
        for run in records.running():
            records.end(run, "FAILED")
        job.send(last=True)
        with suppress(UserError):  # the error that is under way is the one to tell
            _copy_last(job)
        stop_ray()
        raise
    try:
        stop_ray()
        _copy_last(job)
    except KeyboardInterrupt:
        _killed(job, preparing)
        raise


def _killed(job: Work, preparing: threading.Thread) -> None:
    """After a signal: the truth in the records, then in MLflow as far as it can be had in a few seconds."""
    interrupts.hear()
    records = job.records = Records(job.folder)  # the old ones may have been cut off in the midst of a line
    for run in [*records.running(), job.name]:
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


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
