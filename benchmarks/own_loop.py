"""Does the Instructor hurt in somebody's own loop, where no ENN has been?

    python -m benchmarks.own_loop            # a quarter of an hour; writes benchmarks/results/own-loop.json
    python -m benchmarks.own_loop --quick    # seconds; digits in place of the data

A plain torch loop of 110 steps, batches of 100, in settings that the ENN has not learned on: convolutional networks with and
without batch normalisation, GELU, residual, wide and deep networks, layer normalisation, Fashion-MNIST, permuted labels, each
under SGD with momentum or AdamW, with a schedule or without; first, for comparison, at home. The ENN is mnist-tuned; in the
last settings mnist-mlp, which adds to the gradient, under optimisers that are not its own.

Four arms from the same weights on the same batches: alone; *guarded*, as ``Instructor.load`` does it; *validated*, guarded and
given 300 images of the validation split (labels permuted as those that are trained on); *blind* (``guarded=False``). A guard
that never lets an ENN push leaves the run as it was, to the bit: these differences are 0. Learning rates are usual ones and are
the same for all arms. The guard's numbers were chosen on validation data, with other seeds; the test set is looked at here,
once. Time is that of the loop.

Needs MNIST and Fashion-MNIST (GRAD_INSTRUCTOR_DATA).
"""

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import quick, tables
from benchmarks.cache import Cache, Part, enn_digest
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.instruction import Instructor
from pipeline.instruction.own_guard import FarFromHome
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired
from pipeline.seeding import stream

SEEDS, STEPS, BATCH = 16, 110, 100
ALLOWED = 0.2
"""points that may be lost"""
PERMUTED = (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)
VALIDATION = 300
"""examples"""
ALONE, GUARDED, VALIDATED, BLIND = "alone", "guarded", "validated", "blind"
WITH = (GUARDED, VALIDATED, BLIND)
"""ways with an ENN"""
RATES = {"SGD": 0.1, "AdamW": 0.008, "AdamW, slow": 0.003}


class Residual(nn.Module):
    """Two hidden layers, the second around a short cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(784, 100), nn.Linear(100, 100), nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x))
        return self.last(h + F.relu(self.second(h)))


def mlp(*hidden: int, activation: type[nn.Module] = nn.ReLU, norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip((784, *hidden), hidden, strict=False):
        layers += [nn.Linear(inputs, outputs), *([nn.LayerNorm(outputs)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], 10))


def convolutional(norm: bool) -> nn.Sequential:
    """Two convolutions and a linear layer."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 28, 28))]
    for inputs, outputs in ((1, 8), (8, 16)):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 49, 10))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "784-100-10": lambda: mlp(100),
    "wide, 784-800-10": lambda: mlp(800),
    "deep, four hidden layers": lambda: mlp(100, 100, 100, 100),
    "GELU, two hidden layers": lambda: mlp(100, 100, activation=nn.GELU),
    "layer normalisation": lambda: mlp(100, 100, norm=True),
    "residual": Residual,
    "convolutions": lambda: convolutional(False),
    "convolutions, batch normalisation": lambda: convolutional(True),
}


@dataclass(frozen=True)
class Setting:
    """What is trained on what, and how."""

    model: str
    optimiser: str
    schedule: str = "cosine"
    data: str = "mnist"
    permuted: bool = False
    enn: str = "mnist-tuned"
    home: bool = False

    @property
    def told(self) -> str:
        data = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}[self.data] + ", labels permuted" * self.permuted
        return f"{self.model} on {data}; {self.optimiser}, {self.schedule}"


SETTINGS = (
    Setting("784-100-10", "SGD", home=True),
    Setting("convolutions, batch normalisation", "SGD"),
    Setting("convolutions, batch normalisation", "AdamW"),
    Setting("convolutions", "SGD", "constant"),
    Setting("convolutions", "AdamW, slow"),
    Setting("GELU, two hidden layers", "AdamW"),
    Setting("residual", "SGD"),
    Setting("wide, 784-800-10", "AdamW, slow", "constant"),
    Setting("deep, four hidden layers", "AdamW", "warm-up"),
    Setting("layer normalisation", "AdamW", "warm-up"),
    Setting("784-100-10", "SGD", data="fashion"),
    Setting("784-100-10", "AdamW", "constant", data="fashion"),
    Setting("convolutions, batch normalisation", "AdamW", "warm-up", data="fashion"),
    Setting("784-100-10", "SGD", "constant", permuted=True),
    Setting("784-100-10", "AdamW", permuted=True),
    Setting("784-100-10", "SGD", enn="mnist-mlp"),
    Setting("784-100-10", "AdamW", data="fashion", enn="mnist-mlp"),
    Setting("convolutions, batch normalisation", "AdamW", enn="mnist-mlp"),
)


QUICK = {"SEEDS": 2, "STEPS": 6, "SETTINGS": SETTINGS[5::6]}


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--seeds", type=int, help=f"default: {SEEDS}")
    parser.add_argument("--work", type=Path, help="folder of finished settings (default: runs/own-loop)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FarFromHome)
    results, seeds = quick.results_folder(options.quick), options.seeds or SEEDS
    work = options.work or (results / "work" if options.quick else Path("runs/own-loop"))
    try:
        datasets = {name: quick.data(name, options.quick) for name in ("mnist", "fashion")}
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    facts = provenance("python -m benchmarks.own_loop" + f" --seeds {seeds}" * (seeds != SEEDS), 0)
    cache, rows = Cache.of(__file__, globals(), work, facts, seeds=seeds), []
    for number, setting in enumerate(SETTINGS, 1):
        part = row_of(cache, setting, datasets[setting.data], seeds)
        rows.append(part.value | {"provenance": part.provenance})
        told = ", ".join(f"{arm} {100 * rows[-1]['difference'][arm]['difference']:+.2f}" for arm in WITH)
        print(f"{number}/{len(SETTINGS)} {setting.told}: {told}", flush=True)
    write_json(results / "own-loop.json", {"rows": rows, "steps": STEPS, **facts})
    return 0


def row_of(cache: Cache, setting: Setting, dataset: Dataset, count: int) -> Part:
    """The row of a setting, kept."""
    decides = {"setting": setting, "data": dataset.digest, "enn": enn_digest(setting.enn)}
    return cache.part(setting.told, lambda: run(setting, dataset, count), **decides)


def run(setting: Setting, dataset: Dataset, count: int) -> dict[str, Any]:
    """Test accuracies and seconds of the arms, paired by seed."""
    accuracy: dict[str, list[float]] = {arm: [] for arm in (ALONE, *WITH)}
    seconds = dict.fromkeys(accuracy, 0.0)
    for number in range(count):
        for arm, values in accuracy.items():
            reached, taken = train(setting, dataset, stream(0, "own loop", number) % 2**63, arm)
            values.append(reached)
            seconds[arm] += taken / count
    means = {arm: dict(zip(("mean", "low", "high"), mean_interval(values), strict=True)) for arm, values in accuracy.items()}
    differences = {arm: paired(accuracy[arm], accuracy[ALONE]) for arm in WITH}
    own = {"setting": setting.told, "enn": setting.enn, "home": setting.home, "n": count, "seconds": seconds}
    return own | {"accuracies": accuracy, "accuracy": means, "difference": differences}


def train(setting: Setting, dataset: Dataset, seed: int, arm: str) -> tuple[float, float]:
    """One run: its test accuracy, and the seconds of its loop."""
    torch.manual_seed(seed)
    model, (x, y) = MODELS[setting.model](), labelled(setting, dataset, "train")
    optimizer = optimiser_of(setting, model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(setting.schedule, step / STEPS))
    instructor = None
    if arm != ALONE:
        x_shown, y_shown = (part[:VALIDATION] for part in labelled(setting, dataset, "validation"))
        guarded, shown = False if arm == BLIND else None, (x_shown, y_shown) if arm == VALIDATED else None
        instructor = Instructor.load(setting.enn, STEPS, input_shape=shape_of(setting), guarded=guarded, validation=shown)
    order, started = torch.Generator().manual_seed(seed), time.thread_time()
    for _ in range(STEPS):
        batch = torch.randint(len(x), (BATCH,), generator=order)
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        if instructor:
            instructor.instruct(model)
        optimizer.step()
        schedule.step()
    taken = time.thread_time() - started
    x, y = labelled(setting, dataset, "test")
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean()), taken


def shape_of(setting: Setting) -> tuple[int, ...] | None:
    """Of one input, which models need that are no chains of linear layers."""
    chain = all(isinstance(layer, nn.Linear | nn.ReLU | nn.GELU) for layer in MODELS[setting.model]().children())
    return None if chain and setting.model != "residual" else (784,)


def optimiser_of(setting: Setting, model: nn.Module) -> torch.optim.Optimizer:
    rate = RATES[setting.optimiser]
    if setting.optimiser == "SGD":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    return torch.optim.AdamW(model.parameters(), lr=rate)


def factor(schedule: str, progress: float) -> float:
    """On the learning rate, at t / T."""
    if schedule == "constant":
        return 1.0
    if schedule == "warm-up":  # then linearly to 0
        return min((progress + 0.01) / 0.1, (1.01 - progress) / 0.9, 1.0)
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * progress))))


def labelled(setting: Setting, dataset: Dataset, split: str) -> tuple[Tensor, Tensor]:
    x, y = dataset.tensors(split)
    return x, torch.tensor(PERMUTED)[y.long()] if setting.permuted else y


# -- its page ------------------------------------------------------------------------------------------------------------


def compared(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What its p-values are of."""
    return [own for row in results["rows"] for own in row["difference"].values()]


def _arms(results: dict[str, Any]) -> list[str]:
    """The ways with an ENN that were measured; validation data came later than the others."""
    return [arm for arm in WITH if all(arm in row["difference"] for row in results["rows"])]


def table(results: dict[str, Any]) -> str:
    """The guarded ways, one row per setting; then what happens without a guard, and what each way takes."""
    tables.correct(compared(results))
    origins = tables.Origins([row["provenance"] for row in results["rows"]])
    names = [row["setting"] + " (home)" * row["home"] + mark for row, mark in zip(results["rows"], origins.marks, strict=True)]
    guarded, blind = ([arm for arm in _arms(results) if (arm == BLIND) is kind] for kind in (False, True))
    caption = (
        f"`{tables.command(results)}`: test accuracy, n = {results['rows'][0]['n']} per arm, paired by seed, "
        f"{results['steps']} steps ({tables.where(origins.facts)}). {tables.CORRECTED_P}; both tables are one in this."
    )
    alone = [[f"`{row['enn']}`", tables.percent(row["accuracy"][ALONE]["mean"])] for row in results["rows"]]
    with_guard = [[name, *own, *_told(row, guarded)] for name, own, row in zip(names, alone, results["rows"], strict=True)]
    without = [
        [name, *_told(row, blind), *(f"{_times(row, arm):.2f}" for arm in guarded)]
        for name, row in zip(names, results["rows"], strict=True)
    ]
    takes = [f"{arm}: time ×" for arm in guarded]
    return tables.blocks(
        tables.table(["setting", "ENN", "alone %", *_heads(guarded)], with_guard, left=2),
        caption,
        tables.table(["setting", *_heads(blind), *takes], without),
        "Without a guard; time: that of the loop over that without an ENN, 1 thread.",
        origins.notes,
    )


def _heads(arms: Sequence[str]) -> list[str]:
    return [head for arm in arms for head in (f"{arm}: difference", tables.P)]


def _told(row: dict[str, Any], arms: Sequence[str]) -> list[str]:
    return [cell for arm in arms for cell in (tables.signed(row["difference"][arm]), tables.p_cell(row["difference"][arm]))]


def _times(row: dict[str, Any], arm: str) -> float:
    return row["seconds"][arm] / row["seconds"][ALONE]


def figures(results: dict[str, Any]) -> dict[str, Any]:
    tables.correct(compared(results))
    abroad = [row for row in results["rows"] if not row["home"]]
    home = [row for row in results["rows"] if row["home"]]
    found = {}
    for arm in _arms(results):
        changes = [row["difference"][arm] for row in abroad]
        lost = [own for own in changes if own["difference"] < -ALLOWED / 100]
        outcomes = [tables.told(own) for own in changes]
        found[arm] = {
            "lost": tables.counted(lost, abroad),
            "none_lost": not lost,
            "losses_told": tables.counted([own for own in outcomes if own == tables.LOSS], abroad),
            "gained": tables.counted([own for own in outcomes if own == tables.GAIN], abroad),
            "untouched": tables.counted([own for own in changes if own["low"] == own["high"] == 0], abroad),
            "worst": tables.as_cell(min(own["difference"] for own in changes), "+.2f", 100),
            "home": tables.spread((row["difference"][arm]["difference"] for row in home), "+.2f", 100),
            "time": tables.spread((_times(row, arm) for row in results["rows"]), ".2f"),
        }
    return {
        "settings": str(len(abroad)),
        "targets": str(results["rows"][0]["n"]),
        "allowed": f"{ALLOWED:g}",
        "examples": VALIDATION,
        "batch": BATCH,
    } | found


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    ways = {GUARDED: "under the guard", VALIDATED: f"given {VALIDATION} validation examples", BLIND: "without a guard"}
    named = {how: own[arm] for arm, how in ways.items() if arm in own}
    worst, home = (", ".join(f"{found[key]} points {how}" for how, found in named.items()) for key in ("worst", "home"))
    return (
        f"In {own['settings']} settings that no ENN has seen the worst change is {worst}. At home an ENN changes the accuracy "
        f"by {home}; the loop takes {', '.join(found['time'] for found in named.values())} times as long."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            f"In one's own loop an ENN never costs more than {own['allowed']} points{more}.",
            f"It does in {own[arm]['lost']} settings, the worst {own[arm]['worst']}; a loss can be told in "
            f"{own[arm]['losses_told']}.",
            own[arm]["none_lost"],
        )
        for arm, more in ((GUARDED, ""), (VALIDATED, ", given validation data"))
        if arm in own
    ]


if __name__ == "__main__":
    sys.exit(main())
