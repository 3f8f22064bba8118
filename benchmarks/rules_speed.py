"""What a learning rule costs: a step's gradients through the contract of learning rules, against the fused backward pass.

    python -m benchmarks.rules_speed            # minutes; writes benchmarks/results/rules-speed.json
    python -m benchmarks.rules_speed --quick    # seconds: P = 4 on a small network; writes into a temporary folder

One thread. The contestants of a network take turns, so that a drift of the machine hits all alike; a number is the median over
the turns of this thread's time for one ``population.grads``, and a ratio the median over the turns of a contestant's time
divided by the fused pass's in the same turn. Data are random: speed does not depend on them.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import quick, tables
from pipeline.files import write_json
from pipeline.learning import SIGNALS, bound, named
from pipeline.results.provenance import provenance
from pipeline.targets import MLP, Population, initialise

MEMBERS, EXAMPLES, REPEATS, SECONDS_PER_TURN = 64, 100, 9, 0.2
NETWORKS = ((784, 100, 10), (784, 100, 50, 10), (784, 100, 100, 50, 10))
ACTIVATIONS = ("relu", "tanh")
QUICK = {"MEMBERS": 4, "REPEATS": 2, "SECONDS_PER_TURN": 0.01, "NETWORKS": ((64, 16, 10),)}
ALIGNMENT = ("fa", "dfa", "ifa", "usf", "brsf", "frsf")
AIMS: dict[str, dict[str, float]] = {
    "backprop": dict.fromkeys(ACTIVATIONS, 1.15),
    **{name: dict.fromkeys(ACTIVATIONS, 1.2) for name in ALIGNMENT},
    "pblf": {"relu": 1.3, "tanh": 1.7},
}
"""at most this many times the fused pass; rules without an aim are measured all the same"""
FUSED = "fused"


def main() -> None:
    if quick.parser_of(__doc__).parse_args().quick:
        globals().update(QUICK)
    torch.set_num_threads(1)
    facts = provenance(" ".join(["python", "-m", "benchmarks.rules_speed", *sys.argv[1:]]), 0)
    cells = [measure(widths, activation) for widths in NETWORKS for activation in ACTIVATIONS]
    report = facts | {"members": MEMBERS, "examples": EXAMPLES, "repeats": REPEATS, "cells": cells}
    show(cells)
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


def measure(widths: tuple[int, ...], activation: str) -> dict[str, Any]:
    """Milliseconds of each contestant and its ratio to the fused pass."""
    runs = contestants(widths, activation)
    steps = {name: max(1, round(SECONDS_PER_TURN / timed(run, 2))) for name, run in runs.items()}
    turns = [{name: timed(run, steps[name]) for name, run in runs.items()} for _ in range(REPEATS)]
    return {
        "network": "-".join(map(str, widths)),
        "activation": activation,
        "milliseconds": {name: 1000 * statistics.median(turn[name] for turn in turns) for name in runs},
        "ratios": {name: [turn[name] / turn[FUSED] for turn in turns] for name in runs if name != FUSED},
    }


def timed(run: Callable[[], object], steps: int) -> float:
    """Seconds of this thread per step, after one that is not counted."""
    run()
    started = time.thread_time()
    for _ in range(steps):
        run()
    return (time.thread_time() - started) / steps


def show(cells: list[dict[str, Any]]) -> None:
    shown = Table("rule", *(f"{cell['network']} {cell['activation']}" for cell in cells), title="Times the fused pass")
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
    return tables.blocks(tables.table(head, [*rows, fused]), caption)


def figures(results: dict[str, Any]) -> dict[str, Any]:
    def of(*names: str) -> str:
        found = [statistics.median(cell["ratios"][name]) for cell in results["cells"] for name in names]
        return tables.spread(found)

    trained = [name for name in results["cells"][0]["ratios"] if name not in AIMS and name != "frozen"]
    return {"backprop": of("backprop"), "alignment": of(*ALIGNMENT), "pblf": of("pblf"), "trained": of(*trained)}


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"Through the contract of learning rules backpropagation takes {own['backprop']} times the fused pass, feedback "
        f"alignment and its kin {own['alignment']} times, a learned derivative {own['pblf']} times. Rules that train something "
        f"of their own take {own['trained']} times."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    """Whether each aim was reached on every network."""
    found = []
    for name, aims in AIMS.items():
        most = max(statistics.median(cell["ratios"][name]) / aims[cell["activation"]] for cell in results["cells"])
        if most > 1:
            limits = " and ".join(f"{aim:g} times ({kind})" for kind, aim in aims.items())
            hope = f"`{name}` costs at most {limits} the fused pass."
            found.append(tables.Doubt(hope, f"in its worst network {tables.spread([most])} times that.", held=False))
    return found


if __name__ == "__main__":
    main()
