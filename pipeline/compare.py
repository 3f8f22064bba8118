"""The comparison: fresh targets, paired by seed, trained with and without instruction.

Every strength (of L1, of L2, of the instruction) is chosen on validation data from the same number of candidates with the same
number of targets. Nothing here sees the test set: final weights are kept, and the report looks at the test set once.

Letters: P members.
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.cluster import Placement, run_tasks
from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.enn.files import digest_of
from pipeline.errors import UserError, shown
from pipeline.files import read_json, sha256_of, write_json, write_tensors
from pipeline.instruction import L1, L2, Backprop, Growth, Instruct, RandomPush, Rule
from pipeline.instruction.loop import Trace, advance, train
from pipeline.origin import TRAINING, Origin, check_seal, fits, mapping, other, sealed
from pipeline.seeding import stream
from pipeline.setting import new_population, selection_data, target_of
from pipeline.targets import Batches, Population


@dataclass(frozen=True)
class Arm:
    """One way of training."""

    rule: str
    initialisation: str | None = None
    """None: as configured"""
    reader: int | str = 0
    """which ENN instructs: by name, or by place in ``enn.readers``"""
    everything: bool = False
    """train on training and validation data: a baseline may use what an ENN has seen"""


BEFORE = "before"
"""the name, among the critics, of the instructing ENN as RL left it, before fine-tuning"""
ARMS: dict[str, Arm] = {
    "conventional": Arm("backprop"),
    "l1": Arm("l1"),
    "l2": Arm("l2"),
    "he": Arm("backprop", "he"),
    "conventional-all": Arm("backprop", everything=True),
    "he-all": Arm("backprop", "he", everything=True),
    "growth": Arm("growth"),
    "growth-tuned": Arm("growth-tuned"),
    "growth-tuned-he": Arm("growth-tuned", "he"),
    "random-push": Arm("random-push"),
    "instructed": Arm("instruct"),
    "instructed-he": Arm("instruct", "he"),
    "instructed-rl": Arm("instruct", reader=BEFORE),
    "instructed-rl-he": Arm("instruct", "he", reader=BEFORE),
    "instructed-image": Arm("instruct", reader="convnet"),
}
DIVERGED = 1e6
"""a loss that is not finite is written as this (JSON has no infinity)"""
PER_MEMBER = ("loss", "accuracy", "strength", "gradient_norm", "instruction_norm")
"""what a trace holds at every point for every member"""
TUNED = {"l1": "l1", "l2": "l2", "growth-tuned": "growth", "instruct": "instruction"}
"""rules with a strength to choose, and where ``config.compare`` lists its candidates"""


@dataclass(frozen=True)
class Task:
    """One population to train: the unit of work of a worker."""

    name: str
    arm: str
    seeds: tuple[int, ...]
    strengths: tuple[float, ...]
    """of the arm's rule, one per member (P,); for the instruction -1 lets the ENN choose λ"""
    keep: bool
    """keep weights: all members' last, and the first member's at the start, middle and end"""


def compare(
    config: Config,
    dataset: Dataset,
    critics: Mapping[str, Critic],
    folder: Path,
    placement: Placement,
    on_task: Callable[[str, int, int], None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Train every arm; the arms' results, as :func:`collect` gives them. Tasks already done in ``folder`` are not done again.

    Args:
        on_task: called with a task's name, how many are done, and how many there are.
        provenance: where the results come from, which they carry.

    Raises:
        UserError: a task that is done was done with other data, settings, seeds or ENNs.
    """
    arms_folder = folder / "arms"
    untuned = [arm for arm in config.compare.arms if ARMS[arm].rule not in TUNED]
    tuned = [arm for arm in config.compare.arms if ARMS[arm].rule in TUNED]
    first = [tuning_task(config, arm) for arm in tuned] + final_tasks(config, untuned, {})
    total = len(first) + len(final_tasks(config, tuned, dict.fromkeys(tuned, 0.0)))
    progress = _Progress(on_task, total)
    _do(first, config, dataset, critics, arms_folder, placement, progress, provenance or {})
    chosen = chosen_strengths(config, folder)
    write_json(arms_folder / "strengths.json", chosen)
    second = final_tasks(config, tuned, {arm: choice["strength"] for arm, choice in chosen.items()})
    _do(second, config, dataset, critics, arms_folder, placement, progress, provenance or {})
    return collect(config, folder)


def population_origin(config: Config, dataset: Dataset, critics: Mapping[str, Critic]) -> Origin:
    """What every population of a comparison is made from."""
    return Origin.of(config, dataset, TRAINING, {name: digest_of(critic) for name, critic in critics.items()})


def chosen_strengths(config: Config, folder: Path) -> dict[str, dict[str, Any]]:
    """What :func:`choose` says of each arm with a strength to choose whose candidates are trained."""
    tuned = [arm for arm in config.compare.arms if ARMS[arm].rule in TUNED]
    files = {arm: folder / "arms" / f"{tuning_task(config, arm).name}.json" for arm in tuned}
    return {arm: choose(config, arm, read_json(file, math.nan)) for arm, file in files.items() if file.exists()}


def check_populations(config: Config, dataset: Dataset, critics: Mapping[str, Critic], folder: Path) -> list[Path]:
    """The populations in ``folder`` that do not say what they were made from (an earlier version's).

    Raises:
        UserError: one was made with other data, settings, seeds, strengths or ENNs.
    """
    origin, arms = population_origin(config, dataset, critics), config.compare.arms
    tuning = [tuning_task(config, arm) for arm in arms if ARMS[arm].rule in TUNED]
    silent = [task for task in tuning if not _is_of_task(folder / "arms", task, config, origin)]
    strengths = {}
    with suppress(UserError):  # a file is damaged: the stage that needs it says so
        strengths = {arm: choice["strength"] for arm, choice in chosen_strengths(config, folder).items()}
    for task in final_tasks(config, arms, strengths):
        known = ARMS[task.arm].rule not in TUNED or task.arm in strengths
        if not _is_of_task(folder / "arms", task, config, origin, known):
            silent.append(task)
    return [folder / "arms" / f"{task.name}.json" for task in silent]


def _is_of_task(arms: Path, task: Task, config: Config, origin: Origin, strengths: bool = True) -> bool:
    """Whether the result of ``task`` says what it was made from; one that is not there says nothing wrong.

    Args:
        strengths: whether those of ``task`` are known, and to be compared.

    Raises:
        UserError: it is not of this task.
    """
    path = arms / f"{task.name}.json"
    try:
        result = read_json(path) if os.path.lexists(path) else None
    except UserError:  # it is damaged: the stage that needs it says so
        result = None
    if not isinstance(result, dict):
        return True
    says = fits(path, result.get("origin"), origin)
    wanted = {"arm": task.arm, "seeds": list(task.seeds)} | ({"strengths": list(task.strengths)} if strengths else {})
    wanted["steps"] = list(range(0, config.training.steps + 1, config.rl.period))
    for name, value in wanted.items():
        if result.get(name) != value:
            raise other(path, f"{name} {shown(result.get(name))}", shown(value))
    check_seal(path, result)
    weights = path.with_suffix(".safetensors")
    if task.keep and "weights" in result and not (weights.exists() and sha256_of(weights) == result["weights"]):
        raise UserError(
            f"{weights} does not hold the weights that {path.name} was written with; put them back, or delete both files and "
            "give `grad-instructor instruct` again."
        )
    return says


def tuning_task(config: Config, arm: str) -> Task:
    """Every candidate strength of an arm with ``tuning_seeds`` targets each, as one population."""
    candidates = candidates_of(config, arm)
    seeds = [stream(config.seed, "tuning", number) for number in range(config.compare.tuning_seeds)]
    members = [(seed, strength) for strength in candidates for seed in seeds]
    return Task(f"tune-{arm}", arm, tuple(seed for seed, _ in members), tuple(strength for _, strength in members), keep=False)


def candidates_of(config: Config, arm: str) -> tuple[float, ...]:
    """The strengths that are tried for an arm."""
    return getattr(config.compare, TUNED[ARMS[arm].rule])


def choose(config: Config, arm: str, result: dict[str, Any]) -> dict[str, Any]:
    """The candidate with the best mean accuracy on validation data at the end; ties go to the first listed."""
    final = np.array(result["accuracy"][-1]).reshape(len(candidates_of(config, arm)), -1).mean(axis=1)
    tried = {f"{strength:g}": float(value) for strength, value in zip(candidates_of(config, arm), final, strict=True)}
    return {"strength": candidates_of(config, arm)[int(final.argmax())], "validation_accuracy": tried}


def final_tasks(config: Config, arms: Sequence[str], strengths: Mapping[str, float]) -> list[Task]:
    """The populations of the comparison: ``seeds`` targets per arm in groups; all arms have the same seeds."""
    seeds = [stream(config.seed, "compare", number) for number in range(config.compare.seeds)]
    tasks, size = [], config.compare.group or len(seeds)
    for arm in arms:
        for number, start in enumerate(range(0, len(seeds), size)):
            group = tuple(seeds[start : start + size])
            tasks.append(Task(f"{arm}-{number}", arm, group, (strengths.get(arm, 0.0),) * len(group), keep=True))
    return tasks


def train_task(task: Task, config: Config, dataset: Dataset, critics: Mapping[str, Critic], device: str) -> dict[str, Any]:
    """Train a task's targets: ``{"result": JSON, "weights": tensors}``. What a worker runs.

    Where the GPU has no room for all of them as one population, its halves are trained one after the other, and so on: as many
    members as fit, found by trying. ``result["populations"]`` says how many were trained at once.

    Raises:
        UserError: not even one fits.
    """
    try:
        return _train_population(task, config, dataset, critics, device)
    except torch.cuda.OutOfMemoryError as error:
        if len(task.seeds) == 1:
            raise UserError(
                f"the GPU has no memory for a single target of {task.arm!r}; lower --gpus-per-worker's sharing or train on the "
                "CPU with --gpus-per-worker 0."
            ) from error
    torch.cuda.empty_cache()  # outside of the handler, which holds the population that did not fit
    middle = (len(task.seeds) + 1) // 2
    halves = [
        replace(task, seeds=task.seeds[part], strengths=task.strengths[part]) for part in (slice(middle), slice(middle, None))
    ]
    return _joined([train_task(half, config, dataset, critics, device) for half in halves])


def _joined(outputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The outputs of a task's parts as that of the whole."""
    results, weights = [output["result"] for output in outputs], [output["weights"] for output in outputs]
    sizes = np.array([len(result["seeds"]) for result in results])

    def rows(parts: Sequence[list[list[float]]]) -> list[list[float]]:
        return [[value for row in at_point for value in row] for at_point in zip(*parts, strict=True)]

    joined = results[0] | {key: rows([result[key] for result in results]) for key in PER_MEMBER}
    for key in ("seeds", "strengths", "diverged_at", "populations"):
        joined[key] = [value for result in results for value in result[key]]
    joined["predicted"] = {name: rows([r["predicted"][name] for r in results]) for name in joined["predicted"]}
    joined["seconds"] = np.average([result["seconds"] for result in results], axis=0, weights=sizes).tolist()
    joined["wall_seconds"] = sum(result["wall_seconds"] for result in results)
    final = {name: torch.cat([part[name] for part in weights]) for name in weights[0] if name.startswith("final/")}
    return {"result": joined, "weights": weights[0] | final}


def _train_population(
    task: Task, config: Config, dataset: Dataset, critics: Mapping[str, Critic], device: str
) -> dict[str, Any]:
    x, y = dataset.tensors("train", device)
    critics = {name: critic.to(device) for name, critic in critics.items()}
    arm, training = ARMS[task.arm], config.training
    if arm.everything:
        more = dataset.tensors("validation", device)
        x, y = torch.cat([x, more[0]]), torch.cat([y, more[1]])
    population = new_population(config, target_of(config, dataset), task.seeds, x, arm.initialisation)
    batches = Batches(x, y, training.batch_size, task.seeds, training.shared_order)
    validation = selection_data(config, dataset, device)
    weights: dict[str, Tensor] = {}
    places = checkpoints_of(config)

    def checkpoint(step: int) -> None:
        for name in (name for name, place in places.items() if task.keep and place == step):
            weights.update({f"{name}/{i}": p[:1].detach().cpu().clone() for i, p in enumerate(population.parameters)})

    rule = make_rule(arm, task, config, population, critics)
    _warm_up(rule, population, batches)
    started = time.perf_counter()
    trace = train(population, rule, batches, training.steps, config.rl.period, validation, critics, checkpoint)
    if task.keep:
        weights |= {f"final/{i}": p.detach().cpu().clone() for i, p in enumerate(population.parameters)}
    result = {"name": task.name, "arm": task.arm, "seeds": list(task.seeds), "strengths": list(task.strengths)}
    result |= trace_json(trace) | {"diverged_at": population.diverged_at.tolist(), "device": device}
    result["populations"] = [len(task.seeds)]
    return {"result": result | {"wall_seconds": time.perf_counter() - started}, "weights": weights}


def checkpoints_of(config: Config) -> dict[str, int]:
    """The steps at which weights are kept: the start, the last decision before the middle (in a run of one period the start
    again), and the end."""
    steps, period = config.training.steps, config.rl.period
    return {"start": 0, "middle": steps // 2 // period * period, "end": steps}


def make_rule(arm: Arm, task: Task, config: Config, population: Population, critics: Mapping[str, Critic]) -> Rule:
    """The rule of an arm, with each member's strength."""
    strengths = torch.tensor(task.strengths, device=population.device, dtype=population.dtype)
    learning_rate = config.training.learning_rate
    if arm.rule == "backprop":
        return Backprop()
    if arm.rule == "l1":
        return L1(strengths)
    if arm.rule == "l2":
        return L2(strengths)
    if arm.rule == "growth":
        return Growth()
    if arm.rule == "growth-tuned":
        return Growth(last=strengths)
    if arm.rule == "random-push":
        return RandomPush(task.seeds, config.instruction.trust_region)
    critic = critics[config.enn.readers[arm.reader] if isinstance(arm.reader, int) else arm.reader]

    def strength(population: Population, progress: Tensor) -> Tensor:
        own = critic.strengths(population.parameters, progress, population.target.activation)
        return torch.where(strengths < 0, own, strengths)

    own = all(value < 0 for value in task.strengths)
    return Instruct(critic, config.training.steps, learning_rate, None if own else strength)


def _warm_up(rule: Rule, population: Population, batches: Batches) -> None:
    """A few steps that leave no trace: the first ones in a process are slow, and the clock must not see them."""
    before = population.state_dict()
    advance(population, rule, rule.init(population), batches, 3)
    population.load_state_dict(before)


def trace_json(trace: Trace) -> dict[str, Any]:
    """A trace with lists in place of arrays, to seven significant digits (float32 holds no more)."""

    def rounded(rows: Sequence[np.ndarray]) -> list[list[float]]:
        return [[float(f"{min(value, DIVERGED):.7g}") for value in row] for row in rows]

    plain = {name: rounded(getattr(trace, name)) for name in PER_MEMBER}
    predicted = {name: rounded(rows) for name, rows in trace.predicted.items()}
    return {"steps": trace.steps, "seconds": trace.seconds, **plain, "predicted": predicted}


def collect(config: Config, folder: Path) -> dict[str, dict[str, Any]]:
    """The arms' results with their groups joined: what :mod:`pipeline.results` draws and tables.

    Per arm: seeds (n), steps (D + 1), seconds (mean over groups), and, one row per seed, loss, accuracy, strength,
    gradient_norm, instruction_norm, predicted (by reader); diverged_at; strength chosen; provenance of each group that has it.
    """
    arms = {}
    for arm in config.compare.arms:
        groups = [read_json(folder / "arms" / f"{task.name}.json", math.nan) for task in final_tasks(config, [arm], {})]
        joined: dict[str, Any] = {"steps": groups[0]["steps"]}
        for key in ("seeds", "diverged_at"):
            joined[key] = [value for group in groups for value in group[key]]
        for key in PER_MEMBER:
            joined[key] = np.concatenate([np.array(group[key]).T for group in groups]).tolist()
        joined["predicted"] = {
            name: np.concatenate([np.array(group["predicted"][name]).T for group in groups]).tolist()
            for name in groups[0]["predicted"]
        }
        joined["seconds"] = np.mean([group["seconds"] for group in groups], axis=0).tolist()
        joined["ms_per_step"] = [1000 * group["seconds"][-1] / group["steps"][-1] for group in groups]
        joined["chosen_strength"] = groups[0]["strengths"][0]
        joined["provenance"] = [mapping(group["provenance"]) for group in groups if group.get("provenance")]
        arms[arm] = joined
    return arms


class _Progress:
    def __init__(self, on_task: Callable[[str, int, int], None] | None, total: int) -> None:
        self.on_task, self.total, self.done = on_task, total, 0

    def __call__(self, name: str) -> None:
        self.done += 1
        if self.on_task:
            self.on_task(name, self.done, self.total)


def _do(
    tasks: Sequence[Task],
    config: Config,
    dataset: Dataset,
    critics: Mapping[str, Critic],
    folder: Path,
    placement: Placement,
    progress: Callable[[str], None],
    provenance: Mapping[str, Any],
) -> None:
    """Train what is not there yet, writing each result as it comes: weights first, the .json last."""
    origin = population_origin(config, dataset, critics)
    missing = [task for task in tasks if not (folder / f"{task.name}.json").exists()]
    for task in tasks:
        if task not in missing:
            _is_of_task(folder, task, config, origin)
            progress(task.name)
    shared = {"config": config, "dataset": dataset, "critics": dict(critics)}
    for _, output in run_tasks(train_task, missing, shared, placement):
        name = output["result"]["name"]
        result = output["result"] | {"origin": origin.as_json(), "provenance": dict(provenance)}
        if output["weights"]:
            result["weights"] = write_tensors(folder / f"{name}.safetensors", output["weights"])
        write_json(folder / f"{name}.json", sealed(result))
        progress(name)
