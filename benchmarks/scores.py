"""Scores of the cells of NAS-Bench-201 before training, kept for the benchmarks that rank cells and search with them.

    python -m benchmarks.scores                        # hours on one core; CIFAR-10 (10,000 images); resumable
    python -m benchmarks.scores --share 1/2            # a half of the cells; the other half elsewhere, in the same --work
    python -m benchmarks.scores --predictors gradsign  # these alone; the file keeps what it holds of others
    python -m benchmarks.scores --minutes 10           # stops after so long; what is done is kept
    python -m benchmarks.scores --quick                # seconds, digits

Cells that compute the same are scored once: 5,260 stand for all 15,625. Those of ``EVERY`` score each of them, those of
``SOME`` the ones among 1,000 uniformly drawn cells, which come first. Every cell starts from the same seed and sees the same
128 training examples. A part (some cells, one predictor) is a file of --work; the file of results is written from the parts
that there are, and says how many there are to be.

Writes benchmarks/results/predictors-scores.json.
"""

import json
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import quick
from benchmarks.cache import Cache, Part
from pipeline.architectures.scoring import batch_of, drawn
from pipeline.architectures.space import Code
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.spaces.nasbench201 import CELLS, CHANNELS
from pipeline.errors import UserError
from pipeline.files import read_json, strict, write_atomic
from pipeline.predictors import PREDICTORS, named
from pipeline.results.provenance import provenance
from pipeline.seeding import stream, torch_stream
from pipeline.targets.nasbench201 import Cell, network

SEED, EXAMPLES = 0, 128
EVERY = ("gradsign", "synflow")
"""scored on all cells, in this order"""
SOME = ("jacob_cov", "naswot", "swap", "az_expressivity", "az_trainability", "az_progressivity")
SOME += ("grad_norm", "snip", "zico", "fisher", "zen", "grasp")
"""scored on the drawn cells"""
DRAWN = 1000
LONG = 20
"""cells of a part"""
SIZES = (CHANNELS, CELLS)
"""channels and cells of the networks"""
MOST = 0
"""cells at all; 0: every one"""
QUICK = {"EXAMPLES": 4, "DRAWN": 8, "LONG": 4, "SIZES": (4, 1), "MOST": 12, "SOME": ("params",), "EVERY": ("gradsign",)}
SPACE = SPACES["nasbench201"]


@dataclass(frozen=True)
class Work:
    """One part: a predictor on some cells."""

    predictor: str
    cells: tuple[str, ...]


def main() -> int:
    parser = quick.resumable_parser_of(__doc__, "scores")
    parser.add_argument("--share", default="1/1", help="K/N: of N shares of the parts, the K-th")
    parser.add_argument("--predictors", nargs="*", help="these alone")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    options.work = results / "work" if options.quick else options.work
    torch.set_num_threads(1)
    try:
        dataset = quick.data("cifar10", options.quick)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    batch = batch_of(dataset, EXAMPLES, SEED, 3)
    facts = provenance("python -m benchmarks.scores", SEED)
    cache = Cache.of(__file__, globals(), options.work, facts, data=dataset.digest)
    share, of = map(int, options.share.split("/"))
    every = [work for work in parts() if not options.predictors or work.predictor in options.predictors]
    until = time.monotonic() + 60 * options.minutes
    for number, work in enumerate(every):
        if number % of != share - 1:
            continue
        if time.monotonic() > until:
            break
        done = cache.part(work.predictor, lambda work=work: scored(work, batch, dataset.classes), work=work)
        spent = sum(own["ms"] for own in done.value.values()) / 1000
        print(f"{number + 1}/{len(every)} {work.predictor}: {spent:.1f} s of the clock", flush=True)
    found, file = gathered(cache, every), results / "predictors-scores.json"
    before = read_json(file)["scores"] if file.exists() else {}
    write_atomic(file, compact(facts | {"scores": before | found, "drawn": [SPACE.index(code) for code in some_codes()]}))
    for predictor, own in found.items():
        print(f"{predictor}: {len(own['index'])} of {own['of']} cells are there")
    return 0


def parts() -> Iterator[Work]:
    """All there is to do, in the order in which it is wanted."""
    some = list(dict.fromkeys(str(SPACE.canonical(code)) for code in some_codes()))
    every = list(dict.fromkeys([*some, *(str(SPACE.canonical(code)) for code in SPACE)]))[: MOST or None]
    for predictor in [name for name in (*EVERY, *SOME) if name in PREDICTORS]:
        own = every if predictor in EVERY else some
        yield from (Work(predictor, tuple(own[at : at + LONG])) for at in range(0, len(own), LONG))


def some_codes() -> list[Code]:
    """The uniformly drawn cells, in order."""
    return drawn(SPACE.name, DRAWN, SEED)


# -- scoring -----------------------------------------------------------------------------------------------------------


def scored(work: Work, batch: tuple[Tensor, Tensor], classes: int) -> dict[str, dict[str, Any]]:
    """By cell: the values, and the milliseconds by the clock and of the processor."""
    return {cell: one(work.predictor, cell, batch, classes) for cell in work.cells}


def one(predictor: str, cell: str, batch: tuple[Tensor, Tensor], classes: int) -> dict[str, Any]:
    started, busy = time.perf_counter(), time.thread_time()
    module = network(Cell.parse(cell), classes, *SIZES, seed=stream(SEED, "networks"))
    draws = torch_stream(SEED, "predictor", predictor, cell)
    values = {"value": as_number(named(predictor).score(module, batch, draws))}
    return values | {"ms": 1000 * (time.perf_counter() - started), "busy": 1000 * (time.thread_time() - busy)}


def as_number(value: float) -> float | str:
    """What JSON can hold: a value that is not finite as a word."""
    return value if math.isfinite(value) else str(value)


# -- the file ------------------------------------------------------------------------------------------------------------


def gathered(cache: Cache, every: Sequence[Work]) -> dict[str, Any]:
    """All parts that there are: by predictor, indices of cells and their values, and the median cost."""
    found: dict[str, dict[str, Any]] = {}
    cells: dict[str, list[dict[str, Any]]] = {}
    made: dict[str, list[str]] = {}
    drawn_cells = {str(SPACE.canonical(code)) for code in some_codes()}
    for work in every:
        if (part := kept(cache, work)) is None:
            continue
        made.setdefault(work.predictor, []).append(part.provenance["commit"])
        cells.setdefault(work.predictor, []).extend({"cell": cell, **own} for cell, own in part.value.items())
    for predictor, rows in cells.items():
        values = [name for name in rows[0] if name not in ("cell", "ms", "busy")]
        found[predictor] = {
            "index": [SPACE.index(SPACE.code(row["cell"])) for row in rows],
            **{name: [row[name] for row in rows] for name in values},
            "ms": statistics.median(row["ms"] for row in rows),
            "busy_ms": statistics.median(row["busy"] for row in rows),
            "drawn": drawn_cells <= {row["cell"] for row in rows},
            "of": sum(len(work.cells) for work in every if work.predictor == predictor),
            "commits": list(dict.fromkeys(made[predictor])),
        }
    return found


def kept(cache: Cache, work: Work) -> Part | None:
    """A part that was computed."""

    class Missing(Exception):
        pass

    def absent() -> Any:
        raise Missing

    try:
        return cache.part(work.predictor, absent, work=work)
    except Missing:
        return None


def compact(found: dict[str, Any]) -> str:
    """As JSON, a line for each list."""
    scores = found.pop("scores")
    head = json.dumps(strict(found), indent=1, ensure_ascii=False, allow_nan=False)
    lines = []
    for predictor, own in scores.items():
        values = ",\n   ".join(
            f"{json.dumps(name)}: {json.dumps(strict(value), allow_nan=False)}" for name, value in own.items()
        )
        lines.append(f"  {json.dumps(predictor)}: {{\n   {values}\n  }}")
    body = ",\n".join(lines)
    return f'{{\n "scores": {{\n{body}\n }},{head[1:]}\n'


if __name__ == "__main__":
    sys.exit(main())
