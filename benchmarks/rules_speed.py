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

from benchmarks import quick
from pipeline.files import write_json
from pipeline.learning import SIGNALS, bound, named
from pipeline.results.provenance import provenance
from pipeline.targets import MLP, Population, initialise

MEMBERS, EXAMPLES, REPEATS, SECONDS_PER_TURN = 64, 100, 15, 0.3
NETWORKS = ((784, 100, 10), (784, 100, 50, 10), (784, 100, 100, 50, 10))
QUICK = {"MEMBERS": 4, "REPEATS": 2, "SECONDS_PER_TURN": 0.01, "NETWORKS": ((64, 16, 10),)}
ACTIVATIONS = ("relu", "tanh")
AIMS: dict[str, dict[str, float]] = {
    "backprop": {"relu": 1.15, "tanh": 1.15},
    **{name: {"relu": 1.2, "tanh": 1.2} for name in ("fa", "dfa", "ifa", "usf", "brsf", "frsf")},
    "pblf": {"relu": 1.3, "tanh": 1.7},
}
"""at most this many times the fused pass; rules without an aim are measured all the same"""
FUSED = "fused"


def main() -> int:
    options = quick.parser_of(__doc__).parse_args()
    if options.quick:
        globals().update(QUICK)
    folder = quick.results_folder(options.quick)
    torch.set_num_threads(1)
    cells = [measure(widths, activation) for widths in NETWORKS for activation in ACTIVATIONS]
    results = {"cells": cells, "members": MEMBERS, "examples": EXAMPLES, "repeats": REPEATS, "provenance": provenance()}
    write_json(folder / "rules-speed.json", results)
    show(cells)
    return 0


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
    table = Table("network", "activation", "rule", "ms", "times the fused pass", "aim", title="Cost of a learning rule")
    for cell in cells:
        for name, ratios in cell["ratios"].items():
            aim = AIMS.get(name, {}).get(cell["activation"])
            ratio, reached = statistics.median(ratios), "" if aim is None else f"≤ {aim}"
            missed = aim is not None and ratio > aim
            row = (cell["network"], cell["activation"], name, f"{cell['milliseconds'][name]:.2f}", f"{ratio:.2f}", reached)
            table.add_row(*row, style="red" if missed else None)
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main())
