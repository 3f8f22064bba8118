"""Malformed files of every kind that users exchange, given to the loaders that read them.

    python -m tests.support.fuzz                          # 10,000 files of each kind, some minutes
    python -m tests.support.fuzz --examples 500 --kinds npz
    python -m tests.support.fuzz --quick                  # 20 of each, seconds

The only outcomes that pass are that a file is read, or that a UserError says in one sentence what is wrong with it: no other
exception, no more than ``SECONDS`` of the processor for a file, no more than ``MEMORY`` beyond what the process held before.
The row of each kind that was run in full goes into benchmarks/results/fuzz.json.

A kind is a valid file and a loader. Its files are made by hypothesis: the valid one with its values exchanged (and signed anew
where there is a signature, as an adversary would), and then, or instead, with its bytes cut, flipped, doubled or spliced.
"""

import io
import json
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from benchmarks import quick, tables
from pipeline.addresses import shown_address, without_secrets
from pipeline.command_line import finished
from pipeline.command_line.beginning import saved_settings
from pipeline.command_line.dispatch import line_of
from pipeline.config import Config, to_dotted, validate
from pipeline.data.images import load_folder
from pipeline.data.npz import load_npz
from pipeline.data.tables import load_csv, load_parquet
from pipeline.enn import Critic, load_critic, save_critic
from pipeline.enn.files import _checksum
from pipeline.errors import UserError
from pipeline.files import read_json, read_tensors, write_json
from pipeline.received import refuse_links
from pipeline.results.mlflow import Mirror, ui_environment
from pipeline.results.mlflow.address import checked
from pipeline.results.provenance import provenance
from pipeline.results.records import Records
from pipeline.results.seal import read_report
from pipeline.search.reading import read_plan
from pipeline.setting import home_of
from pipeline.targets import MLP

ROOT = Path(__file__).resolve().parents[2]

EXAMPLES = 10_000
QUICK = {"EXAMPLES": 20}
SECONDS = 5.0
"""that one file may take"""
MEMORY = 2 << 30
"""bytes of address space that reading one file may ask for"""
LONGEST = 1000
"""characters of a sentence"""

Files = dict[str, bytes]
"""by name"""


@dataclass
class Tally:
    """What became of the files of a kind."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    sentences: set[str] = field(default_factory=set)
    """the refusals, without what stands in quotation marks and digits: how many ways of being wrong were met"""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    files: Callable[[Path], Files]
    """valid ones, made in a folder"""
    malformed: Callable[[Files], st.SearchStrategy[Files]]
    load: Callable[[Path], Any]
    """given the folder that the files lie in"""


def fuzz(kind: Kind, examples: int, folder: Path) -> Tally:
    """Give ``examples`` malformed files of a kind to its loader.

    Raises:
        AssertionError: hypothesis' smallest file that is met with anything but success or one sentence.
    """
    tally, valid = Tally(), kind.files(folder / "valid")
    place = folder / "malformed"
    place.mkdir()
    for name, data in valid.items():
        (place / name).write_bytes(data)
    kind.load(place)

    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,  # the files that fail may be large
    )
    @hypothesis.given(kind.malformed(valid))
    def run(files: Files) -> None:
        for name, data in files.items():
            (place / name).write_bytes(data)
        started = time.process_time()
        with limited_memory():
            sentence = outcome(lambda: kind.load(place))
        tally.slowest = max(tally.slowest, time.process_time() - started)
        tally.read += sentence is None
        tally.refused += sentence is not None
        if sentence is not None:
            tally.sentences.add(_form(sentence, place))
        assert tally.slowest < SECONDS, f"{kind.name}: {tally.slowest:.1f} s"

    run()
    shutil.rmtree(place)
    return tally


def outcome(load: Callable[[], Any]) -> str | None:
    """None where ``load`` succeeds, else its one sentence.

    Raises:
        AssertionError: it is none. Any other exception than a UserError goes through.
    """
    try:
        load()
    except UserError as error:
        sentence = str(error)
        assert sentence.endswith((".", "?")) and sentence.isprintable() and len(sentence) <= LONGEST, repr(sentence)
        return sentence
    return None


class limited_memory:
    """No more than ``MEMORY`` bytes beyond the address space of now: more is a MemoryError."""

    def __enter__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self.before)


def _form(sentence: str, place: Path) -> str:
    words = sentence.replace(str(place), "").split()
    return " ".join(word for word in words if word.isalpha())


# -- bytes and values ---------------------------------------------------------------------------------------------------

EXTREME = [0, -1, 1, 2**31, 2**63 - 1, 2**64, 10**400, -(10**400), 1e308, -1e308, 5e-324, float("nan"), float("inf"), True]
NAMES = ["", ".", "..", "../../outside", "/etc/passwd", "a\0b", "a\nb", "\x1b[2J", "\ud800", "x" * 5000, "λ", "__class__"]


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """``data`` with up to four places cut out, overwritten, doubled or filled with something else."""
    place, length = st.integers(0, max(len(data), 1)), st.integers(0, 64)
    edit = st.tuples(st.sampled_from(["cut", "flip", "double", "fill", "number"]), place, length, st.binary(max_size=16))

    def apply(edits: list[tuple[str, int, int, bytes]]) -> bytes:
        changed = data
        for how, start, size, filling in edits:
            middle = changed[start : start + size]
            if how == "flip":
                middle = bytes(byte ^ 1 << start % 8 for byte in middle)
            elif how == "double":
                middle *= 1 + len(filling)
            else:
                middle = {"cut": b"", "fill": filling, "number": struct.pack("<Q", 2 ** (size % 64) - 1)}[how]
            changed = changed[:start] + middle + changed[start + size :]
        return changed

    return st.lists(edit, min_size=1, max_size=4).map(apply) | place.map(lambda end: data[:end])


def values() -> st.SearchStrategy[Any]:
    """What JSON, or YAML, may hold where something else was expected."""
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([*EXTREME, *NAMES])
    nested = st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    )
    return nested | st.integers(1, 3000).map(_nest)


def _nest(depth: int) -> Any:
    value: Any = []
    for _ in range(min(depth, 400)):
        value = [value]
    return value


def changed(document: Any, most: int = 3) -> st.SearchStrategy[Any]:
    """A document (of dicts, lists and leaves) with up to ``most`` of its values exchanged, left out, added or renamed."""
    places = list(_places(document))
    edit = st.tuples(
        st.sampled_from(places), st.sampled_from(["set", "set", "set", "drop", "add"]), values(), st.sampled_from(NAMES)
    )

    def apply(edits: list[tuple[tuple, str, Any, str]]) -> Any:
        new = json.loads(json.dumps(document))
        for place, how, value, name in edits:
            new = _edited(new, place, how, value, name)
        return new

    return st.lists(edit, min_size=1, max_size=most).map(apply)


def _places(document: Any, place: tuple = ()) -> Any:
    yield place
    inner = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in inner:
        yield from _places(value, (*place, key))


def _edited(document: Any, place: tuple, how: str, value: Any, name: str) -> Any:
    if not place:
        return value if how == "set" else document
    parent = document
    try:
        for key in place[:-1]:
            parent = parent[key]
        if how == "set":
            parent[place[-1]] = value
        elif how == "drop":
            del parent[place[-1]]
        elif isinstance(parent, dict):
            parent[name] = value
    except (LookupError, TypeError):  # an earlier edit took the place away
        pass
    return document


def text(document: Any) -> bytes:
    """As JSON; NaN and Infinity as Python writes them, half of a surrogate pair as it is."""
    return json.dumps(document).encode()


RAW = [
    b"",
    b"{",
    b"null",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"1" * 5000,
    b"1e999",
    b'"\\ud800"',
    b"\xff\xfe",
    b"NaN",
    b"{}" * 9,
]


def damaged_json(valid: bytes) -> st.SearchStrategy[bytes]:
    """A JSON document with its values exchanged, its bytes damaged, or something else altogether."""
    document = json.loads(valid)
    return changed(document).map(text) | damaged(valid) | st.sampled_from(RAW) | values().map(text)


# -- kinds --------------------------------------------------------------------------------------------------------------


def _npz_files(folder: Path) -> Files:
    chance = np.random.default_rng(0)
    arrays = {f"x_{part}": chance.random((rows, 4), np.float32) for part, rows in (("train", 8), ("test", 4))}
    arrays |= {f"y_{part}": np.arange(rows) % 2 for part, rows in (("train", 8), ("test", 4))}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return {"data.npz": buffer.getvalue()}


KEYS = ["x_train", "y_train", "x_test", "y_test", "x_validation", "y_validation", "x_trian", *NAMES[:8]]
TYPES = ["<f4", "<f8", "|u1", "<i8", ">u2", "|O", "|b1", "<U9", "<U1000000000", "|V0", "|V8", "<M8[s]", "<c16", "x", "<f16", ""]
SHAPES = st.lists(st.integers(0, 9) | st.sampled_from([-1, 2**31, 2**62, 10**400]), max_size=4).map(tuple)


ZEROS = st.just(bytes(1 << 20))


@st.composite
def _npy(draw: Any) -> bytes:
    """An .npy file whose header says one thing and whose contents may be another."""
    kind = draw(st.sampled_from(TYPES) | st.just([("a", "<f4"), ("b", "|O")]))
    header: Any = {"descr": kind, "fortran_order": draw(st.booleans()), "shape": draw(SHAPES)}
    written = draw(
        st.sampled_from(
            [repr(header), repr(header), "{" * 9000, "(" * 900, "{'descr': __import__('os')}", "\0", repr(header)[:-3]]
        )
    )
    written = (written + " " * 20 + "\n").encode()
    version = draw(st.sampled_from([(1, 0), (1, 0), (2, 0), (3, 0), (9, 9)]))
    length = struct.pack(
        "<H" if version == (1, 0) else "<I", draw(st.sampled_from([len(written), len(written), 3, 65535])) % 2**16
    )
    return b"\x93NUMPY" + bytes(version) + length + written + draw(st.binary(max_size=200)) * draw(st.sampled_from([1, 1, 50]))


@st.composite
def _archive(draw: Any) -> bytes:
    """A zip archive of .npy files, its members' names and sizes not always true, some of them bombs."""
    buffer = io.BytesIO()
    valid = draw(st.booleans())
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in draw(st.lists(st.sampled_from(KEYS), max_size=7)) if not valid else KEYS[:4]:
            contents = draw(_npy() | _sound_npy(key) | _sound_npy(key) | st.binary(max_size=40) | ZEROS)
            name = key + draw(st.sampled_from([".npy", ".npy", ".npy", "", ".pkl"]))
            archive.writestr(zipfile.ZipInfo(name.encode("utf-8", "replace").decode()), contents, zipfile.ZIP_DEFLATED)
    data = buffer.getvalue()
    directory = data.rfind(b"PK\x01\x02")
    if directory > 0 and draw(st.integers(0, 9)) == 0:  # the last member claims to unpack to terabytes
        data = data[: directory + 24] + struct.pack("<I", 2**32 - 2) + data[directory + 28 :]
    return data


@st.composite
def _sound_npy(draw: Any, key: str) -> bytes:
    """An array of a sound shape or nearly, with numbers that may be none."""
    rows = draw(st.sampled_from([8, 8, 8, 1, 0]))
    numbers = draw(st.lists(st.sampled_from([0, 1, 1, -1, 7, 0.5, 1e39, float("nan"), float("inf")]), min_size=1, max_size=8))
    array = np.resize(np.array(numbers), (rows, 4) if key.startswith("x") else (rows,))
    buffer = io.BytesIO()
    with np.errstate(all="ignore"):
        np.save(buffer, array.astype(draw(st.sampled_from(["<f4", "<f8", "|u1", "<i8"]))))
    return buffer.getvalue()


def _malformed_npz(valid: Files) -> st.SearchStrategy[Files]:
    made = _archive()
    return (damaged(valid["data.npz"]) | made | made.flatmap(damaged)).map(lambda data: {"data.npz": data})


def _enn_files(folder: Path, reader: str = "probes") -> Files:
    config = Config()
    enn = type(config.enn)(probes=2, hidden=3, width=2, depth=1, resolution=0.5)
    torch.manual_seed(0)
    critic = Critic(reader, enn, home_of(config, MLP((4, 3, 2), "relu")))
    save_critic(critic, folder / "enn.safetensors", {"from": "here"})
    return {name: (folder / name).read_bytes() for name in ("enn.safetensors", "enn.json")}


def _malformed_enn(valid: Files) -> st.SearchStrategy[Files]:
    """Damaged as they are, or changed and signed anew."""
    description = json.loads(valid["enn.json"])
    weights = st.just(valid["enn.safetensors"]) | _safetensors(valid["enn.safetensors"])

    def sign(parts: tuple[bytes, Any, bool]) -> Files:
        data, new, signed = parts
        if signed and isinstance(new, dict):
            new = new | {"sha256": _checksum(data, new)}
        return {"enn.safetensors": data, "enn.json": text(new)}

    resigned = st.tuples(weights, changed(description) | st.just(description), st.sampled_from([True, True, True, False])).map(
        sign
    )
    bytewise = st.tuples(weights, damaged_json(valid["enn.json"])).map(lambda pair: dict(zip(valid, pair, strict=True)))
    return resigned | resigned | bytewise


def _safetensors(valid: bytes) -> st.SearchStrategy[bytes]:
    """Its header changed, its header's length untrue, or its bytes damaged."""
    length = struct.unpack("<Q", valid[:8])[0]
    header, contents = json.loads(valid[8 : 8 + length]), valid[8 + length :]
    kinds = st.sampled_from(["F8_E4M3", "F4", "BOOL", "I64", "F64", "BF16", "C64", "X"])

    def join(parts: tuple[Any, Any, int | None]) -> bytes:
        new, kind, claimed = parts
        if kind and isinstance(new, dict) and new:
            first = new[next(iter(new))]
            if isinstance(first, dict):
                first["dtype"] = kind
        written = text(new)
        return struct.pack("<Q", (len(written) if claimed is None else claimed) % 2**64) + written + contents

    claims = st.none() | st.none() | st.integers(0, 2**64) | st.sampled_from([2**63, 10**8, 10**8 + 1, 7])
    return st.tuples(changed(header) | st.just(header), st.none() | kinds, claims).map(join) | damaged(valid)


def _settings_files(folder: Path) -> Files:
    write_json(folder / "config.json", {"preset": "digits", "settings": to_dotted(Config())})
    return {"config.json": (folder / "config.json").read_bytes()}


def _load_settings(folder: Path) -> None:
    saved = saved_settings(folder)
    assert saved is not None
    validate(saved[1])


def _records_files(folder: Path) -> Files:
    records = Records(folder)
    records.start("run", "main", None, {"a": 1}, {"commit": "abc"})
    records.dataset("run", "digits", "d" * 64, {"train": 10})
    records.metrics("run", 0, {"loss": 1.0})
    records.series("run", "accuracy", [0, 1], [0.5, 0.6])
    (folder / "map.png").write_bytes(b"png")
    records.image("run", "map.png", "map", 0)
    records.artifact("run", "map.png", "figures")
    records.model("run", "evaluation-network", "map.png", {"error": 0.1})
    records.tags("run", {"mlflow.note.content": "a table"})
    records.series("run", "val/accuracy", [0, 1], [0.5, 0.6], [1, 2])
    records.result("run", {"accuracy": 0.9})
    records.end("run", "FINISHED")
    return {"records.jsonl": records.path.read_bytes()}


def _malformed_records(valid: Files) -> st.SearchStrategy[Files]:
    lines = [json.loads(line) for line in valid["records.jsonl"].splitlines()]
    whole = changed(lines).map(lambda new: b"".join(text(line) + b"\n" for line in (new if isinstance(new, list) else [new])))
    return (whole | whole | damaged(valid["records.jsonl"]) | st.sampled_from(RAW)).map(lambda data: {"records.jsonl": data})


RAW_YAML = [
    *RAW,
    b"- " * 9000,
    b"[" * 19_000,
    b"{a: " * 4000,
    b"a: &a [*a]",
    b"a: !!python/object/apply:os.system [true]",
    b"a: !!int ''",
    b"? [a]\n: b",
    b"<<: {a: 1}",
    b"=: =",
    b"a: 2001-13-45",
    b"0x" + b"f" * 9000 + b": 0x" + b"f" * 9000,
    b"1" + b":1" * 4000,
    b"%YAML 9.9\n---\na: 1",
    b"--- a\n--- b",
    b"a: |\n\t b",
    b"x" * 30_000,
]


def _search_files(folder: Path) -> Files:
    return {"search.yaml": (ROOT / "tune_configs" / "smoke.yaml").read_bytes()}


def _malformed_search(valid: Files) -> st.SearchStrategy[Files]:
    """Its values exchanged (JSON is YAML), with some of them as they stand in YAML, or its bytes damaged."""
    data = valid["search.yaml"]
    document = changed(yaml.safe_load(data))
    written = document.map(lambda new: yaml.safe_dump(new).encode(errors="replace"))
    raw = st.sampled_from(RAW_YAML)
    spliced = st.tuples(st.integers(0, len(data)), raw).map(lambda parts: data[: parts[0]] + parts[1][:9000] + data[parts[0] :])
    some = document.map(text) | document.map(text) | written | damaged(data) | damaged(data) | spliced | raw
    return some.map(lambda new: {"search.yaml": new})


def _load_records(folder: Path) -> None:
    """Reads them, and looks at the paths that would be sent to MLflow."""
    for event in Records(folder).events:
        for name in ("path", "folder"):
            if event["kind"] in ("artifact", "image", "model") and name in event:
                assert (folder / event[name]).resolve().is_relative_to(folder.resolve()), event


def _load_tensors(folder: Path) -> None:
    for tensor in read_tensors(folder / "enn.safetensors").values():
        tensor.sum()


# -- tables and images ---------------------------------------------------------------------------------------------------


def _csv_files(folder: Path) -> Files:
    rows = [f"{n / 7:.3f},{n % 5},{'ab'[n % 2]},{'train' if n < 16 else 'test'}" for n in range(20)]
    return {"data.csv": "\n".join(["f0,f1,label,split", *rows, ""]).encode()}


CELLS = [
    "",
    "NaN",
    "inf",
    "1e400",
    "-1",
    "300",
    "λ",
    "\x1b[2J",
    "'",
    '"',
    "9" * 400,
    "true",
    "2001-01-01",
    "train",
    "tset",
    "label",
]


def _malformed_csv(valid: Files) -> st.SearchStrategy[Files]:
    """Cells exchanged, left out or added, in the line of names as well; or bytes damaged."""
    lines = [line.split(",") for line in valid["data.csv"].decode().splitlines()]
    place = st.tuples(st.integers(0, len(lines) - 1) | st.just(0), st.integers(0, 3), st.sampled_from(["set", "drop", "add"]))

    def apply(edits: list[tuple[tuple[int, int, str], str]]) -> bytes:
        new = [list(line) for line in lines]
        for (row, column, how), cell in edits:
            new[row][column : column + (how != "add")] = [] if how == "drop" else [cell]
        return "\n".join(map(",".join, new)).encode()

    edited = st.lists(st.tuples(place, st.sampled_from(CELLS)), min_size=1, max_size=4).map(apply)
    some = edited | edited | edited.flatmap(damaged) | damaged(valid["data.csv"]) | st.binary(max_size=200)
    return some.map(lambda data: {"data.csv": data})


def _parquet_files(folder: Path) -> Files:
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    columns = {"f0": [n / 7 for n in range(20)], "label": list("ab" * 10), "split": ["train"] * 16 + ["test"] * 4}
    parquet.write_table(pa.table(columns), folder / "data.parquet")
    return {"data.parquet": (folder / "data.parquet").read_bytes()}


def _image_files(folder: Path) -> Files:
    from PIL import Image

    chance, files = np.random.default_rng(0), {}
    for name, mode in (("a.png", "L"), ("b.png", "L"), ("c.jpg", "L"), ("d.bmp", "L"), ("e.webp", "RGB")):
        buffer = io.BytesIO()
        image = Image.fromarray(chance.integers(0, 256, (6, 6), dtype=np.uint8)).convert(mode)
        image.save(buffer, {"jpg": "JPEG"}.get(name[2:], name[2:].upper()))
        files[name] = buffer.getvalue()
    return files


def _malformed_images(valid: Files) -> st.SearchStrategy[Files]:
    """One of them damaged; or another's contents, under its name."""
    others = [*valid.values(), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a"]
    contents = st.one_of([damaged(data) for data in others]) | st.sampled_from(others)
    one = st.tuples(st.sampled_from(list(valid)), contents).map(lambda pair: {pair[0]: pair[1]})
    own = st.one_of([_only(name, damaged)(valid) for name in valid])
    return (one | own | own).map(lambda new: valid | new)


def _load_images(folder: Path) -> None:
    """Each of the images in the folder of a class."""
    place = folder / "set"
    for number, path in enumerate(sorted(path for path in folder.iterdir() if path.is_file())):
        own = place / "xy"[number % 2] / path.name
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_bytes(path.read_bytes())
    load_folder(place)


# -- addresses and folders -----------------------------------------------------------------------------------------------

SECRET = "pa55word"
SCHEME_PARTS = [
    "http",
    "https",
    "HTTP",
    "sqlite",
    "sqlite+pysqlite",
    "postgresql",
    "mysql+pymysql",
    "mssql",
    "databricks",
    "s3",
    "",
]
BETWEEN = ["://", ":///", ":////", ":", ":/", "%3A%2F%2F", ""]
HOSTS = ["host", "127.0.0.1", "[::1]", "[::1", "h:5000", "h:port", "h:99999", ":memory:", "a b", "λ", "x" * 300, "%00", ".", ""]
USERS = ["", f"me:{SECRET}@", f"{SECRET}@", f"me:{SECRET}/x@", f"me:x@{SECRET}@", f"me:{SECRET}%40@", f"me%3A{SECRET}%40", "@"]
QUERIES = [
    "",
    "?",
    f"?password={SECRET}",
    f"?a=b&token={SECRET}",
    f"#access_token={SECRET}",
    "?mode=memory&uri=true",
    f"?x={SECRET}",
]


def _addresses(valid: Files) -> st.SearchStrategy[Files]:
    """Put together from parts that are sound, malformed or secret, some with any characters in between."""
    some = st.sampled_from
    parts = st.tuples(
        some(SCHEME_PARTS), some(BETWEEN), some(USERS), some(HOSTS), some(["", "/", "/db", "/a?b"]), some(QUERIES)
    )
    noise = st.tuples(parts, st.integers(0, 5), st.text(max_size=3)).map(
        lambda made: tuple(part + (made[2] if number == made[1] else "") for number, part in enumerate(made[0]))
    )
    return (parts | noise).map(lambda made: {"address": "".join(made).encode("utf-8", "replace")})


def _load_address(folder: Path) -> None:
    """It is checked as a tracking URI, and told in every way; a secret in it may be told in none."""
    address, told = (folder / "address").read_bytes().decode(), []
    try:
        checked(address)
        ui_environment(folder, address or None)
    except UserError as error:
        told.append(str(error))
        raise
    finally:
        told += [shown_address(address), line_of(["run", "--tracking-uri", address]), without_secrets(f"at {address}: no")]
        named = re.match(rf"(sqlite|file)[^/]*/{{3,}}[^:]*{SECRET}[^:]*@", address)  # the file of a database may be called so
        assert named or not [line for line in told if SECRET in line], (address, told)


def _folder_files(folder: Path) -> Files:
    files = _settings_files(folder) | _records_files(folder)
    sent = {"folder": json.loads(files["records.jsonl"].splitlines()[0])["id"], "experiment": "1", "created": 0, "name": "e"}
    sent |= {"next": 3, "last": "0" * 16}
    noted = {"run": {"data": "digits", "form": 1, "version": "0", "settings": {}, "sources": None, "starts": "", "files": {}}}
    others = {"mlflow-sent.json": {"http://127.0.0.1:9": sent}, ".finished": noted, "report.json": {"rows": [{"arm": "he"}]}}
    return files | {name: text(value) for name, value in others.items()}


def _malformed_folder(valid: Files) -> st.SearchStrategy[Files]:
    """One or two of its files changed or damaged."""

    def one(name: str) -> st.SearchStrategy[Files]:
        if name == "records.jsonl":
            return _malformed_records(valid)
        return damaged_json(valid[name]).map(lambda data: {name: data})

    some = st.one_of([one(name) for name in [*valid, "records.jsonl", "records.jsonl"]])
    return st.tuples(some, some | st.just({})).map(lambda two: valid | two[0] | two[1])


def _load_folder(folder: Path) -> None:
    """All that `sync`, `ui` and a command that goes on there read of it, and what would be sent to MLflow."""
    refuse_links(folder)
    (folder / "map.png").write_bytes(PNG)
    records = Records(folder)
    mirror = Mirror(folder, "http://127.0.0.1:9", "e", warn=lambda _: None)
    mirror.has(records)
    mirror._client, mirror._experiment = _Server(), {"experiment": "1", "created": 0}
    mirror._ledger.write = lambda progress: None  # which is synced to the disk after each event
    with suppress(Failure):
        mirror._deliver(records)
    finished._noted(folder)
    _load_settings(folder)
    read_report(folder / "report.json")


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080000000 03a7e9b550000000a49444154789c6360000000020001e221bc33"
    "0000000049454e44ae426082".replace(" ", "")
)


class Failure(Exception):
    """As MLflow refuses what it does not take: a warning, in the end."""


class _Server:
    """In MLflow's place: any call is heard, if a database could hold what is in it."""

    def search_runs(self, *_words: Any, **_names: Any) -> Any:
        return type("Page", (list,), {"token": None})()

    def create_run(self, *words: Any) -> Any:
        _check_held(words)
        return type("Run", (), {"info": type("Info", (), {"run_id": "1"})})

    def get_run(self, _run: str) -> Any:
        return type("Run", (), {"data": type("Data", (), {"params": {}}), "outputs": None})

    def create_logged_model(self, *words: Any, **names: Any) -> Any:
        _check_held((words, list(names.values())))
        return type("Model", (), {"model_id": "1", "status": "PENDING"})

    def __getattr__(self, _name: str) -> Callable[..., list]:
        return lambda *words, **names: _check_held((words, list(names.values()))) or []


def _check_held(value: Any) -> None:
    """What no database takes, and MLflow does not refuse by itself: half of a surrogate pair, a number of more than 64 bits."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, int):
        assert abs(value) < 2**63, value
    elif isinstance(value, dict):
        _check_held([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            _check_held(item)
    elif hasattr(value, "key") and hasattr(value, "value"):  # a metric, a parameter, a tag
        _check_held([value.key, value.value, getattr(value, "timestamp", 0), getattr(value, "step", 0)])


def _only(name: str, malformed: Callable[[bytes], st.SearchStrategy[bytes]]) -> Callable[[Files], st.SearchStrategy[Files]]:
    return lambda valid: malformed(valid[name]).map(lambda data: {name: data})


KINDS = [
    Kind("npz", _npz_files, _malformed_npz, lambda folder: load_npz(folder / "data.npz")),
    Kind("ENN (probes)", _enn_files, _malformed_enn, lambda folder: load_critic(folder / "enn.safetensors")),
    Kind("ENN (convnet)", lambda f: _enn_files(f, "convnet"), _malformed_enn, lambda f: load_critic(f / "enn.safetensors")),
    Kind("safetensors", _enn_files, _only("enn.safetensors", _safetensors), _load_tensors),
    Kind("config.json", _settings_files, _only("config.json", damaged_json), _load_settings),
    Kind("records.jsonl", _records_files, _malformed_records, _load_records),
    Kind("search file", _search_files, _malformed_search, lambda folder: read_plan(folder / "search.yaml")),
    Kind("CSV", _csv_files, _malformed_csv, lambda folder: load_csv(folder / "data.csv")),
    Kind("Parquet", _parquet_files, _only("data.parquet", damaged), lambda folder: load_parquet(folder / "data.parquet")),
    Kind("images", _image_files, _malformed_images, _load_images),
    Kind("address", lambda folder: {"address": b"http://me:pa55word@127.0.0.1:9"}, _addresses, _load_address),
    Kind("a run's folder", _folder_files, _malformed_folder, _load_folder),
    Kind("JSON", _settings_files, _only("config.json", damaged_json), lambda folder: read_json(folder / "config.json")),
]


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--examples", type=int, help=f"files of each kind (default: {EXAMPLES})")
    parser.add_argument("--kinds", nargs="+", choices=[kind.name for kind in KINDS], help="default: all")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    output, examples = quick.results_folder(options.quick) / "fuzz.json", options.examples or EXAMPLES
    set_hypothesis_home_dir(output.parent if options.quick else None)  # else it leaves a folder where it was started
    facts = provenance(" ".join(["python", "-m", "tests.support.fuzz", *sys.argv[1:]]), 0) | {
        "hypothesis": hypothesis.__version__
    }
    for kind in (kind for kind in KINDS if not options.kinds or kind.name in options.kinds):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            tally = fuzz(kind, examples, Path(folder))
        row: dict[str, Any] = {"kind": kind.name, "files": tally.read + tally.refused}
        row |= {"read": tally.read, "refused": tally.refused, "sentences": len(tally.sentences)}
        row |= {"slowest_ms": round(1000 * tally.slowest, 1), "seconds": round(time.perf_counter() - started, 1)}
        print(row, flush=True)
        if examples >= EXAMPLES:
            _keep(output, row | {"provenance": facts})
    return 0


def _keep(output: Path, row: dict[str, Any]) -> None:
    """Put a kind's row in the place of its earlier one."""
    rows = {row["kind"]: row for row in read_json(output)["rows"]} if output.exists() else {}
    rows[row["kind"]] = row
    kept = [rows[kind.name] for kind in KINDS if kind.name in rows]
    write_json(output, {"memory_GiB": MEMORY / 2**30, "rows": kept})


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """One row per kind of file."""
    origins, cells = tables.Origins([row["provenance"] for row in results["rows"]]), []
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        numbers = [f"{row[key]:,}" for key in ("files", "read", "refused")]
        cells.append([row["kind"] + mark, *numbers, f"{row['slowest_ms']:.0f}"])
    caption = (
        f"`python -m tests.support.fuzz`: nothing else happened to any; none may take more than {results['memory_GiB']:.0f} "
        "GiB "
        f"of memory beyond the program's own ({tables.where(origins.facts)})."
    )
    head = ["file", "malformed", "read all the same", "refused in one sentence", "slowest, ms"]
    return tables.blocks(tables.table(head, cells), caption, origins.notes)


def figures(results: dict[str, Any]) -> dict[str, Any]:
    rows = results["rows"]
    return {
        "kinds": str(len(rows)),
        "files": f"{sum(row['files'] for row in rows):,}",
        "refused": f"{sum(row['refused'] for row in rows):,}",
        "each": tables.spread((row["files"] for row in rows), ",.0f"),
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"Of {own['files']} malformed files of {own['kinds']} kinds {own['refused']} were refused in one sentence, and the "
        "others could be "
        "read all the same. Not one did anything else, and none is ever unpickled."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    return []


if __name__ == "__main__":
    sys.exit(main())
