"""Does one ENN, trained on MNIST 784-100-10, help other targets, and on other data?

    python -m benchmarks.transfer                 # the ENN that comes with the package
    python -m benchmarks.transfer --enn FILE      # another one
    python -m benchmarks.transfer --quick         # seconds; digits in place of the data

Every task: n fresh targets, paired by seed, trained conventionally, with the instruction, and with a guarded one, from
small weights (N(0, 0.01²)) and from He; plain SGD, learning rate 0.1, batches of 100, as many steps as the ENN's own runs. The
guard's trials look at 300 validation examples. Hostile tasks: labels permuted (every class is called by another's name), labels
drawn at random, and labels that are permuted half-way through the run. *Adapted*, on Fashion-MNIST, permuted labels and further
layers: the ENN first went on learning from such runs, guarded as well. Only for how long (``ADAPTING``) was chosen, on
validation data of Fashion-MNIST.

Writes benchmarks/results/transfer.json. Needs MNIST and Fashion-MNIST (GRAD_INSTRUCTOR_DATA).
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import quick, tables
from benchmarks.cache import Cache, Part, enn_digest
from pipeline.config import Config, DataConfig, TargetConfig, TrainingConfig
from pipeline.data import Dataset
from pipeline.enn import Critic, load_critic
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.instruction import Backprop, Instruct, Instructor
from pipeline.instruction.guard import Guard
from pipeline.instruction.loop import train
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired
from pipeline.results.tables import NONE
from pipeline.seeding import stream, torch_stream
from pipeline.setting import ADAPTING, adapting, new_population, reward_data, selection_data, target_of
from pipeline.targets import Batches
from rl.unrolled import fine_tune

ENN, SEEDS = "mnist-mlp", 30
PERMUTED = (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)
GUARD_EXAMPLES = 300
SEGMENTS = ADAPTING
"""through which an ENN goes on learning"""
STEPS = PERIOD = 0
"""of a run, and of it between two trials of the guard; 0: as in the ENN's own runs"""
QUICK = {"SEEDS": 2, "SEGMENTS": 1, "STEPS": 10, "PERIOD": 5}
BOTH = ("normal", "he")


@dataclass(frozen=True)
class Task:
    """What is trained on what."""

    name: str
    hidden: tuple[int, ...] = (100,)
    activation: str = "relu"
    dataset: str = "mnist"
    labels: str = "true"
    """true, permuted, random, or permuted half-way"""
    starts: tuple[str, ...] = BOTH
    adapted: bool = False
    """whether a third arm has an ENN that went on learning from such runs"""


CONVOLUTIONAL = "convolutional network"
TASKS = (
    Task("home: 784-100-10"),
    Task("width 25", (25,)),
    Task("width 50", (50,)),
    Task("width 200", (200,)),
    Task("width 400", (400,)),
    Task("depth 2", (100, 100), adapted=True),
    Task("depth 3", (100,) * 3, starts=("he",), adapted=True),  # from small weights no arm leaves its plateau in so few steps
    Task("depth 4", (100,) * 4, starts=("he",), adapted=True),
    Task("tanh", activation="tanh"),
    Task("gelu", activation="gelu"),
    Task("sigmoid", activation="sigmoid"),
    Task("Fashion-MNIST", dataset="fashion", adapted=True),
    Task("permuted labels", labels="permuted", adapted=True),
    Task("random labels", labels="random"),
    Task("labels permuted half-way", labels="permuted half-way"),
)


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--enn", default=ENN, help="file of an ENN, or the name of one that comes with the package")
    parser.add_argument("--seeds", type=int, help=f"default: {SEEDS}")
    parser.add_argument("--work", type=Path, help="folder of finished tasks (default: runs/transfer)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results, seeds = quick.results_folder(options.quick), options.seeds or SEEDS
    work = options.work or (results / "work" if options.quick else Path("runs/transfer"))
    torch.set_num_threads(1)
    try:
        critic = load_critic(options.enn)
        datasets = {name: quick.data(name, options.quick) for name in ("mnist", "fashion")}
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    critic.home = dataclasses.replace(critic.home, steps=STEPS or critic.home.steps, period=PERIOD or critic.home.period)
    facts = provenance(command(options.enn, seeds), 0)
    cache = cache_of(work, facts, options.enn, critic, seeds)
    started, rows = time.perf_counter(), []
    jobs: list[tuple[str, Callable[[], Part]]] = [
        (task.name, lambda task=task: rows_of(cache, task, critic, options.enn, datasets[task.dataset], seeds))
        for task in TASKS
    ]
    jobs.append((CONVOLUTIONAL, lambda: convolutional_rows(cache, critic, datasets["mnist"], seeds)))
    for number, (name, job) in enumerate(jobs, 1):
        part = job()
        rows += [row | {"provenance": part.provenance} for row in part.value]
        print(f"{number}/{len(jobs)} {name}: {time.perf_counter() - started:.0f} s", flush=True)
    home = dataclasses.asdict(critic.home)
    write_json(results / "transfer.json", {"enn": options.enn, "home": home, "rows": rows, **facts})
    return 0


def command(enn: str, seeds: int) -> str:
    """That makes these rows."""
    other = f" --enn {enn}" * (enn != ENN) + f" --seeds {seeds}" * (seeds != SEEDS)
    return f"python -m benchmarks.transfer{other}"


def cache_of(work: Path, facts: dict[str, Any], enn: str, critic: Critic, seeds: int) -> Cache:
    return Cache.of(__file__, globals(), work, facts, enn=enn_digest(enn), home=critic.home, seeds=seeds)


def rows_of(cache: Cache, task: Task, critic: Critic, name: str, dataset: Dataset, count: int) -> Part:
    """The rows of a task, kept."""
    return cache.part(task.name, lambda: run(task, critic, name, dataset, count), task=task, data=dataset.digest)


def convolutional_rows(cache: Cache, critic: Critic, dataset: Dataset, count: int) -> Part:
    """The row of convolutional networks, kept."""
    return cache.part(CONVOLUTIONAL, lambda: convolutional(critic, dataset, count), task=CONVOLUTIONAL, data=dataset.digest)


def run(task: Task, critic: Critic, name: str, dataset: Dataset, count: int) -> list[dict[str, Any]]:
    """The rows of a task, one per start."""
    home = critic.home
    config = Config(
        data=DataConfig(task.dataset),
        target=TargetConfig(hidden=task.hidden, activation=task.activation, initialisation=task.starts[0]),  # type: ignore[arg-type]
        training=TrainingConfig(learning_rate=home.learning_rate, batch_size=100, steps=home.steps),
    )
    adapted = adapt(task, config, critic, name, dataset) if task.adapted else None
    return [_row(task, start, config, critic, adapted, dataset, count) for start in task.starts]


def adapt(task: Task, config: Config, critic: Critic, name: str, dataset: Dataset) -> Critic:
    """The ENN after it went on learning from runs of the task, as ``grad-instructor run --adapt`` lets it."""
    labels = {
        f"y_{split}": relabelled(dataset.tensors(split)[1], task.labels, split).numpy() for split in ("train", "validation")
    }
    own = adapting(config, name)
    own = dataclasses.replace(own, unroll=dataclasses.replace(own.unroll, segments=SEGMENTS))
    with tempfile.TemporaryDirectory() as folder:
        found, _ = fine_tune(own, dataclasses.replace(dataset, **labels), critic, Path(folder))
    return found.eval().requires_grad_(False)


def _row(
    task: Task, start: str, config: Config, critic: Critic, adapted: Critic | None, dataset: Dataset, count: int
) -> dict[str, Any]:
    """Test accuracies and seconds of the arms, paired by seed."""
    seeds = [stream(0, "transfer", number) for number in range(count)]
    test, accuracy, seconds, diverged = dataset.tensors("test"), {}, {}, {}
    for arm in ("conventional", "unguarded", "guarded", *(["adapted"] if adapted else [])):
        own = adapted if adapted and arm == "adapted" else critic
        accuracy[arm], seconds[arm], diverged[arm] = _train(task, start, arm, config, own, dataset, seeds, test)
    row = {"task": task.name, "start": start, "n": count, "seconds": seconds, "diverged": diverged, "accuracies": accuracy}
    return row | summary(accuracy)


def summary(accuracy: dict[str, list[float]]) -> dict[str, Any]:
    """Means with their intervals, and the paired differences from conventional training."""
    means = {arm: dict(zip(("mean", "low", "high"), mean_interval(values), strict=True)) for arm, values in accuracy.items()}
    differences = {arm: paired(values, accuracy["conventional"]) for arm, values in accuracy.items() if arm != "conventional"}
    return {"accuracy": means, "difference": differences}


def _train(
    task: Task,
    start: str,
    arm: str,
    config: Config,
    critic: Critic,
    dataset: Dataset,
    seeds: list[int],
    test: tuple[Tensor, Tensor],
) -> tuple[list[float], float, int]:
    x, y = dataset.tensors("train")
    population = new_population(config, target_of(config, dataset), seeds, x, start)
    guarded = reward_data(config, dataset)
    guarded = guarded[0][:GUARD_EXAMPLES], guarded[1][:GUARD_EXAMPLES]
    labels, after = phases(task.labels)
    current = {"labels": labels}

    def score(population: Any) -> Tensor:
        return torch.exp(-population.evaluate(guarded[0], relabelled(guarded[1], current["labels"], "guard")).loss)

    training = config.training
    guard = Guard(score) if arm in ("guarded", "adapted") else None
    rule = Backprop() if arm == "conventional" else Instruct(critic, training.steps, training.learning_rate, guard=guard)
    seen, seconds, period = selection_data(config, dataset), 0.0, critic.home.period
    half = training.steps // period // 2 * period if after != labels else training.steps
    for own, steps in ((labels, half), (after, training.steps)):
        if population.step < steps:
            current["labels"] = own
            batches = Batches(x, relabelled(y, own, "train"), training.batch_size, seeds, False)
            validation = seen[0][:10], seen[1][:10]  # measured only for the loop's own trace
            seconds += train(population, rule, batches, steps, period, validation).seconds[-1]
    result = population.evaluate(test[0], relabelled(test[1], after, "test"))
    return result.accuracy.tolist(), seconds, int((population.diverged_at >= 0).sum())


def phases(labels: str) -> tuple[str, str]:
    """What the labels are in the first and in the second half of a run."""
    return ("true", "permuted") if labels == "permuted half-way" else (labels, labels)


def relabelled(y: Tensor, labels: str, split: str) -> Tensor:
    """The labels of a task."""
    if labels == "permuted":
        return torch.tensor(PERMUTED)[y.long()]
    if labels == "random":
        return torch.randint(10, y.shape, generator=torch_stream(0, "random labels", split))
    return y


def convolutional(critic: Critic, dataset: Dataset, count: int) -> list[dict[str, Any]]:
    """Two convolutions and a linear layer in a plain torch loop; the guard has no trials here."""
    x, y = dataset.tensors("train")
    test, home = dataset.tensors("test"), critic.home
    accuracy: dict[str, list[float]] = {"conventional": [], "unguarded": [], "guarded": []}
    seconds = dict.fromkeys(accuracy, 0.0)
    for number in range(count):
        seed = stream(0, "transfer", number)
        batches = Batches(x, y, 100, [seed], True)
        for arm, values in accuracy.items():
            torch.manual_seed(seed % 2**63)
            model = nn.Sequential(
                nn.Unflatten(1, (1, 28, 28)),
                nn.Conv2d(1, 8, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(8, 16, 3, 2, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(16 * 49, 10),
            )
            optimiser = torch.optim.SGD(model.parameters(), lr=home.learning_rate)
            instructor = Instructor(critic, input_shape=(784,), guarded=arm == "guarded")
            started = time.thread_time()
            for step in range(home.steps):
                xs, ys = batches(step)
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(xs), ys).backward()
                if arm != "conventional":
                    instructor.instruct(model)
                optimiser.step()
            seconds[arm] += (time.thread_time() - started) / count
            with torch.no_grad():
                values.append(float((model(test[0]).argmax(1) == test[1]).float().mean()))
    row = {"task": CONVOLUTIONAL, "start": "torch's own", "n": count, "seconds": seconds, "accuracies": accuracy}
    return [row | {"diverged": dict.fromkeys(accuracy, 0)} | summary(accuracy)]


# -- its page ------------------------------------------------------------------------------------------------------------

HOSTILE = ("permuted labels", "random labels")
START = {"normal": "small", "he": "He"}
ARMS = ("guarded", "unguarded", "adapted")


def compared(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What its p-values are of."""
    return [row["difference"][arm] for row in results["rows"] for arm in ARMS if arm in row["difference"]]


def table(results: dict[str, Any]) -> str:
    """One row per task and start: under the guard; and without it, and adapted."""
    tables.correct(compared(results))
    guarded, others = [], []
    origins = tables.Origins([row.get("provenance", results) for row in results["rows"]])
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        name, found = [row["task"] + mark, START.get(row["start"], row["start"])], row["difference"]
        cells = {arm: [tables.signed(found[arm]), tables.p_cell(found[arm])] if arm in found else [NONE, NONE] for arm in ARMS}
        ratio = row["seconds"]["guarded"] / row["seconds"]["conventional"]
        guarded.append([*name, tables.percent(row["accuracy"]["conventional"]["mean"]), *cells["guarded"], f"{ratio:.2f}"])
        others.append([*name, *cells["unguarded"], *cells["adapted"]])
    caption = (
        f"`{tables.command(results)}`: test accuracy, n = {results['rows'][0]['n']} per arm, paired by seed, "
        f"{results['home']['steps']} steps; time: training seconds of the guarded arm over the conventional one's "
        f"({tables.where(origins.facts)}). {tables.CORRECTED_P}."
    )
    head = ["targets and data", "from", "conventional %", "instructed, guarded: difference", tables.P, "time ×"]
    return tables.blocks(
        tables.table(head, guarded, left=2),
        "Without the guard, and adapted:",
        tables.table(
            ["targets and data", "from", "unguarded: difference", tables.P, "adapted: difference", tables.P], others, left=2
        ),
        caption,
        origins.notes,
    )


def figures(results: dict[str, Any]) -> dict[str, Any]:
    tables.correct(compared(results))
    rows = results["rows"]
    hostile, fashion = [row for row in rows if row["task"] in HOSTILE], [row for row in rows if row["task"] == "Fashion-MNIST"]
    odd = ("Fashion-MNIST", *HOSTILE, "labels permuted half-way")
    known = [row for row in rows if row["task"] not in odd]
    at_home = [row for row in known if row["task"].startswith("home")]
    deep = [row for row in known if row["task"].startswith("depth") and row["start"] == "he"]
    deeper = [row for row in deep if row["task"] != "depth 2" and "adapted" in row["difference"]]
    new = [row for row in rows if row["task"] in ("Fashion-MNIST", "permuted labels") and "adapted" in row["difference"]]
    own = {
        "targets": str(rows[0]["n"]),
        "helped": tables.counted([row for row in known if tables.told(row["difference"]["guarded"]) == tables.GAIN], known),
        "all_helped": all(tables.told(row["difference"]["guarded"]) == tables.GAIN for row in known),
        "harmed": tables.counted([row for row in known if tables.told(row["difference"]["guarded"]) == tables.LOSS], known),
        "home": _range(at_home, "guarded"),
        "deep_he": _range(deep, "guarded"),
        "hostile": _range(hostile, "guarded"),
        "permuted": _range([row for row in hostile if row["task"] == "permuted labels"], "guarded"),
        "permuted_unguarded": _range([row for row in hostile if row["task"] == "permuted labels"], "unguarded"),
        "random": _range([row for row in hostile if row["task"] == "random labels"], "guarded"),
        "random_unguarded": _range([row for row in hostile if row["task"] == "random labels"], "unguarded"),
        "harm_under_guard": _worst(rows, "guarded"),
        "harm_unguarded": _worst(rows, "unguarded"),
        "no_harm": not any(tables.told(row["difference"]["guarded"]) == tables.LOSS for row in rows),
        "new_adapted": _range(new, "adapted"),
        "new_guarded": _range(new, "guarded"),
        "deeper_adapted": _range(deeper, "adapted"),
        "deeper_guarded": _range(deeper, "guarded"),
        "adapting_pays_deeper": all(tables.told(row["difference"]["adapted"]) == tables.GAIN for row in deeper),
        "time": tables.spread(row["seconds"]["guarded"] / row["seconds"]["conventional"] for row in rows),
        "segments": f"{SEGMENTS:,}",
        "steps": f"{results['home']['steps']:,}",
    }
    for row in fashion:
        start = START[row["start"]].lower()
        own |= {f"fashion_{start}_{arm}": tables.outcome(value) for arm, value in row["difference"].items()}
        own |= {f"fashion_{start}_gain": tables.told(row["difference"]["guarded"]) == tables.GAIN}
    return own


def _range(rows: list[dict[str, Any]], arm: str) -> str:
    return tables.spread((row["difference"][arm]["difference"] for row in rows), "+.2f", 100)


def _worst(rows: list[dict[str, Any]], arm: str) -> str:
    return tables.as_cell(min(row["difference"][arm]["difference"] for row in rows), "+.2f", 100)


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"On MNIST one ENN gives {own['helped']} kinds of targets (width, depth, activation, start) a gain that can be told, "
        "and "
        f"{own['harmed']} a loss. Where it knows nothing its guard "
        f"keeps the worst change at {own['harm_under_guard']} points (without the guard {own['harm_unguarded']}), and an ENN "
        "that "
        f"goes on learning on new data turns {own['new_guarded']} into {own['new_adapted']} points."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "One ENN helps every width, depth, activation and start on MNIST.",
            f"It does in {own['helped']} cases; the others cannot be told from nothing, or lose.",
            own["all_helped"],
        ),
        tables.Doubt(
            "An ENN of MNIST, as it is, instructs networks on Fashion-MNIST from He.",
            own["fashion_he_guarded"],
            own["fashion_he_gain"],
        ),
        tables.Doubt(
            "An ENN that goes on learning on three or four layers gains there.",
            f"Adapted {own['deeper_adapted']} points, as it was {own['deeper_guarded']}.",
            own["adapting_pays_deeper"],
        ),
        tables.Doubt(
            "The guard keeps an ENN from doing harm that can be told.",
            f"The worst of all differences under the guard is {own['harm_under_guard']} points, without it "
            f"{own['harm_unguarded']}.",
            own["no_harm"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
