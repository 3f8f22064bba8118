"""One round of an ENN's training: collect, learn, record, checkpoint; and how well it went.

Letters: E episodes (members × rounds), T decisions in a run.
"""

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from pipeline.config import Config
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.files import read_tensors
from pipeline.instruction.loop import returns
from pipeline.results.checkpoints import read_checkpoint, write_checkpoint
from pipeline.results.origin import Origin
from pipeline.seeding import stream
from pipeline.targets import unflatten
from rl.algorithm import MODULE, ENNTraining, critics_of, learner_of, load_critics, module_of
from rl.critics import frozen_copy
from rl.replay import Recording
from rl.roles import STARTS, collected_from_he, fixed_level, keeps_level
from rl.state import load_optimiser, optimiser_tensors


def play_round(
    algorithm: ENNTraining, config: Config, training: Path, number: int, origin: Origin | None = None
) -> dict[str, Any]:
    """Collect, learn, record, checkpoint; the row of the history."""
    started = time.perf_counter()
    algorithm.local_replay_buffer.start_round(stream(config.seed, "replay", number))
    algorithm.round = config.seed, number
    before = {name: frozen_copy(critic) for name, critic in critics_of(algorithm).items()}
    algorithm.train()
    recording = algorithm.local_replay_buffer.recordings[-1]
    write_checkpoint(recorded_in(training, number), recording.tensors(), origin)
    row: dict[str, Any] = {"round": number, "env_steps": int(recording.actions.size) * (number + 1)}
    row |= judge(before, recording, config) | {"seconds": time.perf_counter() - started} | (origin.row() if origin else {})
    checkpoint(algorithm, training, number + 1, origin)
    return row


def judge(critics: dict[str, Critic], recording: Recording, config: Config) -> dict[str, Any]:
    """How the ENNs did on runs that they had not been trained on: the score by λ, and how far Q of the level that was played is
    off the return that came true (root mean square) and ranks it (τ). V is of runs that
    are greedy in every n-th period, and most are not."""
    scores = final_scores(recording, config.rl.gamma)
    member = torch.arange(len(scores)) % config.rl.members
    levels = fixed_level(member, len(config.instruction.ladder)).numpy()
    fixed, he = keeps_level(member).numpy(), collected_from_he(member).numpy()
    row: dict[str, Any] = {}
    for start, chosen in zip(STARTS, (~he, he), strict=True):
        groups = {f"{strength:g}": fixed & (levels == level) for level, strength in enumerate(config.instruction.ladder)}
        for name, group in (groups | {"policy": ~fixed}).items():
            if (group & chosen).any():
                row[f"score/{start}/{name}"] = float(scores[group & chosen].mean())
    realised = realised_returns(recording, config.rl.gamma)
    for name, critic in critics.items():
        predicted = predictions(critic, recording)
        points = np.linspace(0, predicted.shape[1] - 1, min(12, predicted.shape[1])).round().astype(int)
        row[f"error/{name}"] = float(np.sqrt(np.mean((predicted - realised) ** 2)))
        row[f"kendall/{name}"] = _kendall(predicted[:, points].ravel(), realised[:, points].ravel())
    return row


def _kendall(predicted: np.ndarray, realised: np.ndarray) -> float:
    correlation: Any = kendalltau(predicted, realised)
    return float(correlation.statistic)


def final_scores(recording: Recording, gamma: float) -> np.ndarray:
    """The score at the end of each run, (E,): the last reward is (1 − γ) s + γ s = s."""
    return recording.rewards[:, -1]


def realised_returns(recording: Recording, gamma: float) -> np.ndarray:
    """The return from each decision, (E, T), which is what V predicts."""
    scores = recording.rewards.T.astype(np.float64) / (1 - gamma)
    scores[-1] *= 1 - gamma
    return returns(np.concatenate([scores[:1], scores]), gamma)[:-1].T


def predictions(critic: Critic, recording: Recording) -> np.ndarray:
    """Q of the critic at every decision of every run for the level that was played, (E, T)."""
    values = []
    for run, actions in zip(recording.observations, recording.actions, strict=True):
        flat = torch.from_numpy(run[:-1].astype(np.float32))
        with torch.no_grad():
            q = critic.q_values(unflatten(flat[:, :-1], critic.home.target.shapes), flat[:, -1])
        values.append(q[torch.arange(len(actions)), torch.from_numpy(actions)].numpy())
    return np.stack(values)


# -- state -------------------------------------------------------------------------------------------------------------


def recorded_in(training: Path, number: int) -> Path:
    """The file of the runs that a round has collected."""
    return training / f"round-{number:03d}.safetensors"


def checkpoints(training: Path, rounds: int) -> list[Path]:
    """What a training goes on from after so many rounds: all their runs, and last the state."""
    return [*(recorded_in(training, number) for number in range(rounds)), state_after(training, rounds)]


def state_after(training: Path, rounds: int) -> Path:
    """The file of the critics, their target copies and the optimiser after so many rounds."""
    return training / f"state-{rounds:03d}.safetensors"


def checkpoint(algorithm: ENNTraining, training: Path, rounds: int, origin: Origin | None = None) -> None:
    """Critics, their target copies and the optimiser after ``rounds`` rounds, without pickle."""
    tensors = {f"module/{name}": tensor for name, tensor in module_of(algorithm).state_dict().items()}
    tensors |= optimiser_tensors(_optimiser(algorithm))
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    write_checkpoint(state_after(training, rounds), tensors, origin)
    state_after(training, rounds - 2).unlink(missing_ok=True)


def restore(algorithm: ENNTraining, training: Path, rounds: int, origin: Origin | None = None) -> None:
    """Make a fresh algorithm what the one was that had played ``rounds`` rounds in ``training``."""
    if rounds:
        *recorded, state = checkpoints(training, rounds)
        for path in recorded:
            algorithm.local_replay_buffer.keep(Recording.of(read_checkpoint(path, origin)))
        tensors = read_checkpoint(state, origin)
        module = {name.removeprefix("module/"): t for name, t in tensors.items() if name.startswith("module/")}
        module_of(algorithm).load_state_dict(module)  # strict, unlike RLlib's set_state
        load_optimiser(_optimiser(algorithm), tensors)
    weights = {name: t.cpu() for name, t in module_of(algorithm).critics.state_dict().items()}
    algorithm.env_runner_group.foreach_env_runner(functools.partial(load_critics, weights=weights))


def _optimiser(algorithm: ENNTraining) -> torch.optim.Optimizer:
    (optimiser,) = [optimiser for _, optimiser in learner_of(algorithm).get_optimizers_for_module(MODULE)]
    return optimiser


def recordings(folder: Path) -> list[Recording]:
    """All rounds recorded in a run's folder, in order.

    Raises:
        UserError: there is none, or a file is damaged.
    """
    files = sorted((folder / "training").glob("round-*.safetensors"))
    if not files:
        raise UserError(f"{folder} holds no recorded runs; train an ENN there first with `grad-instructor train-enn`.")
    return [Recording.of(read_tensors(file)) for file in files]
