"""How much of a predictor is the networks, and how much the examples, the weights and the images that it was shown?

    python -m benchmarks.predictors_sweeps                # ten minutes on one core; CIFAR-10 (10,000 images); resumable
    python -m benchmarks.predictors_sweeps --minutes 5    # no more is begun after so long: what is done is reported
    python -m benchmarks.predictors_sweeps --quick        # seconds, digits

A few dozen cells of NAS-Bench-201, drawn uniformly among those that compute different things. One thing at a time is changed,
from 128 training examples of 32 × 32 pixels, weights as PyTorch draws them, and seed 0:

- examples: 8 to 512;
- seed: of the weights and of the examples;
- initialisation: He's, Glorot's, or orthogonal weights in place of PyTorch's;
- resolution: images made smaller by means over squares of pixels, from 32 down to 8 of a side.

Two numbers for each: how the scores rank the cells against their accuracies on CIFAR-10, and how they rank them against the
scores of the unchanged setting. What a predictor knows of a network should not depend on any of these.

Writes benchmarks/results/predictors-sweeps.json.
"""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import quick, tables
from benchmarks.cache import Cache, Part, made_by
from benchmarks.predictors import made_up
from benchmarks.scores import SIZES
from pipeline.architectures.scoring import batch_of, drawn
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.table import read_tables
from pipeline.data import Dataset, data_folder
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.predictors import named
from pipeline.predictors.weights import weights
from pipeline.results.provenance import provenance
from pipeline.results.statistics import rank_correlation
from pipeline.results.tables import as_cell
from pipeline.seeding import stream, torch_stream
from pipeline.targets.nasbench201 import Cell, network


@dataclass(frozen=True)
class Setting:
    """How a network is scored."""

    examples: int = 128
    seed: int = 0
    initialisation: str = "pytorch"
    side: int = 32
    """pixels of an image"""


BASE = Setting()
SWEEPS = {
    "examples": (8, 16, 32, 64, 128, 256, 512),
    "seed": (0, 1, 2, 3),
    "initialisation": ("pytorch", "he", "glorot", "orthogonal"),
    "side": (32, 16, 8),
}
PREDICTORS = ("gradsign", "gradsign_live", "naswot", "jacob_cov", "zico", "synflow")
CELLS = 24
RESAMPLES = 1000
NETWORK = SIZES
"""channels and cells of a stage"""
QUICK: dict[str, Any] = {"SWEEPS": {"examples": (4, 8), "seed": (0, 1), "initialisation": ("pytorch", "he"), "side": (16, 8)}}
QUICK |= {"BASE": Setting(examples=8, side=16), "PREDICTORS": ("gradsign", "synflow"), "CELLS": 4, "NETWORK": (4, 1)}
QUICK |= {"RESAMPLES": 20}
SPACE = SPACES["nasbench201"]
SHOWN = {"examples": "examples", "seed": "seed", "initialisation": "initial weights", "side": "pixels of a side"}


def main() -> int:
    options = quick.resumable_parser_of(__doc__, "predictors-sweeps").parse_args()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    work = results / "work" if options.quick else options.work
    torch.set_num_threads(1)
    facts, until = provenance("python -m benchmarks.predictors_sweeps", BASE.seed), time.monotonic() + 60 * options.minutes
    try:
        dataset = quick.data("cifar10", options.quick)
        known = made_up() if options.quick else read_tables(data_folder(None))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    cells = chosen()
    cache = Cache.of(__file__, globals(), work, facts, data=dataset.digest)
    found = scored(cells, dataset, cache, until)
    accuracy = known["cifar10"].accuracy[[SPACE.index(SPACE.code(cell)) for cell in cells]].tolist()
    report = {"rows": rows(found, accuracy), "cells": len(cells), **made_by(list(found.values()))}
    write_json(results / "predictors-sweeps.json", report)
    print(table(read_json(results / "predictors-sweeps.json")))
    return 0


def chosen() -> list[str]:
    """The first of the drawn cells that compute different things."""
    names = (str(SPACE.canonical(code)) for code in drawn(SPACE.name, 20 * CELLS, 0))
    return list(dict.fromkeys(names))[:CELLS]


def settings() -> list[Setting]:
    """The unchanged one first, each once."""
    own = [replace(BASE, **{key: value}) for key, values in SWEEPS.items() for value in values]
    return list(dict.fromkeys([BASE, *own]))


# -- scores ------------------------------------------------------------------------------------------------------------


def scored(cells: Sequence[str], dataset: Dataset, cache: Cache, until: float) -> dict[tuple[Setting, str], Part]:
    """By setting and predictor, the scores of all cells, as far as there is time."""
    found = {}
    for setting in settings():
        batch = images(dataset, setting)
        for predictor in PREDICTORS:
            if time.monotonic() > until and (setting, predictor) != (BASE, PREDICTORS[0]):
                return found
            part = cache.part(
                predictor,
                lambda predictor=predictor, setting=setting, batch=batch: [
                    score(predictor, cell, setting, batch, dataset.classes) for cell in cells
                ],
                setting=setting,
                predictor=predictor,
            )
            found[setting, predictor] = part
            print(f"{setting} {predictor}", flush=True)
    return found


def images(dataset: Dataset, setting: Setting) -> tuple[Tensor, Tensor]:
    x, y = batch_of(dataset, setting.examples, setting.seed, 3)
    return (x if x.shape[-1] == setting.side else F.adaptive_avg_pool2d(x, setting.side)), y


def score(predictor: str, cell: str, setting: Setting, batch: tuple[Tensor, Tensor], classes: int) -> float | str:
    own = network(Cell.parse(cell), classes, *NETWORK, seed=stream(setting.seed, "networks"))
    initialise(own, setting)
    value = named(predictor).score(own, batch, torch_stream(setting.seed, "predictor", predictor, cell))
    return value if math.isfinite(value) else str(value)


@torch.no_grad()
def initialise(own: nn.Module, setting: Setting) -> None:
    """Weights as the setting says, each from the stream of its name; PyTorch's stay as they are."""
    for name, weight in weights(own).items() if setting.initialisation != "pytorch" else ():
        draws, fan_in = torch_stream(setting.seed, "sweep", name), weight[0].numel()
        fan_out = weight.shape[0] * weight[0, 0].numel()
        drawn_ones = torch.randn(weight.shape, generator=draws)
        if setting.initialisation == "orthogonal":
            flat = drawn_ones.flatten(1)
            q, r = torch.linalg.qr(flat.T if len(flat) < flat.shape[1] else flat)
            q = q * r.diagonal().sign()
            drawn_ones = (q.T if len(flat) < flat.shape[1] else q).reshape(weight.shape)
        else:
            drawn_ones *= (2 / (fan_in if setting.initialisation == "he" else fan_in + fan_out)) ** 0.5
        weight.copy_(drawn_ones)


# -- what they tell ------------------------------------------------------------------------------------------------------


def rows(found: dict[tuple[Setting, str], Part], accuracy: Sequence[float]) -> list[dict[str, Any]]:
    """Of each predictor and value of what is changed: τ against accuracy and against the unchanged scores."""
    report = []
    for key, values in SWEEPS.items():
        for value in values:
            for predictor in PREDICTORS:
                setting = replace(BASE, **{key: value})
                if (setting, predictor) not in found or (BASE, predictor) not in found:
                    continue
                own, base = (list(map(float, found[one, predictor].value)) for one in (setting, BASE))
                told = {"changed": key, "value": value, "predictor": predictor, "base": setting == BASE}
                report.append(told | {"accuracy": ranked(own, accuracy), "same": ranked(own, base)})
    return report


def ranked(column: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Kendall's τ with its interval; −∞ ranks below every number."""
    finite = [value for value in (*column, *other) if math.isfinite(value)]
    lowest = min(finite, default=0.0) - 1.0
    own, against = ([lowest if value == -math.inf else value for value in values] for values in (column, other))
    found = rank_correlation(own, against, resamples=RESAMPLES)
    return {name: found[name] for name in ("kendall", "low", "high", "n")}


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """A row for each value of what is changed, a column for each predictor."""
    rows = results["rows"]
    predictors = list(dict.fromkeys(row["predictor"] for row in rows))
    lines, before = [], None
    for key, value in dict.fromkeys((row["changed"], row["value"]) for row in rows):
        own = {row["predictor"]: row for row in rows if (row["changed"], row["value"]) == (key, value)}
        lines.append([SHOWN[key] if key != before else "", str(value), *(_cell(own.get(name)) for name in predictors)])
        before = key
    caption = (
        f"`{tables.command(results)}`: Kendall's τ of the scores of {results['cells']} cells with accuracy on CIFAR-10, and "
        f"in brackets with the scores of the unchanged setting ({BASE.examples} examples, seed {BASE.seed}, PyTorch's weights, "
        f"{BASE.side} pixels). With so few cells τ with accuracy is known to ± {_half_width(rows)} or so "
        f"({tables.where(results)})."
    )
    return tables.blocks(tables.table(["changed", "to", *predictors], lines, left=2), caption)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    same = "" if row["base"] else f" ({as_cell(row['same']['kendall'], '.2f')})"
    return f"{as_cell(row['accuracy']['kendall'], '.2f')}{same}"


def _half_width(rows: Sequence[dict[str, Any]]) -> str:
    widths = [own["high"] - own["low"] for row in rows if (own := row["accuracy"])["low"] is not None]
    return f"{float(np.mean(widths)) / 2:.2f}" if widths else "–"


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """Numbers for templates."""
    changed = {key: [row for row in results["rows"] if row["changed"] == key and not row["base"]] for key in SHOWN}

    def same(key: str, predictor: str) -> list[float]:
        return [row["same"]["kendall"] for row in changed[key] if row["predictor"] == predictor]

    gradsign = {key: tables.spread(same(key, "gradsign")) for key in SHOWN}
    few = [row for row in changed["examples"] if row["predictor"] == "gradsign"]
    return {
        "cells": str(results["cells"]),
        "gradsign": gradsign,
        "fewest": str(min((row["value"] for row in few), default="–")),
        "fewest_same": as_cell(min(few, key=lambda row: row["value"])["same"]["kendall"] if few else None, ".2f"),
        "steady": bool(few) and all((row["same"]["kendall"] or 0) >= STEADY for own in changed.values() for row in own),
        "least": tables.spread(row["same"]["kendall"] for own in changed.values() for row in own),
    }


STEADY = 0.8
"""τ with the unchanged scores from which on nobody would mind"""


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"GradSign ranks {own['cells']} cells by {own['fewest']} examples as by {BASE.examples} with "
        f"τ = {own['fewest_same']}, and by other seeds with {own['gradsign']['seed']}. Over all predictors and changes τ with "
        f"the unchanged scores is {own['least']}."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "What predictors say does not depend on examples, seed, initial weights or resolution "
            f"(τ with the unchanged scores of at least {STEADY:g}).",
            f"τ = {own['least']} over {own['cells']} cells",
            own["steady"],
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
