"""Files that are whole or absent: written under a temporary name beside their place, synced, then renamed."""

import errno
import hashlib
import json
import math
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
LARGEST_HEADER = 100_000_000
"""bytes; safetensors refuses larger ones"""


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8) to ``path``, making its folder; afterwards the file is either the new one or the old one.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # of a process that had this one's number and was killed
        with open(temporary, "xb") as file:  # never through a link of that name
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> Exception:
    """What to raise for an ``error`` while writing ``path``: a sentence where the user can help, else the error itself."""
    if error.errno in _FULL:
        return UserError(
            f"the disk is full and {path} could not be written; free some space and give the same command again "
            "(earlier results are whole)."
        )
    if error.errno in _FORBIDDEN:
        return UserError(f"{path} is not writable ({error.strerror}); choose another output folder or change its permissions.")
    if error.errno == errno.ELOOP:
        return UserError(f"{path} is a link or no plain file, which is not written to; put a plain file there, or remove it.")
    if error.errno in _NO_FOLDER:
        return UserError(f"{path} cannot be made ({error.strerror}); choose another output folder.")
    return error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON that every reader takes, as :func:`strict` has it."""
    write_atomic(path, json.dumps(strict(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_changed(path: Path, value: Any, besides: tuple[str, ...] = ()) -> None:
    """The same, unless the file says so already: a date alone, in one of the names ``besides``, is nothing new."""
    try:
        there = read_json(path)
    except UserError:  # missing or damaged
        there = None
    new = strict(value)
    if isinstance(there, dict) and {**there, **dict.fromkeys(besides)} == {**new, **dict.fromkeys(besides)}:
        return
    write_json(path, value)


def strict(value: Any) -> Any:
    """The value as JSON will give it back: numbers that are not finite None, tuples lists; arrays and paths plain.

    Raises:
        TypeError: there is something of another kind.
    """
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return strict(plain(value))


def plain(value: Any) -> Any:
    """What JSON can hold instead of ``value`` (an array, a scalar of numpy or torch, a path).

    Raises:
        TypeError: there is nothing of the kind.
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_json(path: Path, null: Any = None) -> Any:
    """The value in a JSON file.

    Args:
        null: what stands for null; NaN where each is a number that was not finite.

    Raises:
        UserError: the file is missing, truncated or corrupt, or holds NaN or Infinity, which are no JSON.
    """
    value = _read(Path(path), parse_json, NO_JSON)
    return value if null is None else _with_null(value, null)


NO_JSON = (ValueError, RecursionError)
"""what :func:`parse_json` raises; a RecursionError comes of brackets in thousands"""


def parse_json(text: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises one of ``NO_JSON`` where it is none, also for NaN, which json.loads takes."""
    return json.loads(text.decode(), parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _with_null(value: Any, null: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_null(item, null) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_null(item, null) for item in value]
    return null if value is None else value


def write_tensors(path: Path, tensors: dict[str, "torch.Tensor"], metadata: dict[str, str] | None = None) -> str:
    """Write named tensors as safetensors; the SHA-256 of the file."""
    from safetensors.torch import save

    data = save({name: _own(tensor) for name, tensor in tensors.items()}, metadata)
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def _own(tensor: "torch.Tensor") -> "torch.Tensor":
    """The tensor on the CPU, in memory that it shares with no other (safetensors insists)."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor.clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor


def read_tensors(path: Path) -> dict[str, "torch.Tensor"]:
    """The tensors in a safetensors file, on the CPU.

    Raises:
        UserError: the file is missing, truncated or corrupt.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    # a header that is well formed may still name types, shapes and sizes that make no tensor
    return _read(Path(path), load, (SafetensorError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError))


def read_metadata(path: Path) -> dict[str, str]:
    """The words that a safetensors file carries beside its tensors, which are not read.

    Raises:
        UserError: the file is missing, truncated or corrupt.
    """

    def parse(data: bytes) -> dict[str, str]:
        header = json.loads(data[8:].decode())
        return dict(header.get("__metadata__", {}))

    damage = (ValueError, TypeError, AttributeError, RecursionError)
    return _read(Path(path), parse, damage, header_of)


def header_of(path: Path) -> bytes:
    """The length and the header of a safetensors file: names, types, shapes and places of its tensors, and its metadata."""
    with path.open("rb") as file:
        length = file.read(8)
        return length + file.read(min(int.from_bytes(length, "little"), LARGEST_HEADER))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Raises:
        UserError: it is missing.
    """
    return _read(Path(path), lambda data: hashlib.sha256(data).hexdigest(), ())


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
    for place, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = os.path.join(place, name)
            try:
                there = os.lstat(path)
            except OSError:  # it has gone meanwhile
                continue
            if what := _strange(there.st_mode):
                raise _refused(path, f"{what}, which is not followed in a run's folder")
            if stat.S_ISREG(there.st_mode) and there.st_nlink > 1:
                linked.setdefault((there.st_dev, there.st_ino), []).append(path)
    for names in linked.values():
        with suppress(OSError):
            if os.lstat(names[0]).st_nlink > len(names):
                raise _refused(names[0], "a hard link to a file elsewhere, which is not followed in a run's folder")


def _refused(path: str, what: str) -> UserError:
    return UserError(f"{path} is {what}; put the file itself there, or choose another --output.")


def _strange(mode: int) -> str | None:
    """What something is that is neither a file nor a folder."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def is_inside(name: Any) -> bool:
    """Whether a path found in a file stays in the folder that it is relative to (links are not followed)."""
    return isinstance(name, str) and "\0" not in name and not Path(name).is_absolute() and ".." not in Path(name).parts


def _read(
    path: Path,
    parse: Callable[[bytes], Any],
    damage: tuple[type[Exception], ...],
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> Any:
    try:
        data = read(path)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); give the command that writes it again.") from error
    try:
        return parse(data)
    except damage as error:
        raise UserError(f"{path} is truncated or corrupt; delete it and give the same command again.") from error
