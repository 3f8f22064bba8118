"""What does it cost to have the weights read at every step, in anyone's own torch loop? MNIST, 784-100-10, batches of 100.

    python -m benchmarks.reading            # half a minute; writes benchmarks/results/reading.json
    python -m benchmarks.reading --quick    # seconds; digits in place of the data

The ENN is mnist-tuned (64 probes). A turn is a run of 110 steps from He, of every contestant on the same batches, so that a
drift of the machine hits all alike: the plain step; the step with :class:`pipeline.instruction.Instructor`; the same where the
ENN is read by autograd and the instruction is formed; and the plain step with twice the batch, which also costs more and also
helps. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks import quick, tables
from pipeline.enn import load_critic
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.instruction import Instructor
from pipeline.results.provenance import provenance
from pipeline.targets import MLP, initialise

TURNS = 40
TARGET, BATCH, STEPS = MLP((784, 100, 10)), 100, 110
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD, momentum 0.9": lambda parameters: torch.optim.SGD(parameters, lr=0.2, momentum=0.9),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.008),
}
QUICK = {"TURNS": 3, "STEPS": 5}
PLAIN, LEAN, AUTOGRAD, DOUBLE = "plain", "read", "read by autograd", "batch × 2"


def run(name: str, optimiser: str, x: torch.Tensor, y: torch.Tensor) -> float:
    """Milliseconds per step of one run."""
    model, batch = TARGET.module([tensor[0] for tensor in initialise(TARGET, "he", [0])]), BATCH * (1 + (name == DOUBLE))
    steps, critic = OPTIMISERS[optimiser](model.parameters()), load_critic("mnist-tuned")
    critic.home = dataclasses.replace(critic.home, refresh=1)
    instructor = Instructor(critic, STEPS, guarded=False) if name in (LEAN, AUTOGRAD) else None
    if instructor and name == AUTOGRAD:
        instructor._held.low_rank = None
    begun = time.thread_time()
    for at in range(0, STEPS * batch, batch):
        steps.zero_grad()
        F.cross_entropy(model(x[at : at + batch]), y[at : at + batch]).backward()
        if instructor:
            instructor.instruct(model)
        steps.step()
    return 1000 * (time.thread_time() - begun) / STEPS


def main() -> int:
    options = quick.parser_of(__doc__).parse_args()
    if options.quick:
        globals().update(QUICK)
    torch.set_num_threads(1)
    results, facts = quick.results_folder(options.quick), provenance("python -m benchmarks.reading", 0)
    try:
        x, y = quick.data("mnist", options.quick).tensors("train")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    rows = []
    for optimiser in OPTIMISERS:
        taken: dict[str, list[float]] = {name: [] for name in (PLAIN, LEAN, AUTOGRAD, DOUBLE)}
        for turn in range(TURNS + 1):
            for name, values in taken.items():
                own = run(name, optimiser, x, y)
                values += [own] if turn else []  # the first warms up
        ratios = {
            name: statistics.median(own / plain for own, plain in zip(values, taken[PLAIN], strict=True))
            for name, values in taken.items()
        }
        extra = [(a - p) / (r - p) for a, r, p in zip(taken[AUTOGRAD], taken[LEAN], taken[PLAIN], strict=True) if r > p]
        rows.append({"optimiser": optimiser, "ms": statistics.median(taken[PLAIN]), "ratios": ratios})
        rows[-1]["reading_faster"] = statistics.median(extra) if extra else None
        print(rows[-1])
    write_json(results / "reading.json", {**facts, "turns": TURNS, "rows": rows})
    return 0


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """One row per optimiser."""
    names = [name for name in results["rows"][0]["ratios"] if name != PLAIN]
    cells = [
        [row["optimiser"], f"{row['ms']:.2f}", *(f"{row['ratios'][name]:.2f}" for name in names)] for row in results["rows"]
    ]
    caption = (
        f"`{tables.command(results)}`: medians of {results['turns']} turns side by side, "
        f"{'-'.join(map(str, TARGET.widths))}, batches of "
        f"{BATCH}, one target, read at every step by the probes of `mnist-tuned`, 1 thread ({tables.where(results)})."
    )
    return tables.blocks(tables.table(["", "ms per step", *(f"{name}: takes n times that" for name in names)], cells), caption)


def figures(results: dict[str, Any]) -> dict[str, Any]:
    rows = results["rows"]
    return {
        "ms": tables.spread(row["ms"] for row in rows),
        "read": tables.spread(row["ratios"][LEAN] for row in rows),
        "autograd": tables.spread(row["ratios"][AUTOGRAD] for row in rows),
        "double": tables.spread(row["ratios"][DOUBLE] for row in rows),
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"In one's own loop a step whose weights are read takes {own['read']} times a plain one ({own['ms']} ms), "
        f"{own['autograd']} times "
        f"where the ENN is read by autograd. Twice the batch takes {own['double']} times."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    rows = results["rows"]
    own = figures(results)
    return [
        tables.Doubt(
            "Reading the weights at every step costs no more than twice the batch.",
            f"It takes {own['read']} times a plain step, twice the batch {own['double']} times.",
            all(row["ratios"][LEAN] <= row["ratios"][DOUBLE] for row in rows),
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
