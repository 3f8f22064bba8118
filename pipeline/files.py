"""Files that are whole or absent: written under a temporary name beside their place, synced, then renamed."""

import errno
import hashlib
import json
import math
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.received import strange

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
    value = _read(Path(path), parse_json, NO_JSON, times=PARSED)
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
    damage = (SafetensorError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError)
    return _read(Path(path), load, damage, times=2)


def read_metadata(path: Path) -> dict[str, str]:
    """The words that a safetensors file carries beside its tensors, which are not read.

    Raises:
        UserError: the file is missing, truncated or corrupt.
    """

    def parse(data: bytes) -> dict[str, str]:
        header = json.loads(data[8:].decode())
        return dict(header.get("__metadata__", {}))

    damage = (ValueError, TypeError, AttributeError, RecursionError)
    return _read(Path(path), parse, damage, header_of, times=0)


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

    def digest(path: Path) -> bytes:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    return _read(Path(path), bytes.hex, (), digest)


PARSED, LARGE = 32, 1 << 24
"""how much more room than its text a JSON value may take, and the bytes from which on it is asked how much there is"""


def check_size(path: Path, size: int, times: int = 1) -> None:
    """Raises UserError where a file is so large that ``times`` its ``size``, in bytes, would fill the memory: a few bytes on a
    disk may be terabytes with nothing in them."""
    if size * times <= LARGE:
        return
    import psutil

    free = psutil.virtual_memory().available
    if size * times > free // 2:
        raise UserError(
            f"{path} is of {size / 2**30:.3g} GiB, too much for the {free / 2**30:.1f} GiB of memory that are free; no file of "
            "a run is so large: delete it and give the same command again."
        )


def plain_bytes(path: Path, times: int = 1, read: Callable[[Path], bytes] = Path.read_bytes) -> bytes:
    """What is in a file, which is looked at first.

    Raises:
        OSError: it is missing or cannot be read.
        UserError: it is a pipe or a device, which would be waited for or never end, or too large (:func:`check_size`).
    """
    there = path.stat()
    if (what := strange(there.st_mode)) is not None:
        raise UserError(f"{path} is {what}; put a file there, or remove it.")
    check_size(path, there.st_size, times)
    return read(path)


def _read(
    path: Path,
    parse: Callable[[bytes], Any],
    damage: tuple[type[Exception], ...],
    read: Callable[[Path], bytes] = Path.read_bytes,
    times: int = 1,
) -> Any:
    """What ``parse`` makes of a file's bytes."""
    try:
        data = plain_bytes(path, times, read)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); give the command that writes it again.") from error
    try:
        return parse(data)
    except damage as error:
        raise UserError(f"{path} is truncated or corrupt; delete it and give the same command again.") from error
