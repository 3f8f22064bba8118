"""``python -m benchmarks.pblf --protocol pblf-wrn``: the dissertation's own network, on whatever CIFAR-10 there is.

A Wide ResNet with four positions (after the first convolution and after each group) whose derivative, 1, is multiplied by f_φ
where the position's mode bit is 1. Random search and Bayesian optimisation (UCB, trade-off 0.1) judge as many candidates each,
by validation accuracy after the epochs; the best of both and backpropagation are trained again on fresh seeds. SGD with
momentum 0.9, weight decay 5e-4, learning rate 0.1 falling to 0 by a cosine, batches of 128; no augmentation.

Every candidate is kept when it is trained: given again, the command goes on. Writes benchmarks/results/pblf-wrn.json.

Letters: B examples, C channels, H × W pixels.
"""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import quick
from benchmarks.cache import Cache
from pipeline.config.rule import PHI
from pipeline.data import Dataset
from pipeline.files import write_json
from pipeline.results.statistics import paired
from pipeline.search.plan import Plan
from pipeline.search.propose import Proposals
from pipeline.search.reading import read_plan
from pipeline.search.values import Dimension, Sampler
from pipeline.seeding import stream, torch_stream

FILE = Path(__file__).resolve().parents[1] / "tune_configs" / "pblf.yaml"
POSITIONS, BATCH, RATE, MOMENTUM, DECAY, SEEDS = 4, 128, 0.1, 0.9, 5e-4, 5
SEARCHES = {
    "random search": Sampler("random"),
    "UCB, 0.1": Sampler("gp", acquisition="ucb", trade_off=0.1, startup=20, random_every=10),
}
BACKPROP = {"phi": [0.0, 0.0, 0.0, 1.0], "modes": [0] * POSITIONS}


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

    def part(name: str, own: dict[str, Any], seed: int, test: bool = False) -> dict[str, Any]:
        def compute() -> dict[str, Any]:
            return judged(own, (depth, width), epochs, seed, images, test)

        found = cache.part(name, compute, own=own, seed=seed, test=test).value
        print(f"{name}: {found}", flush=True)
        return found

    searches = {}
    for name, sampler in SEARCHES.items():
        proposals = Proposals(*_plan(sampler), cache.place(f"study-{name}", sampler=sampler))
        judged_ones = []
        for number in range(candidates):
            chosen = proposals.propose(number)
            own = {"phi": [chosen[f"rule.{key}"] for key in PHI], "modes": chosen["rule.modes"]}
            judged_ones.append(own | part(f"{name} {number:03d}", own, stream(0, "judged", 0)))
            proposals.tell(number, {"accuracy": judged_ones[-1]["validation"]})
        searches[name] = judged_ones
    ways = {"backprop": BACKPROP} | {name: max(found, key=lambda own: own["validation"]) for name, found in searches.items()}
    fresh = {}
    for name, way in ways.items():
        own = {key: way[key] for key in ("phi", "modes")}
        seeds = range(2 if options.quick else SEEDS)
        fresh[name] = [part(f"fresh {name} {number}", own, stream(0, "fresh", number), True) for number in seeds]
    tests = {name: [own["test"] for own in found] for name, found in fresh.items()}
    seconds = [own["seconds"] for found in searches.values() for own in found]
    report = facts | decides | {"searches": searches, "ways": ways, "fresh": fresh, "examples": len(dataset.y_train)}
    report |= {"candidates": candidates, "seconds_per_candidate": float(np.mean(seconds))}
    report |= {"against backprop": {name: paired(own, tests["backprop"]) for name, own in tests.items() if name != "backprop"}}
    write_json(results / "pblf-wrn.json", report)
    print(f"{report['seconds_per_candidate']:.1f} s per candidate; written to {results / 'pblf-wrn.json'}")


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
    model = trained(own["phi"], own["modes"], network, epochs, seed, images)
    found = {"validation": accuracy(model, *images.splits["validation"])}
    found |= {"test": accuracy(model, *images.splits["test"])} if test else {}
    return found | {"seconds": time.perf_counter() - started}


def trained(
    phi: Sequence[float], modes: Sequence[int], network: tuple[int, int], epochs: int, seed: int, images: Images
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
    optimiser = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
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
