"""Table 2: instruction on top of what people use: tuned SGD, AdamW and Muon, all from He, with a cosine schedule.

    python benchmarks/baselines.py                               # the ENN that comes with the package, two epochs
    python benchmarks/baselines.py --steps 110 --segments 150    # fine-tuned under each tuned baseline, a fifth of an epoch

MNIST, 784-100-10, batches of 100, in a plain torch loop with :class:`pipeline.instruction.Instructor`. Each baseline's learning
rate is chosen from six, on validation data, by four targets per candidate; with instruction there are six candidates as well:
the baseline's own learning rate and half of it, each with λ as the ENN chooses it, a third and three times that. Then 30 fresh
targets, paired by seed and order of the data; the test set is looked at once, at the end.

With ``--segments`` the ENN is first fine-tuned through whole runs of the tuned baseline (its learning rate, its schedule), on
training data alone. (Muon's matrix function cannot be differentiated by rl/descent.py: its row has the ENN tuned under AdamW.)

Writes benchmarks/results/baselines.json and .png, or baselines-STEPS.json and .png. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import argparse
import dataclasses
import itertools
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config import Config, DataConfig, InstructionConfig, RLConfig, TargetConfig, TrainingConfig, UnrollConfig
from pipeline.data import Dataset, load
from pipeline.enn import Critic, load_critic
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.instruction import Instructor
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired
from pipeline.seeding import stream
from pipeline.targets import MLP, Batches, initialise
from rl.unrolled import fine_tune

RESULTS = Path(__file__).resolve().parent / "results"
TARGET, BATCH, POINTS = MLP((784, 100, 10)), 100, 22
TUNING_SEEDS = 4
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
    "SGD, momentum 0.9": (sgd, (0.01, 0.03, 0.1, 0.2, 0.4, 0.8)),
    "AdamW": (adamw, (3e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)),
    "Muon + AdamW": (muon, (3e-3, 1e-2, 2e-2, 4e-2, 8e-2, 0.16)),
}
DESCENT: dict[str, dict[str, Any]] = {
    "SGD, momentum 0.9": {"optimiser": "sgd", "momentum": 0.9},
    "AdamW": {"optimiser": "adamw", "weight_decay": 0.01},
}
"""what an ENN can be fine-tuned under"""
FACTORS = (1 / 3, 1.0, 3.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--enn", default="mnist-mlp", help="file of an ENN, or the name of one that comes with the package")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=1100, help=f"of a run; a multiple of {POINTS}")
    parser.add_argument("--segments", type=int, default=0, help="of fine-tuning under each baseline")
    parser.add_argument("--work", type=Path, help="folder of finished parts (default: runs/baselines-STEPS)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        critic, dataset = load_critic(options.enn), load("mnist")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    work = options.work or Path(f"runs/baselines-{options.steps}")
    data = {split: dataset.tensors(split) for split in ("train", "validation", "test")}
    parts, started = {}, time.perf_counter()
    for name in BASELINES:
        file = work / f"{plain(name)}.json"
        if not file.exists():
            study = Study(name, options.steps, options.segments, dataset, data, work)
            write_json(file, study.compare(critic, options.seeds))
        parts[name] = read_json(file)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    rows = [row(name, part, options.steps) for name, part in parts.items()]
    short = options.steps != 1100 or options.segments
    arguments = f" --steps {options.steps} --segments {options.segments}" if short else ""
    facts = provenance(f"python benchmarks/baselines.py{arguments}", 0)
    results = {"enn": options.enn, "steps": options.steps, "segments": options.segments, "rows": rows, "parts": parts}
    name = f"baselines-{options.steps}" if short else "baselines"
    write_json(RESULTS / f"{name}.json", results | facts)
    draw(parts, RESULTS / f"{name}.png", options.steps)
    return 0


def plain(name: str) -> str:
    """A file name."""
    return name.replace(" ", "-").replace(",", "")


@dataclass(frozen=True)
class Study:
    """One baseline at one length."""

    name: str
    steps: int
    segments: int
    dataset: Dataset
    data: dict[str, Step]
    work: Path

    @property
    def every(self) -> int:
        """Steps between two measurements."""
        return self.steps // POINTS

    def compare(self, critic: Critic, count: int) -> dict[str, Any]:
        """The baseline, tuned, with and without instruction."""
        seeds = [stream(0, "baselines", "tuning", number) for number in range(TUNING_SEEDS)]

        def validation(rate: float, factor: float) -> float:
            return float(np.mean([self.train(rate, factor, critic, seed)["accuracy"][-1] for seed in seeds]))

        found = {rate: validation(rate, 0.0) for rate in BASELINES[self.name][1]}
        best, seconds = max(found, key=lambda rate: found[rate]), 0.0
        if self.segments:
            teacher = self.name if self.name in DESCENT else "AdamW"
            rate = best if teacher == self.name else read_json(self.work / "AdamW.json")["chosen"]["baseline"]
            critic, seconds = learned(critic, teacher, rate, self)
        instructed = {pair: validation(*pair) for pair in itertools.product((best, best / 2), FACTORS)}
        chosen = max(instructed, key=lambda pair: instructed[pair])
        arms: dict[str, dict[str, Any]] = {"baseline": {}, "instructed": {}}
        for seed in (stream(0, "baselines", number) for number in range(count)):
            # turn and turn about, so that both see the same machine
            for arm, (rate, factor) in (("baseline", (best, 0.0)), ("instructed", chosen)):
                for key, value in self.train(rate, factor, critic, seed).items():
                    arms[arm].setdefault(key, []).append(value)
        candidates = {
            "baseline": [{"learning_rate": rate, "validation": value} for rate, value in found.items()],
            "instructed": [{"learning_rate": r, "factor": f, "validation": value} for (r, f), value in instructed.items()],
        }
        choice = {"baseline": best, "instructed": list(chosen)}
        return {"arms": arms, "chosen": choice, "candidates": candidates, "enn_seconds": seconds}

    def train(self, rate: float, factor: float, critic: Critic, seed: int) -> dict[str, Any]:
        """One target: accuracy on validation data at all points, the seconds until then, and the test accuracy at the end.

        Args:
            factor: on the ENN's own λ; 0 is no instruction.
        """
        x, y = self.data["validation"][0][SELECTION], self.data["validation"][1][SELECTION]
        model = TARGET.module([tensor[0] for tensor in initialise(TARGET, "he", [seed])])
        optimisers, batches = BASELINES[self.name][0](model, rate), Batches(*self.data["train"], BATCH, [seed], True)
        schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(own, self.steps) for own in optimisers]
        instructor = Instructor(scaled(critic, factor), self.steps, guarded=False) if factor else None
        accuracy, seconds, elapsed = [share(model, x, y)], [0.0], 0.0
        for start in range(0, self.steps, self.every):
            begun = time.thread_time()
            for step in range(start, start + self.every):
                xs, ys = batches(step)
                for own in optimisers:
                    own.zero_grad()
                nn.functional.cross_entropy(model(xs), ys).backward()
                if instructor:
                    instructor.instruct(model)
                for own, schedule in zip(optimisers, schedules, strict=True):
                    own.step()
                    schedule.step()
            elapsed += time.thread_time() - begun
            accuracy.append(share(model, x, y))
            seconds.append(elapsed)
        return {"accuracy": accuracy, "seconds": seconds, "test": share(model, *self.data["test"])}


def learned(critic: Critic, name: str, rate: float, study: "Study") -> tuple[Critic, float]:
    """The ENN fine-tuned through whole runs of a baseline, and the seconds that it took; Muon's is AdamW's."""
    training = TrainingConfig(**DESCENT[name], learning_rate=rate, schedule="cosine", batch_size=BATCH, steps=study.steps)
    config = Config(
        data=DataConfig("mnist"),
        target=TargetConfig(hidden=TARGET.widths[1:-1], initialisation="he"),
        training=training,
        enn=critic.config,
        rl=RLConfig(period=study.every),
        instruction=InstructionConfig(refresh=5, trust_region=0.02),
        unroll=UnrollConfig(segments=study.segments, steps=study.steps, strength=1.0, learning_rate=0.005, largest_costate=1.0),
    )
    tuned, history = fine_tune(config, study.dataset, critic, study.work / plain(name))
    return tuned, sum(row["seconds"] for row in history)


def scaled(critic: Critic, factor: float) -> Critic:
    """The ENN with all its strengths multiplied."""
    copy = critic.with_strength(-1.0)
    copy.home = dataclasses.replace(copy.home, scale=copy.home.scale * factor)
    return copy


@torch.no_grad()
def share(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) == y).float().mean())


def row(name: str, part: dict[str, Any], total: int) -> dict[str, Any]:
    """A row of the table."""
    arms = part["arms"]
    means = {arm: np.mean(arms[arm]["accuracy"], axis=0) for arm in arms}
    times = {arm: np.mean(arms[arm]["seconds"], axis=0) for arm in arms}
    final, steps = means["baseline"][-1], np.linspace(0, total, len(means["baseline"]))
    reached = np.flatnonzero(means["instructed"] >= final)
    first = int(reached[0]) if len(reached) else None
    return {
        "baseline": name,
        "test": {arm: dict(zip(("mean", "low", "high"), mean_interval(arms[arm]["test"]), strict=True)) for arm in arms},
        "difference": paired(arms["instructed"]["test"], arms["baseline"]["test"]),
        "share_of_steps": None if first is None else float(steps[first] / total),
        "share_of_seconds": None if first is None else float(times["instructed"][first] / times["baseline"][-1]),
        "seconds_per_step": float(times["instructed"][-1] / times["baseline"][-1]),
        "chosen": part["chosen"],
        "enn_seconds": part.get("enn_seconds", 0.0),
        "early": {
            str(int(steps[at])): {arm: float(means[arm][at]) for arm in arms} for at in (1, 2, 4, math.ceil(len(steps) / 2))
        },
    }


def draw(parts: dict[str, Any], path: Path, total: int) -> None:
    """Validation error against steps and against seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(parts), figsize=(4 * len(parts), 6), sharey=True)
    for column, (name, part) in enumerate(parts.items()):
        for arm, style in (("baseline", "--"), ("instructed", "-")):
            error = 100 * (1 - np.mean(part["arms"][arm]["accuracy"], axis=0))
            axes[0, column].plot(np.linspace(0, total, len(error)), error, style, label=arm)
            axes[1, column].plot(np.mean(part["arms"][arm]["seconds"], axis=0), error, style, label=arm)
        axes[0, column].set(title=name, xlabel="steps", yscale="log")
        axes[1, column].set(xlabel="seconds", yscale="log")
    for line in axes:
        line[0].set_ylabel("validation error, %")
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
