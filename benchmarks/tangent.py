"""What does an exact Hessian product cost, and what does a difference of two gradients in its place do to a costate?

    python -m benchmarks.tangent            # about two minutes on one core, needs MNIST in GRAD_INSTRUCTOR_DATA
    python -m benchmarks.tangent --quick    # seconds, on digits; into a temporary folder

*Cost*: a tangent against the gradients of the same batch, medians of turns side by side. *Error*: one product of a difference
over 0.3 % of the weights' norm, which fine-tuning used before, against the tangent in float64. *Costates*: led back through a
whole run with either product, by how much the loss at its end changes where the weights of an early step are pushed, as they
promise it and as it comes true.

Writes benchmarks/results/tangent.json.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks import quick, tables
from pipeline.config import TrainingConfig
from pipeline.data import load
from pipeline.files import write_json
from pipeline.results.provenance import provenance
from pipeline.results.tables import as_cell
from pipeline.targets import ACTIVATIONS, MLP, Batches, Population, initialise
from pipeline.targets.members import norms, per_member
from rl.descent import Descent
from rl.unrolled import log_loss_costate

SHAPES = {"mnist": ((784, 100, 10), 100), "digits": ((64, 32, 10), 32)}
"""widths and batch size"""
MEMBERS, TURNS = (8, 64), 9
DIFFERENCE = 3e-3
STEPS, PUSHED_AT = 110, 5
"""of the run that costates are led back through, and the step at which weights are pushed"""
PUSHES = 48
LENGTHS = (1e-4, 1e-3, 1e-2, 3e-2)
"""how many pushes along gradients of other examples are tried, and their lengths as a share of the weights' norm"""


def main() -> int:
    options = quick.parser_of(__doc__).parse_args()
    file = quick.results_folder(options.quick) / "tangent.json"
    torch.set_num_threads(1)
    dataset = load("digits" if options.quick else "mnist")
    shapes = {name: SHAPES[name] for name in (("digits",) if options.quick else SHAPES)}
    turns, steps, pushes = (2, 12, 8) if options.quick else (TURNS, STEPS, PUSHES)
    found: dict[str, Any] = {
        "cost": [
            cost(name, *shape, activation, p, turns)
            for name, shape in shapes.items()
            for activation in ACTIVATIONS
            for p in MEMBERS
        ],
        "error": [one_product(dataset, activation, step) for activation in ACTIVATIONS for step in (0, steps // 2, steps)],
        "costates": [costates(dataset, rate, run, pushes) for rate in (0.1, 0.3) for run in (steps // 2, steps)],
        "provenance": provenance("python -m benchmarks.tangent", 0),
    }
    for rows in (found["cost"], found["error"], found["costates"]):
        for row in rows:
            print(
                "  ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
            )
    write_json(file, found)
    print(f"written to {file}")
    return 0


def cost(name: str, widths: tuple[int, ...], batch: int, activation: str, members: int, turns: int) -> dict[str, Any]:
    """The time of a tangent as a multiple of that of the gradients; every member has its own batch."""
    target, generator = MLP(widths, activation), torch.Generator().manual_seed(0)
    population = Population(target, initialise(target, "he", range(members)))
    x, y = torch.rand(members, batch, widths[0], generator=generator), torch.randint(widths[-1], (members, batch))
    vector = [torch.randn(tensor.shape, generator=generator) for tensor in population.parameters]
    repeats = max(3, int(3e7 / (members * batch * target.size)))
    ratios = []
    for _ in range(turns + 1):
        gradients, tangent = (
            seconds(call, repeats) for call in (lambda: population.grads(x, y), lambda: population.tangent(x, y, vector))
        )
        ratios.append(tangent / gradients)
    ratio = statistics.median(ratios[1:])  # the first turn allocates
    return {"shapes": name, "activation": activation, "members": members, "tangent / gradients": ratio}


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The median of single calls, which a busy machine disturbs least."""
    taken = []
    for _ in range(repeats):
        started = time.thread_time()
        call()
        taken.append(time.thread_time() - started)
    return statistics.median(taken)


def one_product(dataset: Any, activation: str, steps: int) -> dict[str, Any]:
    """A difference of gradients, and the tangent in float32, against the tangent in float64, after so many steps from He."""
    target = MLP((dataset.features, 100, dataset.classes), activation)
    population, batches = started(dataset, target, 0.1, [0])
    for step in range(steps):
        population.apply(population.grads(*batches(step)))
    (x, y), generator = batches(steps), torch.Generator().manual_seed(1)
    vector = [torch.randn(tensor.shape, generator=generator) for tensor in population.parameters]
    exact = Population(target, [tensor.double() for tensor in population.parameters])
    expected = flat(exact.tangent(x.double(), y, [own.double() for own in vector]))
    single = flat(population.tangent(x, y, vector)).double()
    found = flat(difference(population, (x, y), vector, list(population.parameters))).double()
    return {
        "activation": activation,
        "steps": steps,
        "difference, relative error": float((found - expected).norm() / expected.norm()),
        "difference, cosine": float(torch.cosine_similarity(found, expected, dim=0)),
        "tangent in float32, relative error": float((single - expected).norm() / expected.norm()),
    }


def difference(
    population: Population, batch: tuple[Tensor, Tensor], vector: Sequence[Tensor], at: list[Tensor]
) -> list[Tensor]:
    """``(∇L(θ + εv) − ∇L(θ)) / ε``."""
    epsilon = DIFFERENCE * norms(at).clamp_min(1.0) / norms(vector).clamp_min(1e-20)
    here = [gradient.clone() for gradient in Population(population.target, at).grads(*batch)]
    shifted = [tensor + per_member(epsilon, own) * own for tensor, own in zip(at, vector, strict=True)]
    there = Population(population.target, shifted).grads(*batch)
    return [(far - near) / per_member(epsilon, near) for far, near in zip(there, here, strict=True)]


def costates(dataset: Any, rate: float, steps: int, pushes: int) -> dict[str, Any]:
    """Norms of a run's costate with either product; the correlation of promised with true changes of log(loss) at its end.

    In float64, so that what differs is the product and not rounding. Pushes much smaller than an instruction are drowned in
    what the run's kinks add: a step of gradient descent jumps where a unit switches, which no derivative tells.
    """
    target, training = MLP((dataset.features, 100, dataset.classes)), TrainingConfig(learning_rate=rate, steps=steps)
    population, batches = started(dataset, target, rate, [0])
    population = Population(target, [tensor.double() for tensor in population.parameters])
    examples = tuple(tensor[None, :2000] for tensor in dataset.tensors("validation"))
    examples = examples[0].double(), examples[1]
    descent, path = Descent(training, population.parameters), []
    rates = torch.full((1,), rate, dtype=torch.float64)
    for step in range(steps):
        here, (x, y) = [tensor.clone() for tensor in population.parameters], batches(step)
        gradients = population.grads(x.double(), y)
        path.append((here, (x.double(), y), descent.step(population.parameters, gradients, rates, [step])))
    population.grads(*examples)
    end, pushed = population.losses.clone(), min(PUSHED_AT, steps // 2)
    led = {
        "exact": lambda batch, vector, at: population.tangent(*batch, vector, at),
        "difference": lambda batch, vector, at: difference(population, batch, vector, at),
    }
    found: dict[str, Any] = {"learning rate": rate, "steps": steps}
    promises = {}
    for name, product in led.items():
        costate = log_loss_costate(population, examples)
        largest = norms(costate.parameters)
        for step in reversed(range(pushed, steps)):
            here, batch, taken = path[step]
            descent.back(costate, taken, lambda vector, batch=batch, here=here, product=product: product(batch, vector, here))
            largest = torch.maximum(largest, norms(costate.parameters))
        found |= {f"{name}, largest norm": float(largest), f"{name}, norm at step {pushed}": float(norms(costate.parameters))}
        promises[name] = costate.parameters
    directions = others(dataset, target, path[pushed][0], pushes)
    for length in LENGTHS:
        size = length * norms(path[pushed][0]) / norms(directions)
        moves = [per_member(size, own) * own for own in directions]
        many = Population(
            target, [tensor + own for tensor, own in zip(path[pushed][0], moves, strict=True)], learning_rate=rate
        )
        for _, batch, _ in path[pushed:]:
            many.apply(many.grads(*batch))
        many.grads(examples[0][0], examples[1][0])
        true = (many.losses / end).log()
        for name, costate in promises.items():
            promised = sum((own * move).flatten(1).sum(1) for own, move in zip(costate, moves, strict=True))
            correlation = torch.corrcoef(torch.stack([promised, true]))[0, 1]
            found[f"{name}, promised and true, pushes of {length:g}"] = float(correlation)
    return found


def others(dataset: Any, target: MLP, at: Sequence[Tensor], pushes: int) -> list[Tensor]:
    """The gradients of so many other batches, (pushes, …) each."""
    x, y = dataset.tensors("train")
    rows = torch.randint(len(y), (pushes, 100), generator=torch.Generator().manual_seed(2))
    population = Population(target, [tensor.expand(pushes, *tensor.shape[1:]) for tensor in at])
    return population.grads(x[rows].double(), y[rows])


def started(dataset: Any, target: MLP, rate: float, seeds: Sequence[int]) -> tuple[Population, Batches]:
    population = Population(target, initialise(target, "he", seeds), learning_rate=rate)
    return population, Batches(*dataset.tensors("train"), 100, seeds, True)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """What a Hessian product costs and errs by, one row per activation; below it what that does to costates."""
    cells = []
    for activation in dict.fromkeys(row["activation"] for row in results["cost"]):
        costs = [row for row in results["cost"] if row["activation"] == activation]
        errors = [row for row in results["error"] if row["activation"] == activation]
        wrong, cosine = ([row[f"difference, {name}"] for row in errors] for name in ("relative error", "cosine"))
        times = [[row["tangent / gradients"] for row in costs if row["shapes"] == shapes] for shapes in SHAPES]
        line = [", ".join(f"{time:.2f}" for time in found) for found in times]
        cells.append(
            [activation, *line, ", ".join(f"{value:.2g}" for value in wrong), ", ".join(as_cell(c, ".2f") for c in cosine)]
        )
    lengths = [key.split()[-1] for key in results["costates"][0] if key.startswith("exact, promised")]
    costates = [
        [
            f"{row['steps']}",
            f"{row['learning rate']:g}",
            name,
            f"{row[_norm(row, key)]:.2g}",
            *(as_cell(row[f"{key}, promised and true, pushes of {length}"], ".2f") for length in lengths),
        ]
        for row in results["costates"]
        for key, name in (("exact", "exact"), ("difference", "by differences"))
    ]
    steps = ", ".join(str(row["steps"]) for row in results["error"] if row["activation"] == "relu")
    members = ", ".join(dict.fromkeys(str(row["members"]) for row in results["cost"]))
    pushed = _norm(results["costates"][0], "exact").split()[-1]
    caption = (
        f"`{tables.command(results['provenance'])}`: times for P = {members}, one thread; errors after {steps} steps from He "
        "on MNIST; "
        f"costates {pushed} steps after the start, pushes in shares of the weights' norm "
        f"({tables.where(results['provenance'])})."
    )
    head = ["activation", *(f"{shapes}: takes n times the gradients" for shapes in SHAPES)]
    head += ["difference: relative error", "difference: cosine"]
    below = ["steps", "learning rate", "Hessian products", "norm", *(f"push of {length}" for length in lengths)]
    return tables.blocks(
        tables.table(head, cells),
        "Costates, led back through whole runs: their norm, and the correlation of promised and true changes:",
        tables.table(below, costates, left=3),
        caption,
    )


def _norm(row: dict[str, Any], kind: str) -> str:
    """The key of the norm at the step where weights are pushed."""
    (found,) = (key for key in row if key.startswith(f"{kind}, norm at"))
    return found


def figures(results: dict[str, Any]) -> dict[str, Any]:
    relu = [row for row in results["error"] if row["activation"] == "relu"]
    smooth = [row for row in results["error"] if row["activation"] != "relu"]

    def promised(kind: str) -> list[float]:
        return [value for row in results["costates"] for key, value in row.items() if key.startswith(f"{kind}, promised")]

    exact = promised("exact")
    return {
        "cost": tables.spread(row["tangent / gradients"] for row in results["cost"]),
        "relu_error": tables.spread((row["difference, relative error"] for row in relu), ".2g"),
        "relu_cosine": tables.spread((abs(row["difference, cosine"]) for row in relu), ".2f"),
        "smooth_error": tables.spread((row["difference, relative error"] for row in smooth), ".1g"),
        "promised": tables.spread(exact, ".2f"),
        "promised_by_differences": tables.spread(promised("difference"), ".2f"),
        "norm": tables.spread((row["exact, largest norm"] for row in results["costates"]), ".2g"),
        "norm_by_differences": tables.spread((row["difference, largest norm"] for row in results["costates"]), ".2g"),
        "keeps_promise": min(exact) > 0.5,
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"An exact Hessian product takes {own['cost']} times the gradients of the same batch; a difference of two gradients "
        "in its place errs "
        f"by {own['relu_error']} times the product under ReLU and by {own['smooth_error']} under smooth activations. With "
        "exact products "
        f"costates stay at norms of {own['norm']} (by differences {own['norm_by_differences']}), but the change that one "
        "promises "
        f"correlates with what comes true by {own['promised']}."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "What a costate promises for a single push of the weights comes true.",
            f"With exact Hessian products the correlation of promised and true changes is {own['promised']}, by differences "
            f"{own['promised_by_differences']}.",
            own["keeps_promise"],
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
