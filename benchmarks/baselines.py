"""What does instruction add to what people use: tuned SGD, AdamW and Muon, from He, with a cosine schedule?

    python -m benchmarks.baselines                        # runs of 44, 110, 330 and 1,100 steps: a twelfth of an epoch to two
    python -m benchmarks.baselines --steps 330 --baseline adamw    # one row; the others keep what an earlier call found
    python -m benchmarks.baselines --enn FILE FILE        # other ENNs
    python -m benchmarks.baselines --quick                # seconds; digits in place of the data, two ENNs of the package

MNIST, 784-100-10, batches of 100, in a plain torch loop with :class:`pipeline.instruction.Instructor`. Three ENNs instruct:
mnist-tuned, which comes with the package, and two that are trained here in the same way with other seeds (five minutes each).
Each arm has eight candidates, four targets per candidate, judged on validation data:

- *baseline*: eight learning rates;
- *instructed*: by the first of the ENNs, with the baseline's best learning rate and half of it, each with λ as the ENN chooses
  it and with three fractions of that; strong ones read the weights at every step, weak ones at every other;
- *double batch*, a control, which costs about what reading the weights costs: the same eight learning rates;
- *half*, the same three in half of the steps, with a schedule as long: can the accuracy of the whole run be had in half of it?
  With instruction up to three times the ENN's λ, at every or every other step;
- *baseline-all* trains on training and validation data, since the ENNs have seen both; nothing is left to choose its learning
  rate on, so that it has the one that was best alone.

Then 30 fresh targets per arm and ENN, paired by seed and order of the data; the test set is looked at once, at the end. Halves
in runs of at most 330 steps (whole ones that are longer gain nothing); Muon in runs of 110 steps, without halves, for its
orthogonalisation takes 60 ms a step on a CPU, sixty times the rest.

Writes benchmarks/results/baselines.json and baselines-STEPS.png. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import edges, quick, tables
from benchmarks.cache import VERSIONS, Cache, code_digest, enn_digest
from pipeline import children
from pipeline.config import PRESETS, to_dotted
from pipeline.data import Dataset
from pipeline.enn import Critic, load_critic
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.instruction import Instructor
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired
from pipeline.results.tables import NONE
from pipeline.seeding import stream
from pipeline.targets import MLP, Batches, initialise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).resolve().parents[1]
TARGET, BATCH, POINTS = MLP((784, 100, 10)), 100, 22
SEEDS, TUNING_SEEDS = 30, 4
SELECTION = slice(2000, 5000)
"""validation examples that choose and draw curves; what an ENN of the package was rewarded on comes before them"""

Step = tuple[Tensor, Tensor]


def sgd(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)]


def adamw(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.AdamW(model.parameters(), lr=rate)]


def muon(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices (Jordan et al., 2024), AdamW with a tenth of its learning rate for the biases."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    biases = [parameter for parameter in model.parameters() if parameter.dim() != 2]
    return [torch.optim.Muon(matrices, lr=rate), torch.optim.AdamW(biases, lr=rate / 10)]


BASELINES: dict[str, tuple[Callable[[nn.Module, float], list[torch.optim.Optimizer]], tuple[float, ...]]] = {
    "SGD, momentum 0.9": (sgd, (0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.8)),
    "AdamW": (adamw, (3e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.2e-2, 1.6e-2, 3.2e-2)),
    "Muon + AdamW": (muon, (3e-3, 1e-2, 2e-2, 4e-2, 6e-2, 8e-2, 0.12, 0.16)),
}
ONLY = {"Muon + AdamW": (110,)}
"""the lengths at which a baseline is run, where they are not all"""
LENGTHS = (44, 110, 330, 1100)
LONGEST_WITH_HALVES = 330
WHOLE = ((0.03, 2), (0.1, 2), (0.3, 1), (1.0, 1))
"""candidates for instruction: what multiplies λ, and steps between two readings"""
HALF = ((0.3, 2), (0.3, 1), (1.0, 1), (3.0, 1))
"""the same in half of the steps"""
ENN, SEEDS_OF_ENNS = "mnist-tuned", (1, 2)
"""the preset and the shipped ENN; seeds of those of its like that are trained here"""
QUICK: dict[str, Any] = {
    "POINTS": 2,
    "LENGTHS": (4,),
    "ONLY": {},
    "SEEDS": 2,
    "TUNING_SEEDS": 1,
    "WHOLE": WHOLE[2:],
    "HALF": HALF[2:],
    "BASELINES": {name: (optimisers, rates[2:4]) for name, (optimisers, rates) in BASELINES.items()},
}


@dataclass(frozen=True)
class Setting:
    """How a target is trained."""

    rate: float
    factor: float = 0.0
    """on the ENN's own λ; 0 is no instruction"""
    batch: int = BATCH
    data: str = "train"
    share: float = 1.0
    """of the steps"""
    refresh: int = 2
    """steps between two readings of the weights"""


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--enn", nargs="+", help="files of ENNs, or names of those that come with the package")
    parser.add_argument("--seeds", type=int, help=f"default: {SEEDS}")
    parser.add_argument("--steps", type=int, nargs="+", help=f"of a run; multiples of {POINTS} (default: {LENGTHS})")
    parser.add_argument("--baseline", nargs="+", choices=[plain(name) for name in BASELINES], help="default: all")
    parser.add_argument("--work", type=Path, help="folder of finished parts (default: runs/baselines)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results, count = quick.results_folder(options.quick), options.seeds or SEEDS
    work = options.work or (results / "work" if options.quick else Path("runs/baselines"))
    torch.set_num_threads(1)
    facts = provenance("", 0)  # before results are written into the checkout
    try:
        dataset = quick.data("mnist", options.quick)
        named = options.enn or ([ENN, "mnist-mlp"] if options.quick else None)
        enns = {name: name for name in named} if named else package_and_like(work, facts, dataset)
        critics = [load_critic(file) for file in enns.values()]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    data = {split: dataset.tensors(split) for split in ("train", "validation", "test")}
    both = zip(data["train"], data["validation"], strict=True)
    data["all"] = tuple(torch.cat(pair) for pair in both)
    digests = [enn_digest(file) for file in enns.values()]
    cache = Cache.of(__file__, globals(), work, facts, data=dataset.digest, enns=digests, seeds=count)
    asked, lengths = options.baseline or [plain(name) for name in BASELINES], options.steps or LENGTHS
    started, rows = time.perf_counter(), kept(results / "baselines.json", list(enns))
    for steps, name in itertools.product(lengths, BASELINES):
        if plain(name) not in asked or steps not in ONLY.get(name, (steps,)):
            continue
        study = Study(name, steps, data, critics)
        part = cache.part(f"{steps} {plain(name)}", lambda study=study: study.compare(count), steps=steps, baseline=name)
        own = {"command": command(steps, name, options.enn, count), "enns": list(enns), "enn_digests": digests}
        rows[steps, name] = row(name, part.value, steps) | part.provenance | own
        write_json(results / "baselines.json", {"rows": [rows[key] for key in sorted(rows)]})
        print(f"{steps} steps, {name}: {time.perf_counter() - started:.0f} s", flush=True)
    for steps in {own["steps"] for own in rows.values()} & set(lengths):  # Muon alone is at few lengths
        draw([own for own in rows.values() if own["steps"] == steps], results / f"baselines-{steps}.png", steps)
    return 0


def command(steps: int, name: str, enns: Sequence[str] | None, seeds: int) -> str:
    """That makes this row."""
    other = f" --enn {' '.join(enns)}" if enns else ""
    other += f" --seeds {seeds}" * (seeds != SEEDS)
    return f"python -m benchmarks.baselines --steps {steps} --baseline {plain(name)}{other}"


def kept(output: Path, enns: list[str]) -> dict[tuple[int, str], dict[str, Any]]:
    """The rows that an earlier call found with ENNs of these names, each with the commit that made it."""
    rows = read_json(output)["rows"] if output.exists() else []
    return {(own["steps"], own["baseline"]): own for own in rows if own["enns"] == enns}


def package_and_like(work: Path, facts: dict[str, Any], dataset: Dataset) -> dict[str, str | Path]:
    """mnist-tuned and its like of other seeds: what the table calls them, and what loads them."""
    cache = Cache(work, facts, {"code": code_digest(), "versions": {name: facts[name] for name in VERSIONS}})
    return {ENN: ENN} | {f"seed {seed}": trained(seed, cache, dataset) for seed in SEEDS_OF_ENNS}


def trained(seed: int, cache: Cache, dataset: Dataset) -> Path:
    """An ENN like mnist-tuned, of another seed.

    Raises:
        UserError: its training failed.
    """
    preset, start = PRESETS[ENN], PRESETS[ENN].unroll.start
    decides = {"settings": to_dotted(preset), "seed": seed, "data": dataset.digest, "start": enn_digest(start) if start else ""}
    folder = cache.place(f"enn-{seed}", **decides).absolute() / "run"
    if not (folder / "enn.safetensors").exists():
        print(f"training the ENN of seed {seed} in {folder}", flush=True)
        command = [sys.executable, "-m", "pipeline.command_line", "train-enn", "--preset", ENN, "--seed", str(seed), "--local"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if children.start([*command, "--output", str(folder)], cwd=ROOT, env=environment).wait():
            raise UserError(f"the ENN of seed {seed} could not be trained; its own message stands above.")
    return folder / "enn.safetensors"


def plain(name: str) -> str:
    """A baseline's name on the command line and of its file: sgd, adamw, muon."""
    return name.split()[0].strip(",").lower()


@dataclass(frozen=True)
class Study:
    """One baseline at one length."""

    name: str
    steps: int
    data: dict[str, Step]
    critics: Sequence[Critic]

    def compare(self, count: int) -> dict[str, Any]:
        """All arms, tuned, and then trained on ``count`` fresh seeds."""
        rates = BASELINES[self.name][1]
        tried = {"baseline": self.judged(Setting(rate) for rate in rates)}
        best = winner(tried["baseline"])
        asked = {
            "instructed": instructed(best, WHOLE),
            "double batch": [Setting(rate, batch=2 * BATCH) for rate in rates],
        }
        if self.steps <= LONGEST_WITH_HALVES and self.name not in ONLY:
            asked |= {
                "baseline, half": [Setting(rate, share=0.5) for rate in rates],
                "instructed, half": instructed(best, HALF, share=0.5),
                "double batch, half": [Setting(rate, batch=2 * BATCH, share=0.5) for rate in rates],
            }
        tried |= {arm: self.judged(candidates) for arm, candidates in asked.items()}
        chosen = {arm: winner(found) for arm, found in tried.items()}
        chosen["baseline-all"] = dataclasses.replace(best, data="all")
        arms: dict[str, list[dict[str, Any]]] = {arm: [] for arm in chosen}
        for seed in (stream(0, "baselines", number) for number in range(count)):
            for arm, setting in chosen.items():  # turn and turn about, so that all see the same machine
                critics = self.critics if setting.factor else self.critics[:1]
                arms[arm].append(means([self.train(critic, seed, setting) for critic in critics]))
        return {
            "arms": {arm: {key: [run[key] for run in runs] for key in runs[0]} for arm, runs in arms.items()},
            "chosen": {arm: dataclasses.asdict(setting) for arm, setting in chosen.items()},
            "candidates": {
                arm: [dataclasses.asdict(setting) | {"validation": value} for setting, value in found.items()]
                for arm, found in tried.items()
            },
        }

    def judged(self, candidates: Iterable[Setting]) -> dict[Setting, float]:
        """Mean accuracy on validation data at the end."""
        seeds = [stream(0, "baselines", "tuning", number) for number in range(TUNING_SEEDS)]
        return {
            own: float(np.mean([self.train(self.critics[0], seed, own)["accuracy"][-1] for seed in seeds]))
            for own in candidates
        }

    def train(self, critic: Critic, seed: int, own: Setting) -> dict[str, Any]:
        """One target: accuracy on validation data at all points, the seconds until then, and the test accuracy at the end."""
        x, y = self.data["validation"][0][SELECTION], self.data["validation"][1][SELECTION]
        model = TARGET.module([tensor[0] for tensor in initialise(TARGET, "he", [seed])])
        steps, every = round(own.share * self.steps), self.steps // POINTS
        optimisers, batches = BASELINES[self.name][0](model, own.rate), Batches(*self.data[own.data], own.batch, [seed], True)
        schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(each, steps) for each in optimisers]
        instructor = Instructor(adjusted(critic, own), steps, guarded=False) if own.factor else None
        accuracy, seconds, elapsed = [accuracy_of(model, x, y)], [0.0], 0.0
        for start in range(0, steps, every):
            begun = time.thread_time()
            for step in range(start, start + every):
                xs, ys = batches(step)
                for each in optimisers:
                    each.zero_grad()
                nn.functional.cross_entropy(model(xs), ys).backward()
                if instructor:
                    instructor.instruct(model)
                for each, schedule in zip(optimisers, schedules, strict=True):
                    each.step()
                    schedule.step()
            elapsed += time.thread_time() - begun
            accuracy.append(accuracy_of(model, x, y))
            seconds.append(elapsed)
        return {"accuracy": accuracy, "seconds": seconds, "test": accuracy_of(model, *self.data["test"])}


def instructed(best: Setting, strengths: Iterable[tuple[float, int]], share: float = 1.0) -> list[Setting]:
    """Candidates for instruction: the baseline's best learning rate and half of it, each with all strengths."""
    near = itertools.product((best.rate, best.rate / 2), strengths)
    return [Setting(rate, factor, share=share, refresh=refresh) for rate, (factor, refresh) in near]


def winner(found: dict[Setting, float]) -> Setting:
    """The best on validation data; ties go to the first."""
    return max(found, key=lambda own: found[own])


def means(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One seed's runs under one or several ENNs: their means, and each one's test accuracy."""
    return {key: np.mean([run[key] for run in runs], axis=0).tolist() for key in runs[0]} | {
        "by_enn": [run["test"] for run in runs]
    }


def adjusted(critic: Critic, own: Setting) -> Critic:
    """The ENN with all its strengths multiplied, reading as often as asked."""
    copy, home = critic.with_strength(-1.0), critic.home
    copy.home = dataclasses.replace(copy.home, scale=home.scale * own.factor, refresh=own.refresh)
    return copy


@torch.no_grad()
def accuracy_of(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) == y).float().mean())


def row(name: str, part: dict[str, Any], total: int) -> dict[str, Any]:
    """A row of the table."""
    arms = part["arms"]
    curves = {arm: np.mean(arms[arm]["accuracy"], axis=0) for arm in arms}
    times = {arm: np.mean(arms[arm]["seconds"], axis=0) for arm in arms}
    final, spent = curves["baseline"][-1], times["baseline"][-1]
    reached = {arm: np.flatnonzero(curves[arm] >= final)[:1].tolist() for arm in arms}
    return {
        "baseline": name,
        "steps": total,
        "test": {arm: dict(zip(("mean", "low", "high"), mean_interval(arms[arm]["test"]), strict=True)) for arm in arms},
        "difference": {arm: paired(arms[arm]["test"], arms["baseline"]["test"]) for arm in arms if arm != "baseline"},
        "against_double_batch": {
            end: paired(arms[f"instructed{end}"]["test"], arms[f"double batch{end}"]["test"])
            for end in ("", ", half")
            if f"instructed{end}" in arms
        },
        "by_enn": {arm: np.mean(arms[arm]["by_enn"], axis=0).tolist() for arm in arms if arm.startswith("instructed")},
        "share_of_steps": {arm: at[0] / POINTS if at else None for arm, at in reached.items()},
        "share_of_seconds": {arm: float(times[arm][at[0]] / spent) if at else None for arm, at in reached.items()},
        "seconds": {arm: float(times[arm][-1] / spent) for arm in arms},
        "chosen": part["chosen"],
        "candidates": part["candidates"],
        "curves": {arm: {"accuracy": curves[arm].tolist(), "seconds": times[arm].tolist()} for arm in arms},
        "tests": {arm: arms[arm]["test"] for arm in arms},
    }


STYLES = {
    "baseline": ("#000000", "--"),
    "instructed": ("#0072B2", "-"),
    "instructed, half": ("#0072B2", ":"),
    "double batch": ("#E69F00", "-"),
    "double batch, half": ("#E69F00", ":"),
}


def draw(rows: list[dict[str, Any]], path: Path, total: int) -> None:
    """Validation error against steps and against seconds."""
    from pipeline.results.figures import Drawing, Panel
    from pipeline.results.figures.drawing import count, drawn

    panels = [
        Panel(partial(_errors, own=own, axis=axis, total=total), (4.0, 3.2)) for axis in ("steps", "seconds") for own in rows
    ]
    targets = count(len(values) for own in rows for arm, values in own["tests"].items() if arm == "baseline")
    notes = (
        f"{targets} targets of each optimiser alone; instructed: as many under each of {len(rows[0]['enns'])} ENNs. Lines are "
        "means (their intervals are in the table); half: runs of half the steps. Seconds without the training of the ENNs.",
    )
    drawn(Drawing(f"Error on validation data of MNIST, in runs of {total} steps", notes, tuple(panels), len(rows), True), path)


def _errors(panel: "Axes", own: dict[str, Any], axis: str, total: int) -> None:
    from pipeline.results.figures.style import few, plain

    for arm, (colour, dash) in STYLES.items():
        if arm in own["curves"]:
            curve = own["curves"][arm]
            error = 100 * (1 - np.array(curve["accuracy"]))
            x = curve["seconds"] if axis == "seconds" else np.arange(len(error)) * total / POINTS
            panel.plot(x, error, color=colour, linestyle=dash, linewidth=1.6, label=arm)
    named = "optimiser steps" if axis == "steps" else "seconds of one target's training"
    panel.set(title=own["baseline"], xlabel=named, ylabel="validation error, % (logarithmic)", yscale="log")
    few(panel.yaxis)
    plain(panel)


def redraw(results: dict[str, Any], folder: Path) -> None:
    """The pictures once more, from the results alone."""
    for steps in sorted({own["steps"] for own in results["rows"]}):
        draw([own for own in results["rows"] if own["steps"] == steps], folder / f"baselines-{steps}.png", steps)


# -- its page ------------------------------------------------------------------------------------------------------------


def compared(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What its p-values are of."""
    found = []
    for row in results["rows"]:
        for end in ("", ", half"):
            if f"instructed{end}" in row["test"]:
                found += [row["difference"][f"instructed{end}"], row["against_double_batch"][end]]
    return found


def table(results: dict[str, Any]) -> str:
    """One row per length and baseline: whole runs, half of the steps, and when the baseline's last accuracy is reached."""
    tables.correct(compared(results))
    rows = results["rows"]
    origins = tables.Origins(rows)
    names = [[f"{row['steps']:,}", row["baseline"] + mark] for row, mark in zip(rows, origins.marks, strict=True)]
    halves = [(name, row) for name, row in zip(names, rows, strict=True) if "instructed, half" in row["test"]]
    whole = [[*name, *_reached(row, "")] for name, row in zip(names, rows, strict=True)]
    half = [[*name, *_reached(row, ", half")] for name, row in halves]
    spent = [[*name, *_spent(row, "instructed")] for name, row in zip(names, rows, strict=True)]
    spent += [[f"half of {name[0]}", name[1], *_spent(row, "instructed, half")] for name, row in halves]
    enns = ", ".join(f"`{name}`" for name in rows[0]["enns"])
    if rows[0]["enns"] == ["mnist-tuned", "seed 1", "seed 2"]:
        enns = "`mnist-tuned`, and two of its like of other seeds"
    caption = (
        f"Test accuracy, n = {rows[0]['difference']['instructed']['n']}, paired by seed, mean over the ENNs ({enns}); "
        f"intervals resample targets; *all data*: validation data too; *its end*: when instructed targets reach the baseline's "
        f"last validation accuracy; *time*: over that of all steps alone. `python -m benchmarks.baselines` "
        f"({tables.where(origins.facts)}). {tables.CORRECTED_P}."
    )
    head = [
        "steps",
        "from He, cosine",
        "alone %",
        "instructed %",
        "difference",
        tables.P,
        "batch × 2 %",
        "against it",
        tables.P,
    ]
    over = ["steps", "from He, cosine", "half, alone %", "half, instructed %", "against all steps", tables.P]
    over += ["half, batch × 2 %", "against it", tables.P]
    more = ["steps", "from He, cosine", "all data, alone %", "each ENN %", "reads every", "its end after % of the steps"]
    more += ["of the seconds", "time ×"]
    shown = tables.blocks(
        tables.table(head, whole, left=2),
        "In half of the steps:",
        tables.table(over, half, left=2),
        "What it takes:",
        tables.table(more, spent, left=2),
        caption,
        origins.notes,
    )
    return edges.noted(shown)


def _reached(row: dict[str, Any], end: str) -> list[str]:
    """Alone, instructed, against all steps alone; twice the batch, and against that."""
    alone, instructed, double = (
        edges.marked(tables.percent(row["test"][arm]["mean"]), _at_edge(row, arm))
        for arm in (f"baseline{end}", f"instructed{end}", f"double batch{end}")
    )
    one, against = row["difference"][f"instructed{end}"], row["against_double_batch"][end]
    cells = [alone, instructed, tables.signed(one), tables.p_cell(one)]
    return [*cells, double, tables.signed(against), tables.p_cell(against)]


def _spent(row: dict[str, Any], arm: str) -> list[str]:
    """All data, ENN by ENN, steps between two readings, when the baseline's last accuracy is reached, seconds of all."""
    shares, every = [row[key][arm] for key in ("share_of_steps", "share_of_seconds")], row["chosen"][arm]["refresh"]
    everything = tables.percent(row["test"]["baseline-all"]["mean"]) if arm == "instructed" else NONE
    each = "; ".join(tables.percent(value) for value in row["by_enn"][arm])
    reached = ["never" if share is None else f"{100 * share:.0f}" for share in shares]
    return [everything, each, str(every), *reached, f"{row['seconds'][arm]:.2f}"]


def _at_edge(row: dict[str, Any], arm: str) -> bool:
    """Whether an arm's learning rate, or its share of the ENN's λ, lies at the edge of what was tried."""
    tried = row["candidates"]["baseline" if arm == "baseline-all" else arm]  # which has the baseline's
    return edges.of_settings(row["chosen"][arm], tried, ("rate", "factor"))


def figures(results: dict[str, Any]) -> dict[str, Any]:
    tables.correct(compared(results))
    rows = results["rows"]
    lengths = sorted({row["steps"] for row in rows})
    own: dict[str, Any] = {
        "lengths": ", ".join(f"{steps:,}" for steps in lengths),
        "shortest": f"{lengths[0]:,}",
        "longest": f"{lengths[-1]:,}",
        "targets": str(rows[0]["difference"]["instructed"]["n"]),
        "enns": str(len(rows[0]["enns"])),
        "times": tables.spread(row["seconds"]["instructed"] for row in rows),
        "apart": tables.spread((_apart(row, "instructed") for row in rows), ".2f", 100),
        "all_data": tables.spread(
            (row["test"]["baseline-all"]["mean"] - row["test"]["baseline"]["mean"] for row in rows), "+.2f", 100
        ),
        "half_alone": tables.spread(
            (row["difference"]["baseline, half"]["difference"] for row in rows if "baseline, half" in row["difference"]),
            "+.2f",
            100,
        ),
    }
    for number, steps in enumerate(lengths):
        here = [row for row in rows if row["steps"] == steps]
        halves = [row for row in here if "instructed, half" in row["test"]]
        whole = [row["difference"]["instructed"] for row in here]
        double = [row["against_double_batch"][""] for row in here]
        facts = {
            "gain": _range(whole),
            "told": _told(whole),
            "against_double": _range(double),
            "double_told": _told(double),
            "time": tables.spread(row["seconds"]["instructed"] for row in here),
            "reaches": _reaches(here, "instructed"),
            "steps": f"{steps:,}" + tables.EARLIER * any(tables.is_earlier(row) for row in here),
            "half": _range([row["difference"]["instructed, half"] for row in halves]),
            "half_told": _told([row["difference"]["instructed, half"] for row in halves]),
            "half_against_double": _range([row["against_double_batch"][", half"] for row in halves]),
            "half_double_told": _told([row["against_double_batch"][", half"] for row in halves]),
            "half_reaches": _reaches(halves, "instructed, half"),
        }
        own |= {f"{key}_{steps}": value for key, value in facts.items()}
        for place, chosen in (("shortest", number == 0), ("longest", number == len(lengths) - 1)):
            own |= {f"{place}_{key}": value for key, value in facts.items() if chosen}
    own["table"] = tables.table(
        ["steps of tuned training", "gain, points", "told", "against twice the batch", "told", "time ×"],
        [[own[f"{key}_{steps}"].replace(" to ", f"{tables.KEPT}to{tables.KEPT}") for key in _SHOWN] for steps in lengths],
    )
    told = {steps: {tables.told(row["difference"]["instructed"]) for row in rows if row["steps"] == steps} for steps in lengths}
    own["earlier"] = any(tables.is_earlier(row) for row in rows)
    own["headline"] = "It depends on the length of the run."
    if told[lengths[0]] == {tables.GAIN} and tables.GAIN not in told[lengths[-1]]:
        own["headline"] = "In short runs yes, in long ones no."
    own["longest_gains"] = any(
        tables.told(r["difference"]["instructed"]) == tables.GAIN for r in rows if r["steps"] == lengths[-1]
    )
    own["beats_double"] = [
        steps
        for steps in lengths
        if all(tables.told(row["against_double_batch"][""]) == tables.GAIN for row in rows if row["steps"] == steps)
    ]
    own["lengths_beating_double"] = ", ".join(f"{steps:,}" for steps in own["beats_double"]) or "none"
    own["always_beats_double"] = own["beats_double"] == lengths
    return own


_SHOWN = ("steps", "gain", "told", "against_double", "double_told", "time")


def _apart(row: dict[str, Any], arm: str) -> float:
    return max(row["by_enn"][arm]) - min(row["by_enn"][arm])


def _range(differences: list[dict[str, Any]]) -> str:
    return tables.spread((own["difference"] for own in differences), "+.2f", 100)


def _told(differences: list[dict[str, Any]]) -> str:
    """What several differences tell."""
    found = [tables.told(own) for own in differences]
    said = [f"{found.count(what)} of {len(found)} {what}" for what in (tables.GAIN, tables.LOSS) if what in found]
    if not said:
        return "nothing can be told"
    return found[0] if len(set(found)) == 1 else ", ".join(said) + ", else nothing can be told" * (tables.NOTHING in found)


def _reaches(rows: list[dict[str, Any]], arm: str) -> str:
    """By optimiser, when the baseline's last accuracy is reached."""
    said = []
    for row in rows:
        steps, seconds = row["share_of_steps"][arm], row["share_of_seconds"][arm]
        when = "never" if steps is None else f"after {100 * steps:.0f} % of the steps and {100 * seconds:.0f} % of the seconds"
        said.append(f"{row['baseline']} {when}")
    return "; ".join(said)


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"On top of tuned optimisers from He an ENN gives {own['shortest_gain']} points in {own['shortest']} steps "
        f"({own['shortest_told']}) and {own['longest_gain']} in {own['longest']} ({own['longest_told']}). Against twice the "
        "batch all "
        f"optimisers gain in runs of these lengths: {own['lengths_beating_double']}; in {own['longest']} steps the "
        "difference is "
        f"{own['longest_against_double']}."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            f"On top of tuned optimisers an ENN still gains in {own['longest']} steps.",
            f"{own['longest_gain']} points: {own['longest_told']}.",
            own["longest_gains"],
        ),
        tables.Doubt(
            "What an ENN costs is better spent on it than on twice the batch.",
            f"All optimisers gain against it only in runs of these lengths: {own['lengths_beating_double']}; in "
            f"{own['longest']} steps "
            f"the difference is {own['longest_against_double']} points.",
            own["always_beats_double"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
