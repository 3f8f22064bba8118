"""What are synthetic gradients for: does a network train faster whose halves, on two cores, do not wait for each other?

    python -m benchmarks.decoupled            # some minutes; wants two idle cores
    python -m benchmarks.decoupled --quick    # a minute, most of it Ray's; digits in place of the data

784-512-1024-10, tanh, from Glorot, Adam, batches of 100 of MNIST, for one epoch. The first hidden layer is one Ray actor, all
above it another, one thread each; they pass each other the layer's h and the gradient with respect to it.

- *locked*: backpropagation. The lower half waits for the gradient before it goes on, and the upper half for the next h.
- *decoupled*: conditioned synthetic gradients (:mod:`pipeline.learning.cdni`). The lower half is updated at once by what its
  synthesiser says and goes on with the next batch; gradients come ``LAG`` steps later and teach the synthesiser.
- *alone*: backpropagation of the same network in one process, without Ray.

Who does what in which order is fixed, so that timing changes no number: both halves in one process give the same weights to
the bit, which every measurement checks. With ``LAG`` 0 and nothing but the output above, it is the learning rule ``cdni`` as
any comparison trains it (tests/test_decoupled.py).

Writes benchmarks/results/decoupled.json. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import quick, tables
from pipeline import cluster
from pipeline.cluster import Placement
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.learning import named
from pipeline.learning.halves import halves, here, on_actors
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval
from pipeline.targets import MLP, Batches, Population, initialise

WIDTHS, BATCH, RATE = (784, 512, 1024, 10), 100, 1e-3
EPOCHS, SEEDS, LAG = 1, 3, 2
ACTIVATION = "tanh"
QUICK = {"WIDTHS": (784, 16, 12, 10), "SEEDS": 2, "BATCH": 50}
KINDS = ("alone", "locked", "decoupled")


# -- measuring -----------------------------------------------------------------------------------------------------------


def main() -> int:
    options = quick.parser_of(__doc__).parse_args()
    if options.quick:
        globals().update(QUICK)
    torch.set_num_threads(1)
    results = quick.results_folder(options.quick)
    facts = provenance("python -m benchmarks.decoupled", 0)
    try:
        dataset = quick.data("mnist", options.quick)
        cluster.start(Placement(workers=2), sum(getattr(dataset, f"x_{split}").nbytes for split in ("train", "test")))
        rows = measured(dataset, EPOCHS * (len(dataset.y_train) // BATCH))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written.", file=sys.stderr)
        return 130
    finally:
        cluster.stop()
    write_json(results / "decoupled.json", facts | {"widths": WIDTHS, "batch": BATCH, "lag": LAG, "rows": rows})
    return 0


def measured(dataset: Dataset, steps: int) -> list[dict[str, Any]]:
    """Every kind in turns, seed by seed, so that a drift of the machine hits all alike."""
    rows = {kind: {"kind": kind, "steps_per_second": [], "error": []} for kind in KINDS}
    for seed in range(SEEDS):
        for kind in KINDS:
            seconds, parameters = run(kind, dataset, seed, steps)
            test = Population(MLP(WIDTHS, ACTIVATION), parameters).evaluate(*dataset.tensors("test"))
            rows[kind]["steps_per_second"].append(steps / seconds)
            error = 1 - test.accuracy.item()
            rows[kind]["error"].append(error)
            print(
                f"seed {seed}, {kind}: {steps / seconds:.0f} steps per second, {100 * error:.2f} % error",
                flush=True,
            )
    return list(rows.values())


def run(kind: str, dataset: Dataset, seed: int, steps: int) -> tuple[float, list[Tensor]]:
    """Seconds, and the last weights.

    Raises:
        RuntimeError: the actors' weights are not those of one process.
    """
    decoupled = kind == "decoupled"
    rule, lag = (named("cdni"), LAG) if decoupled else (None, 0)
    target = MLP(WIDTHS, ACTIVATION)
    start = initialise(target, "glorot", [seed])
    batches = Batches(*dataset.tensors("train"), BATCH, [seed], shared_order=True)
    lower, upper = halves(target, start, batches, RATE, rule, seed)
    alone = _timed(lambda: here(lower, upper, steps, lag))
    expected = [*lower.parameters(), *upper.parameters()]
    if kind == "alone":
        return alone, expected
    import ray

    actors = halves(target, start, batches, RATE, rule, seed, lambda half, *of: ray.remote(num_cpus=1)(half).remote(*of))
    try:
        ray.get([actor.parameters.remote() for actor in actors])  # they are there
        seconds = _timed(lambda: on_actors(*actors, steps, lag))
        found = [own for actor in actors for own in ray.get(actor.parameters.remote())]
    finally:
        for actor in actors:
            ray.kill(actor)
    if not all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)):
        raise RuntimeError(f"{kind}: the halves on two actors have other weights than in one process")
    return seconds, found


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# -- its page ------------------------------------------------------------------------------------------------------------


def _ratio(results: dict[str, Any]) -> list[float]:
    """Steps per second of the decoupled halves, times those of the locked ones, turn by turn."""
    speeds = {row["kind"]: row["steps_per_second"] for row in results["rows"]}
    return [one / other for one, other in zip(speeds["decoupled"], speeds["locked"], strict=True)]


def table(results: dict[str, Any]) -> str:
    """Steps per second and test errors."""
    rows = []
    for row in results["rows"]:
        mean, low, high = (100 * value for value in mean_interval(row["error"]))
        rows.append([row["kind"], f"{statistics.median(row['steps_per_second']):.0f}", f"{mean:.2f} [{low:.2f}, {high:.2f}]"])
    widths = "-".join(map(str, results["widths"]))
    caption = (
        f"`{tables.command(results)}`: {widths}, batches of {results['batch']}, one epoch of MNIST, gradients "
        f"{results['lag']} steps late where decoupled; medians and means over {len(results['rows'][0]['error'])} seeds "
        f"({tables.where(results)})."
    )
    return tables.blocks(tables.table(["halves", "steps per second", "test error %"], rows), caption)


def figures(results: dict[str, Any]) -> dict[str, Any]:
    return {"ratio": f"{statistics.median(_ratio(results)):.2f}", "seeds": len(results["rows"][0]["error"])}


def verdict(results: dict[str, Any]) -> str:
    ratio = statistics.median(_ratio(results))
    gain = "they gain" if ratio > 1.02 else "they do not gain"
    return (
        f"Two halves that do not wait for each other take {ratio:.2f} times as many steps per second as halves that do: on two "
        f"cores {gain}. The synthesiser costs work that backpropagation does not have."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    ratio = statistics.median(_ratio(results))
    if ratio > 1.02:
        return []
    return [tables.Doubt("Layers that do not wait train faster on two cores.", f"{ratio:.2f} times the steps.", held=False)]


if __name__ == "__main__":
    sys.exit(main())
