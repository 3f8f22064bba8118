"""Folders that somebody else has filled: what in them is no plain file or folder is neither read nor written through."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import LONGEST, UserError


def no_link(path: Any, flags: int) -> int:
    """For ``open``: what is there must be a plain file, of this one name. Whatever a link leads to stays as it is, and nothing
    waits for the other end of a pipe.

    Raises:
        OSError: it is a link (symbolic or hard), a pipe, a device.
    """
    descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    there = os.fstat(descriptor)
    if not stat.S_ISREG(there.st_mode) or there.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.ELOOP, "it is a link or no plain file", str(path))
    if flags & os.O_TRUNC:
        os.ftruncate(descriptor, 0)
    return descriptor


BEGUN = ("records.jsonl", "config.json", "plan.json", "enn.safetensors", "mlflow-sent.json")
BEGUN += (".finished", ".lock", ".mlflow.lock")
"""files of which a folder has one as soon as a command has worked in it"""


def refuse_links(folder: Path, begun_only: bool = False) -> None:
    """Raises UserError where something among a run's files is no plain file or folder of its own: what a symbolic or hard link
    leads to would be read or written, and a pipe or device would keep a command waiting.

    The folder itself may be a symbolic link.

    Args:
        begun_only: look only where a command has worked before: what else is named as an output folder may be anything.
    """
    if begun_only and not any(os.path.lexists(os.path.join(folder, name)) for name in BEGUN):
        return
    linked: dict[tuple[int, int], list[str]] = {}
    """by file: its names in the folder, of those that have several anywhere"""
    for path, there in _all_in(folder):
        if what := strange(there.st_mode):
            raise _refused(path, f"{what}, which is not followed in a run's folder")
        if stat.S_ISREG(there.st_mode) and there.st_nlink > 1:
            linked.setdefault((there.st_dev, there.st_ino), []).append(path)
    for names in linked.values():
        with suppress(OSError):
            if os.lstat(names[0]).st_nlink > len(names):
                raise _refused(names[0], "a hard link to a file elsewhere, which is not followed in a run's folder")


DEEPEST = 100
"""folders in each other"""


def _all_in(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Whatever is in a folder, at any depth, in order, as it is itself.

    Raises:
        UserError: a folder in it cannot be looked through, so that nobody knows what a name in it leads to.
    """
    places = [(os.fspath(folder), 0)]
    while places:
        place, depth = places.pop()
        try:
            names = sorted(os.listdir(place))
        except (FileNotFoundError, NotADirectoryError):  # it has gone meanwhile, or is still to be made
            continue
        except OSError as error:
            raise UserError(
                f"{place} cannot be looked through ({error.strerror}); change its permissions, or choose another --output."
            ) from error
        if depth > DEEPEST:
            raise UserError(f"{place[:LONGEST]}… is {DEEPEST} folders deep, as no run's is; remove it.")
        for path in (os.path.join(place, name) for name in names):
            try:
                there = os.lstat(path)
            except OSError:  # it has gone meanwhile
                continue
            if stat.S_ISDIR(there.st_mode):
                places.append((path, depth + 1))
            yield path, there


def _refused(path: str, what: str) -> UserError:
    return UserError(f"{path} is {what}; put the file itself there, or choose another --output.")


def strange(mode: int) -> str | None:
    """What something is that is neither a file nor a folder."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def is_inside(name: Any) -> bool:
    """Whether a path found in a file stays in the folder that it is relative to (links are not followed)."""
    return isinstance(name, str) and "\0" not in name and not Path(name).is_absolute() and ".." not in Path(name).parts
