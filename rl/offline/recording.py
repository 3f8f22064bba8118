"""Recording populations once for all candidates, with what candidates are measured by.

Letters: P members, N parameters of a target, K points of held-out runs.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.config import Config, coarsened
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.results.checkpoints import read_checkpoint, write_checkpoint
from pipeline.results.origin import Origin, judged_from
from pipeline.seeding import numpy_stream, stream
from pipeline.setting import selection_data, target_of
from pipeline.targets import Batches, Population, unflatten
from rl.critics import first_critic
from rl.descent import Descent
from rl.env import TrainingRunEnv
from rl.offline.gains import instruct_targets
from rl.offline.learning import Learning
from rl.offline.recorded import Recorded, points_of
from rl.roles import levels_of
from rl.unrolled.costates import log_loss_costate, shorten


def record(config: Config, dataset: Dataset, folder: Path, rounds: int, targets: int, updates: int) -> Recorded:
    """As :func:`record_rounds`, with all that candidates are measured by; train ``targets`` fresh targets conventionally. What
    ``folder`` holds is read."""
    path, far, coarse = folder / "conventional.safetensors", folder / "costates.safetensors", coarsened(config)
    origin = judged_from(config, dataset)
    read = record_rounds(config, dataset, folder, rounds, updates, origin)
    if not path.exists():
        accuracy = torch.tensor(instruct_targets(config, dataset, None, targets))
        found = {"accuracy": accuracy, "gradients": validation_gradients(coarse, dataset, read)}
        write_checkpoint(path, found, origin)
    if not far.exists():
        write_checkpoint(far, {"costates": costates_of(coarse, dataset, read)}, origin)
    tensors = read_checkpoint(path, origin) | read_checkpoint(far, origin)
    found = {name: tensors[name].numpy() for name in ("gradients", "costates")}
    return dataclasses.replace(read, **found, conventional=tensors["accuracy"].numpy())


def record_rounds(
    config: Config, dataset: Dataset, folder: Path, rounds: int, updates: int, origin: Origin | None = None
) -> Recorded:
    """Record ``rounds`` populations of ``rl.members``, each under the ENN that those before it teach by ``updates`` gradient
    steps, or under that of ``unroll.start``. They depend on ``config`` and the data alone; what ``folder`` holds is read.

    Raises:
        UserError: it holds what was not made from ``origin``.
    """
    torch.set_num_threads(1)
    config = coarsened(config)
    for number in range(rounds):
        file = folder / f"round-{number:03d}.safetensors"
        if not file.exists():
            critic = first_critic(config, dataset)
            if number and not config.unroll.start:
                critic = _learned(config, critic, _read(folder, number, origin), updates)
            write_checkpoint(file, play_round(config, dataset, critic, number), origin)
    return _read(folder, rounds, origin)


def _read(folder: Path, rounds: int, origin: Origin | None) -> Recorded:
    parts = [read_checkpoint(folder / f"round-{number:03d}.safetensors", origin) for number in range(rounds)]
    names = ("observations", "strengths", "loss", "accuracy")
    arrays = {name: np.concatenate([part[name].numpy() for part in parts]) for name in names}
    return Recorded(**arrays, gradients=np.empty(0), costates=np.empty(0), conventional=np.empty(0))


def play_round(config: Config, dataset: Dataset, critic: Critic, number: int) -> dict[str, Tensor]:
    """One population of ``rl.members`` under ``critic``, half of it at a level of λ each, half at random ones."""
    env, levels = TrainingRunEnv(config, dataset, config.rl.members), len(config.instruction.ladder)
    env.critic_source = lambda: critic
    env.start_round(number)
    observations, member = [env.reset()[0]], torch.arange(env.num_envs)
    evaluations, strengths = [env.population.evaluate(*env.score_data)], []
    draws = numpy_stream(config.seed, "recorded actions", number)
    while not env.finished:
        random = torch.from_numpy(draws.integers(levels, size=env.num_envs))
        actions = levels_of(member, levels, random)
        observations.append(env.step(actions.numpy())[0])
        evaluations.append(env.population.evaluate(*env.score_data))
        strengths.append(env.ladder[actions])
    return {
        "observations": torch.from_numpy(np.stack(observations, 1)).half(),
        "strengths": torch.stack(strengths, 1),
        "loss": torch.stack([evaluation.loss.clamp_max(1e6) for evaluation in evaluations], 1),
        "accuracy": torch.stack([evaluation.accuracy for evaluation in evaluations], 1),
    }


def _learned(config: Config, critic: Critic, recorded: Recorded, updates: int) -> Critic:
    learning = Learning(config, critic, recorded, np.ones(len(recorded.loss), bool))
    learning.advance(updates)
    return learning.critic.eval().requires_grad_(False)


def validation_gradients(config: Config, dataset: Dataset, recorded: Recorded) -> Tensor:
    x, y = selection_data(config, dataset)
    found = []
    for flat, _ in points_of(recorded):
        population = Population(target_of(config, dataset), unflatten(flat, target_of(config, dataset).shapes))
        gradients = population.grads(x.expand(len(flat), *x.shape), y.expand(len(flat), -1))
        found.append(torch.cat([gradient.flatten(1) for gradient in gradients], 1).clone())
    return torch.cat(found)


def costates_of(config: Config, dataset: Dataset, recorded: Recorded) -> Tensor:
    """What a push at each checkpoint does to the end of its run (:mod:`rl.unrolled`): (K, N)."""
    training, target, found = config.training, target_of(config, dataset), []
    x, y = selection_data(config, dataset)
    for number, (flat, progress) in enumerate(points_of(recorded)):
        batches = Batches(*dataset.tensors("train"), training.batch_size, [stream(config.seed, "costates", number)], True)
        population = Population(target, unflatten(flat, target.shapes))
        descent, path = Descent(training, population.parameters), []
        first = (progress * training.steps).round().int()
        for step in range(int(training.steps - first.min())):
            ages = (first + step).clamp_max(training.steps)
            rate = descent.rates(ages.tolist()) * (ages < training.steps)
            batch, here = batches(step), [parameter.clone() for parameter in population.parameters]
            gradients = population.grads(*batch)
            path.append((here, batch, descent.step(population.parameters, gradients, rate, ages.tolist())))
        costate = log_loss_costate(population, (x.expand(len(flat), *x.shape), y.expand(len(flat), -1)))
        for here, batch, taken in reversed(path):
            descent.back(costate, taken, functools.partial(population.tangent, *batch, at=here))
            shorten(costate, config.unroll.largest_costate)
        found.append(torch.cat([own.flatten(1) for own in costate.parameters], 1))
    return torch.cat(found)
