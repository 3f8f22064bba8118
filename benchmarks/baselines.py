"""Table 2: instruction on top of what people use: tuned SGD, AdamW and Muon, all from He, with a cosine schedule.

    python benchmarks/baselines.py                        # runs of 110, 330 and 1,100 steps: a fifth of an epoch to two epochs
    python benchmarks/baselines.py --steps 330            # one length; the others keep what an earlier call found
    python benchmarks/baselines.py --enn FILE             # another ENN than mnist-tuned, which comes with the package

MNIST, 784-100-10, batches of 100, in a plain torch loop with :class:`pipeline.instruction.Instructor`. Each baseline's learning
rate is chosen from six, on validation data, by four targets per candidate. With instruction there are six candidates as well:
the baseline's own learning rate and half of it, each with λ as the ENN chooses it, a third and a tenth of that. A control has
twice the batch instead (which costs about what reading the weights costs), its learning rate chosen from the same six. Then 30
fresh targets, paired by seed and order of the data; the test set is looked at once, at the end. Muon in the shortest runs only.

Writes benchmarks/results/baselines.json and baselines-STEPS.png. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import argparse
import dataclasses
import itertools
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

from pipeline.data import load
from pipeline.enn import Critic, load_critic
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.instruction import Instructor
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired
from pipeline.seeding import stream
from pipeline.targets import MLP, Batches, initialise

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
SLOW = {"Muon + AdamW": 110}
"""the longest runs of a baseline: Muon's orthogonalisation takes 60 ms a step on a CPU, sixty times the rest"""
FACTORS = (0.1, 1 / 3, 1.0)
LENGTHS = (110, 330, 1100)
ARMS = ("baseline", "instructed", "double batch")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--enn", default="mnist-tuned", help="file of an ENN, or the name of one that comes with the package")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--steps", type=int, nargs="+", default=LENGTHS, help=f"of a run; multiples of {POINTS}")
    parser.add_argument("--work", type=Path, default=Path("runs/baselines"), help="folder of finished parts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        critic, dataset = load_critic(options.enn), load("mnist")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    data = {split: dataset.tensors(split) for split in ("train", "validation", "test")}
    results = read_json(RESULTS / "baselines.json") if (RESULTS / "baselines.json").exists() else {}
    lengths, started = results.get("lengths", {}), time.perf_counter()
    facts = provenance("", 0)  # before results are written into the checkout
    for steps in options.steps:
        parts = {}
        for name in (name for name in BASELINES if steps <= SLOW.get(name, steps)):
            file = options.work / f"{steps}-{plain(name)}.json"
            if not file.exists():
                write_json(file, Study(name, steps, data).compare(critic, options.seeds))
            parts[name] = read_json(file)
            print(f"{steps} steps, {name}: {time.perf_counter() - started:.0f} s", flush=True)
        rows = [row(name, part, steps) for name, part in parts.items()]
        lengths[str(steps)] = {"enn": options.enn, "steps": steps, "rows": rows, "parts": parts} | facts
        lengths[str(steps)]["command"] = f"python benchmarks/baselines.py --steps {steps}"
        write_json(RESULTS / "baselines.json", {"lengths": lengths})
        draw(parts, RESULTS / f"baselines-{steps}.png", steps)
    return 0


def plain(name: str) -> str:
    """A file name."""
    return name.replace(" ", "-").replace(",", "")


@dataclass(frozen=True)
class Study:
    """One baseline at one length."""

    name: str
    steps: int
    data: dict[str, Step]

    @property
    def every(self) -> int:
        """Steps between two measurements."""
        return self.steps // POINTS

    def compare(self, critic: Critic, count: int) -> dict[str, Any]:
        """The baseline, tuned, with and without instruction, and with twice the batch."""
        seeds = [stream(0, "baselines", "tuning", number) for number in range(TUNING_SEEDS)]

        def validation(*arguments: Any) -> float:
            return float(np.mean([self.train(critic, seed, *arguments)["accuracy"][-1] for seed in seeds]))

        rates = BASELINES[self.name][1]
        candidates = {"baseline": {(rate, 0.0, BATCH): validation(rate) for rate in rates}}
        best = max(candidates["baseline"], key=lambda own: candidates["baseline"][own])[0]
        pairs = itertools.product((best, best / 2), FACTORS)
        candidates["instructed"] = {(*pair, BATCH): validation(*pair) for pair in pairs}
        candidates["double batch"] = {(rate, 0.0, 2 * BATCH): validation(rate, 0.0, 2 * BATCH) for rate in rates}
        chosen = {arm: max(found, key=lambda own: found[own]) for arm, found in candidates.items()}
        arms: dict[str, dict[str, Any]] = {arm: {} for arm in ARMS}
        for seed in (stream(0, "baselines", number) for number in range(count)):
            for arm in ARMS:  # turn and turn about, so that all see the same machine
                for key, value in self.train(critic, seed, *chosen[arm]).items():
                    arms[arm].setdefault(key, []).append(value)
        tried = {
            arm: [
                dict(zip(("learning_rate", "factor", "batch"), own, strict=True)) | {"validation": v}
                for own, v in found.items()
            ]
            for arm, found in candidates.items()
        }
        return {"arms": arms, "chosen": {arm: list(own) for arm, own in chosen.items()}, "candidates": tried}

    def train(self, critic: Critic, seed: int, rate: float, factor: float = 0.0, batch: int = BATCH) -> dict[str, Any]:
        """One target: accuracy on validation data at all points, the seconds until then, and the test accuracy at the end.

        Args:
            factor: on the ENN's own λ; 0 is no instruction.
        """
        x, y = self.data["validation"][0][SELECTION], self.data["validation"][1][SELECTION]
        model = TARGET.module([tensor[0] for tensor in initialise(TARGET, "he", [seed])])
        optimisers, batches = BASELINES[self.name][0](model, rate), Batches(*self.data["train"], batch, [seed], True)
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
    reached = {arm: np.flatnonzero(means[arm] >= final)[:1].tolist() for arm in arms}
    return {
        "baseline": name,
        "steps": total,
        "test": {arm: dict(zip(("mean", "low", "high"), mean_interval(arms[arm]["test"]), strict=True)) for arm in arms},
        "difference": {arm: paired(arms[arm]["test"], arms["baseline"]["test"]) for arm in arms if arm != "baseline"},
        "against_double_batch": paired(arms["instructed"]["test"], arms["double batch"]["test"]),
        "share_of_steps": {arm: float(steps[at[0]] / total) if at else None for arm, at in reached.items()},
        "share_of_seconds": {
            arm: float(times[arm][at[0]] / times["baseline"][-1]) if at else None for arm, at in reached.items()
        },
        "seconds_per_step": {arm: float(times[arm][-1] / times["baseline"][-1]) for arm in arms},
        "chosen": part["chosen"],
    }


def draw(parts: dict[str, Any], path: Path, total: int) -> None:
    """Validation error against steps and against seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(parts), figsize=(4 * len(parts), 6), sharey=True)
    for column, (name, part) in enumerate(parts.items()):
        for arm, style in (("baseline", "--"), ("instructed", "-"), ("double batch", ":")):
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
