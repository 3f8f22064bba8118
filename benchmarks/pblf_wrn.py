"""Is what a search finds for a wide residual network, as in the dissertation, more than a learning rate?

    python -m benchmarks.pblf --protocol pblf-wrn                 # WRN-10-1 on whatever CIFAR-10 there is
    python -m benchmarks.pblf --protocol pblf-wrn --network 16-2 --device cuda

A Wide ResNet with four positions (after the first convolution and after each group) whose derivative, 1, is multiplied by f_φ
where the position's mode bit is 1. Random search and Bayesian optimisation (UCB, trade-off 0.1; a fifth of its candidates is
drawn) judge as many candidates each, by validation accuracy after the epochs of one network. Backpropagation has as many
learning rates judged so; what was found has a quarter as many beside its search. All are trained again on fresh seeds, paired;
the test set is looked at then. SGD with momentum 0.9, weight decay 5e-4, learning rate 0.1 or the chosen one, falling to 0 by
a cosine, batches of 128; no augmentation.

Every network is kept when it is trained: given again, the command goes on. Writes benchmarks/results/pblf-wrn.json.

Letters: B examples, C channels, H × W pixels.
"""

import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import edges, pblf_extras, quick, tables
from benchmarks.cache import Cache
from pipeline.config.rule import PHI
from pipeline.data import Dataset
from pipeline.files import write_json
from pipeline.search.plan import Plan
from pipeline.search.propose import Proposals
from pipeline.search.reading import read_plan
from pipeline.search.values import Dimension, Sampler
from pipeline.seeding import stream, torch_stream

FILE = Path(__file__).resolve().parents[1] / "tune_configs" / "pblf.yaml"
POSITIONS, BATCH, RATE, MOMENTUM, DECAY, SEEDS = 4, 128, 0.1, 0.9, 5e-4, 5
LOWEST, HIGHEST = 0.003, 1.0
"""learning rates that are tried, evenly on a logarithmic scale"""
DRAWN, FEWER = 5, 4
"""one in so many candidates of Bayesian optimisation is drawn at random; so many times fewer rates for what was found"""
RANDOM, BAYESIAN = "random search", "UCB, 0.1"
BACKPROP, TUNED = "backprop", ", its rate tuned"
OTHERS = (BACKPROP, BACKPROP + TUNED)
"""what every way is compared with"""
PLAIN: dict[str, Any] = {"phi": [0.0, 0.0, 0.0, 1.0], "modes": [0] * POSITIONS, "rate": RATE}


def run(options: Any, facts: dict[str, Any], results: Path, work: Path, candidates: int) -> None:
    """Both searches, then fresh seeds."""
    dataset, epochs = quick.data("cifar10", options.quick), 1 if options.quick else options.epochs
    if options.quick:
        dataset = dataclasses.replace(dataset, **_first(dataset, 256))
        candidates = 2
    depth, width = (int(part) for part in options.network.split("-"))
    images = Images.of(dataset, options.device)
    decides = {"data": dataset.digest, "network": options.network, "epochs": epochs, "device": options.device}
    cache = Cache.of(__file__, globals(), work, facts, **decides)

    def part(name: str, way: Mapping[str, Any], seed: int, test: bool = False) -> dict[str, Any]:
        own = {key: way[key] for key in PLAIN}

        def compute() -> dict[str, Any]:
            return judged(own, (depth, width), epochs, seed, images, test)

        found = cache.part(name, compute, own=own, seed=seed, test=test).value
        print(f"{name}: {found}", flush=True)
        return own | found

    judge = stream(0, "judged", 0)
    searches: dict[str, list[dict[str, Any]]] = {}
    for name, sampler in samplers(candidates).items():
        proposals = Proposals(*_plan(sampler), cache.place(f"study-{name}", sampler=sampler))
        searches[name] = []
        for number in range(candidates):
            chosen = proposals.propose(number)
            way = PLAIN | {"phi": [chosen[f"rule.{key}"] for key in PHI], "modes": chosen["rule.modes"]}
            searches[name].append(part(f"{name} {number:03d}", way, judge))
            proposals.tell(number, {"accuracy": searches[name][-1]["validation"]})
    ways = {BACKPROP: PLAIN} | {name: _best(found) for name, found in searches.items()}
    rates = {}
    for name, way in list(ways.items()):
        tried = np.geomspace(LOWEST, HIGHEST, candidates if name == BACKPROP else max(2, candidates // FEWER)).tolist()
        rates[name] = [part(f"rate {name} {rate:.3g}", way | {"rate": rate}, judge) for rate in tried]
        ways[f"{name}{TUNED}"] = _best(rates[name])
    seeds = [stream(0, "fresh", number) for number in range(2 if options.quick else options.seeds or SEEDS)]
    fresh = {
        name: [part(f"fresh {name} {number}", way, seed, True) for number, seed in enumerate(seeds)]
        for name, way in ways.items()
    }
    seconds = [own["seconds"] for found in searches.values() for own in found]
    report = facts | decides | {"searches": searches, "rates": rates, "ways": ways, "fresh": fresh}
    report |= {"candidates": candidates, "seconds_per_candidate": float(np.mean(seconds)), "examples": len(dataset.y_train)}
    report |= {"duels": pblf_extras.duels(tests_of(report), OTHERS)}
    write_json(results / "pblf-wrn.json", report)
    print(table(report))
    print(f"{report['seconds_per_candidate']:.1f} s per candidate; written to {results / 'pblf-wrn.json'}")


def _best(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first of those with the highest validation accuracy."""
    return max(found, key=lambda own: own["validation"])


def samplers(candidates: int) -> dict[str, Sampler]:
    """Both searches."""
    startup = max(2, candidates // DRAWN)
    return {
        RANDOM: Sampler("random"),
        BAYESIAN: Sampler("gp", acquisition="ucb", trade_off=0.1, startup=startup, random_every=10),
    }


def _first(dataset: Dataset, count: int) -> dict[str, np.ndarray]:
    """The first examples of every split."""
    return {f"{kind}_{split}": getattr(dataset, f"{kind}_{split}")[:count] for kind in "xy" for split in _SPLITS}


_SPLITS = ("train", "validation", "test")


def _plan(sampler: Sampler) -> tuple[Plan, Any]:
    """The space of tune_configs/pblf.yaml with a mode bit for each position."""
    plan = read_plan(FILE)
    (group,) = plan.groups
    bits = tuple(list(own) for own in itertools.product((0, 1), repeat=POSITIONS))
    space = [own for own in group.space if own.key != "rule.modes"] + [Dimension("rule.modes", choice=bits)]
    group = dataclasses.replace(group, space=tuple(space))
    return dataclasses.replace(plan, groups=(group,), sampler=sampler), group


@dataclasses.dataclass(frozen=True)
class Images:
    """A data set on a device, standardised by the training images' mean and deviation of each channel."""

    splits: dict[str, tuple[Float[Tensor, "n C H W"], Int[Tensor, " n"]]]
    classes: int

    @classmethod
    def of(cls, dataset: Dataset, device: str) -> "Images":
        found = {}
        for split in _SPLITS:
            x, y = dataset.tensors(split, device)
            found[split] = x.view(-1, *dataset.image_shape), y
        mean, deviation = (getattr(found["train"][0], name)((0, 2, 3), keepdim=True) for name in ("mean", "std"))
        return cls({split: ((x - mean) / deviation, y) for split, (x, y) in found.items()}, dataset.classes)


def judged(own: dict[str, Any], network: tuple[int, int], epochs: int, seed: int, images: Images, test: bool) -> dict[str, Any]:
    """Validation (and test) accuracy, %, of one network, and the seconds that it took."""
    started = time.perf_counter()
    model = trained(own["phi"], own["modes"], network, epochs, seed, images, own["rate"])
    found = {"validation": accuracy(model, *images.splits["validation"])}
    found |= {"test": accuracy(model, *images.splits["test"])} if test else {}
    return found | {"seconds": time.perf_counter() - started}


def trained(
    phi: Sequence[float],
    modes: Sequence[int],
    network: tuple[int, int],
    epochs: int,
    seed: int,
    images: Images,
    rate: float = RATE,
) -> nn.Module:
    """A Wide ResNet after its epochs; without any mode bit by backpropagation alone."""
    from pipeline.learning.modules import replace
    from pipeline.targets.wide_resnet import WideResNet

    x, y = images.splits["train"]
    model = WideResNet(*network, classes=images.classes, channels=x.shape[1], seed=seed).to(x.device)
    if any(modes):
        replace(model, "pblf", seed=seed, phi=list(phi), modes=list(modes))
    size = min(BATCH, len(x))
    steps = epochs * (len(x) // size)
    optimiser = torch.optim.SGD(model.parameters(), rate, MOMENTUM, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=torch_stream(seed, "data order", epoch)).to(x.device)
        for index in order[: len(x) // size * size].view(-1, size):
            optimiser.zero_grad()
            F.cross_entropy(model(x[index]), y[index]).backward()
            optimiser.step()
            schedule.step()
    return model


@torch.no_grad()
def accuracy(model: nn.Module, x: Float[Tensor, "n C H W"], y: Int[Tensor, " n"]) -> float:
    """In %, with the running averages of the normalisations; 0 where outputs are not finite."""
    model.eval()
    right = sum((model(xs).argmax(1) == ys).sum().item() for xs, ys in zip(x.split(512), y.split(512), strict=True))
    finite = all(bool(torch.isfinite(own).all()) for own in model.parameters())
    return 100 * right / len(x) if finite else 0.0


# -- its page ------------------------------------------------------------------------------------------------------------


def tests_of(results: Mapping[str, Any]) -> dict[str, list[float]]:
    return {name: [own["test"] for own in found] for name, found in results["fresh"].items()}


def correct(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """All comparisons, with their corrected p-values."""
    tables.correct(duel for own in results["duels"].values() for duel in own.values())
    return results["duels"]


def table(results: Mapping[str, Any]) -> str:
    """What was found, where it was chosen and on fresh networks; and against backpropagation."""
    return tables.blocks(edges.noted(_found(results)), _against(results))


def _found(results: Mapping[str, Any]) -> str:
    rows = []
    for name, found in results["fresh"].items():
        way = results["ways"][name]
        phi = ", ".join(f"{value:.3g}" for value in way["phi"])
        tried = [own["rate"] for own in results["rates"].get(name.removesuffix(TUNED), ())] if name.endswith(TUNED) else []
        rate = edges.marked(f"{way['rate']:.3g}", edges.at_edge(way["rate"], tried))
        chosen = f"{way['validation']:.1f}" if "validation" in way else "–"
        rows.append([name, phi, "".join(map(str, way["modes"])), rate, chosen, f"{_mean(found, 'validation'):.1f}"])
    caption = (
        f"`{tables.command(results)}`: WRN-{results['network']}, {results['epochs']} epochs of {results['examples']} images, "
        f"{results['candidates']} candidates in each search, n = {len(results['fresh'][BACKPROP])} fresh networks "
        f"({tables.where(results)})."
    )
    head = ["way", "w₁, b₁, w₂, b₂", "modes", "rate", "validation %, when chosen", "validation %, fresh"]
    return tables.blocks(tables.table(head, rows), caption)


def _against(results: Mapping[str, Any]) -> str:
    return pblf_extras.against(tests_of(results), correct(results), OTHERS, "networks", ".1f")


def _mean(found: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([own[name] for own in found]))


def figures(results: Mapping[str, Any]) -> dict[str, Any]:
    against = correct(results)
    chosen = {name: way["validation"] for name, way in results["ways"].items() if "validation" in way}
    flattery = [found - _mean(results["fresh"][name], "validation") for name, found in chosen.items()]
    return {
        "network": results["network"],
        "epochs": str(results["epochs"]),
        "candidates": str(results["candidates"]),
        "fewer": str(len(results["rates"][RANDOM])),
        "seconds": f"{results['seconds_per_candidate']:.0f}",
        "device": "a GPU" if str(results["device"]).startswith("cuda") else "one core",
        "flattery": tables.spread(flattery, "+.1f"),
        "bo": tables.outcome(against[BAYESIAN][BACKPROP], 1),
        "random": tables.outcome(against[RANDOM][BACKPROP], 1),
        "tuned": tables.outcome(against[BACKPROP + TUNED][BACKPROP], 1),
        "bo_tuned": tables.outcome(against[BAYESIAN + TUNED][BACKPROP + TUNED], 1),
        "random_tuned": tables.outcome(against[RANDOM + TUNED][BACKPROP + TUNED], 1),
        "beyond": tables.told(against[BAYESIAN + TUNED][BACKPROP + TUNED]) == tables.GAIN,
    }


def verdict(results: Mapping[str, Any]) -> str:
    own = figures(results)
    return (
        f"On WRN-{own['network']}, with every learning rate tuned, the best derivative of Bayesian optimisation is to "
        f"backpropagation {own['bo_tuned']} on fresh networks, that of random search {own['random_tuned']}. At the search's "
        f"own rate they are {own['bo']} and {own['random']}, where a tuned rate alone is {own['tuned']}."
    )


def doubts(results: Mapping[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    hope = "On the dissertation's network a searched derivative is better than backpropagation by more than a learning rate."
    return [tables.Doubt(hope, f"With all rates tuned: {own['bo_tuned']}.", own["beyond"])]
