"""Table 5: the weight image's resolution ρ: prediction, gain, milliseconds per instruction, size of the ENN.

    python benchmarks/resolution.py                    # digits, 64-32-10
    python benchmarks/resolution.py --preset mnist     # needs GRAD_INSTRUCTOR_DATA

For every ρ the same: an ENN by the weight image, fine-tuned through unrolled training from random weights (no RL before it),
then fresh targets with and without it, paired by seed. Accuracies are on validation data that no ENN was rewarded on: nothing
is claimed on test data here, and nothing chosen. The probes stand beside it.

Writes benchmarks/results/resolution-PRESET.json.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from pipeline.config import PRESETS, Config
from pipeline.data import Dataset, load
from pipeline.enn import Critic
from pipeline.enn.readers import ConvNet, Probes
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.instruction import Backprop, Instruct, instructions
from pipeline.instruction.loop import train
from pipeline.results.provenance import provenance
from pipeline.results.statistics import paired, rank_correlation
from pipeline.seeding import stream
from pipeline.setting import home_of, new_population, selection_data, target_of
from pipeline.targets import Batches
from rl.unrolled import fine_tune

RESULTS = Path(__file__).resolve().parent / "results"
RESOLUTIONS = (0.10, 0.12, 0.15, 0.20, 0.30, 0.50, 1.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--preset", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--segments", type=int, default=100, help="of fine-tuning")
    parser.add_argument("--seeds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = PRESETS[options.preset]
    config = dataclasses.replace(config, unroll=dataclasses.replace(config.unroll, segments=options.segments))
    try:
        dataset = load(config.data.dataset)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    plain = {start: targets(config, dataset, None, start, options.seeds) for start in ("normal", "he")}
    rows = []
    for reader, resolution in [("probes", 1.0), *(("convnet", resolution) for resolution in RESOLUTIONS)]:
        rows.append(row(reader, resolution, config, dataset, plain, options.seeds))
        shown = {start: f"{100 * rows[-1]['gain'][start]['difference']:+.2f}" for start in plain}
        print(f"{reader} ρ = {resolution:g}: {shown}, {rows[-1]['seconds']:.0f} s", flush=True)
    facts = provenance(f"python benchmarks/resolution.py --preset {options.preset}", 0)
    conventional = {start: float(np.mean(values["accuracy"])) for start, values in plain.items()}
    results = {"preset": options.preset, "segments": options.segments, "conventional": conventional, "rows": rows}
    write_json(RESULTS / f"resolution-{options.preset}.json", results | facts)
    return 0


def row(
    reader: str, resolution: float, config: Config, dataset: Dataset, plain: dict[str, dict[str, Any]], count: int
) -> dict[str, Any]:
    """Train an ENN and measure it."""
    config = dataclasses.replace(config, enn=dataclasses.replace(config.enn, resolution=resolution))
    started = time.perf_counter()
    critic = fresh(reader, config, dataset)
    with tempfile.TemporaryDirectory() as folder:
        critic, _ = fine_tune(config, dataset, critic, Path(folder))
    seconds = time.perf_counter() - started
    ours = {start: targets(config, dataset, critic, start, count) for start in plain}
    points = [values for runs in (plain, ours) for values in runs.values()]
    predicted, realised, runs = judged(critic, config, points)
    return {
        "reader": reader,
        "resolution": resolution,
        "gain": {start: paired(ours[start]["accuracy"], plain[start]["accuracy"]) for start in plain},
        "prediction": rank_correlation(predicted, realised, runs),
        "ms_per_instruction": milliseconds(critic, points[0]["parameters"][-1]),
        "parameters": sum(parameter.numel() for parameter in critic.parameters()),
        "pixels": pixels(critic, points[0]["parameters"][-1]),
        "seconds": seconds,
    }


def fresh(reader: str, config: Config, dataset: Dataset) -> Critic:
    torch.manual_seed(stream(config.seed, "initial ENN") % 2**63)
    critic = Critic(reader, config.enn, home_of(config, target_of(config, dataset)))
    if isinstance(critic.reader, Probes):
        critic.reader.start_from(dataset.tensors("train")[0][: config.enn.probes])
    return critic


def targets(config: Config, dataset: Dataset, critic: Critic | None, start: str, count: int) -> dict[str, Any]:
    """Fresh targets: their last accuracy, and weights and scores at every fourth period."""
    seeds = [stream(config.seed, "resolution", number) for number in range(count)]
    x, y = dataset.tensors("train")
    population = new_population(config, target_of(config, dataset), seeds, x, start)
    training, found = config.training, {"parameters": [], "step": []}

    def keep(step: int) -> None:
        if step % (4 * config.rl.period) == 0:
            found["parameters"].append([parameter.clone() for parameter in population.parameters])
            found["step"].append(step)

    rule = Instruct(critic, training.steps, training.learning_rate) if critic else Backprop()
    batches = Batches(x, y, training.batch_size, seeds, False)
    trace = train(population, rule, batches, training.steps, config.rl.period, selection_data(config, dataset), None, keep)
    at = [trace.steps.index(step) for step in found["step"]]
    scores = [np.exp(-trace.loss[min(point + 1, len(trace.loss) - 1)]) for point in at]
    return found | {"accuracy": trace.accuracy[-1].tolist(), "scores": scores}


def judged(critic: Critic, config: Config, runs: list[dict[str, Any]]) -> tuple[list[float], list[float], list[int]]:
    """V and the score one period later, at points of runs that no ENN learned on; and which run each point is of."""
    predicted, realised, names = [], [], []
    for number, run in enumerate(runs):
        for parameters, step, scores in zip(run["parameters"], run["step"], run["scores"], strict=True):
            progress = torch.full((len(scores),), step / config.training.steps)
            with torch.no_grad():
                predicted += critic.value(parameters, progress).tolist()
            realised += scores.tolist()
            names += [1000 * number + member for member in range(len(scores))]
    return predicted, realised, names


def milliseconds(critic: Critic, parameters: list[torch.Tensor]) -> float:
    """Of one instruction of one member, read thirty at a time: the median of seven."""
    progress, times = torch.zeros(len(parameters[0])), []
    for _ in range(8):
        started = time.perf_counter()
        instructions(critic, parameters, progress, None, critic.home.learning_rate)
        times.append(1000 * (time.perf_counter() - started) / len(progress))
    return float(np.median(times[1:]))


def pixels(critic: Critic, parameters: list[torch.Tensor]) -> str:
    if not isinstance(critic.reader, ConvNet):
        return "–"
    return " × ".join(map(str, critic.reader.image(parameters).shape[1:]))


if __name__ == "__main__":
    sys.exit(main())
