"""Which learning rules follow backpropagation in convolutional networks, a small CNN and WRN-10-1, on images of CIFAR-10?

    python -m benchmarks.rules_images                             # hours of one core; goes on where it was stopped
    python -m benchmarks.rules_images --networks small-cnn --arms backprop dfa
    python -m benchmarks.rules_images --quick                     # seconds; digits in place of the data

Whatever CIFAR-10 there is (10,000 images and 2,000 to test on are enough). Modules under
:func:`pipeline.learning.modules.replace`, SGD with momentum 0.9, weight decay 1e-3 and a cosine schedule, batches of 128, no
augmentation, for ten epochs (the CNN) or five (the wide residual network). For every rule, backpropagation among them, the
learning rate is the best of the same five on validation data, by two networks each, which train for a third of the epochs by a
schedule as long. Then five fresh networks per rule, paired by weights and order of the data; the test set is looked at once, at
the end.

The angle to the gradient is that of :mod:`pipeline.instruction.angles`, by autograd, after every epoch on its last batch: of
each layer with weights, and then the mean over all layers but the last, whose signal is the gradient.

Writes benchmarks/results/rules-images.json. Needs CIFAR-10 (GRAD_INSTRUCTOR_DATA).
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import edges, quick, tables
from benchmarks.cache import Cache, made_by
from benchmarks.pblf_wrn import Images, accuracy
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.instruction.angles import between
from pipeline.learning.modules import gradient, replace
from pipeline.results.provenance import provenance
from pipeline.results.statistics import holm, mean_interval, paired
from pipeline.results.tables import p_value
from pipeline.seeding import stream, torch_stream
from pipeline.targets.networks import network

RULES = ("backprop", "fa", "dfa", "usf", "brsf", "frsf", "frozen", "pfa", "cdni", "dni")
"""those that serve convolutional networks"""
NETWORKS = {"small-cnn": 10, "wrn-10-1": 5}
"""and their epochs"""
RATES, TUNING_SEEDS, SHORTER, SEEDS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), 2, 3, 5
BATCH, MOMENTUM, DECAY = 128, 0.9, 1e-3
EXAMPLES: int | None = None
QUICK = {"RULES": ("backprop", "dfa", "frozen"), "NETWORKS": {"small-cnn": 1}, "RATES": (0.03, 0.1), "TUNING_SEEDS": 1}
QUICK |= {"SEEDS": 2, "BATCH": 32, "EXAMPLES": 128}
PUBLISHED = {"backprop": 8.63, "fa": 32.16, "dfa": 45.94, "usf": 10.05, "brsf": 11.02, "frsf": 11.2}
"""biotorch's test errors in percent: ResNet-20, all of CIFAR-10, 100 epochs"""


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS))
    parser.add_argument("--arms", nargs="+", choices=RULES)
    parser.add_argument("--work", type=Path, help="folder of finished parts (default: runs/rules-images)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    work = options.work or (results / "work" if options.quick else Path("runs/rules-images"))
    torch.set_num_threads(1)
    facts = provenance("python -m benchmarks.rules_images", 0)
    try:
        dataset = quick.data("cifar10", options.quick)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if EXAMPLES:
        few = {f"{kind}_{split}": getattr(dataset, f"{kind}_{split}")[:EXAMPLES] for kind in "xy" for split in SPLITS}
        dataset = dataclasses.replace(dataset, **few)
    settings = {"rates": RATES, "epochs": NETWORKS, "batch": BATCH, "momentum": MOMENTUM, "decay": DECAY, "shorter": SHORTER}
    decides = {name: own for name, own in settings.items() if name != "rates"}  # a part has its own: others may be added later
    cache = Cache.of(__file__, {}, work, facts, data=dataset.digest, settings=decides)
    study = Study(Images.of(dataset, "cpu"), cache)
    file = results / "rules-images.json"
    found: dict[str, Any] = read_json(file)["networks"] if file.exists() else {}
    for name in [name for name in NETWORKS if name in (options.networks or NETWORKS)]:
        for rule in [rule for rule in RULES if rule in (options.arms or RULES)]:
            started = time.perf_counter()
            own = found.setdefault(name, {})[rule] = study.rule(name, rule)
            error = 100 * sum(own["errors"]) / len(own["errors"])
            print(f"{name} {rule}: {error:.2f} % error, {time.perf_counter() - started:.0f} s", flush=True)
            write_json(file, facts | settings | {"examples": len(dataset.y_train), "networks": found})
    return 0


SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Study:
    """The images, and what was computed already."""

    images: Images
    cache: Cache

    def rule(self, name: str, rule: str) -> dict[str, Any]:
        """A rate chosen on validation data, and what fresh networks come to with it."""
        epochs, parts = NETWORKS[name], []
        shorter = max(1, epochs // SHORTER)
        tried = {}
        for rate in RATES:
            seeds = [stream(0, "tuning", number) for number in range(TUNING_SEEDS)]
            parts += [self._part(name, rule, rate, shorter, seed, "validation") for seed in seeds]
            tried[rate] = sum(part.value["accuracy"] for part in parts[-TUNING_SEEDS:]) / TUNING_SEEDS
        rate = max(RATES, key=lambda one: tried[one])
        fresh = [self._part(name, rule, rate, epochs, stream(0, "fresh", number), "test") for number in range(SEEDS)]
        return {
            "rate": rate,
            "tried": {f"{one:g}": found for one, found in tried.items()},
            "errors": [1 - part.value["accuracy"] / 100 for part in fresh],
            "angles": [part.value["angle"] for part in fresh],
            "seconds_per_epoch": sum(part.value["seconds"] for part in fresh) / SEEDS / epochs,
            "provenance": made_by([*parts, *fresh]),
        }

    def _part(self, name: str, rule: str, rate: float, epochs: int, seed: int, split: str) -> Any:
        own = {"name": name, "rule": rule, "rate": rate, "epochs": epochs, "seed": seed, "split": split}
        return self.cache.part(f"{name}-{rule}-{split}", lambda: trained(self.images, **own), own=own)


def trained(images: Images, name: str, rule: str, rate: float, epochs: int, seed: int, split: str) -> dict[str, Any]:
    """One network: its accuracy in percent, seconds, and the mean angle over training and layers (None where there is none)."""
    started, (x, y) = time.process_time(), images.splits["train"]
    model = network(name, images.classes, x.shape[1], seed)
    if rule != "backprop":
        replace(model, rule, seed=seed)
    steps = epochs * (len(x) // BATCH)
    optimiser = torch.optim.SGD(model.parameters(), rate, MOMENTUM, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    found: list[float] = []
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=torch_stream(seed, "data order", epoch))
        for rows in order[: len(x) // BATCH * BATCH].split(BATCH):
            optimiser.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
            schedule.step()
        found += _angles(model, x[rows], y[rows]) if rule != "backprop" else []
    score = accuracy(model, *images.splits[split])
    angle = sum(found) / len(found) if found else None
    return {"accuracy": score, "angle": angle, "seconds": time.process_time() - started}


def _angles(model: nn.Module, x: Tensor, y: Tensor) -> list[float]:
    """Of every layer but the last that gets something, in degrees. A rule learns a step more by being looked at, and so do the
    normalisations' averages: after an epoch of steps that is nothing, and it is the same for all."""
    given = _by_layer(model, x, y)
    with gradient(model):
        true = _by_layer(model, x, y)
    turned = [between(one[None], other[None]).item() for one, other in zip(given[:-1], true[:-1], strict=True)]
    return [angle for angle in turned if angle == angle]


def _by_layer(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [torch.cat([own.grad.flatten().double() for own in layer.parameters() if own.grad is not None]) for layer in layers]


# -- its page ------------------------------------------------------------------------------------------------------------


def rows_of(results: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """One row per rule, with its difference to backpropagation."""
    own = {rule: results["networks"][name][rule] for rule in RULES if rule in results["networks"][name]}
    rows = []
    for rule, found in own.items():
        row = {"rule": rule, "at edge": edges.at_edge(found["rate"], results["rates"]), **found}
        row |= dict(zip(("error", "error_low", "error_high"), mean_interval(found["errors"]), strict=True))
        rows.append(row | {"more": None if rule == "backprop" else paired(found["errors"], own["backprop"]["errors"])})
    corrected = holm([row["more"]["p"] if row["more"] else None for row in rows])
    return [row | {"p": p} for row, p in zip(rows, corrected, strict=True)]


def table(results: dict[str, Any]) -> str:
    """One table per network."""
    return tables.blocks(*(edges.noted(_table(results, name)) for name in results["networks"]))


def _table(results: dict[str, Any], name: str) -> str:
    rows = rows_of(results, name)
    origins = tables.Origins([row["provenance"] for row in rows])
    head = ["rule", "test error %", "more than backprop", "p (Holm)", "angle to the gradient °", "learning rate"]
    cells = [
        [
            f"`{row['rule']}`{mark}",
            tables.interval(row, "error", ".2f", 100),
            tables.signed(row["more"]) if row["more"] else "–",
            p_value(row["p"]),
            _angle(row["angles"]) if row["rule"] != "backprop" else "0",
            edges.marked(f"{row['rate']:g}", row["at edge"]),
            f"{row['seconds_per_epoch']:.1f}",
            f"{PUBLISHED[row['rule']]:g}" if row["rule"] in PUBLISHED else "–",
        ]
        for row, mark in zip(rows, origins.marks, strict=True)
    ]
    caption = (
        f"**{name}**, `{tables.command(results)}`: {results['examples']} images, {results['epochs'][name]} epochs, "
        f"n = {len(rows[0]['errors'])} ({tables.where(origins.facts)}). {origins.notes}"
    )
    return tables.blocks(tables.table([*head, "s per epoch", "biotorch, ResNet-20, all images %"], cells), caption)


def _angle(angles: Sequence[float | None]) -> str:
    found = [angle for angle in angles if angle is not None]
    return f"{sum(found) / len(found):.0f}" if found else "–"


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """Errors in percent by network and rule, and what all have in common."""
    told: dict[str, Any] = {"rates": ", ".join(f"{rate:g}" for rate in results["rates"]), "examples": str(results["examples"])}
    for name in results["networks"]:
        for row in rows_of(results, name):
            told[_key(name, row["rule"])] = tables.percent(row["error"], ".1f")
    rows = [row for name in results["networks"] for row in rows_of(results, name)]
    outside = [row for row in rows if row["at edge"]]
    lie = f"{tables.counted(outside, rows)} lie at the edge of what was tried (†): others may do better."
    edge = lie if outside else "No rate lies at the edge of what was tried."
    return told | {"at_edge": tables.counted(outside, rows), "all_inside": not outside, "edge": edge}


def _key(name: str, rule: str) -> str:
    return f"{name.replace('-', '_')}_{rule}"


def verdict(results: dict[str, Any]) -> str:
    """The order on each network."""
    told, sentences = figures(results), []
    for name in results["networks"]:
        rows = sorted(rows_of(results, name), key=lambda row: row["error"])
        order = ", ".join(f"`{row['rule']}` {told[_key(name, row['rule'])]}" for row in rows)
        sentences.append(f"In {name} the order by test error in percent is: {order}.")
    return " ".join(sentences)


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    """Rates at the edge of their candidates, and rules that come no further than the frozen control."""
    told = figures(results)
    hope = "Every rule's learning rate lies within its candidates, as a fair comparison needs."
    found = [tables.Doubt(hope, f"{told['at_edge']} lie at their edge.", told["all_inside"])]
    for name in results["networks"]:
        rows = {row["rule"]: row for row in rows_of(results, name)}
        if "frozen" in rows:
            no_better = [rule for rule, row in rows.items() if rule != "frozen" and row["error_low"] >= rows["frozen"]["error"]]
            hope = f"Every rule trains the hidden layers of {name}."
            if no_better:
                found.append(tables.Doubt(hope, f"no better than frozen ones: {', '.join(no_better)}.", held=False))
    return found


if __name__ == "__main__":
    sys.exit(main())
