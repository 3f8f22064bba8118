"""Does an ENN's early prediction help to choose a target's learning rate, batch size, momentum and width?

    python -m benchmarks.target_settings        # a few minutes on one core; digits, no download
    python -m benchmarks.target_settings --quick    # seconds

Ways to choose at (nearly) the same number of the targets' optimiser steps, repeated with fresh candidates:

- random: nine random candidates, trained to the end.
- TPE: as many by Optuna, one after the other (its first four are random).
- ASHA: 27 random candidates, a third of them kept after 1/9 and after 1/3 of the steps, by the score that they have by then.
- ENN: the same, kept by the score that an ENN reads from their weights that they will *end* with: V(θ, t) at γ → 1.
- Predictors of architectures (GradSign and others, each by itself): the same, kept by what the predictor says of the networks
  as they are by then, with their weights; none knows a learning rate but by what it has done to the weights.

All choose by validation examples; the test accuracy of the chosen target is reported. The ENN learns once, from 256 recorded
runs with other seeds; the steps of these are given beside the table and are not in the budget. Its reader is the one of
two that ranks held-out recorded runs better.

Writes benchmarks/results/target-settings.json.
"""

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from torch import Tensor, nn

from benchmarks import quick, tables
from pipeline.architectures.scoring import batch_of
from pipeline.config import PRESETS, Config
from pipeline.data import Dataset, load
from pipeline.enn import Critic
from pipeline.enn.readers import Probes
from pipeline.files import write_json
from pipeline.instruction import Backprop
from pipeline.instruction.loop import advance
from pipeline.predictors import named
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired, rank_correlation
from pipeline.results.tables import NONE
from pipeline.seeding import numpy_stream, stream, torch_stream
from pipeline.setting import home_of, selection_data
from pipeline.targets import MLP, Batches, Population, initialise

REPEATS = 20
RATES, BATCHES, MOMENTA, WIDTHS = (0.003, 3.0), (16, 64), (0.0, 0.9), (8, 32)
STEPS, RUNGS = 600, (67, 200, 600)
MANY, NINE = 27, 9
RUNS = 256
"""recorded, for the ENN"""
UPDATES = 1500
READERS = ("probes", "statistics")
PREDICTORS = ("gradsign", "gradsign_live", "snip", "synflow", "naswot", "jacob_cov", "zico", "live_params")
EXAMPLES = 128
"""training examples that they see"""
QUICK = {"REPEATS": 2, "RUNS": 32, "UPDATES": 20, "STEPS": 30, "RUNGS": (10, 20, 30), "MANY": 9, "NINE": 5, "EXAMPLES": 8}


@dataclass(frozen=True)
class Choice:
    """One candidate."""

    rate: float
    batch: int
    momentum: float
    width: int

    @classmethod
    def draw(cls, draws: np.random.Generator) -> "Choice":
        rate = float(np.exp(draws.uniform(*np.log(RATES))))
        return cls(rate, int(draws.choice(BATCHES)), float(draws.choice(MOMENTA)), int(draws.choice(WIDTHS)))


@dataclass
class Run:
    """What is known of a candidate at every rung."""

    score: list[float]
    """on validation examples, exp(-loss)"""
    predicted: list[float]
    """V(θ, t)"""
    scored: dict[str, list[float]]
    """by each predictor of architectures; −∞ where it says nothing of the network"""
    test: float
    """accuracy at the end"""
    weights: list[list[Tensor]]


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--repeats", type=int, help=f"default: {REPEATS}")
    parser.add_argument("--output", type=Path, help="file (default: target-settings.json in benchmarks/results)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results, repeats = quick.results_folder(options.quick), options.repeats or REPEATS
    command = "python -m benchmarks.target_settings" + f" --repeats {repeats}" * (repeats != REPEATS)
    origin = provenance(command, 0)  # of the commit that runs
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    started, dataset = time.perf_counter(), load("digits")
    critic, learned = learn(dataset)
    print(f"ENN: {learned}, {time.perf_counter() - started:.0f} s", flush=True)
    tests: dict[str, list[float]] = {}
    for repeat in range(repeats):
        for way, accuracy in chosen(dataset, critic, repeat).items():
            tests.setdefault(way, []).append(100 * accuracy)
        print(repeat, {way: round(float(np.mean(values)), 2) for way, values in tests.items()}, flush=True)
    rows = [row(way, values, tests["random"], tests["ASHA"]) for way, values in tests.items()]
    facts = {"repeats": repeats, "recorded_runs": RUNS, "recorded_steps": RUNS * STEPS, "enn": learned}
    facts |= {"seconds": time.perf_counter() - started, "tests": tests} | origin
    write_json(options.output or results / "target-settings.json", {"rows": rows, **facts})
    return 0


def row(way: str, values: list[float], random: list[float], asha: list[float]) -> dict[str, Any]:
    mean, low, high = mean_interval(values)
    return {
        "way": way,
        "steps": cost(way),
        "test": {"mean": mean, "low": low, "high": high},
        "against random": paired(values, random),
        "against ASHA": paired(values, asha),
    }


def cost(way: str) -> int:
    """Optimiser steps of the targets."""
    if way in ("random", "TPE"):
        return NINE * STEPS
    if way == "random, all to the end":
        return MANY * STEPS
    return MANY * RUNGS[0] + MANY // 3 * (RUNGS[1] - RUNGS[0]) + MANY // 9 * (RUNGS[2] - RUNGS[1])


# -- choosing ----------------------------------------------------------------------------------------------------------


def chosen(dataset: Dataset, critic: Critic, repeat: int) -> dict[str, float]:
    """Test accuracy of what each way chooses."""
    draws = numpy_stream(0, "candidates", repeat)
    candidates = [Choice.draw(draws) for _ in range(MANY)]
    runs = train(dataset, candidates, [stream(0, "chosen", repeat, number) for number in range(MANY)], critic)
    first = list(range(NINE))
    return {
        "random": runs[best(runs, first)].test,
        "TPE": tpe(dataset, repeat),
        "ASHA": runs[halved(runs, "score")].test,
        "ENN": runs[halved(runs, "predicted")].test,
        **{name: runs[halved(runs, name)].test for name in PREDICTORS},
        "random, all to the end": runs[best(runs, list(range(MANY)))].test,
    }


def best(runs: list[Run], among: list[int]) -> int:
    return max(among, key=lambda number: runs[number].score[-1])


def halved(runs: list[Run], by: str) -> int:
    """Keep a third at every rung but the last, by the score, by V or by a predictor; the best score of those that are left."""
    kept = list(range(len(runs)))
    for rung in range(len(RUNGS) - 1):
        values = [run.scored[by] if by in PREDICTORS else getattr(run, by) for run in runs]
        kept = sorted(kept, key=lambda number: -values[number][rung])[: len(kept) // 3]
    return best(runs, kept)


def tpe(dataset: Dataset, repeat: int) -> float:
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=stream(0, "tpe", repeat) % 2**32, n_startup_trials=4)
    )
    runs = []
    for number in range(NINE):
        trial = study.ask()
        choice = Choice(
            trial.suggest_float("rate", *RATES, log=True),
            trial.suggest_categorical("batch", BATCHES),
            trial.suggest_categorical("momentum", MOMENTA),
            trial.suggest_categorical("width", WIDTHS),
        )
        runs += train(dataset, [choice], [stream(0, "tpe", repeat, number)], None)
        study.tell(trial, runs[-1].score[-1])
    return runs[best(runs, list(range(NINE)))].test


def train(dataset: Dataset, choices: list[Choice], seeds: list[int], critic: Critic | None, keep: bool = False) -> list[Run]:
    """The run of every candidate; those of the same shape as one population, which changes no number."""
    runs: list[Run | None] = [None] * len(choices)
    x, y = dataset.tensors("train")
    kinds = sorted({(choice.batch, choice.momentum, choice.width) for choice in choices})
    for batch, momentum, width in kinds:
        own = [n for n, c in enumerate(choices) if (c.batch, c.momentum, c.width) == (batch, momentum, width)]
        target = MLP((dataset.features, width, dataset.classes))
        rates, mine = torch.tensor([choices[n].rate for n in own]), [seeds[n] for n in own]
        population = Population(target, initialise(target, "he", mine), "sgd", rates, momentum)
        batches = Batches(x, y, batch, mine, False)
        found = [Run([], [], {name: [] for name in PREDICTORS}, 0.0, []) for _ in own]
        for rung in RUNGS:
            advance(population, Backprop(), None, batches, rung - population.step)
            observe(found, population, critic, dataset, keep)
        for run, accuracy in zip(found, population.evaluate(*dataset.tensors("test")).accuracy.tolist(), strict=True):
            run.test = accuracy
        for number, run in zip(own, found, strict=True):
            runs[number] = run
    return [run for run in runs if run is not None]


def observe(runs: list[Run], population: Population, critic: Critic | None, dataset: Dataset, keep: bool) -> None:
    scores = torch.exp(-population.evaluate(*selection_data(PRESETS["digits"], dataset)).loss).tolist()
    progress = torch.full((population.members,), population.step / STEPS)
    clean = [tensor.nan_to_num(0.0, 0.0, 0.0).clamp(-1e3, 1e3) for tensor in population.parameters]
    with torch.no_grad():
        values = critic.value(clean, progress, "relu").tolist() if critic else [0.0] * len(runs)
    for number, run in enumerate(runs):
        run.score.append(scores[number])
        run.predicted.append(values[number])
        if critic and population.step < STEPS:
            score(run, population.target.module([tensor[number] for tensor in clean]), dataset)
        if keep:
            run.weights.append([tensor[number].clone() for tensor in clean])


def score(run: Run, network: nn.Module, dataset: Dataset) -> None:
    """By each predictor, with the same examples for all networks."""
    batch = batch_of(dataset, EXAMPLES, 0)
    for name in PREDICTORS:
        found = named(name).score(network, (batch[0].flatten(1), batch[1]), torch_stream(0, "target settings", name))
        run.scored[name].append(-math.inf if math.isnan(found) else found)


# -- the ENN -----------------------------------------------------------------------------------------------------------


def learn(dataset: Dataset) -> tuple[Critic, dict[str, Any]]:
    """The ENN whose reader ranks held-out recorded runs better, and how both did."""
    draws = numpy_stream(0, "recorded candidates")
    choices = [Choice.draw(draws) for _ in range(RUNS)]
    runs = train(dataset, choices, [stream(0, "recorded", number) for number in range(RUNS)], None, keep=True)
    held = [run for number, run in enumerate(runs) if number % 4 == 3]
    seen = [run for number, run in enumerate(runs) if number % 4 != 3]
    skills, critics = {}, {}
    for reader in READERS:
        critics[reader] = fitted(reader, dataset, seen)
        skills[reader] = {str(RUNGS[rung]): ranked(critics[reader], held, rung) for rung in (0, 1)}
        skills[reader]["score alone"] = {
            str(RUNGS[rung]): rank_correlation([r.score[rung] for r in held], [r.score[-1] for r in held])["kendall"]
            for rung in (0, 1)
        }
    reader = max(READERS, key=lambda name: sum(skills[name][str(RUNGS[rung])] for rung in (0, 1)))
    return critics[reader], {"reader": reader, "kendall": skills}


def fitted(reader: str, dataset: Dataset, runs: list[Run]) -> Critic:
    """A critic that predicts the last score from the weights at any rung, by squared error."""
    config: Config = PRESETS["digits"]
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=STEPS))
    torch.manual_seed(stream(0, "ENN of target settings") % 2**63)
    critic = Critic(reader, config.enn, home_of(config, MLP((dataset.features, WIDTHS[-1], dataset.classes))))
    if isinstance(critic.reader, Probes):
        critic.reader.start_from(dataset.tensors("train")[0][: config.enn.probes])
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, UPDATES)
    draws = numpy_stream(0, "ENN of target settings")
    by_width = {width: [run for run in runs if len(run.weights[0][1]) == width] for width in WIDTHS}
    for number in range(UPDATES):
        own = by_width[WIDTHS[number % len(WIDTHS)]]
        chosen_runs = [own[int(index)] for index in draws.integers(len(own), size=32)]
        rungs = draws.integers(2, size=32)
        members = [run.weights[rung] for run, rung in zip(chosen_runs, rungs, strict=True)]
        weights = [torch.stack(tensors) for tensors in zip(*members, strict=True)]
        progress = torch.tensor([RUNGS[k] / STEPS for k in rungs], dtype=torch.float32)
        wanted = torch.tensor([run.score[-1] for run in chosen_runs])
        optimiser.zero_grad()
        ((critic.value(weights, progress, "relu") - wanted) ** 2).mean().backward()
        optimiser.step()
        schedule.step()
    return critic.eval().requires_grad_(False)


def ranked(critic: Critic, runs: list[Run], rung: int) -> float:
    """Kendall's τ of V at a rung and the last score."""
    predicted = []
    for run in runs:
        weights = [tensor[None] for tensor in run.weights[rung]]
        predicted.append(float(critic.value(weights, torch.tensor([RUNGS[rung] / STEPS]), "relu")))
    return rank_correlation(predicted, [run.score[-1] for run in runs])["kendall"]


# -- its page ------------------------------------------------------------------------------------------------------------


def compared(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What its p-values are of: every way against random search and ASHA, and none against itself."""
    pairs = [(row, other) for row in results["rows"] for other in ("random", "ASHA") if row["way"] != other]
    return [row[f"against {other}"] for row, other in pairs if (row["way"], other) != ("ASHA", "random")]


def table(results: dict[str, Any]) -> str:
    """One row per way of choosing."""
    tables.correct(compared(results))
    for row in results["rows"]:
        if row["way"] == "ASHA":  # the same pair, seen from the other side
            row["against random"]["p_holm"] = tables.pick(results["rows"], way="random")["against ASHA"]["p_holm"]
    cells = []
    for row in results["rows"]:
        test, line = row["test"], []
        for other in ("random", "ASHA"):
            duel = row[f"against {other}"]
            line += [NONE, NONE] if row["way"] == other else [tables.signed(duel, 1), tables.p_cell(duel)]
        cells.append([row["way"], f"{row['steps']:,}", f"{test['mean']:.2f} [{test['low']:.2f}, {test['high']:.2f}]", *line])
    own = figures(results)
    caption = (
        f"`{tables.command(results)}`: digits, {results['repeats']} repeats with fresh candidates, paired; learning rate, "
        "batch "
        f"size, momentum and width. On held-out runs Kendall's τ with the last score is, after {own['rungs']} of "
        f"{own['run_steps']} steps, "
        f"{own['tau']} for V, {own['tau_alone']} for the score by then. The ENN's own {results['recorded_runs']} recorded "
        "runs, "
        f"{results['recorded_steps']:,} steps, are not in the column ({tables.where(results)}). {tables.CORRECTED_P}."
    )
    head = ["chosen by", "optimiser steps", "test accuracy %", "against random", tables.P, "against ASHA", tables.P]
    return tables.blocks(tables.table(head, cells), caption)


def figures(results: dict[str, Any]) -> dict[str, Any]:
    tables.correct(compared(results))
    rows = {row["way"]: row for row in results["rows"]}
    skill = results["enn"]["kendall"][results["enn"]["reader"]]
    early = [key for key in skill if key != "score alone"]
    all_runs = max(row["steps"] for row in results["rows"])
    return {
        "run_steps": str(results["recorded_steps"] // results["recorded_runs"]),
        "rungs": " and ".join(early),
        "tau": " and ".join(f"{skill[key]:.2f}" for key in early),
        "tau_alone": " and ".join(f"{skill['score alone'][key]:.2f}" for key in early),
        "enn_against_asha": tables.outcome(rows["ENN"]["against ASHA"], 1),
        "enn_against_random": tables.outcome(rows["ENN"]["against random"], 1),
        "enn_beats_asha": tables.told(rows["ENN"]["against ASHA"]) == tables.GAIN,
        "fewer_steps": f"{100 * rows['ENN']['steps'] / all_runs:.0f}",
        "repeats": str(results["repeats"]),
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        "Stopping targets early by what an ENN reads from their weights, set against stopping by their score at that time "
        "(ASHA): "
        f"{own['enn_against_asha']}. Against random search it is {own['enn_against_random']}, with {own['fewer_steps']} % of "
        "the steps "
        f"of training all candidates to the end."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "An ENN's prediction stops bad runs better than their score at that time.",
            own["enn_against_asha"],
            own["enn_beats_asha"],
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
