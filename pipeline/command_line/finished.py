"""Whether a command has nothing left to do, decided from files alone: no torch, no Ray, no MLflow.

A command that has gone through checks the folder and does all its stages; then it notes in ``.finished`` by which bytes:
the settings, the files that the data are read from, the ENNs that are named in the settings, every file in the folder. While
all of these are the same to the bit, so is what the checks and stages would find. Where one is not, the command does its
work: it checks, refuses what does not fit, and makes again what is missing.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pipeline
from pipeline import interrupts
from pipeline.command_line.folders import locked
from pipeline.command_line.work import Work
from pipeline.errors import UserError
from pipeline.files import header_of, read_json, sha256_of, strict, write_json
from pipeline.results.storage import RECORDS, files_of

FILE = ".finished"
FORM = 2
"""of the file, and of what its writers check: what was noted by another one counts for nothing"""
ON_THE_WAY = ("training", "recordings", "candidates")
"""folders whose tensors nobody reads once the work is finished; of a file there, its header says what it was made from"""
SHIPPED = Path(pipeline.__file__).parent / "enn" / "shipped"
"""ENNs of the package (its module imports torch)"""


def is_finished(job: Work, settings: Mapping[str, Any], starts: Sequence[str], whole: str = "") -> str | None:
    """The name of the data, if the command has finished here and nothing has changed since; else None.

    What MLflow or the storage has not got yet is sent.

    Args:
        settings: what the command was asked to do.
        starts: ENNs that it may go on from, by name or file.
        whole: a command of which this one is a part: where that has finished, so has this one.

    Raises:
        UserError: another command is at work in the folder, its records are damaged, or the storage cannot be used.
    """
    if not os.path.exists(job.folder / FILE):
        return None
    with locked(job.folder):
        for name in filter(None, dict.fromkeys((job.name, whole))):
            noted = _noted(job.folder).get(name)
            if isinstance(noted, dict) and _as_noted(job, settings, starts, noted):
                return str(noted["data"]) if _is_told(job) else None
    return None


@contextmanager
def as_written(folder: Path, *files: str) -> Iterator[None]:
    """Around what is shown of finished work. Raises UserError where files that are noted are none that this program writes: the
    folder may be somebody else's."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"what is shown of {folder} is not what this program writes; delete its {' and '.join(files)} and give the same "
            "command again."
        ) from error


def note_finished(job: Work, settings: Mapping[str, Any], starts: Sequence[str]) -> None:
    """Note that the command has done all there is to do, in the folder as it is now: locked, and just looked through."""
    sources = job.sources
    if sources is None or job.find_sources() != sources:  # the data's files were changed meanwhile
        return
    files = fingerprints(job.folder)
    noted = {"data": job.dataset.name, **_cheap(settings), "sources": sources, "starts": _digest_of(starts), "files": files}
    others = {name: noted for name, other in _noted(job.folder).items() if _goes_on(other, noted)}
    with suppress(UserError):  # no room for it: the work is done all the same, and looked through once more next time
        write_json(job.folder / FILE, others | {job.name: noted})


def _noted(folder: Path) -> dict[str, Any]:
    try:
        noted = read_json(folder / FILE)
    except UserError:  # missing or damaged: it is made again
        return {}
    return noted if isinstance(noted, dict) else {}


def _goes_on(other: Any, noted: Mapping[str, Any]) -> bool:
    """Whether what another command had finished is all there, among what was made since: it has nothing to do either. All of it
    was checked when the command that has finished now began."""
    if not isinstance(other, dict) or not isinstance(other.get("files"), dict):
        return False
    return other["files"].items() <= noted["files"].items() and other | {"files": noted["files"]} == noted


def _as_noted(job: Work, settings: Mapping[str, Any], starts: Sequence[str], noted: Mapping[str, Any]) -> bool:
    """Cheap comparisons first."""
    return (
        {name: noted.get(name) for name in ("form", "version", "settings")} == _cheap(settings)
        and isinstance(noted.get("data"), str)
        and noted["data"].isprintable()  # it is shown, and the folder may be somebody else's
        and noted.get("starts") == _digest_of(starts)
        and noted.get("files") == fingerprints(job.folder)
        and noted.get("sources") == job.find_sources()
    )


def _cheap(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"form": FORM, "version": pipeline.__version__, "settings": strict(dict(settings))}


def _digest_of(starts: Sequence[str]) -> str:
    """Of the ENNs that settings name: of what is in their two files, or that they are not there."""
    files = [path.with_suffix(suffix) for path in map(_file_of, filter(None, starts)) for suffix in (".safetensors", ".json")]
    return hashlib.sha256(repr([sha256_of(path) if os.path.isfile(path) else None for path in files]).encode()).hexdigest()


def _file_of(start: str) -> Path:
    shipped = SHIPPED / f"{start}.safetensors"
    return shipped if Path(start).name == start and os.path.exists(shipped) else Path(start)


def fingerprints(folder: Path) -> dict[str, str]:
    """By name, of every file of ours in a folder but the records: the SHA-256 of its bytes."""
    names = sorted(name for name in files_of(folder) if name != RECORDS)
    return {_as_text(name): _fingerprint(folder / name, Path(name).parts[0] in ON_THE_WAY) for name in names}


def _as_text(name: str) -> str:
    """A file's name as UTF-8 can hold it: somebody's own file may have one of another encoding."""
    return name.encode("utf-8", "backslashreplace").decode()


def _fingerprint(path: Path, on_the_way: bool) -> str:
    if on_the_way and path.suffix == ".safetensors":
        return f"{path.stat().st_size} {hashlib.sha256(header_of(path)).hexdigest()}"
    return sha256_of(path)


def _is_told(job: Work) -> bool:
    """Whether the records say that the work has finished; MLflow and the storage are sent what they have not got then."""
    records = job.records
    if (records.status(job.root) or records.status(job.name)) != "FINISHED" or records.running():
        return False
    state = job.storage.compared() if job.storage else "same"
    if state == "ahead":
        return False
    if not job.mirror.has(records):
        with interrupts.put_off():
            job.mirror.send(records, last=True)
    if job.storage and state == "behind":
        job.storage.send(last=True)
    return True
