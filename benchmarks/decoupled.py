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
any comparison trains it (tests/test_decoupled.py). The learning rate is the best of ``RATES`` on validation data after as many
steps, one for backpropagation (*alone* and *locked* have the same numbers) and one for synthetic gradients, with a seed that is
not measured: a synthesiser that learns late can only follow a layer that moves slowly.

Writes benchmarks/results/decoupled.json. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks import edges, quick, tables
from pipeline import cluster
from pipeline.cluster import Placement
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.learning import named
from pipeline.learning.halves import Lower, Upper, halves, here, on_actors
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval
from pipeline.targets import MLP, Batches, Population, initialise

WIDTHS, BATCH = (784, 512, 1024, 10), 100
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
TUNING = 1000
"""the seed with which a rate is chosen"""
EPOCHS, SEEDS, LAG = 1, 3, 2
ACTIVATION = "tanh"
QUICK = {"WIDTHS": (784, 16, 12, 10), "SEEDS": 2, "BATCH": 50, "RATES": (3e-4, 1e-3)}
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
        steps = EPOCHS * (len(dataset.y_train) // BATCH)
        tried = {kind: {rate: validated(kind, dataset, rate, steps) for rate in RATES} for kind in KINDS if kind != "locked"}
        rates = {kind: min(found, key=lambda rate: found[rate]) for kind, found in tried.items()}
        cluster.start(Placement(workers=2), sum(getattr(dataset, f"x_{split}").nbytes for split in ("train", "test")))
        rows = measured(dataset, rates | {"locked": rates["alone"]}, steps)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written.", file=sys.stderr)
        return 130
    finally:
        cluster.stop()
    settings = {"widths": WIDTHS, "batch": BATCH, "lag": LAG, "rates": RATES}
    write_json(results / "decoupled.json", facts | settings | {"tried": tried, "rows": rows})
    return 0


def validated(kind: str, dataset: Dataset, rate: float, steps: int) -> float:
    """The error on validation data of a kind at a learning rate, both halves in this process."""
    lower, upper = _halves(kind, dataset, rate, TUNING)
    here(lower, upper, steps, _lag(kind))
    return 1 - _trained(lower, upper).evaluate(*dataset.tensors("validation")).accuracy.item()


def measured(dataset: Dataset, rates: Mapping[str, float], steps: int) -> list[dict[str, Any]]:
    """Every kind in turns, seed by seed, so that a drift of the machine hits all alike."""
    rows = {kind: {"kind": kind, "rate": rates[kind], "steps_per_second": [], "error": []} for kind in KINDS}
    for seed in range(SEEDS):
        for kind in KINDS:
            seconds, trained = run(kind, dataset, rates[kind], seed, steps)
            test = trained.evaluate(*dataset.tensors("test"))
            rows[kind]["steps_per_second"].append(steps / seconds)
            error = 1 - test.accuracy.item()
            rows[kind]["error"].append(error)
            print(
                f"seed {seed}, {kind}: {steps / seconds:.0f} steps per second, {100 * error:.2f} % error",
                flush=True,
            )
    return list(rows.values())


def run(kind: str, dataset: Dataset, rate: float, seed: int, steps: int) -> tuple[float, Population]:
    """Seconds, and the network in the end.

    Raises:
        RuntimeError: the actors' weights are not those of one process.
    """
    lower, upper = _halves(kind, dataset, rate, seed)
    alone = _timed(lambda: here(lower, upper, steps, _lag(kind)))
    trained = _trained(lower, upper)
    if kind == "alone":
        return alone, trained
    import ray

    actors = _halves(kind, dataset, rate, seed, lambda half, *of: ray.remote(num_cpus=1)(half).remote(*of))
    try:
        ray.get([actor.parameters.remote() for actor in actors])  # they are there
        seconds = _timed(lambda: on_actors(*actors, steps, _lag(kind)))
        found = [own for actor in actors for own in ray.get(actor.parameters.remote())]
    finally:
        for actor in actors:
            ray.kill(actor)
    if not all(torch.equal(one, other) for one, other in zip(found, trained.parameters, strict=True)):
        raise RuntimeError(f"{kind}: the halves on two actors have other weights than in one process")
    return seconds, trained


def _halves(kind: str, dataset: Dataset, rate: float, seed: int, make: Callable[..., Any] | None = None) -> tuple[Any, Any]:
    target = MLP(WIDTHS, ACTIVATION)
    batches = Batches(*dataset.tensors("train"), BATCH, [seed], shared_order=True)
    rule = named("cdni") if kind == "decoupled" else None
    more = () if make is None else (make,)
    return halves(target, initialise(target, "glorot", [seed]), batches, rate, rule, seed, *more)


def _lag(kind: str) -> int:
    return LAG if kind == "decoupled" else 0


def _trained(lower: Lower, upper: Upper) -> Population:
    return Population(MLP(WIDTHS, ACTIVATION), [*lower.parameters(), *upper.parameters()])


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# -- its page ------------------------------------------------------------------------------------------------------------


def _ratio(results: dict[str, Any], other: str) -> float:
    """Steps per second of the decoupled halves, times those of another kind: the median over the turns."""
    speeds = {row["kind"]: row["steps_per_second"] for row in results["rows"]}
    return statistics.median(one / own for one, own in zip(speeds["decoupled"], speeds[other], strict=True))


def table(results: dict[str, Any]) -> str:
    """Steps per second, learning rates and test errors."""
    rows = []
    for row in results["rows"]:
        mean, low, high = (100 * value for value in mean_interval(row["error"]))
        rate = edges.marked(f"{row['rate']:g}", edges.at_edge(row["rate"], results["rates"]))
        speed = f"{statistics.median(row['steps_per_second']):.0f}"
        rows.append([row["kind"], speed, rate, f"{mean:.2f} [{low:.2f}, {high:.2f}]"])
    widths = "-".join(map(str, results["widths"]))
    caption = (
        f"`{tables.command(results)}`: {widths}, batches of {results['batch']}, one epoch of MNIST, gradients "
        f"{results['lag']} steps late where decoupled; medians and means over {len(results['rows'][0]['error'])} seeds "
        f"({tables.where(results)})."
    )
    return edges.noted(
        tables.blocks(tables.table(["halves", "steps per second", "learning rate", "test error %"], rows), caption)
    )


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """Times as many steps per second as locked halves and as one process take; how many seeds."""
    ratios = {kind: f"{_ratio(results, kind):.2f}" for kind in ("locked", "alone")}
    return ratios | {"seeds": len(results["rows"][0]["error"])}


def verdict(results: dict[str, Any]) -> str:
    """Whether not waiting gains anything on two cores, and beside one process; at what error."""
    found = figures(results)
    errors = {row["kind"]: tables.percent(statistics.mean(row["error"])) for row in results["rows"]}
    return (
        f"Two halves that do not wait for each other take {found['locked']} times as many steps per second as halves that do, "
        f"and {found['alone']} times as many as one process without Ray. Their test error after an epoch is "
        f"{errors['decoupled']} %, by backpropagation {errors['locked']} %."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    """Whether two cores with synthetic gradients are faster than one without."""
    ratios, said = {kind: _ratio(results, kind) for kind in ("locked", "alone")}, figures(results)
    hopes = {
        "locked": "Layers that do not wait take more steps on two cores than layers that do.",
        "alone": "Layers that do not wait take more steps on two cores than backpropagation takes on one.",
    }
    return [tables.Doubt(hopes[kind], f"{said[kind]} times the steps.", held=ratio > 1) for kind, ratio in ratios.items()]


if __name__ == "__main__":
    sys.exit(main())
