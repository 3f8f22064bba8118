"""Seconds of work that tell something about an ENN: how well it predicts, where its gradient points, what it costs."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.instruction import Backprop, Instruct, instructions
from pipeline.instruction.loop import advance, returns
from pipeline.instruction.reading import value_gradients
from pipeline.results.statistics import rank_correlation
from pipeline.seeding import stream
from pipeline.setting import selection_data, target_of
from pipeline.targets import Batches, Population, unflatten
from rl.offline.recorded import HELD_OUT, POINTS, Recorded, points_of

LOOK_AHEAD = 10
"""optimiser steps over which a held-out checkpoint is trained with and without the instruction"""


def measure(config: Config, dataset: Dataset, critic: Critic, recorded: Recorded) -> dict[str, float]:
    """Seconds of work on held-out runs: how well V ranks and how far it is off, where ∂V/∂θ points, what it costs.

    Returns:
        rank_correlation (τ-b of V and the return that came true), spearman, calibration_error (root mean square),
        cosine, cosine_early and cosine_late (of ∂V/∂θ with the direction in which validation loss falls), agreement (cosine of
        the whole instruction with the direction in which the loss at the end of the run falls: minus the costate), look_ahead
        (by how much the validation loss of held-out checkpoints falls more in LOOK_AHEAD instructed steps of plain SGD than in
        conventional ones, relative), value_spread (standard deviation of V), parameters, ms_per_instruction, and
        operations_per_instruction, which ranks ENNs nearly as the milliseconds do and is the same at every measurement.
    """
    held = recorded.held_out()
    scores = recorded.scores(config.rl.score)[held].astype(np.float64)
    realised = returns(scores.T, config.rl.gamma).T[:, :-1]
    predicted = _values(critic, recorded.observations[held][:, :-1])
    runs = np.repeat(np.arange(len(realised)), realised.shape[1])
    skill = rank_correlation(predicted.ravel().tolist(), realised.ravel().tolist(), runs.tolist(), resamples=1)
    cosine = _cosines(critic, recorded)
    return {
        "rank_correlation": _number(skill["kendall"], 0.0),
        "spearman": _number(skill["spearman"], 0.0),
        "calibration_error": float(np.sqrt(np.mean((predicted - realised) ** 2))),
        "value_spread": float(predicted.std()),
        "cosine": float(cosine.mean()),
        "cosine_early": float(cosine[:, 0].mean()),
        "cosine_late": float(cosine[:, -1].mean()),
        "agreement": _agreement(critic, recorded),
        "look_ahead": _look_ahead(config, dataset, critic, recorded),
        "parameters": float(sum(parameter.numel() for parameter in critic.parameters())),
        "ms_per_instruction": _milliseconds(critic, recorded),
        "operations_per_instruction": _operations(critic, recorded),
    }


def _values(critic: Critic, observations: np.ndarray) -> np.ndarray:
    found = []
    for run in observations:
        flat = torch.from_numpy(run.astype(np.float32))
        with torch.no_grad():
            found.append(critic.value(unflatten(flat[:, :-1], critic.home.target.shapes), flat[:, -1]).double().numpy())
    return np.stack(found)


def _cosines(critic: Critic, recorded: Recorded) -> np.ndarray:
    """(held-out runs, POINTS)."""
    found = []
    for flat, progress in points_of(recorded):
        own = value_gradients(critic, unflatten(flat, critic.home.target.shapes), progress).gradients
        found.append(torch.cat([gradient.flatten(1) for gradient in own], 1))
    wanted = -torch.from_numpy(recorded.gradients)
    return torch.nn.functional.cosine_similarity(torch.cat(found), wanted).view(-1, POINTS).double().numpy()


def _agreement(critic: Critic, recorded: Recorded) -> float:
    found = []
    for flat, progress in points_of(recorded):
        parameters = unflatten(flat, critic.home.target.shapes)
        own = instructions(critic, parameters, progress, None, critic.home.learning_rate).instruction
        found.append(torch.cat([tensor.flatten(1) for tensor in own], 1))
    wanted = -torch.from_numpy(recorded.costates)
    return _number(float(torch.nn.functional.cosine_similarity(torch.cat(found), wanted).mean()), 0.0)


def _look_ahead(config: Config, dataset: Dataset, critic: Critic, recorded: Recorded) -> float:
    """Of the middle checkpoints of at most eight held-out runs; 0 where the instruction does nothing."""
    points = points_of(recorded)[:: max(1, len(recorded.loss) // HELD_OUT // 8)][:8]
    middle = POINTS // 2
    flat = torch.stack([parameters[middle] for parameters, _ in points])
    at = round(float(points[0][1][middle]) * config.training.steps) // config.rl.period * config.rl.period
    losses = []
    for rule in (Backprop(), Instruct(critic, config.training.steps, config.training.learning_rate)):
        target = target_of(config, dataset)
        population = Population(target, unflatten(flat, target.shapes), "sgd", config.training.learning_rate)
        population.step = at
        seeds = [stream(config.seed, "look-ahead", number) for number in range(len(flat))]
        batches = Batches(*dataset.tensors("train"), config.training.batch_size, seeds, True)
        advance(population, rule, rule.init(population), batches, LOOK_AHEAD)
        losses.append(population.evaluate(*selection_data(config, dataset)).loss.clamp_max(1e3).mean().item())
    return (losses[0] - losses[1]) / max(losses[0], 1e-6)


def _milliseconds(critic: Critic, recorded: Recorded) -> float:
    """Of the processor, per instruction of one member of eight: the smallest of five (others share the cores)."""
    times = []
    for _ in range(6):
        started = time.thread_time()
        members = _read_once(critic, recorded)
        times.append(1000 * (time.thread_time() - started) / members)
    return min(times[1:])


class _Counted(TorchDispatchMode):
    """Counts tensor operations and the elements that they write."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        self.elements += result.numel() if isinstance(result, Tensor) else 0
        return result


def _operations(critic: Critic, recorded: Recorded) -> float:
    """Multiplications and additions of products, four for each element written, 20,000 for each call (about 5 µs)."""
    with FlopCounterMode(display=False) as flops, _Counted() as counted:
        members = _read_once(critic, recorded)
    return (flops.get_total_flops() + 4 * counted.elements + 20_000 * counted.calls) / members


def _read_once(critic: Critic, recorded: Recorded) -> int:
    """Instruct eight members once."""
    flat = torch.from_numpy(recorded.observations[:8, -1, :-1].astype(np.float32))
    instructions(critic, unflatten(flat, critic.home.target.shapes), torch.ones(len(flat)), None, critic.home.learning_rate)
    return len(flat)


def _number(value: float, otherwise: float) -> float:
    return value if np.isfinite(value) else otherwise
