"""How well do readers predict a target's validation score, now and at the end of its run, on runs never trained on?

    python -m benchmarks.prediction            # about 20 minutes on one core; needs GRAD_INSTRUCTOR_DATA with MNIST
    python -m benchmarks.prediction --quick    # seconds; digits
    python -m benchmarks.prediction --work DIR # keep the recorded runs (0.4 GB) there instead of in the temporary folder

Needs lightgbm and nfn: pip install '.[benchmarks]'. Writes benchmarks/results/prediction.json.

Targets are recorded at evenly spaced checkpoints of runs that differ in initialisation, learning rate, weights and data
order, and whole runs are dealt to three parts: *train*, *validation* (early stopping and the choice among candidates) and
*test* (looked at once, at the end). Predictors see the weights and the progress t / T, never the learning rate. Score is
exp(−validation loss).

Every predictor has the same budget: four candidates (two step sizes × two sizes). A network is trained by Adam on the squared
error, its step size falling linearly to 0; each candidate gets ``short`` steps, and the one with the best Kendall on the
validation runs is trained anew for ``full`` steps. LightGBM's candidates are cheap: each is boosted until validation error
stops falling.

- probes, convnet, statistics: the readers of ``pipeline.enn`` under the critic's own head.
- statistics + LightGBM: the same seven numbers per tensor in boosted trees (Unterthiner et al., 2020, §3).
- nfn: NPLinear layers with position embeddings, HNPPool and two hidden layers (Zhou et al., 2023), entries standardised over
  the training points as in their experiments; the progress joins after the pooling. Batches are of 8 points, as theirs are.
- progress alone: no weights; the mean score of the training points of the same t / T. What a predictor adds is beyond it.

R runs, T checkpoints, M = R · T points, N parameters of one target, B points of a batch.
"""

import copy
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from benchmarks import quick, tables
from benchmarks.cache import Cache
from pipeline.config import PRESETS, Config, to_dotted
from pipeline.data import Dataset, load
from pipeline.enn import Critic
from pipeline.enn.readers import ConvNet, Probes
from pipeline.errors import UserError
from pipeline.files import read_tensors, write_json, write_tensors
from pipeline.results.provenance import provenance
from pipeline.results.statistics import rank_correlation
from pipeline.results.tables import NONE, as_cell
from pipeline.seeding import numpy_stream, stream
from pipeline.setting import home_of, selection_data, target_of
from pipeline.targets import MLP, Batches, Population, initialise, unflatten
from pipeline.targets.target import of_kind

PACKAGES = ("lightgbm", "nfn")
SCHEMES = ("normal", "he", "glorot")
LEARNING_RATES = (0.01, 0.3)
"""of the targets: drawn log-uniformly from this interval for each run"""
GROUP = 20
"""runs recorded as one population, in one file"""
BATCH, EVALUATE, ROUNDS, PATIENCE = 8, 250, 2000, 50
RESAMPLES = 1000
OURS, OUTSIDE = ("probes", "convnet ρ 0.15", "convnet ρ 1", "statistics"), ("statistics + LightGBM", "nfn")
PROGRESS = "progress alone"

Build = Callable[[int], nn.Module]
"""A network of the given size, a map (inputs, progress) -> predictions"""


@dataclass(frozen=True)
class Recipe:
    """What is recorded and how long predictors are trained."""

    preset: str = "mnist"
    train: int = 240
    """runs"""
    validation: int = 60
    test: int = 100
    checkpoints: int = 13
    """evenly spaced points of a run, its start and its end among them"""
    short: int = 500
    """optimiser steps of a candidate"""
    full: int = 2000
    """optimiser steps of the chosen candidate"""
    seed: int = 0

    @property
    def runs(self) -> int:
        return self.train + self.validation + self.test


RECIPE = Recipe()
QUICK = {
    "RECIPE": Recipe("digits", train=12, validation=6, test=6, checkpoints=4, short=5, full=10),
    "RESAMPLES": 50,
    "ROUNDS": 20,
}


@dataclass(frozen=True)
class Recordings:
    """Point r · T + t is run r at its t-th checkpoint."""

    weights_MN: Tensor
    """float16"""
    score_RT: Tensor
    """exp(−validation loss); 0 for a diverged target"""
    dataset: Dataset
    config: Config

    @property
    def target(self) -> MLP:
        return target_of(self.config, self.dataset)

    @property
    def progress_M(self) -> Tensor:
        runs, checkpoints = self.score_RT.shape
        return torch.linspace(0, 1, checkpoints).repeat(runs)


@dataclass(frozen=True)
class Points:
    """Some points, and what is to be predicted for each."""

    rows: Tensor
    """into the M points"""
    progress: Tensor
    goal: Tensor
    """the score to predict"""
    run: list[int]


@dataclass(frozen=True)
class Candidate:
    learning_rate: float
    size: int
    """probes, channels of a convolution, width of the hidden layer, layers of nfn, or leaves of a tree"""


@dataclass(frozen=True)
class Fitted:
    predict: Callable[[Points], np.ndarray]
    parameters: int
    seconds: float
    """of the processor, on one thread: another process's load does not count"""


Fit = Callable[[Candidate, int, Points, Points], Fitted]
"""(candidate, steps, train, validation) -> a predictor"""


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--work", type=Path, help="folder of recorded runs (default: one among temporary files)")
    parser.add_argument("--output", type=Path, help="file (default: prediction.json in benchmarks/results)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    output = options.output or results / "prediction.json"
    work = options.work or (results if options.quick else Path(tempfile.gettempdir())) / "grad-instructor-prediction"
    try:
        check_packages()
        torch.set_num_threads(1)
        started, recipe = time.monotonic(), RECIPE
        config = PRESETS[recipe.preset]
        dataset = load(config.data.dataset)
        recordings = record(recipe, config, dataset, work)
        recorded = time.monotonic() - started
        facts = provenance("python -m benchmarks.prediction", recipe.seed)  # the commit that ran, not one made meanwhile
        found = compare(recipe, recordings)
        seconds = {"recording": round(recorded, 1), "seconds": round(time.monotonic() - started, 1)}
        versions = {name: metadata.version(name) for name in PACKAGES}
        write_json(output, {**facts, **versions, **settings(recipe, recordings), **seconds, **found})
    except UserError as error:
        print(f"prediction: {error}", file=sys.stderr)
        return 2
    print(f"{seconds['seconds']:.0f} s; written to {output}")
    return 0


def check_packages() -> None:
    """Raises UserError where a package that only this benchmark needs is absent."""
    absent = [name for name in PACKAGES if util.find_spec(name) is None]
    if absent:
        raise UserError(f"{' and '.join(absent)} cannot be imported; install with: pip install '.[benchmarks]'.")


def settings(recipe: Recipe, recordings: Recordings) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "recipe": dataclasses.asdict(recipe),
        "schemes": SCHEMES,
        "learning_rates": LEARNING_RATES,
        "candidates": len(candidates("probes")),
        "batch": BATCH,
        "target": list(recordings.target.widths),
        "steps": recordings.config.training.steps,
        "dataset": recordings.dataset.name,
        "diverged": int((recordings.score_RT[:, -1] == 0).sum()),
        "end_score_quantiles": recordings.score_RT[:, -1].double().quantile(torch.linspace(0, 1, 5).double()),
    }


# Recording


def record(recipe: Recipe, config: Config, dataset: Dataset, work: Path) -> Recordings:
    """All runs; those that ``work`` holds already are read."""
    trained_as = {**to_dotted(config.target), **to_dotted(config.training)}
    judged_on = (config.rl.score_examples, config.compare.curve_examples)
    cache = Cache.of(__file__, globals(), work, provenance("", recipe.seed), data=dataset.digest)
    folder = cache.place("recorded", recipe=recipe, trained_as=trained_as, judged_on=judged_on)
    weights = torch.empty(recipe.runs, recipe.checkpoints, target_of(config, dataset).size, dtype=torch.float16)
    scores = torch.empty(recipe.runs, recipe.checkpoints)
    for number, (scheme, runs) in enumerate(groups(recipe)):
        path = folder / f"{number:03d}.safetensors"
        if not path.exists():
            write_tensors(path, trained(recipe, config, dataset, scheme, runs))
        tensors = read_tensors(path)
        weights[runs], scores[runs] = tensors["weights"], tensors["scores"]
    return Recordings(weights.flatten(0, 1), scores, dataset, config)


def groups(recipe: Recipe) -> list[tuple[str, list[int]]]:
    """Run r starts from scheme r mod 3; up to ``GROUP`` runs of a scheme are trained together."""
    pairs = []
    for number, scheme in enumerate(SCHEMES):
        runs = list(range(number, recipe.runs, len(SCHEMES)))
        pairs += [(scheme, runs[first : first + GROUP]) for first in range(0, len(runs), GROUP)]
    return pairs


def trained(recipe: Recipe, config: Config, dataset: Dataset, scheme: str, runs: list[int]) -> dict[str, Tensor]:
    """Weights and scores of a group of runs at every checkpoint. A run's numbers depend on its own streams alone."""
    target, steps = target_of(config, dataset), config.training.steps
    seeds = [stream(recipe.seed, "prediction", run) for run in runs]
    (x, y), judged = dataset.tensors("train"), selection_data(config, dataset)
    start = initialise(target, scheme, seeds, config.target.sigma)
    population = Population(target, start, config.training.optimiser, torch.tensor([learning_rate(seed) for seed in seeds]))
    batches = Batches(x, y, config.training.batch_size, seeds, shared_order=False)
    due = {round(steps * index / (recipe.checkpoints - 1)) for index in range(recipe.checkpoints)}
    weights, scores = [], []
    for step in range(steps + 1):
        if step in due:
            weights.append(population.flat().half())
            scores.append(torch.exp(-population.evaluate(*judged).loss))
        if step < steps:
            population.apply(population.grads(*batches(step)))
    print(f"recorded {len(runs)} runs from {scheme}", flush=True)
    return {"weights": torch.stack(weights, dim=1), "scores": torch.stack(scores, dim=1)}


def learning_rate(seed: int) -> float:
    low, high = np.log(LEARNING_RATES)
    return float(np.exp(numpy_stream(seed, "learning rate").uniform(low, high)))


# Who sees which runs


def split(recipe: Recipe) -> dict[str, list[int]]:
    """The runs of each part: every run in exactly one."""
    order = numpy_stream(recipe.seed, "prediction", "split").permutation(recipe.runs).tolist()
    sizes = {"train": recipe.train, "validation": recipe.validation, "test": recipe.test}
    parts: dict[str, list[int]] = {}
    for part, size in sizes.items():
        parts[part], order = sorted(order[:size]), order[size:]
    return parts


def points(recordings: Recordings, runs: Sequence[int], goal: str) -> Points:
    """All points of some runs. For the score at the ``end`` the last checkpoint is left out, where it is the score ``now``."""
    checkpoints = recordings.score_RT.shape[1]
    used = torch.arange(checkpoints if goal == "now" else checkpoints - 1)
    run = torch.tensor(runs)[:, None].expand(-1, len(used))
    scores = recordings.score_RT[run, used] if goal == "now" else recordings.score_RT[run, -1]
    rows = (run * checkpoints + used).flatten()
    return Points(rows, recordings.progress_M[rows], scores.flatten(), run.flatten().tolist())


# Comparing


def compare(recipe: Recipe, recordings: Recordings) -> dict[str, Any]:
    """Rows of the table and differences, for both goals."""
    runs = split(recipe)
    parts = {goal: {part: points(recordings, runs[part], goal) for part in runs} for goal in ("now", "end")}
    rows, predictions = [], {goal: {} for goal in parts}
    for name in (*OURS, *OUTSIDE):
        fit = fitting(name, recordings, recipe.seed)
        for goal, part in parts.items():
            fitted, tuning = tuned(fit, candidates(name), recipe, part["train"], part["validation"])
            predictions[goal][name] = fitted.predict(part["test"])
            rows.append({**row(name, goal, predictions[goal][name], part["test"], fitted), **tuning})
            print(f"{goal:4} {name:22} {tuning['validation_kendall']:.3f} {fitted.seconds:.0f} s", flush=True)
    for goal, part in parts.items():
        fitted = progress_alone(part["train"])
        predictions[goal][PROGRESS] = fitted.predict(part["test"])
        rows.append(row(PROGRESS, goal, predictions[goal][PROGRESS], part["test"], fitted))
    duels = [duel for goal in parts for duel in duels_of(goal, rows, predictions[goal], parts[goal]["test"], recipe.seed)]
    return {"rows": rows, "differences": duels}


def tuned(
    fit: Fit, among: Sequence[Candidate], recipe: Recipe, train: Points, validation: Points
) -> tuple[Fitted, dict[str, Any]]:
    """The candidate with the best Kendall on the validation runs after ``short`` steps, trained anew for ``full`` steps."""
    started = time.process_time()
    trials = [kendall(fit(candidate, recipe.short, train, validation).predict(validation), validation) for candidate in among]
    chosen = among[int(np.argmax(trials))]
    fitted = fit(chosen, recipe.full, train, validation)
    return fitted, {
        "chosen": dataclasses.asdict(chosen),
        "trials": [{**dataclasses.asdict(c), "kendall": trial} for c, trial in zip(among, trials, strict=True)],
        "validation_kendall": kendall(fitted.predict(validation), validation),
        "seconds_with_tuning": round(time.process_time() - started, 1),
    }


def kendall(predicted: np.ndarray, part: Points) -> float:
    """τ-b; a constant prediction ranks nothing and gets 0."""
    result: Any = stats.kendalltau(predicted, part.goal.numpy())
    return float(np.nan_to_num(result.statistic))


def row(name: str, goal: str, predicted: np.ndarray, test: Points, fitted: Fitted) -> dict[str, Any]:
    return {
        "predictor": name,
        "goal": goal,
        **rank_correlation(predicted.tolist(), test.goal.tolist(), groups=test.run),
        "runs": len(set(test.run)),
        "parameters": fitted.parameters,
        "seconds": round(fitted.seconds, 1),
    }


def duels_of(
    goal: str, rows: list[dict[str, Any]], predictions: dict[str, np.ndarray], test: Points, seed: int
) -> list[dict[str, Any]]:
    """Our reader that is best on the validation runs against each outside baseline, on the test runs, paired by run."""
    ours = [line for line in rows if line["goal"] == goal and line["predictor"] in OURS]
    best = max(ours, key=lambda line: line["validation_kendall"])["predictor"]
    taus = resampled({name: predictions[name] for name in (best, *OUTSIDE)}, test, seed)
    duels = []
    for baseline in OUTSIDE:
        low, high = np.quantile(taus[best] - taus[baseline], [0.025, 0.975])
        difference = kendall(predictions[best], test) - kendall(predictions[baseline], test)
        numbers = {"difference": difference, "low": float(low), "high": float(high), "runs": len(set(test.run))}
        duels.append({"goal": goal, "reader": best, "baseline": baseline, **numbers})
    return duels


def resampled(predictions: dict[str, np.ndarray], test: Points, seed: int) -> dict[str, np.ndarray]:
    """Each predictor's τ-b on the same resamples of whole runs."""
    run, goal = np.array(test.run), test.goal.numpy()
    members = [np.flatnonzero(run == number) for number in np.unique(run)]
    draws = numpy_stream(seed, "prediction", "bootstrap").integers(len(members), size=(RESAMPLES, len(members)))
    taus: dict[str, list[float]] = {name: [] for name in predictions}
    for drawn in draws:
        index = np.concatenate([members[number] for number in drawn])
        for name, predicted in predictions.items():
            result: Any = stats.kendalltau(predicted[index], goal[index])
            taus[name].append(result.statistic)
    return {name: np.nan_to_num(values) for name, values in taus.items()}


# Predictors


def candidates(name: str) -> list[Candidate]:
    """Two step sizes × two sizes."""
    sizes = {
        "probes": (32, 100),
        "convnet ρ 0.15": (16, 32),
        "convnet ρ 1": (4, 8),
        "statistics": (64, 256),
        "statistics + LightGBM": (15, 31),
        "nfn": (1, 2),
    }[name]
    rates = (0.03, 0.1) if name == "statistics + LightGBM" else (1e-3, 3e-3)
    return [Candidate(rate, size) for size in sizes for rate in rates]


def fitting(name: str, recordings: Recordings, seed: int) -> Fit:
    """What does not depend on the goal is done here, once: inputs without anything learned in them."""
    if name == "probes":
        return network_fit(lambda size: _Probes(recordings, size), recordings.weights_MN, seed)
    if name.startswith("convnet"):
        resolution = float(name.rpartition(" ")[2])
        build = cast(Build, lambda size: _ConvNet(_critic("convnet", recordings, resolution=resolution, width=size)))
        return network_fit(build, images(recordings, resolution), seed)
    if name == "nfn":
        return network_fit(lambda size: _NFN(recordings.target, size), recordings.weights_MN, seed)
    features = statistics(recordings)
    if name == "statistics":
        build = cast(Build, lambda size: _Statistics(_critic("statistics", recordings, hidden=size)))
        return network_fit(build, features, seed)
    return boosted_fit(features.numpy(), seed)


def _critic(reader: str, recordings: Recordings, **changes: Any) -> Critic:
    config = dataclasses.replace(recordings.config.enn, **changes)
    return Critic(reader, config, home_of(recordings.config, recordings.target))


@torch.no_grad()
def images(recordings: Recordings, resolution: float) -> Tensor:
    """The weight image of every point, (M, C, H, W), in float16 as the weights are."""
    reader = cast(ConvNet, _critic("convnet", recordings, resolution=resolution).reader)
    parts = recordings.weights_MN.split(64)
    return torch.cat([reader.image(unflatten(part.float(), recordings.target.shapes)).half() for part in parts])


@torch.no_grad()
def statistics(recordings: Recordings) -> Tensor:
    """The statistics reader's features of every point, the progress first."""
    reader = _critic("statistics", recordings).reader
    parts = zip(recordings.weights_MN.split(64), recordings.progress_M.split(64), strict=True)
    return torch.cat([reader.read(unflatten(part.float(), recordings.target.shapes), t) for part, t in parts])


class _Probes(nn.Module):
    def __init__(self, recordings: Recordings, probes: int) -> None:
        super().__init__()
        self.critic, self.shapes = _critic("probes", recordings, probes=probes), recordings.target.shapes
        cast(Probes, self.critic.reader).start_from(recordings.dataset.tensors("train", limit=probes)[0])

    def forward(self, weights_BN: Tensor, progress_B: Tensor) -> Tensor:
        return self.critic.value(unflatten(weights_BN, self.shapes), progress_B)


class _ConvNet(nn.Module):
    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, image_BCHW: Tensor, progress_B: Tensor) -> Tensor:
        return self.critic.value_of(cast(ConvNet, self.critic.reader).read_image(image_BCHW, progress_B))


class _Statistics(nn.Module):
    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, features_BF: Tensor, _: Tensor) -> Tensor:
        return self.critic.value_of(features_BF)


class _NFN(nn.Module):
    """``depth`` NPLinear layers of eight channels, HNPPool, two hidden layers."""

    CHANNELS, HIDDEN = 8, 256

    def __init__(self, target: MLP, depth: int) -> None:
        super().__init__()
        from nfn import layers
        from nfn.common import network_spec_from_wsfeat

        self.shapes, self.slots = target.shapes, target.slots
        self.mean, self.deviation = nn.Buffer(torch.zeros(target.size)), nn.Buffer(torch.ones(target.size))
        spec = network_spec_from_wsfeat(self._entries(torch.zeros(1, target.size)))
        body: list[nn.Module] = []
        for index in range(depth):
            channels = self.CHANNELS if index else 1
            body += [layers.NPLinear(spec, channels, self.CHANNELS, io_embed=True), layers.TupleOp(nn.ReLU())]
        self.body = nn.Sequential(*body, layers.HNPPool(spec), nn.Flatten())
        features = self.CHANNELS * layers.HNPPool.get_num_outs(spec) + 1
        hidden = [nn.Linear(features, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, self.HIDDEN), nn.ReLU()]
        self.head = nn.Sequential(*hidden, nn.Linear(self.HIDDEN, 1))

    def standardise(self, weights_MN: Tensor) -> None:
        """Take every entry's mean and standard deviation from the training points."""
        chunks = weights_MN.split(1024, dim=1)  # float32 copies of a part at a time
        deviation, mean = zip(*(torch.std_mean(chunk.float(), dim=0) for chunk in chunks), strict=True)
        self.mean.copy_(torch.cat(mean))
        self.deviation.copy_(torch.cat(deviation).clamp(min=1e-5))

    def _entries(self, weights_BN: Tensor) -> Any:
        from nfn.common import WeightSpaceFeatures

        tensors = [tensor[:, None] for tensor in unflatten((weights_BN - self.mean) / self.deviation, self.shapes)]
        return WeightSpaceFeatures(of_kind(tensors, self.slots, "weight"), of_kind(tensors, self.slots, "bias"))

    def forward(self, weights_BN: Tensor, progress_B: Tensor) -> Tensor:
        features = torch.cat([self.body(self._entries(weights_BN)), progress_B[:, None]], dim=1)
        return torch.sigmoid(self.head(features).squeeze(-1))


def network_fit(build: Build, inputs: Tensor, seed: int) -> Fit:
    """Supervised regression by Adam; the parameters with the smallest squared error on the validation runs are kept."""

    def fit(candidate: Candidate, steps: int, train: Points, validation: Points) -> Fitted:
        started = time.process_time()
        torch.manual_seed(stream(seed, "prediction", "network"))
        network = build(candidate.size)
        if isinstance(network, _NFN):
            network.standardise(inputs[train.rows])
        optimiser = torch.optim.Adam(network.parameters(), candidate.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        draws = numpy_stream(seed, "prediction", "batches")
        best, kept = np.inf, copy.deepcopy(network.state_dict())
        for step in range(1, steps + 1):
            index = torch.from_numpy(draws.integers(len(train.rows), size=BATCH))
            predicted = network(inputs[train.rows[index]].float(), train.progress[index])
            optimiser.zero_grad()
            nn.functional.mse_loss(predicted, train.goal[index]).backward()
            optimiser.step()
            schedule.step()
            if step % EVALUATE == 0 or step == steps:
                error = float(np.square(predict(network, inputs, validation) - validation.goal.numpy()).mean())
                if error < best:
                    best, kept = error, copy.deepcopy(network.state_dict())
        network.load_state_dict(kept)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return Fitted(lambda part: predict(network, inputs, part), parameters, time.process_time() - started)

    return fit


@torch.no_grad()
def predict(network: nn.Module, inputs: Tensor, part: Points) -> np.ndarray:
    batches = zip(part.rows.split(BATCH), part.progress.split(BATCH), strict=True)  # as small: larger ones leave the cache
    return torch.cat([network(inputs[rows].float(), progress) for rows, progress in batches]).numpy()


def boosted_fit(features: np.ndarray, seed: int) -> Fit:
    """Gradient-boosted trees, as many as lower the squared error on the validation runs."""

    def fit(candidate: Candidate, steps: int, train: Points, validation: Points) -> Fitted:
        import lightgbm

        started = time.process_time()
        options = {"objective": "regression", "learning_rate": candidate.learning_rate, "num_leaves": candidate.size}
        quiet = {"verbosity": -1, "num_threads": 1, "deterministic": True, "seed": seed}
        known = lightgbm.Dataset(features[train.rows], train.goal.numpy())
        judge = lightgbm.Dataset(features[validation.rows], validation.goal.numpy(), reference=known)
        stopping = [lightgbm.early_stopping(PATIENCE, verbose=False)]
        trees = lightgbm.train(options | quiet, known, ROUNDS, valid_sets=[judge], callbacks=stopping)
        leaves = sum(tree["num_leaves"] for tree in trees.dump_model()["tree_info"])
        return Fitted(lambda part: np.asarray(trees.predict(features[part.rows])), leaves, time.process_time() - started)

    return fit


def progress_alone(train: Points) -> Fitted:
    """The mean score of the training points of the same progress."""
    started = time.process_time()
    means = {float(t): float(train.goal[train.progress == t].mean()) for t in train.progress.unique()}
    predict_means = lambda part: np.array([means[float(t)] for t in part.progress])  # noqa: E731
    return Fitted(predict_means, len(means), time.process_time() - started)


# -- its page ------------------------------------------------------------------------------------------------------------

GOALS = ("now", "end")


def table(results: dict[str, Any]) -> str:
    """One row per predictor for either goal; below them the budget and the differences from the outside baselines."""
    rows, recipe = results["rows"], results["recipe"]
    shown = []
    for goal in GOALS:
        cells = [
            [row["predictor"], *_skill(row), f"{row['parameters']:,}", f"{row['seconds']:.0f}"]
            for row in rows
            if row["goal"] == goal
        ]
        shown += [f"### {_GOAL[goal]}", tables.table(["predictor", "τ", "ρ", "R²", "parameters", "s"], cells)]
    duels = [
        f"{duel['goal']}: {duel['reader']} (best reader on the validation runs) against {duel['baseline']}: Δτ = "
        f"{as_cell(duel['difference'], '+.3f')} [{as_cell(duel['low'], '+.3f')}, {as_cell(duel['high'], '+.3f')}]"
        for duel in results["differences"]
    ]
    widths = "-".join(str(width) for width in results["target"])
    caption = (
        f"Test runs of {results['dataset']} {widths}, {results['steps']} steps, {recipe['checkpoints']} checkpoints each: "
        f"{recipe['train']} runs train, {recipe['validation']} choose, {recipe['test']} test; intervals resample runs. Each "
        f"predictor has {results['candidates']} candidates; networks get {recipe['short']} steps of {results['batch']} points "
        f"per candidate and {recipe['full']} for the chosen one, one seed. s: seconds of the last training, by the clock on "
        "cores that "
        f"did other work too. `{tables.command(results)}`: {results['seconds']:.0f} s, one thread ({tables.where(results)}; "
        f"seed {results['seed']})."
    )
    return tables.blocks(*shown, tables.bullets(duels), caption)


_GOAL = {"now": "The score of the weights as they are", "end": "The score at the end of the run"}


def _skill(row: dict[str, Any]) -> list[str]:
    tau, low, high, rho = (as_cell(row[name], ".3f") for name in ("kendall", "low", "high", "spearman"))
    r2 = as_cell(row["r2"], ".2f")
    if NONE in (tau, low, high, rho):  # a constant prediction ranks nothing
        return [NONE, NONE, r2]
    return [f"{tau} [{low}, {high}]", rho, r2]


def figures(results: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for goal in GOALS:
        rows = [row for row in results["rows"] if row["goal"] == goal and row["kendall"] is not None]
        best, duels = max(rows, key=lambda row: row["kendall"]), [d for d in results["differences"] if d["goal"] == goal]
        own |= {
            f"{goal}_best": f"{best['predictor']} (τ = {best['kendall']:.2f})",
            f"{goal}_probes": f"{tables.pick(rows, predictor='probes')['kendall']:.2f}",
            f"{goal}_reader": duels[0]["reader"],
            f"{goal}_over": tables.spread((duel["difference"] for duel in duels), "+.3f"),
            f"{goal}_ahead": all(duel["low"] > 0 for duel in duels),
            f"{goal}_against": "; ".join(
                f"{as_cell(d['difference'], '+.3f')} [{as_cell(d['low'], '+.3f')}, {as_cell(d['high'], '+.3f')}] against "
                f"{d['baseline']}"
                for d in duels
            ),
        }
    rates = results["learning_rates"]
    return own | {"rates_apart": f"{max(rates) / min(rates):.0f}", "seconds": f"{results['seconds']:,.0f}"}


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"The score of the weights as they are is ranked best by {own['now_best']}; our best reader there, "
        f"{own['now_reader']}, stands "
        f"{own['now_over']} in Kendall's τ against gradient boosting on statistics and `nfn`. The score at the end of the "
        "run is "
        f"ranked best by {own['end_best']}; our {own['end_reader']} stands {own['end_over']} against the same two."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "Readers of this package predict the end of a run better than predictors from outside.",
            f"Δτ of {own['end_reader']}: {own['end_against']}.",
            own["end_ahead"],
        ),
        tables.Doubt(
            "Probes, which instruct, also predict the end of a run best.",
            f"τ = {own['end_probes']}; best is {own['end_best']}.",
            own["end_best"].startswith("probes"),
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
