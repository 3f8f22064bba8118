"""What is found out of each network: in a file of its own as soon as it is known, with what it was made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import interrupts
from pipeline.cluster.pool import run_tasks
from pipeline.command_line.work import Work
from pipeline.digests import digest_of_json
from pipeline.errors import UserError, shown
from pipeline.files import read_json, write_json
from pipeline.progress import stage
from pipeline.results.origin import Origin, brief, fits, mapping, other
from pipeline.results.seal import CHECKSUM, check_seal, sealed

Task = tuple[str, tuple[str, ...]]
"""a network's name, and the names of what is to be found out of it"""


@dataclass(frozen=True)
class Each:
    """Tasks of one kind, of which each network has one."""

    title: str
    place: str
    """folder, in a run's, of the files"""
    tasks: Sequence[Task]
    function: Callable[..., dict[str, Any]]
    shared: dict[str, Any]
    """for every task"""
    origin: Callable[[Task], Origin]
    """what decides what is found"""

    def kept(self, folder: Path) -> dict[str, dict[str, Any]]:
        """What the folder holds, by network.

        Raises:
            UserError: a file is damaged, was changed by hand, or was made from something else; the sentence names both.
        """
        return {task[0]: found for task in self.tasks if (found := self._kept(self._path(folder, task), task)) is not None}

    def find(self, job: Work, kept: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """By network, what was kept and what was not there yet."""
        found, left = dict(kept), [task for task in self.tasks if task[0] not in kept]
        if left and not job.command.placement.local:
            job.start_ray()
        with stage(self.title, len(self.tasks), job.at_once) as bar:
            bar.skip(len(found))
            for index, result in run_tasks(self.function, left, self.shared, job.command.placement):
                task = left[index]
                noted = {"origin": self.origin(task).as_json(), "provenance": brief(job.provenance)}
                path = self._path(job.folder, task)
                write_json(path, sealed({"network": task[0], "found": result, **noted}))
                found[task[0]] = read_json(path)["found"]
                bar.advance()
                interrupts.check()
        return found

    def _path(self, folder: Path, task: Task) -> Path:
        return folder / self.place / f"{digest_of_json(task[0])}.json"

    def _kept(self, path: Path, task: Task) -> dict[str, Any] | None:
        if not path.exists():
            return None
        kept, (network, wanted) = mapping(read_json(path)), task
        check_seal(path, kept)
        if CHECKSUM not in kept or not fits(path, kept.get("origin"), self.origin(task)):
            raise UserError(f"{path} does not say what it was made from; delete it and give the same command again.")
        if kept.get("network") != network:
            raise other(path, f"the network {shown(kept.get('network'))}", shown(network))
        found = mapping(kept.get("found"))
        if not all(map(_is_whole, (found.get(name) for name in wanted))):
            raise UserError(f"{path} is truncated or corrupt; delete it and give the same command again.")
        return dict(found)


def _is_whole(value: Any) -> bool:
    """Whether it is what a file says of a network: an accuracy, or a score with its milliseconds."""
    if isinstance(value, Mapping):
        return _is_number(value.get("ms")) and (_is_number(value.get("value")) or value.get("value") in ("nan", "inf", "-inf"))
    return _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
