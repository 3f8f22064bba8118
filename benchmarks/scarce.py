"""Few images, and some of their labels wrong: does an ENN know what the training data do not?

    python -m benchmarks.scarce
    python -m benchmarks.scarce --quick    # seconds; digits in place of the data

MNIST at 14 × 14 pixels (means of 2 × 2), 196-32-10, batches of 50, 200 steps from He. An ENN by probes, at first random, is
fine-tuned through thousands of runs (SGD, momentum 0.9): each has 100 to 2,000 images of its own, up to half with wrong labels,
and is scored on other images, with right labels. All of these are 45,000 images of the training split. A second ENN learns with
the classes of every run permuted: it can know how to train, but not what a digit looks like.

The cells take their images from the other 10,000 of the training split. In each cell and for each optimiser (SGD with momentum
0.9, AdamW) learning rate and weight decay are chosen from nine pairs; with an ENN there are nine candidates as well: the chosen
learning rate, a third and a tenth of it, each with a third of λ, λ, three times λ. Every run is stopped early. Choices and
stopping look at 500 validation images with right labels, the same for all arms; and all are trained on these too, with what was
chosen, to the end of the run. Then 30 fresh subsets per cell, the same for all arms; the test set is looked at last.

The control: the same target trained with AdamW, tuned alike, on images that the ENN has seen.

Writes benchmarks/results/scarce.json. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import edges, quick, tables
from benchmarks.cache import Cache, Part, made_by, weights_digest
from pipeline.config import (
    Config,
    DataConfig,
    ENNConfig,
    InstructionConfig,
    RLConfig,
    TargetConfig,
    TrainingConfig,
    UnrollConfig,
    to_dotted,
)
from pipeline.data import Dataset
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.files import read_json, read_tensors, write_json, write_tensors
from pipeline.instruction import Backprop, Instruct, Rule
from pipeline.instruction.loop import advance
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired, rank_correlation
from pipeline.results.tables import as_cell
from pipeline.seeding import numpy_stream, stream
from pipeline.setting import target_of
from pipeline.targets import Population, initialise, unflatten
from rl.critics import fresh_critic
from rl.unrolled import FineTuning, Life

SEEDS = 30
IMAGES, WRONG = (100, 500, 2000), (0.0, 0.25, 0.5)
MOST = 45_000
"""images of the training split that ENNs learn on; the cells have the others"""
VALIDATION, TUNING_SEEDS = 500, 6
RATES = {"adamw": (1e-3, 3e-3, 1e-2), "sgd": (0.01, 0.03, 0.1)}
DECAYS = {"adamw": (0.0, 0.1, 1.0), "sgd": (0.0, 1e-3, 1e-2)}
SLOWER, FACTORS = (1.0, 1 / 3, 1 / 10), (1 / 3, 1.0, 3.0)
ALONE = "alone"
DATA = ("stopped", "with validation")
"""trained on the cell's images, stopped early; or on the validation images as well, to the end"""
ENNS = {"digits": False, "permuted classes": True}
"""by name, whether every run that it learned on had its classes permuted"""
KEEP = 50
"""segments between two checkpoints"""
CONFIG = Config(
    data=DataConfig("mnist"),
    target=TargetConfig(hidden=(32,), initialisation="he"),
    training=TrainingConfig(learning_rate=0.03, momentum=0.9, batch_size=50, steps=200),
    enn=ENNConfig(readers=("probes",), probes=64),
    instruction=InstructionConfig(refresh=5, trust_region=0.005),
    rl=RLConfig(period=10),
    unroll=UnrollConfig(segments=640, steps=40, members=16, strength=1.0, largest_costate=1.0, score_examples=200),
)


QUICK = {
    "SEEDS": 3,
    "IMAGES": (20, 100),
    "WRONG": (0.0, 0.5),
    "MOST": 700,
    "TUNING_SEEDS": 2,
    "CONFIG": dataclasses.replace(
        CONFIG,
        training=dataclasses.replace(CONFIG.training, batch_size=10, steps=20),
        rl=dataclasses.replace(CONFIG.rl, period=5),
        unroll=dataclasses.replace(CONFIG.unroll, segments=2, steps=10, members=4, score_examples=50),
    ),
}


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--segments", type=int, help=f"of fine-tuning (default: {CONFIG.unroll.segments})")
    parser.add_argument("--seeds", type=int, help=f"default: {SEEDS}")
    parser.add_argument("--optimisers", nargs="+", choices=tuple(RATES), default=tuple(RATES))
    parser.add_argument("--enns", nargs="+", choices=tuple(ENNS), default=tuple(ENNS))
    parser.add_argument("--work", type=Path, help="folder of finished parts (default: runs/scarce)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results, seeds, segments = quick.results_folder(options.quick), options.seeds or SEEDS, options.segments
    work = options.work or (results / "work" if options.quick else Path("runs/scarce"))
    torch.set_num_threads(1)
    config = dataclasses.replace(CONFIG, unroll=dataclasses.replace(CONFIG.unroll, segments=segments or CONFIG.unroll.segments))
    facts = provenance(command(options.optimisers, options.enns, segments, seeds), 0)  # of the code that runs
    try:
        dataset = quick.data("mnist", options.quick)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    decides = {"data": dataset.digest, "settings": to_dotted(config), "seeds": seeds}
    study = Study(config, *divided(dataset), Cache.of(__file__, globals(), work, facts, **decides), seeds)
    enns, started = {name: study.enn(name) for name in options.enns}, time.perf_counter()
    rows = []
    for cell in itertools.starmap(Cell, itertools.product(IMAGES, WRONG, options.optimisers)):
        rows.append(study.row(cell, {name: critic for name, (critic, _) in enns.items()}))
        gains = {
            name: [round(100 * own[data]["difference"], 2) for data in DATA] for name, own in rows[-1]["difference"].items()
        }
        print(f"{cell}: {gains}, {time.perf_counter() - started:.0f} s", flush=True)
    found = {
        "rows": rows,
        "control": study.control(),
        "prediction": {name: study.prediction(critic) for name, (critic, _) in enns.items()},
        "enn_seconds": {name: seconds for name, (_, seconds) in enns.items()},
        "runs": config.unroll.segments * config.unroll.members * config.unroll.steps / config.training.steps,
        "enn_images": MOST,
    }
    write_json(results / "scarce.json", found | facts)
    return 0


def command(optimisers: Sequence[str], enns: Sequence[str], segments: int | None, seeds: int) -> str:
    """That makes these rows."""
    named = ["--optimisers", *optimisers] if set(optimisers) != set(RATES) else []
    named += ["--enns", *(repr(name) for name in enns)] if set(enns) != set(ENNS) else []
    named += ["--segments", str(segments)] if segments else []
    named += ["--seeds", str(seeds)] if seeds != SEEDS else []
    return " ".join(["python -m benchmarks.scarce", *named])


def divided(dataset: Dataset) -> tuple[Dataset, tuple[np.ndarray, np.ndarray]]:
    """At 14 × 14 pixels: what ENNs learn on, validation and test as they are; and the other training images with labels."""
    order = numpy_stream(0, "scarce").permutation(len(dataset.y_train))
    x = {split: pooled(getattr(dataset, f"x_{split}")) for split in ("train", "validation", "test")}
    theirs, rest = order[:MOST], order[MOST:]
    own = dataclasses.replace(
        dataset,
        x_train=x["train"][theirs],
        y_train=dataset.y_train[theirs],
        x_validation=x["validation"],
        x_test=x["test"],
        image_shape=(1, 14, 14),
    )
    return own, (x["train"][rest], dataset.y_train[rest])


def pooled(x: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels of 28 × 28 images."""
    return x.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(len(x), -1).astype(np.float32)


# -- who trains on what ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subset:
    """What one run is trained on: rows of a pool, their labels, and the places of all its batches' examples in them."""

    rows: np.ndarray
    labels: np.ndarray
    order: np.ndarray

    @classmethod
    def drawn(cls, y: np.ndarray, images: int, wrong: float, seed: int, examples: int, permuted: bool = False) -> "Subset":
        """``images`` of a pool with labels ``y``, that share of them (rounded) with another label, any alike.

        Args:
            examples: of the whole run; they come in permutations of the subset.
            permuted: name the classes anew.
        """
        draws = numpy_stream(seed, "subset")
        rows = draws.choice(len(y), images, replace=False)
        labels, false = y[rows].copy(), round(wrong * images)
        labels[:false] = (labels[:false] + draws.integers(1, 10, false)) % 10  # rows are in no order
        epochs = [draws.permutation(images) for _ in range(-(-examples // images))]
        labels = renamed(labels, seed) if permuted else labels
        return cls(rows, labels, np.concatenate(epochs)[:examples])

    def joined(self, rows: np.ndarray, labels: np.ndarray, seed: int) -> "Subset":
        """The same with more."""
        count, examples = len(self.rows) + len(rows), len(self.order)
        epochs = [numpy_stream(seed, "joined", epoch).permutation(count) for epoch in range(-(-examples // count))]
        return Subset(np.append(self.rows, rows), np.append(self.labels, labels), np.concatenate(epochs)[:examples])

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the pool, and labels."""
        places = self.order[step * size : (step + 1) * size]
        return self.rows[places], self.labels[places]


def renamed(labels: np.ndarray, seed: int) -> np.ndarray:
    """The classes under the names of one run."""
    return numpy_stream(seed, "classes").permutation(10)[labels]


class Data:
    """``data(step)``: every member's own batch, (P, B, inputs), (P, B)."""

    def __init__(self, x: Tensor, subsets: Sequence[Subset], size: int) -> None:
        self.x, self.subsets, self.size = x, subsets, size

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        return taken(self.x, [subset.batch(step, self.size) for subset in self.subsets])


def taken(x: Tensor, batches: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    rows, labels = (torch.from_numpy(np.stack(parts)) for parts in zip(*batches, strict=True))
    return x[rows], labels


class Lives:
    """As :class:`rl.unrolled.Folds`: the subsets of the runs that an ENN learns on, and what they are scored on."""

    def __init__(self, config: Config, x: Tensor, y: Tensor, permuted: bool) -> None:
        self.config, self.x, self.y, self.permuted = config, x, y.numpy(), permuted
        self._subsets: dict[int, Subset] = {}

    def batch(self, lives: Sequence[Life], step: int, size: int) -> tuple[Tensor, Tensor]:
        """Each member's own batch at ``step`` of the segment."""
        return taken(self.x, [self._subset(life).batch(life.age + step, size) for life in lives])

    def reward(self, lives: Sequence[Life], segment: int, size: int) -> tuple[Tensor, Tensor]:
        """Examples with right labels that each member does not train on."""
        draws = numpy_stream(self.config.seed, "scarce reward", segment)
        return taken(self.x, [self._outside(life, draws.choice(len(self.y), 2 * size, replace=False), size) for life in lives])

    def _outside(self, life: Life, drawn: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        rows = drawn[~np.isin(drawn, self._subset(life).rows)][:size]
        return rows, renamed(self.y[rows], self._seed(life)) if self.permuted else self.y[rows]

    def _seed(self, life: Life) -> int:
        return stream(self.config.seed, "scarce", life.birth)

    def _subset(self, life: Life) -> Subset:
        if life.birth not in self._subsets:
            newest = life.birth - 10 * self.config.unroll.members
            self._subsets = {birth: subset for birth, subset in self._subsets.items() if birth > newest}
            draws, training = numpy_stream(self._seed(life), "cell"), self.config.training
            images = round(np.exp(draws.uniform(np.log(min(IMAGES)), np.log(max(IMAGES)))))
            wrong, examples = draws.uniform(min(WRONG), max(WRONG)), training.steps * training.batch_size
            subset = Subset.drawn(self.y, images, wrong, self._seed(life), examples, self.permuted)
            self._subsets[life.birth] = subset
        return self._subsets[life.birth]


class ScarceTuning(FineTuning):
    """Fine-tuning on runs that have few images each, some with wrong labels."""

    def __init__(self, config: Config, dataset: Dataset, critic: Critic, permuted: bool) -> None:
        super().__init__(config, dataset, critic)
        self.folds: Any = Lives(config, self.x, self.y, permuted)


# -- the cells ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class How:
    """One way of training: a candidate, or what was chosen."""

    optimiser: str
    learning_rate: float
    weight_decay: float
    factor: float = 0.0
    """on the ENN's own λ; 0 is no instruction"""


@dataclass(frozen=True)
class Cell:
    """What is trained on, and with what."""

    images: int
    wrong: float
    """share of the labels"""
    optimiser: str


def candidates_of(cell: Cell, alone: How | None) -> list[How]:
    """Without an ENN, learning rates and weight decays; with one, slower rates than was best ``alone``, and factors on λ."""
    if alone is None:
        return [How(cell.optimiser, *pair) for pair in itertools.product(RATES[cell.optimiser], DECAYS[cell.optimiser])]
    pairs = itertools.product(SLOWER, FACTORS)
    return [How(cell.optimiser, alone.learning_rate * slower, alone.weight_decay, factor) for slower, factor in pairs]


def _interval(values: Sequence[float]) -> dict[str, float]:
    return dict(zip(("mean", "low", "high"), mean_interval(values), strict=True))


@dataclass(frozen=True)
class Study:
    """ENNs and cells; what was found lies in a folder."""

    config: Config
    dataset: Dataset
    rest: tuple[np.ndarray, np.ndarray]
    """images and labels that the cells draw from"""
    cache: Cache
    count: int

    def enn(self, name: str) -> tuple[Critic, float]:
        """The ENN, and the seconds of the processor that its training took; goes on where it was stopped."""
        folder = self.cache.place(name, permuted=ENNS[name])
        state, log = folder / "state.safetensors", folder / "log.json"
        tuning = ScarceTuning(self.config, self.dataset, fresh_critic(self.config, self.dataset), ENNS[name])
        rows: list[dict[str, float]] = read_json(log) if state.exists() else []
        if state.exists():
            tuning.load(read_tensors(state))
            rows = [row for row in rows if row["segment"] <= tuning.segments]  # the log is written first
        started, last = time.thread_time(), self.config.unroll.segments
        for number in range(tuning.segments, last):
            losses = tuning.segment(number)
            if (number + 1) % KEEP == 0 or number + 1 == last:
                rows.append(losses | {"segment": number + 1, "seconds": time.thread_time() - started})
                write_json(log, rows)
                write_tensors(state, tuning.tensors())
                print(f"{name}, segment {number + 1}: loss {losses['loss/small']:.3f}, {losses['loss/he']:.3f}", flush=True)
                started = time.thread_time()
        return tuning.exported(), sum(row["seconds"] for row in rows)

    def row(self, cell: Cell, critics: dict[str, Critic]) -> dict[str, Any]:
        """One row of the table: all arms, and by ENN the differences from the arm without one that had the same images."""
        parts = {ALONE: self.arm(cell, ALONE, None, None)}
        alone = How(**parts[ALONE].value["chosen"])
        parts |= {name: self.arm(cell, name, critic, alone) for name, critic in critics.items()}
        arms = {name: part.value for name, part in parts.items()}
        return {
            **dataclasses.asdict(cell),
            "mean": {name: {data: _interval(arm[data]) for data in DATA} for name, arm in arms.items()},
            "difference": {
                name: {data: paired(arms[name][data], arms[ALONE][data]) for data in DATA} for name in arms if name != ALONE
            },
            "arms": arms,
            "provenance": made_by(list(parts.values())),
        }

    def arm(self, cell: Cell, name: str, critic: Critic | None, alone: How | None) -> Part:
        """What was chosen, from what, and the final targets' test accuracies: on their images, and on validation images too.

        Args:
            alone: what was chosen without an ENN.
        """

        def compute() -> dict[str, Any]:
            seeds = [stream(0, "scarce", "cells", number) for number in range(self.count)]
            subsets = self.subsets(cell, seeds)
            how, candidates = self.best(candidates_of(cell, alone), critic, self.subsets(cell, self.tuning), self.tuning)
            tested = {
                "stopped": self.tested(self.train(how, critic, subsets, seeds)),
                "with validation": self.tested(self.train(how, critic, *self.with_validation(subsets, seeds), stopped=False)),
            }
            return {"chosen": dataclasses.asdict(how), "candidates": candidates, **tested}

        title, enn = f"{cell.images} {cell.wrong:g} {cell.optimiser} {name}", weights_digest(critic) if critic else ""
        return self.cache.part(title, compute, cell=cell, enn=enn, alone=alone)

    @property
    def tuning(self) -> list[int]:
        """Seeds of the targets that choose."""
        return [stream(0, "scarce", "tuning", number) for number in range(TUNING_SEEDS)]

    def best(
        self,
        ways: Sequence[How],
        critic: Critic | None,
        subsets: Sequence[Subset],
        seeds: Sequence[int],
        pool: np.ndarray | None = None,
    ) -> tuple[How, list[dict[str, float]]]:
        """The candidate with the best validation accuracy, and what all have reached."""
        reached = [float(np.mean(self.train(how, critic, subsets, seeds, pool)["validation"])) for how in ways]
        return ways[int(np.argmax(reached))], [
            dataclasses.asdict(how) | {"validation": value} for how, value in zip(ways, reached, strict=True)
        ]

    def subsets(self, cell: Cell, seeds: Sequence[int]) -> list[Subset]:
        return [Subset.drawn(self.rest[1], cell.images, cell.wrong, seed, self.examples) for seed in seeds]

    def with_validation(
        self, subsets: Sequence[Subset], seeds: Sequence[int]
    ) -> tuple[list[Subset], Sequence[int], np.ndarray]:
        """The same with the validation images, the seeds, and the pool of both."""
        more, first = self.dataset.y_validation[:VALIDATION], len(self.rest[1])
        joined = [
            subset.joined(np.arange(first, first + VALIDATION), more, s) for subset, s in zip(subsets, seeds, strict=True)
        ]
        return joined, seeds, np.concatenate([self.rest[0], self.dataset.x_validation[:VALIDATION]])

    @property
    def examples(self) -> int:
        """Of a whole run."""
        return self.config.training.steps * self.config.training.batch_size

    def train(
        self,
        how: How,
        critic: Critic | None,
        subsets: Sequence[Subset],
        seeds: Sequence[int],
        pool: np.ndarray | None = None,
        stopped: bool = True,
    ) -> dict[str, Any]:
        """Train one target per subset; what comes of them with the weights that were best on validation data, or with the last.

        Returns:
            validation, accuracies per member; weights, with which they are reached, (P, N); and by period predicted, the
            ENN's V before it, and score, that after it, arrays (P,).
        """
        training, target = self.config.training, target_of(self.config, self.dataset)
        momentum = training.momentum if how.optimiser == "sgd" else 0.0
        start = initialise(target, "he", list(seeds))
        population = Population(target, start, how.optimiser, how.learning_rate, momentum, how.weight_decay)
        data = Data(torch.from_numpy(self.rest[0] if pool is None else pool), subsets, training.batch_size)
        rule = self.rule(critic, how.factor)
        state, validation = rule.init(population), self.dataset.tensors("validation", limit=VALIDATION)
        best, weights = population.evaluate(*validation).accuracy, population.flat()
        found: dict[str, Any] = {"predicted": [], "score": []}
        while population.step < training.steps:
            if critic:
                found["predicted"].append(self.values(critic, population))
            advance(population, rule, state, data, self.config.rl.period)  # type: ignore[arg-type]
            evaluation = population.evaluate(*validation)
            better = (evaluation.accuracy > best) | torch.tensor(not stopped)
            best = torch.where(better, evaluation.accuracy, best)
            weights = torch.where(better[:, None], population.flat(), weights)
            found["score"].append(torch.exp(-evaluation.loss).numpy())
        return found | {"validation": best.tolist(), "weights": weights}

    def tested(self, found: dict[str, Any]) -> list[float]:
        """Test accuracy of every target."""
        target = target_of(self.config, self.dataset)
        population = Population(target, unflatten(found["weights"], target.shapes))
        return population.evaluate(*self.dataset.tensors("test")).accuracy.tolist()

    def rule(self, critic: Critic | None, factor: float) -> Rule:
        if critic is None:
            return Backprop()

        def strengths(population: Population, progress: Tensor) -> Tensor:
            return factor * critic.strengths(population.parameters, progress, population.target.activation)

        return Instruct(critic, self.config.training.steps, critic.home.learning_rate, strengths)

    def values(self, critic: Critic, population: Population) -> np.ndarray:
        progress = torch.full((population.members,), population.step / self.config.training.steps)
        with torch.no_grad():
            return critic.value(population.parameters, progress).numpy()

    def control(self) -> dict[str, Any]:
        """The targets trained with AdamW on images that the ENN has seen, none of them twice."""

        def compute() -> dict[str, Any]:
            y, x = self.dataset.y_train, np.array(self.dataset.x_train)
            seeds = [stream(0, "scarce", "control", number) for number in range(self.count)]
            subsets = [Subset.drawn(y, self.examples, 0.0, seed, self.examples) for seed in seeds]
            ways = candidates_of(Cell(self.examples, 0.0, "adamw"), None)
            how, candidates = self.best(ways, None, subsets[:TUNING_SEEDS], seeds[:TUNING_SEEDS], x)
            test = self.tested(self.train(how, None, subsets, seeds, x))
            chosen = {"chosen": dataclasses.asdict(how), "candidates": candidates}
            return {"images": self.examples, **chosen, **_interval(test)}

        return self.cache.part("control", compute).value

    def prediction(self, critic: Critic) -> dict[str, float]:
        """V against the score as many steps later as it was taught to look ahead, on fresh runs of all cells, instructed."""
        ahead, per_cell = self.config.unroll.steps // self.config.rl.period, max(1, self.count // 3)
        seeds, subsets = [], []
        for images, wrong in itertools.product(IMAGES, WRONG):
            own = [stream(0, "scarce", "prediction", images, str(wrong), number) for number in range(per_cell)]
            seeds, subsets = seeds + own, subsets + self.subsets(Cell(images, wrong, "sgd"), own)
        training = self.config.training
        how = How("sgd", training.learning_rate, training.weight_decay, 1.0)
        found = self.train(how, critic, subsets, seeds)
        predicted, score = (
            np.stack(found["predicted"][: len(found["score"]) - ahead + 1]),
            np.stack(found["score"][ahead - 1 :]),
        )
        names = np.tile(np.arange(len(seeds)), len(score))
        return rank_correlation(predicted.ravel().tolist(), score.ravel().tolist(), names.tolist())


# -- its page ------------------------------------------------------------------------------------------------------------

HOW = {"stopped": "Stopped early on the validation images", "with validation": "Trained on the validation images too"}


def compared(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What its p-values are of."""
    return [own for row in results["rows"] for found in row["difference"].values() for own in found.values()]


def table(results: dict[str, Any]) -> str:
    """One row per cell and optimiser: stopped early, and trained on the validation images too."""
    tables.correct(compared(results))
    enns, rows = list(results["rows"][0]["difference"]), results["rows"]
    head = ["images", "wrong labels", "from He", "alone %"]
    head += [part for name in enns for part in (f"ENN, {name}: difference", tables.P)]
    origins = tables.Origins([row.get("provenance", results) for row in rows])
    shown = []
    for data, title in HOW.items():
        cells = []
        for row, mark in zip(rows, origins.marks, strict=True):
            edge, optimiser = _edges_of(row["arms"]), {"sgd": "SGD", "adamw": "AdamW"}[row["optimiser"]] + mark
            line = [f"{row['images']:,}", f"{100 * row['wrong']:.0f} %", optimiser]
            line.append(edges.marked(tables.percent(row["mean"]["alone"][data]["mean"]), edge["alone"]))
            for name in enns:
                own = row["difference"][name][data]
                line += [edges.marked(tables.signed(own), edge[name]), tables.p_cell(own)]
            cells.append(line)
        shown += [f"### {title}", tables.table(head, cells, left=3)]
    skills = [
        f"{name}: R² {as_cell(skill['r2'], '.2f')}, τ {as_cell(skill['kendall'], '.2f')} "
        f"[{as_cell(skill['low'], '.2f')}, {as_cell(skill['high'], '.2f')}]"
        for name, skill in results["prediction"].items()
    ]
    control = results["control"]
    alone = edges.marked(tables.percent(control["mean"]), _edges_of({"control": control})["control"])
    taken = ", ".join(f"{value:.0f}" for value in results["enn_seconds"].values())
    caption = (
        f"`{tables.command(results)}`: test accuracy, n = {len(rows[0]['arms']['alone']['stopped'])} fresh subsets per "
        f"cell, paired. Each ENN has learned on {results['runs']:,.0f} runs with "
        f"{results['enn_images']:,} other images ({taken} s of the processor). Control: trained on {control['images']:,} of "
        f"those, without an ENN, {alone} [{tables.percent(control['low'])}, {tables.percent(control['high'])}] %. V on "
        f"new runs: {'; '.join(skills)} ({tables.where(origins.facts)}). {tables.CORRECTED_P}."
    )
    return edges.noted(tables.blocks(*shown, caption, origins.notes))


def _edges_of(arms: dict[str, Any]) -> dict[str, bool]:
    """By arm, whether its learning rate, weight decay or share of λ lies at the edge of what was tried."""
    names = ("learning_rate", "weight_decay", "factor")
    return {name: edges.of_settings(arm["chosen"], arm.get("candidates", []), names) for name, arm in arms.items()}


def figures(results: dict[str, Any]) -> dict[str, Any]:
    tables.correct(compared(results))
    rows, enns = results["rows"], list(results["rows"][0]["difference"])
    own: dict[str, Any] = {
        "images": f"{results['enn_images']:,}",
        "runs": f"{results['runs']:,.0f}",
        "control": tables.percent(results["control"]["mean"], ".1f"),
        "control_images": f"{results['control']['images']:,}",
        "above_control": not any(row["mean"]["digits"]["stopped"]["mean"] > results["control"]["mean"] for row in rows),
        "alone_with_validation": tables.spread((r["mean"]["alone"]["with validation"]["mean"] for r in rows), ".0f", 100),
        "targets": str(len(rows[0]["arms"]["alone"]["stopped"])),
    }
    for name in enns:
        key, skill = name.split()[0], results["prediction"][name]
        for data, short in (("stopped", ""), ("with validation", "_with_validation")):
            found = [row["difference"][name][data] for row in rows]
            own |= {
                f"{key}{short}": tables.spread((one["difference"] for one in found), "+.1f", 100),
                f"{key}{short}_helped": tables.counted([one for one in found if tables.told(one) == tables.GAIN], found),
                f"{key}{short}_hurt": tables.counted([one for one in found if tables.told(one) == tables.LOSS], found),
            }
        own |= {f"{key}_r2": as_cell(skill["r2"], ".2f"), f"{key}_tau": as_cell(skill["kendall"], ".2f")}
        own |= {f"{key}_predicts": skill["r2"] > 0}
    best = max(rows, key=lambda row: row["difference"]["digits"]["stopped"]["difference"])
    own["most_gained"] = f"{best['images']:,} images of which {100 * best['wrong']:.0f} % are labelled wrong"
    right = [
        row["difference"]["digits"]["stopped"]
        for row in rows
        if row["wrong"] == 0 and row["images"] == max(r["images"] for r in rows)
    ]
    own |= {
        "most_images": f"{max(row['images'] for row in rows):,}",
        "fewest_images": f"{min(row['images'] for row in rows):,}",
    }
    own["most"] = tables.gained(best["difference"]["digits"]["stopped"], form="+.1f")
    own |= {"right": tables.outcome(right[0]), "right_gains": tables.told(right[0]) == tables.GAIN}
    return own


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"An ENN that knows digits adds {own['digits']} points, most with {own['most_gained']}, a gain that can be told in "
        f"{own['digits_helped']} cells. One that cannot know what a digit looks like adds {own['permuted']} "
        f"({own['permuted_helped']}); {own['control_images']} of the images that the ENN has seen bring {own['control']} % "
        "without any ENN."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "What an ENN knows could not be had by training on the images that it has seen.",
            f"{own['control_images']} of these, without an ENN, bring {own['control']} %"
            + (", above every cell with an ENN." if own["above_control"] else "."),
            not own["above_control"],
        ),
        tables.Doubt(
            f"With {own['most_images']} images, all labelled right, an ENN still adds something.",
            own["right"],
            own["right_gains"],
        ),
        tables.Doubt(
            "After thousands of runs V predicts the score of new ones.",
            f"R² {own['digits_r2']}, τ {own['digits_tau']}; with permuted classes {own['permuted_r2']}, {own['permuted_tau']}.",
            own["digits_predicts"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
