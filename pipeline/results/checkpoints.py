"""The files of a training: checkpoints and the history, each of which says what it was made from."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError, shown
from pipeline.files import read_json, read_metadata, read_tensors, write_tensors
from pipeline.results.origin import Origin, fits, other

if TYPE_CHECKING:
    import torch


def write_checkpoint(path: Path, tensors: dict[str, "torch.Tensor"], origin: Origin | None) -> None:
    """A safetensors file that says what it was made from, and which file it is."""
    if origin is None:
        write_tensors(path, tensors)
        return
    text = json.dumps({"file": path.name, **origin.as_json()}, sort_keys=True)
    write_tensors(path, tensors, {"origin": text})  # one key: the order of several is left to chance


def read_checkpoint(path: Path, origin: Origin | None) -> dict[str, "torch.Tensor"]:
    """Its tensors.

    Raises:
        UserError: it is missing or damaged, or was made from something else.
    """
    if origin is not None:
        checkpoint_fits(path, origin)
    return read_tensors(path)


def checkpoint_fits(path: Path, origin: Origin) -> bool:
    """See :func:`fits`; reads the first bytes alone."""
    try:
        found = json.loads(read_metadata(path).get("origin", "null"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is truncated or corrupt; delete it and give the same command again.") from error
    if isinstance(found, Mapping) and found.get("file", path.name) != path.name:
        raise other(path, f"the name {shown(found['file'])}", f"the name {path.name!r}")
    return fits(path, found, origin)


def read_history(path: Path, origin: Origin | None) -> list[dict[str, Any]]:
    """The rows of a training's history, none where there is no file.

    Raises:
        UserError: it is damaged, or a row was made from something else.
    """
    rows = read_json(path, math.nan) if path.exists() else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is truncated or corrupt; delete it and give the same command again.")
    if origin is not None:
        _rows_fit(path, rows, origin)
    return rows


def begun(rows: list[dict[str, Any]], needed: Callable[[int], Sequence[Path]]) -> list[dict[str, Any]]:
    """As much of a training's history as can be gone on with: what was done after it is done again, to the same numbers.

    Args:
        needed: the files without which a training cannot go on after so many rows.
    """
    for count in range(len(rows), 0, -1):
        missing = [path for path in needed(count) if not path.exists()]
        if not missing:
            return rows[:count]
        if count == len(rows):
            from pipeline.progress import warn  # which needs rich: the core runs where only torch and numpy are installed

            warn(f"{missing[0]} is missing: what cannot go on without it is trained again.")
    return []


def _rows_fit(path: Path, rows: Sequence[Mapping[str, Any]], origin: Origin) -> bool:
    for row in rows:
        if row.get("origin", origin.digest) != origin.digest:
            there = f"data, settings and ENN of digest {shown(row['origin'])} (row {rows.index(row) + 1})"
            raise other(path, there, f"those of digest {origin.digest!r}")
    return all("origin" in row for row in rows)


def training_fits(folder: Path, history: str, checkpoints: Sequence[str], origin: Origin) -> list[Path]:
    """The files of a training (its ``history`` and ``checkpoints``, as patterns) in ``folder`` that do not say what they were
    made from.

    Raises:
        UserError: one was made from something else.
    """
    files = [path for pattern in checkpoints for path in sorted(folder.glob(pattern))]
    silent = [path for path in files if not checkpoint_fits(path, origin)]
    path = folder / history
    return silent if _rows_fit(path, read_history(path, None), origin) else [*silent, path]
