"""What a benchmark has computed already: one that was stopped goes on, and nothing is taken for what it is not.

A part (a row, an arm, an ENN) lies under a name that ends in the digest of all that decides its numbers: what the benchmark
says of it, the constants of the benchmark, its code and all of this project's code that it imports
(:mod:`benchmarks.imports`), the versions of torch and numpy. For data and ENNs the benchmark names their digests
(``Dataset.digest``, :func:`enn_digest`). The code counts by its text rather than by its commit: what is not committed counts,
and a commit that changes none of it loses nothing. What fits is read, with the provenance under which it was computed; all else
is computed.

    cache = Cache.of(__file__, globals(), options.work, facts, data=dataset.digest, enn=enn_digest(options.enn))
    part = cache.part("home", lambda: measure(task), task=task)
    part.value, part.provenance["commit"]
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks import imports
from pipeline.enn.files import SHIPPED, read_description, shipped
from pipeline.errors import UserError
from pipeline.files import plain, read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("torch", "numpy")
"""of a provenance: packages whose version may change a number"""
DIGITS = 16
"""of a digest, hexadecimal, in a file's name"""


@dataclass(frozen=True)
class Part:
    """What was computed, now or earlier."""

    value: Any
    """as it comes out of JSON"""
    provenance: dict[str, Any]
    """under which it was computed"""


@dataclass(frozen=True)
class Cache:
    """A folder of finished parts."""

    folder: Path
    provenance: dict[str, Any]
    """of what is computed now"""
    decides: dict[str, Any]
    """the numbers of every part"""

    @classmethod
    def of(cls, file: str, names: Mapping[str, Any], folder: Path, provenance: dict[str, Any], **decides: Any) -> "Cache":
        """The cache of a benchmark.

        Args:
            file, names: the benchmark's ``__file__`` and ``globals()``, in which the constants are found.
            decides: what else decides the numbers of all of its parts.
        """
        versions = {name: provenance[name] for name in VERSIONS}
        common = {"code": code_digest(Path(file)), "constants": constants(names), "versions": versions}
        return cls(folder, provenance, common | decides)

    def part(self, name: str, compute: Callable[[], Any], **decides: Any) -> Part:
        """The part that ``decides`` describes, computed if it is not there.

        Args:
            name: for who looks into the folder; parts may share it.
        """
        facts = self._facts(decides)
        file = self.folder / f"{_plain_name(name)}-{digest(facts)}.json"
        kept = _read(file)
        if kept is None or kept["decided by"] != facts:
            write_json(file, {"decided by": facts, "provenance": self.provenance, "value": compute()})
            kept = read_json(file)
        return Part(kept["value"], kept["provenance"])

    def place(self, name: str, **decides: Any) -> Path:
        """A folder for what ``decides`` describes, for those who keep their own files and go on from them."""
        facts = self._facts(decides)
        folder = self.folder / f"{_plain_name(name)}-{digest(facts)}"
        if not (folder / "decided-by.json").exists():
            write_json(folder / "decided-by.json", facts)
        return folder

    def _facts(self, decides: dict[str, Any]) -> dict[str, Any]:
        return json.loads(_json(self.decides | decides))


def made_by(parts: Sequence[Part]) -> dict[str, Any]:
    """The provenance of a row that comes of several parts: the last's, with all the "commits"."""
    return parts[-1].provenance | {"commits": list(dict.fromkeys(part.provenance["commit"] for part in parts))}


def digest(facts: Any) -> str:
    """Of what JSON can hold, however its keys are ordered."""
    return hashlib.sha256(_json(facts).encode()).hexdigest()[:DIGITS]


def enn_digest(enn: str | Path) -> str:
    """Of an ENN's weights and of what they mean, by its file or its name in the package; loading it has checked it.

    Raises:
        UserError: it is not there.
    """
    path = SHIPPED / f"{enn}.safetensors" if isinstance(enn, str) and enn in shipped() else Path(enn)
    return str(read_description(path)["sha256"])


def weights_digest(enn: nn.Module) -> str:
    """Of the weights of an ENN in memory."""
    total = hashlib.sha256()
    for name, tensor in sorted(enn.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)}\n".encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:DIGITS]


def code_digest(file: Path | None = None) -> str:
    """Of the text of a benchmark and of all that it imports of this project; without one, of pipeline/ and rl/."""
    own = {name: path for name, path in imports.modules(ROOT).items() if name.split(".")[0] in ("pipeline", "rl")}
    total = hashlib.sha256()
    for name, path in (own if file is None else imports.needed(file, ROOT)).items():
        total.update(f"{name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return total.hexdigest()[:DIGITS]


def constants(names: Mapping[str, Any]) -> dict[str, Any]:
    """The constants among a module's ``names``: those in capitals, but for paths and for what JSON cannot hold."""
    found = {}
    for name, value in names.items():
        if name.isupper() and not isinstance(value, Path):
            try:
                found[name] = json.loads(_json(value))
            except TypeError:  # a type or a table of tensors, say; the code's digest speaks for these
                continue
    return found


def _json(value: Any) -> str:
    return json.dumps(_keyed(value), sort_keys=True, default=_described)


def _keyed(value: Any) -> Any:
    """With text for keys, which JSON insists on."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): _keyed(item) for key, item in value.items()}
    return [_keyed(item) for item in value] if isinstance(value, list | tuple) else value


def _described(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _keyed({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, slice):
        return [value.start, value.stop, value.step]
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    return plain(value)


def _plain_name(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name, flags=re.ASCII).strip("-")


def _read(file: Path) -> dict[str, Any] | None:
    """What a file of the cache holds; None where there is none, or none that is whole."""
    if not file.exists():
        return None
    try:
        kept = read_json(file)
    except UserError:
        return None
    return kept if isinstance(kept, dict) and kept.keys() == {"decided by", "provenance", "value"} else None
