"""Training one population of a comparison: what a worker does.

Letters: P members.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import instruction, learning
from pipeline.arms import ARMS, FIRST, Arm
from pipeline.compare.tasks import Task, chooses_rate
from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.instruction import Instruct, Rule
from pipeline.instruction.loop import Trace, advance, train
from pipeline.learning import SignalRule
from pipeline.setting import new_population, selection_data, signal_of, target_of
from pipeline.targets import Batches, Population

DIVERGED = 1e6
"""a loss that is not finite is written as this (JSON has no infinity)"""
PER_MEMBER = ("loss", "accuracy", "strength", "gradient_norm", "instruction_norm")
"""what a trace holds at every point for every member"""


def train_task(task: Task, config: Config, dataset: Dataset, critics: Mapping[str, Critic], device: str) -> dict[str, Any]:
    """Train a task's targets: ``{"result": JSON, "weights": tensors, "times": JSON}``. What a worker runs.

    ``times`` says, in ms since epoch, when the training began and when each point of its curves was measured.

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
    if "angles" in joined:
        joined["angles"] = rows([result["angles"] for result in results])
    joined["predicted"] = {name: rows([r["predicted"][name] for r in results]) for name in joined["predicted"]}
    joined["seconds"] = np.average([result["seconds"] for result in results], axis=0, weights=sizes).tolist()
    joined["wall_seconds"] = sum(result["wall_seconds"] for result in results)
    final = {name: torch.cat([part[name] for part in weights]) for name in weights[0] if name.startswith("final/")}
    spans = [output["times"] for output in outputs]
    points = np.max([span["points"] for span in spans], axis=0).tolist()
    return {"result": joined, "weights": weights[0] | final, "times": {"began": spans[0]["began"], "points": points}}


def _train_population(
    task: Task, config: Config, dataset: Dataset, critics: Mapping[str, Critic], device: str
) -> dict[str, Any]:
    began = time.time_ns() // 1_000_000
    x, y = dataset.tensors("train", device)
    critics = {name: critic.to(device) for name, critic in critics.items()}
    arm, training = ARMS[task.arm], config.training
    if arm.everything:
        more = dataset.tensors("validation", device)
        x, y = torch.cat([x, more[0]]), torch.cat([y, more[1]])
    rates = learning_rates(task, config)
    population = new_population(config, target_of(config, dataset), task.seeds, x, arm.start, rates)
    batches = Batches(x, y, training.batch_size, task.seeds, training.shared_order)
    validation = selection_data(config, dataset, device)
    weights: dict[str, Tensor] = {}
    places = checkpoints_of(config)

    def checkpoint(step: int) -> None:
        for name in (name for name, place in places.items() if task.keep and place == step):
            weights.update({f"{name}/{i}": p[:1].detach().cpu().clone() for i, p in enumerate(population.parameters)})

    rule = arm.rule(Making(arm, task, config, population, critics))
    _warm_up(rule, population, batches)
    started = time.perf_counter()
    trace = train(population, rule, batches, training.steps, config.rl.period, validation, critics, checkpoint)
    if task.keep:
        weights |= {f"final/{i}": p.detach().cpu().clone() for i, p in enumerate(population.parameters)}
    result = {"name": task.name, "arm": task.arm, "seeds": list(task.seeds), "strengths": list(task.strengths)}
    result |= trace_json(trace) | {"diverged_at": population.diverged_at.tolist(), "device": device}
    result["populations"] = [len(task.seeds)]
    result |= {"wall_seconds": time.perf_counter() - started}
    return {"result": result, "weights": weights, "times": {"began": began, "points": trace.times}}


def learning_rates(task: Task, config: Config) -> float | Tensor:
    """Of the members: one for all where it is the same, else each member's (P,), which rounds otherwise."""
    rate, factors = config.training.learning_rate, set(task.strengths)
    if not chooses_rate(config, task.arm):
        return rate
    return rate * task.strengths[0] if len(factors) == 1 else torch.tensor([rate * factor for factor in task.strengths])


def checkpoints_of(config: Config) -> dict[str, int]:
    """The steps at which weights are kept: the start, the last decision before the middle (in a run of one period the start
    again), and the end."""
    steps, period = config.training.steps, config.rl.period
    return {"start": 0, "middle": steps // 2 // period * period, "end": steps}


@dataclass(frozen=True)
class Making:
    """What the rule of an arm is made of (:class:`pipeline.arms.Setup`)."""

    arm: Arm
    task: Task
    config: Config
    population: Population
    critics: Mapping[str, Critic]
    rules: ModuleType = instruction
    signals: ModuleType = learning

    @property
    def seeds(self) -> tuple[int, ...]:
        """of the members (P,)"""
        return self.task.seeds

    @property
    def strengths(self) -> Tensor:
        """The candidate that each member tries, (P,)."""
        return torch.tensor(self.task.strengths, device=self.population.device, dtype=self.population.dtype)

    def signal(self, name: str, **others: Any) -> SignalRule:
        """The learning rule of this name with its settings, and with others that no configuration has."""
        return signal_of(self.config, name, **others)

    @property
    def learning_rate(self) -> float | Tensor:
        """Of the targets' optimiser, one for all members or each member's (P,)."""
        return learning_rates(self.task, self.config)

    def instruct(self) -> Rule:
        """The instruction by the arm's ENN; -1 lets it choose λ."""
        training, strengths = self.config.training, self.strengths
        critic = self.critics[self.config.enn.readers[0] if self.arm.enn == FIRST else self.arm.enn]

        def strength(population: Population, progress: Tensor) -> Tensor:
            own = critic.strengths(population.parameters, progress, population.target.activation)
            return torch.where(strengths < 0, own, strengths)

        own = all(value < 0 for value in self.task.strengths)
        return Instruct(critic, training.steps, training.learning_rate, None if own else strength)


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
    # in degrees, by member and layer; NaN, in JSON null, where a layer gets nothing
    angles = {"angles": [np.round(of_point, 4).tolist() for of_point in trace.angles]} if trace.angles else {}
    return {"steps": trace.steps, "seconds": trace.seconds, **plain, "predicted": predicted, **angles}
