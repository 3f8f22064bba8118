"""A copy of the output folder in storage that several machines reach: NFS, S3, or what else pyarrow has a file system for.

Results are written to the folder first, then copied as the work goes on. On another machine the same command fetches what is
there, and goes on from it. ``records.jsonl`` is copied last, so that whatever the copy's records name is in it. MLflow's
database is not copied: it is made from the records, wherever they are.
"""

import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline.addresses import keep_secret, shown_address, without_secrets
from pipeline.errors import UserError
from pipeline.files import NO_JSON, check_size, parse_json, write_atomic
from pipeline.received import is_inside, refuse_links

EVERY = 60.0
"""seconds between two copies while the work goes on; the end of a command copies what is left"""
RECORDS = "records.jsonl"
SAYING = ("config.json", "plan.json")


class Storage:
    """The copy of ``folder`` at ``uri``.

    Args:
        warn: is given one sentence, at most once, when the copy cannot be written while the work goes on.

    Raises:
        UserError: the address is none that pyarrow can use.
    """

    def __init__(self, folder: Path, uri: str, warn: Callable[[str], None]) -> None:
        from pyarrow import fs

        keep_secret(uri)
        self.folder, self.shown = Path(folder), shown_address(uri)
        self._warn, self._warned, self._again_at = warn, False, 0.0
        self._same: dict[str, tuple[int, int]] = {}
        try:
            self._files, self._root = fs.FileSystem.from_uri(uri)
        except (ValueError, OSError, NotImplementedError) as error:
            raise UserError(
                f"--storage-path {self.shown!r} is no address of a storage ({_reason(error)}); give an absolute path, or one "
                "such as s3://bucket/folder."
            ) from error
        if not self._root.strip("/"):
            raise UserError(f"--storage-path {self.shown!r} names no folder; give one such as s3://bucket/folder.")

    def compared(self) -> Literal["same", "ahead", "behind"]:
        """How far the copy has come, by its records, which are copied last; "behind" also where a file is missing in it.

        Raises:
            UserError: the storage cannot be read, or holds another run.
        """
        try:
            there = self._there()
            if RECORDS not in there:
                return "behind"
            copied = self._read(RECORDS)
            if self._is_ahead(copied):
                return "ahead"
            whole = set(files_of(self.folder)) <= set(there) and copied == (self.folder / RECORDS).read_bytes()
        except (OSError, NotImplementedError) as error:
            raise self._unreadable(error) from error
        return "same" if whole else "behind"

    def fetch(self, check: Callable[[Mapping[str, bytes]], None] | None = None) -> int:
        """Bring here what the copy holds, if it has come further than the folder; how many files that are.

        Args:
            check: is given the copy's files that say what it is of (``SAYING``), and raises UserError where it does not belong
                here; nothing is brought then.

        Raises:
            UserError: the storage cannot be read, or holds another run.
        """
        try:
            there = self._there()
            if RECORDS not in there or not self._is_ahead(self._read(RECORDS)):
                return 0
            if check is not None:
                check({name: self._read(name) for name in SAYING if name in there})
            for name in sorted(there, key=_records_last):
                write_atomic(self.folder / name, self._read(name))
                self._same[name] = _state(self.folder / name)
        except (OSError, NotImplementedError) as error:
            raise self._unreadable(error) from error
        return len(there)

    def send(self, last: bool = False) -> None:
        """Copy what is new here. Without the storage: one warning, and another attempt after ``EVERY`` seconds.

        Raises:
            UserError: it is the ``last`` call, and the copy could not be written; or there are links in the copy.
        """
        if not last and time.monotonic() < self._again_at:
            return
        self._again_at = time.monotonic() + EVERY
        self._look_through()
        try:
            for name in sorted(files_of(self.folder), key=_records_last):
                self._copy(name)
        except (OSError, NotImplementedError) as error:
            problem = f"the results cannot be copied to {self.shown} ({_reason(error)})"
            if last:
                raise UserError(f"{problem}; they are whole in {self.folder}: give the same command again.") from error
            if not self._warned:
                self._warn(f"{problem}; the work goes on, and its end tries again.")
            self._warned = True

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(f"the storage {self.shown} cannot be read ({_reason(error)}); check --storage-path.")

    def _copy(self, name: str) -> None:
        path = self.folder / name
        if not path.exists():  # a database's journal comes and goes
            return
        state = _state(path)
        if self._same.get(name) == state:
            return
        check_size(path, path.stat().st_size)
        place, local = f"{self._root}/{name}", self._files.type_name == "local"
        part = f"{self._root}/{Path(name).parent}/.{Path(name).name}.part" if local else place
        if local:  # an object store has no folders, and shows a file when it is whole
            self._files.create_dir(str(Path(place).parent), recursive=True)
        with self._files.open_output_stream(part) as file:
            file.write(path.read_bytes())
        if local:
            self._files.move(part, place)
        self._same[name] = state

    def _look_through(self) -> None:
        """Raises UserError where a copy in a folder holds links: others may write there too."""
        if self._files.type_name == "local":
            refuse_links(Path(self._root))

    def _there(self) -> list[str]:
        """The names of the copy's files, none of which leads out of the folder."""
        from pyarrow import fs

        self._look_through()
        found = self._files.get_file_info(fs.FileSelector(self._root, recursive=True, allow_not_found=True))
        bucket = self._root.partition("/")[0]
        if not found and bucket and self._files.get_file_info(bucket).type == fs.FileType.NotFound:
            raise UserError(f"the storage {self.shown} has no {bucket!r} to put results in; make it, or check --storage-path.")
        names = [info.path.removeprefix(self._root).strip("/") for info in found if info.type == fs.FileType.File]
        bad = [name for name in names if not is_inside(name)]
        if bad:
            raise UserError(f"the storage {self.shown} holds a file {bad[0]!r}, which is in no folder of ours; remove it.")
        for info in found:
            check_size(Path(self.shown, info.base_name), info.size or 0)
        return [name for name in names if _is_ours(Path(name))]

    def _is_ahead(self, copied: bytes) -> bool:
        here = self.folder / RECORDS
        if not here.exists():
            return True
        mine, theirs = _ends(here.read_bytes()), _ends(copied)
        if mine is None or theirs is None:
            return mine is None
        if mine[0] != theirs[0]:
            raise UserError(f"the storage {self.shown} holds another run than {self.folder}; choose another --storage-path.")
        return theirs[1] > mine[1]

    def _read(self, name: str) -> bytes:
        with self._files.open_input_stream(f"{self._root}/{name}") as file:
            return file.read()


def _ends(records: bytes) -> tuple[str, int] | None:
    """Whose records they are, and when the last one was written; None where they are none."""
    lines = records.split(b"\n")[:-1]
    try:
        return parse_json(lines[0])["id"], int(parse_json(lines[-1])["time"])
    except (*NO_JSON, LookupError, TypeError):
        return None


def files_of(folder: Path) -> list[str]:
    """The names of a run's files: not MLflow's, which are made from the records, no lock, and nothing that is being written."""
    names = [Path(place, name).relative_to(folder) for place, _, files in os.walk(folder) for name in files]
    return [name.as_posix() for name in names if _is_ours(name) and stat.S_ISREG((folder / name).lstat().st_mode)]


def _is_ours(name: Path) -> bool:
    return not name.parts[0].startswith(("mlflow", "mlartifacts")) and not any(part.startswith(".") for part in name.parts)


def _records_last(name: str) -> tuple[bool, str]:
    return name == RECORDS, name


def _state(path: Path) -> tuple[int, int]:
    there = path.stat()
    return there.st_mtime_ns, there.st_size


def _reason(error: Exception) -> str:
    """The first words of what may be pages of an SDK's message."""
    text: Any = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return without_secrets(" ".join(str(text).split()))[:200].rstrip(".")
