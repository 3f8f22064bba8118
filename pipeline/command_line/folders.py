"""The folder that a command works in: made, locked, and refused where it holds something else."""

import fcntl
import os
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import names
from pipeline.command_line.beginning import saved_settings
from pipeline.command_line.options import Command
from pipeline.config import to_dotted
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.received import no_link, refuse_links

DATASETS: tuple[str, ...] = typing.get_args(names.DataSetName)
"""names of data sets; anything else is somebody's own file, which may lie elsewhere tomorrow"""


def check_settings(command: Command) -> None:
    """Raises UserError where the output folder holds a run of other settings. Nothing is written.

    Data are told apart by what is in them, not by the path of their file (see :func:`pipeline.compare.folder.check_data`).
    """
    saved = saved_settings(command.folder)
    if saved is not None:
        compare_settings(str(command.folder), to_dotted(saved[1]), to_dotted(command.config))


def check_kind(command: Command) -> None:
    """Raises UserError where the output folder holds another kind of work. Nothing is written."""
    folder = command.folder
    if os.path.exists(folder / "plan.json"):
        raise UserError(f"{folder} holds a search; choose another --output.")
    if os.path.exists(folder / "config.json"):
        saved = read_json(folder / "config.json")
        compare_kinds(str(folder), saved.get("work", "run") if isinstance(saved, dict) else "run", command.work)


def compare_kinds(place: str, there: Any, here: str) -> None:
    """Raises UserError where the work in ``place`` is of another kind than what is to be done."""
    if there != here:
        what = {"run": "a run with an ENN", "compare": "a comparison without an ENN (of `grad-instructor compare`)"}
        raise UserError(f"{place} holds {what.get(str(there), 'something else')}; choose another --output.")


def compare_settings(place: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raises UserError where the run in ``place`` has other settings (by dotted name) than are given here."""
    files = not {here["data.dataset"], str(there["data.dataset"])} & set(DATASETS)
    changed = [key for key in here if here[key] != there[key] and not (files and key == "data.dataset")]
    if changed:
        key, more = changed[0], f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{place} holds a run with other settings ({key} is {there[key]!r} there and {here[key]!r} here{more}); "
            "choose another --output or drop the options."
        )


def check_name(output: Path | None) -> None:
    """Raises UserError where the name of the output folder, or of one that it lies in, is no text: records and databases could
    not tell it."""
    folder = (output or Path()).absolute()
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        name = os.fsencode(folder).decode("utf-8", "backslashreplace")
        raise UserError(f"the name of the output folder {name} is not UTF-8; choose another --output.") from error


def make_folder(command: Command) -> Path:
    """The command's output folder, which is there afterwards.

    Raises:
        UserError: it cannot be made.
    """
    try:
        command.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the output folder {command.folder} ({error.strerror}); choose another --output."
        ) from error
    return command.folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One command at a time in a folder."""
    try:
        file = open(folder / ".lock", "a", opener=no_link)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UserError(f"the output folder {folder} is not writable ({error.strerror}); choose another --output.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another command is at work in {folder}; wait for it or choose another --output.") from error
        yield


def newest_folder(runs: Path = Path("runs")) -> Path:
    """The folder in ``runs`` that was worked in last, by a run, a search or any other command that records.

    Raises:
        UserError: there is none.
    """
    folders = [path.parent for path in runs.glob("*/records.jsonl")]
    if not folders:
        raise UserError("no run was found in ./runs; give its folder with --output.")
    return max(folders, key=lambda folder: (folder / "records.jsonl").stat().st_mtime).absolute()


def check_is_run(folder: Path) -> None:
    """Raises UserError where no command has recorded anything in a folder."""
    refuse_links(folder)
    if not (folder / "records.jsonl").exists():
        raise UserError(f"{folder} holds no run; give the folder of one with --output.")
