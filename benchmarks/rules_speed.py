"""What a learning rule costs: a step's gradients through the contract of learning rules, against the fused backward pass; and
on convolutional networks, against autograd's own.

    python -m benchmarks.rules_speed            # minutes; writes benchmarks/results/rules-speed.json
    python -m benchmarks.rules_speed --quick    # seconds: P = 4 on a small network; writes into a temporary folder

One thread. The contestants of a network take turns, so that a drift of the machine hits all alike; a number is the median over
the turns of this thread's time for one ``population.grads``, and a ratio the median over the turns of a contestant's time
divided by the fused pass's in the same turn. Data are random: speed does not depend on them. On convolutional networks a number
is the time of a forward and a backward pass of a module under ``replace``, and what it is compared with is the same module
without.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy

from benchmarks import quick, tables
from pipeline.files import write_json
from pipeline.learning import SIGNALS, bound, named
from pipeline.learning.modules import replace
from pipeline.results.provenance import provenance
from pipeline.targets import MLP, Population, initialise
from pipeline.targets.networks import network

MEMBERS, EXAMPLES, REPEATS, SECONDS_PER_TURN = 64, 100, 9, 0.2
NETWORKS = ((784, 100, 10), (784, 100, 50, 10), (784, 100, 100, 50, 10))
ACTIVATIONS = ("relu", "tanh")
CONVOLUTIONAL, IMAGES, PIXELS = ("small-cnn", "wrn-10-1"), 128, 32
QUICK = {
    "MEMBERS": 4,
    "REPEATS": 2,
    "SECONDS_PER_TURN": 0.01,
    "NETWORKS": ((64, 16, 10),),
    "CONVOLUTIONAL": ("small-cnn",),
    "IMAGES": 4,
    "PIXELS": 8,
}
ALIGNMENT = ("fa", "dfa", "ifa", "usf", "brsf", "frsf")
AIMS: dict[str, dict[str, float]] = {
    "backprop": dict.fromkeys(ACTIVATIONS, 1.15),
    **{name: dict.fromkeys(ACTIVATIONS, 1.2) for name in ALIGNMENT},
    "pblf": {"relu": 1.3, "tanh": 1.7},
}
"""at most this many times the fused pass; rules without an aim are measured all the same"""
AIM, AIMED = 1.15, ("backprop", "fa", "usf", "dfa", "pblf")
"""on convolutional networks at most this many times autograd's own pass"""
FUSED, PLAIN = "fused", "autograd"


def main() -> None:
    if quick.parser_of(__doc__).parse_args().quick:
        globals().update(QUICK)
    torch.set_num_threads(1)
    facts = provenance(" ".join(["python", "-m", "benchmarks.rules_speed", *sys.argv[1:]]), 0)
    cells = [
        {"network": "-".join(map(str, widths)), "activation": activation} | measure(contestants(widths, activation), FUSED)
        for widths in NETWORKS
        for activation in ACTIVATIONS
    ]
    images = [{"network": name} | measure(convolutional(name), PLAIN) for name in CONVOLUTIONAL]
    report = facts | {"members": MEMBERS, "examples": EXAMPLES, "repeats": REPEATS, "cells": cells}
    report |= {"images": IMAGES, "convolutional": images}
    show(cells, "Times the fused pass")
    show(images, "Times autograd's own pass")
    output = quick.results_folder("--quick" in sys.argv) / "rules-speed.json"
    write_json(output, report)
    print(f"written to {output}")


def contestants(widths: tuple[int, ...], activation: str) -> dict[str, Callable[[], object]]:
    """One step's gradients of each kind, on the same batch and weights."""
    target, seeds = MLP(widths, activation), range(MEMBERS)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(EXAMPLES, widths[0], generator=generator).expand(MEMBERS, EXAMPLES, widths[0]).clone()
    y = torch.randint(widths[-1], (MEMBERS, EXAMPLES), generator=generator)
    population = Population(target, initialise(target, "glorot", seeds), seeds=seeds)

    def step(signal: Any) -> Callable[[], object]:
        return lambda: population.grads(x, y, signal)

    return {FUSED: step(None)} | {name: step(bound(named(name), population)) for name in SIGNALS}


def convolutional(name: str) -> dict[str, Callable[[], object]]:
    """One step's forward and backward pass of a network for images under each rule that serves it, on the same batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(IMAGES, 3, PIXELS, PIXELS, generator=generator)
    y = torch.randint(10, (IMAGES,), generator=generator)

    def step(rule: str | None) -> Callable[[], object]:
        model = network(name)
        if rule is not None:
            replace(model, rule)

        def run() -> None:
            model.zero_grad()
            cross_entropy(model(x), y).backward()

        return run

    return {PLAIN: step(None)} | {rule: step(rule) for rule, kind in SIGNALS.items() if kind.serves != "chains"}


def measure(runs: dict[str, Callable[[], object]], against: str) -> dict[str, Any]:
    """Milliseconds of each contestant and its ratio to the one ``against``."""
    steps = {name: max(1, round(SECONDS_PER_TURN / timed(run, 2))) for name, run in runs.items()}
    turns = [{name: timed(run, steps[name]) for name, run in runs.items()} for _ in range(REPEATS)]
    return {
        "milliseconds": {name: 1000 * statistics.median(turn[name] for turn in turns) for name in runs},
        "ratios": {name: [turn[name] / turn[against] for turn in turns] for name in runs if name != against},
    }


def timed(run: Callable[[], object], steps: int) -> float:
    """Seconds of this thread per step, after one that is not counted."""
    run()
    started = time.thread_time()
    for _ in range(steps):
        run()
    return (time.thread_time() - started) / steps


def show(cells: list[dict[str, Any]], title: str) -> None:
    shown = Table(
        "rule", *(" ".join(own for key in ("network", "activation") if (own := cell.get(key))) for cell in cells), title=title
    )
    for name in cells[0]["ratios"]:
        shown.add_row(name, *(_ratio(cell, name) for cell in cells))
    Console().print(shown)


def _ratio(cell: dict[str, Any], name: str) -> str:
    return f"{statistics.median(cell['ratios'][name]):.2f}"


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """Ratios of every rule, by network and activation."""
    cells = results["cells"]
    head = ["times the fused pass", *(f"{cell['network']}, {cell['activation']}" for cell in cells)]
    fused = ["fused pass, ms", *(f"{cell['milliseconds'][FUSED]:.1f}" for cell in cells)]
    rows = [[f"`{name}`", *(_ratio(cell, name) for cell in cells)] for name in cells[0]["ratios"]]
    caption = (
        f"`{tables.command(results)}`: {results['members']} members, each with its own batch of {results['examples']}; "
        f"medians of {results['repeats']} turns side by side, one thread ({tables.where(results)})."
    )
    return tables.blocks(tables.table(head, [*rows, fused]), caption, *_of_images(results))


def _of_images(results: dict[str, Any]) -> list[str]:
    """The table of convolutional networks and its caption; nothing where results are older."""
    cells = results.get("convolutional", [])
    if not cells:
        return []
    head = ["times autograd's own pass", *(cell["network"] for cell in cells)]
    rows = [[f"`{name}`", *(_ratio(cell, name) for cell in cells)] for name in cells[0]["ratios"]]
    plain = ["autograd, ms", *(f"{cell['milliseconds'][PLAIN]:.0f}" for cell in cells)]
    caption = (
        f"Modules under `replace`, forward and backward pass of {results['images']} random images of CIFAR-10's size; likewise "
        "side by side. Rules that serve chains of linear layers alone are left out."
    )
    return [tables.table(head, [*rows, plain]), caption]


def figures(results: dict[str, Any]) -> dict[str, Any]:
    def of(*names: str) -> str:
        found = [statistics.median(cell["ratios"][name]) for cell in results["cells"] for name in names]
        return tables.spread(found)

    trained = [name for name in results["cells"][0]["ratios"] if name not in AIMS and name != "frozen"]
    images = [statistics.median(cell["ratios"][name]) for cell in results.get("convolutional", []) for name in AIMED]
    return {"backprop": of("backprop"), "alignment": of(*ALIGNMENT), "pblf": of("pblf"), "trained": of(*trained)} | (
        {"images": tables.spread(images)} if images else {}
    )


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    images = (
        f"; on convolutional networks {_listed()} take {own['images']} times autograd's own pass" if "images" in own else ""
    )
    return (
        f"Through the contract of learning rules backpropagation takes {own['backprop']} times the fused pass, feedback "
        f"alignment and its kin {own['alignment']} times, a learned derivative {own['pblf']} times. Rules that train something "
        f"of their own take {own['trained']} times{images}."
    )


def _listed() -> str:
    *most, last = [f"`{name}`" for name in AIMED]
    return f"{', '.join(most)} and {last}"


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    """Whether each aim was reached on every network."""
    found = []
    for name, aims in AIMS.items():
        most = max(statistics.median(cell["ratios"][name]) / aims[cell["activation"]] for cell in results["cells"])
        if most > 1:
            limits = " and ".join(f"{aim:g} times ({kind})" for kind, aim in aims.items())
            hope = f"`{name}` costs at most {limits} the fused pass."
            found.append(tables.Doubt(hope, f"in its worst network {tables.spread([most])} times that.", held=False))
    for name in AIMED if results.get("convolutional") else ():
        most = max(statistics.median(cell["ratios"][name]) for cell in results["convolutional"])
        if most > AIM:
            hope = f"`{name}` costs at most {AIM:g} times autograd's own pass on convolutional networks."
            found.append(tables.Doubt(hope, f"in the worse of them {tables.spread([most])} times.", held=False))
    return found


if __name__ == "__main__":
    main()
