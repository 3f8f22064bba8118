"""Does an instruction's direction count, or is it growth? Against growth and random directions of the same sizes.

    python -m benchmarks.directions mnist-image mnist-mlp
    python -m benchmarks.directions --quick                  # seconds; digits in place of the data

Each ENN instructs 784-100-10 targets as it learned to (paper-shallow made ten times coarser). Then the same again, but of every
instruction only its size is kept, tensor by tensor: in place of its direction comes that of the weights themselves (*growth*),
or a random one, new at every reading. What the ENN gains beyond growth is what it knows. Beside it: the cosine of the
instructions with the weights, per layer (1: it only scales them).

Test accuracy, n = 30, paired by seed; nothing is chosen here. Writes benchmarks/results/directions.json. Needs MNIST.
"""

import dataclasses
import sys
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks import quick, tables
from pipeline.config import PRESETS, coarsened
from pipeline.data import Dataset
from pipeline.enn import Critic, load_critic
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.instruction import Backprop, Instruct, Rule
from pipeline.instruction.loop import advance
from pipeline.instruction.terms import InstructState
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired
from pipeline.seeding import stream, torch_stream
from pipeline.setting import home_of, new_population, target_of
from pipeline.targets import Batches, Population
from pipeline.targets.members import norm, per_member
from pipeline.targets.target import weights

ENNS, SEEDS = ("mnist-image", "mnist-mlp"), 30
CONFIG = coarsened(PRESETS["paper-shallow"])
ARMS = ("conventional", "instructed", "growth", "random")
GROUP = 15
QUICK = {
    "SEEDS": 2,
    "CONFIG": dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, steps=4 * CONFIG.instruction.refresh)),
}


class SameSize(Instruct):
    """An instruction with its direction replaced, or left (``instructed``); remembers its cosines with the weights."""

    def __init__(self, critic: Critic, direction: str, seeds: list[int]) -> None:
        super().__init__(critic, CONFIG.training.steps, CONFIG.training.learning_rate)
        self.direction, self.seeds, self.cosines = direction, seeds, []

    def refresh(self, population: Population, state: InstructState) -> None:
        super().refresh(population, state)
        pairs = list(zip(population.parameters, state.instruction, strict=True))
        of_layers = weights(pairs, population.target.slots)
        self.cosines.append(torch.stack([_cosine(own, instruction) for own, instruction in of_layers]))
        for index, (own, instruction) in enumerate(pairs):
            other = own if self.direction == "growth" else self._random(own, index, population.step)
            if self.direction != "instructed":
                size = norm(instruction) / norm(other).clamp_min(1e-12)
                instruction.copy_(other * per_member(size, other))

    def _random(self, like: Tensor, index: int, step: int) -> Tensor:
        draws = [torch.randn(like.shape[1:], generator=torch_stream(seed, "direction", index, step)) for seed in self.seeds]
        return torch.stack(draws)


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("enn", nargs="*", help=f"files of ENNs, or names of those of the package (default: {' '.join(ENNS)})")
    parser.add_argument("--seeds", type=int, help=f"default: {SEEDS}")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results, enns, seeds = quick.results_folder(options.quick), options.enn or ENNS, options.seeds or SEEDS
    torch.set_num_threads(1)
    try:
        dataset = quick.data("mnist", options.quick)
        critics = [load_critic(name) for name in enns]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    command = f"python -m benchmarks.directions {' '.join(enns)}" + f" --seeds {seeds}" * (seeds != SEEDS)
    facts, rows, started = provenance(command, 0), [], time.perf_counter()
    for name, critic in zip(enns, critics, strict=True):
        critic.home = dataclasses.replace(home_of(CONFIG, target_of(CONFIG, dataset)), scale=critic.home.scale)
        for start in ("normal", "he"):
            rows.append({"enn": name} | row(critic, start, dataset, seeds))
            shown = {arm: round(100 * value["mean"], 2) for arm, value in rows[-1]["test"].items()}
            print(f"{critic.reader_name} {start}: {shown}, {time.perf_counter() - started:.0f} s", flush=True)
    write_json(results / "directions.json", {"rows": rows, **facts})
    return 0


def row(critic: Critic, start: str, dataset: Dataset, count: int) -> dict[str, Any]:
    """One ENN from one start: test accuracy by arm, differences to *instructed*, cosines per layer and third of the run."""
    seeds = [stream(0, "directions", number) for number in range(count)]
    accuracy: dict[str, list[float]] = {}
    cosines: list[Tensor] = []
    for arm in ARMS:
        for first in range(0, count, GROUP):
            found, rule = trained(critic, arm, start, seeds[first : first + GROUP], dataset)
            accuracy.setdefault(arm, []).extend(found)
            if arm == "instructed" and isinstance(rule, SameSize):
                cosines.append(torch.stack(rule.cosines).mean(2))
    by_third = [part.mean(0).tolist() for part in torch.stack(cosines).mean(0).chunk(3)]
    return {
        "reader": critic.reader_name,
        "start": start,
        "test": {arm: dict(zip(("mean", "low", "high"), mean_interval(own), strict=True)) for arm, own in accuracy.items()},
        "instructed_minus": {arm: paired(accuracy["instructed"], own) for arm, own in accuracy.items() if arm != "instructed"},
        "cosines": by_third,
        "accuracies": accuracy,
    }


def trained(critic: Critic, arm: str, start: str, seeds: list[int], dataset: Dataset) -> tuple[list[float], Rule]:
    """Test accuracies of one population at the end of its run, and the rule that it was trained by."""
    x, y = dataset.tensors("train")
    population = new_population(CONFIG, target_of(CONFIG, dataset), seeds, x, start)
    rule = Backprop() if arm == "conventional" else SameSize(critic, arm, seeds)
    batches = Batches(x, y, CONFIG.training.batch_size, seeds, False)
    advance(population, rule, rule.init(population), batches, CONFIG.training.steps)
    return population.evaluate(*dataset.tensors("test")).accuracy.tolist(), rule


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).flatten(1).sum(1) / (norm(one) * norm(other)).clamp_min(1e-12)


# -- its page ------------------------------------------------------------------------------------------------------------


def compared(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What its p-values are of."""
    return [difference for row in results["rows"] for difference in row["instructed_minus"].values()]


def table(results: dict[str, Any]) -> str:
    """One row per ENN and start: what was reached; and which way the instruction points."""
    tables.correct(compared(results))
    reached, pointing = [], []
    for row in results["rows"]:
        name = [f"`{row['enn']}`", "small" if row["start"] == "normal" else "He"]
        means = [tables.percent(row["test"][arm]["mean"]) for arm in ("conventional", "instructed", "growth", "random")]
        growth = row["instructed_minus"]["growth"]
        reached.append([*name, *means, tables.signed(growth), tables.p_cell(growth)])
        pointing.append([*name, *("; ".join(f"{third[layer]:.2f}" for third in row["cosines"]) for layer in (0, 1))])
    caption = (
        f"`{tables.command(results)}`: test accuracy, n = {compared(results)[0]['n']}, paired by seed; the cosines of an "
        "instruction "
        f"and the weights themselves in each third of the run ({tables.where(results)}). {tables.CORRECTED_P}."
    )
    head = ["ENN", "from", "conventional %", "instructed %", "as growth %", "as random %", "instructed − growth", tables.P]
    return tables.blocks(
        tables.table(head, reached, left=2),
        tables.table(["ENN", "from", "cosine with growth, first layer", "last layer"], pointing, left=2),
        caption,
    )


def figures(results: dict[str, Any]) -> dict[str, Any]:
    tables.correct(compared(results))
    rows = results["rows"]
    beyond = [row for row in rows if tables.told(row["instructed_minus"]["growth"]) == tables.GAIN]
    return {
        "over_growth": tables.spread((row["instructed_minus"]["growth"]["difference"] for row in rows), "+.2f", 100),
        "beyond_growth": tables.counted(beyond, rows),
        "all_beyond_growth": len(beyond) == len(rows),
        "random_gain": tables.spread(
            (row["test"]["random"]["mean"] - row["test"]["conventional"]["mean"] for row in rows), "+.2f", 100
        ),
        "growth_gain": tables.spread(
            (row["test"]["growth"]["mean"] - row["test"]["conventional"]["mean"] for row in rows), "+.2f", 100
        ),
        "last_layer": tables.spread((third[1] for row in rows for third in row["cosines"]), ".2f"),
        "first_layer": tables.spread((third[0] for row in rows for third in row["cosines"]), ".2f"),
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"In {own['beyond_growth']} cases an instruction gains more than growth by the same amounts ({own['over_growth']} "
        "points), and "
        f"random directions of the same sizes change the accuracy by {own['random_gain']} points. The cosine of instruction "
        "and growth "
        f"is {own['last_layer']} in the last layer."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "An ENN's directions gain more than growth by the same amounts.",
            f"They do in {own['beyond_growth']} cases; the differences are {own['over_growth']} points.",
            own["all_beyond_growth"],
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
