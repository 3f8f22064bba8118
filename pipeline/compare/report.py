"""The report: finished runs meet the test set, once."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.arms import ARMS, FIRST
from pipeline.compare.tasks import candidates_name, chooses_rate, chosen_strengths, final_tasks
from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.enn.critic import STRENGTH_RANGE
from pipeline.files import read_json, read_tensors
from pipeline.instruction.loop import returns
from pipeline.results.origin import brief, distinct
from pipeline.results.statistics import mean_interval, paired, rank_correlation
from pipeline.results.tables import corrected
from pipeline.setting import target_of
from pipeline.targets import MLP, Population

TRAINING_EXAMPLES = 10_000
"""at most this many training examples are used for the training loss"""


def evaluate_on_test(
    config: Config, dataset: Dataset, folder: Path, arms: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Test accuracy and loss and training loss of every target's last weights, as :mod:`pipeline.results.tables` wants them."""
    torch.set_num_threads(1)
    chosen = chosen_strengths(config, folder)
    target, examples = target_of(config, dataset), report_examples(dataset)
    tested = {}
    for arm, values in arms.items():
        found: dict[str, list[float]] = {}
        diverged = dict(zip(values["seeds"], values["diverged_at"], strict=True))
        for task in final_tasks(config, [arm], {}):
            tensors = read_tensors(folder / "arms" / f"{task.name}.safetensors")
            numbers = tested_members(target, tensors, [diverged[seed] for seed in task.seeds], *examples)
            for name, own in numbers.items():
                found.setdefault(name, []).extend(own)
        tested[arm] = {
            "seeds": values["seeds"],
            **found,
            "ms_per_step": values["ms_per_step"],
            "strength": _strength(arm, values["chosen_strength"]),
            "diverged": sum(step >= 0 for step in values["diverged_at"]),
        }
        if "angles" in values:
            tested[arm]["angles"] = mean_angles(values["angles"])
        if chooses_rate(config, arm):
            tested[arm]["learning_rate"] = config.training.learning_rate * values["chosen_strength"]
        if "edge" in chosen.get(arm, {}):
            tested[arm] |= {"edge": chosen[arm]["edge"], "edge_of": candidates_name(arm)}
    return tested


Examples = tuple[torch.Tensor, torch.Tensor]
"""x (n, inputs) and y (n,)"""


def report_examples(dataset: Dataset) -> tuple[Examples, Examples]:
    """Those of the test set, and those that the training loss is taken on."""
    return dataset.tensors("test"), dataset.tensors("train", limit=TRAINING_EXAMPLES)


def tested_members(
    target: MLP, tensors: Mapping[str, torch.Tensor], diverged_at: Sequence[int], test: Examples, train: Examples
) -> dict[str, list[float]]:
    """Of each member of a population, ``test_accuracy`` (0 to 1), ``test_loss`` and ``train_loss``.

    One that diverged keeps the finite weights that it was frozen with: as on validation data it has accuracy 0 and an infinite
    loss, whatever those would give.

    Args:
        tensors: its last weights, ``final/0`` and so on, each (P, …).
        diverged_at: the step at which a member was frozen, −1 for one that was not (P,).
    """
    population = Population(target, [tensors[f"final/{i}"] for i in range(len(target.shapes))])
    population.freeze(torch.tensor(diverged_at) >= 0)
    on_test, on_train = population.evaluate(*test), population.evaluate(*train)
    found = {"test_accuracy": on_test.accuracy, "test_loss": on_test.loss, "train_loss": on_train.loss}
    return {name: values.tolist() for name, values in found.items()}


def mean_angles(angles: Sequence[Any]) -> dict[str, dict[str, float]]:
    """By layer, the mean over members of their means over training, with its interval; NaN where a layer gets nothing.

    The first point, before any step, does not count: feedback aligns by training.

    Args:
        angles: (n, D + 1, layers), in degrees.
    """
    found = {}
    for number, of_layer in enumerate(np.asarray(angles, dtype=np.float64)[:, 1:].transpose(2, 0, 1), 1):
        means = [float(row[np.isfinite(row)].mean()) for row in of_layer if np.isfinite(row).any()]
        found[f"layer{number}"] = dict(zip(("mean", "low", "high"), mean_interval(means), strict=True))
    return found


def head_to_head(tested: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Differences in test accuracy, paired by seed, with their 95 % intervals and p, for the pairs that arms ask for.

    ``p_holm`` is corrected for the number of pairs. An ENN that only makes weights larger has learned nothing.
    """
    duels = [(name, other) for name, arm in ARMS.items() for other in arm.duels if name in tested and other in tested]
    return corrected(
        [
            {"arm": arm, "against": other, **paired(tested[arm]["test_accuracy"], tested[other]["test_accuracy"])}
            for arm, other in duels
        ]
    )


def bound(config: Config, arm: str, chosen: float, critics: Mapping[str, Critic]) -> float | None:
    """The largest λ that an arm's targets could be instructed with: of the candidates where one was ``chosen``, else of what
    its ENN can choose. None where that can choose nothing."""
    if chosen >= 0:
        return max(getattr(config.compare, ARMS[arm].strengths))
    home = critics[_instructing(config, arm)].home
    if home.strength >= 0:
        return None
    return home.scale * math.exp(STRENGTH_RANGE) if home.by_head else max(home.ladder)


def enn_seconds(folder: Path) -> dict[str, float]:
    """What training the ENNs in a run's folder took, in seconds, by what was done; only what is noted."""
    files = {"ENN: RL": "history.json", "ENN: fine-tuning": "unrolled.json"}
    found = {}
    for name, file in files.items():
        path = folder / "training" / file
        rows = read_json(path) if path.exists() else []
        noted = [row.get("seconds") for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
        seconds = [float(value) for value in noted if isinstance(value, int | float)]
        if seconds and len(seconds) == len(noted):
            found[name] = sum(seconds)
    return found


def curves(values: Mapping[str, Any], figure: str) -> dict[str, Any]:
    """An arm's results as :mod:`pipeline.results.figures` wants them for ``accuracy``, ``angles`` or ``instruction``."""
    if figure in ("accuracy", "angles"):
        return {name: values[name] for name in ("steps", "seconds", figure)}
    steps = values["steps"]
    # λ belongs to the period that ends at a point; both norms are measured at that point
    norms = {name: [row[1:] for row in values[name]] for name in ("gradient_norm", "instruction_norm")}
    return {"progress": [step / steps[-1] for step in steps[1:]], "strength": values["strength"], **norms}


def prediction_points(config: Config, arms: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each ENN predicted on these runs, none of which it has seen, against what came true; intervals over runs."""
    points = {}
    for reader in config.enn.readers:
        predicted, realised, runs = [], [], []
        for values in arms.values():
            loss = np.array(values["loss"])
            scores = np.exp(-loss) if config.rl.score == "loss" else np.array(values["accuracy"])
            truth = returns(scores.T, config.rl.gamma).T
            some = np.linspace(0, scores.shape[1] - 2, min(8, scores.shape[1] - 1)).round().astype(int)
            predicted.append(np.array(values["predicted"][reader])[:, some])
            realised.append(truth[:, some])
            runs.append(np.repeat(values["seeds"], len(some)))
        flat = [np.concatenate([part.ravel() for part in parts]).tolist() for parts in (predicted, realised, runs)]
        points[reader] = {"predicted": flat[0], "realised": flat[1], **rank_correlation(*flat)}
    return points


def made_by(
    config: Config,
    arm: str,
    trained: Sequence[Mapping[str, Any]],
    enns: Mapping[str, Sequence[Mapping[str, Any]]],
    reporting: Mapping[str, Any],
) -> dict[str, Any]:
    """Where a row comes from.

    Args:
        trained: the provenance of the arm's populations.
        enns: of each ENN, by reader and ``before``.
        reporting: of the report.

    Returns:
        The provenance of the population that was trained last, and in it ``trained`` and ``enn`` (every command and commit that
        had a part, with its date), ``reported``, and, where a commit is not the report's, ``commits``: a sentence on them.
    """
    populations, instructing = distinct(trained), list(enns.get(_instructing(config, arm), []))
    facts = max(trained, key=lambda one: str(one.get("date")), default=reporting)
    facts = {name: value for name, value in facts.items() if name != "times"}
    row = facts | {"trained": populations, "enn": instructing, "reported": brief(reporting)}
    here = reporting.get("commit")
    if all(one.get("commit") == here for one in [*populations, *instructing]) and populations:
        return row
    parts = [f"trained by {_words(populations)}", *([f"its ENN by {_words(instructing)}"] if instructing else [])]
    return row | {"commits": f"{', '.join(parts)}; reported by {_words([brief(reporting)])}."}


def _instructing(config: Config, arm: str) -> str:
    """The name of the ENN that instructs an arm; empty where none does."""
    enn = ARMS[arm].enn
    return config.enn.readers[0] if enn == FIRST else enn


def _words(made_by: Sequence[Mapping[str, Any]]) -> str:
    commits: dict[str, str] = {}
    for one in made_by:
        commits.setdefault(_short(str(one.get("commit"))), str(one.get("date"))[:10])
    words = " and ".join(f"commit {commit} on {date}" for commit, date in commits.items())
    return words or "an earlier version, which did not note its commit"


def _short(commit: str) -> str:
    return commit[:10] + ("-dirty" if commit.endswith("-dirty") else "")


def _strength(arm: str, value: float) -> str:
    if not ARMS[arm].strengths:
        return "–"
    return "λ by policy" if value < 0 else f"{value:g}"
