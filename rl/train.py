"""Training an ENN: rounds of collecting runs under the current ENN and learning from all of them, with RLlib's DQN.

Everything random in a round depends on (seed, round) alone, and everything else that a round needs (the critics, their target
copies, the optimiser, the recordings) is written after it, atomically. So a training that was killed continues with the round
that it was in and ends with the same numbers.
"""

import copy
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import ray
import torch
from ray import tune
from ray.rllib.algorithms.dqn import DQN, DQNConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_UPDATE_TIMER,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)
from scipy.stats import kendalltau

from pipeline.compare.folder import RECORDED, made_by
from pipeline.config import Config, coarsened, to_dotted
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic, load_critic, save_critic
from pipeline.errors import UserError
from pipeline.files import read_tensors, write_json
from pipeline.instruction.loop import returns
from pipeline.results.checkpoints import read_checkpoint, read_history, write_checkpoint
from pipeline.results.origin import Origin, distinct, learned_from, tuned_from
from pipeline.seeding import numpy_stream, stream
from pipeline.setting import home_of, target_of
from pipeline.targets import unflatten
from rl.candidates import at_home, first_critic, learn_from_recordings
from rl.env import TrainingRunEnv
from rl.module import CriticLearner, CriticModule, fixed_level
from rl.replay import Recording
from rl.state import load_optimiser, optimiser_tensors
from rl.unrolled import fine_tune

ENVIRONMENT = "grad-instructor/training-run"
MODULE = "default_policy"
ATTEMPTS = 4
"""how often an env runner may die in one round before that is taken to be the round's fault"""
RESTART = 300.0
"""seconds in which Ray must have restarted an env runner"""


def train_enn(
    config: Config,
    dataset: Dataset,
    folder: Path,
    on_round: Callable[[dict[str, Any]], None] | None = None,
    device: str = "cpu",
    gpus: float = 0.0,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train the ENNs of ``config`` and export each to ``folder``/enn*.safetensors; return the history and the files.

    Continues where an earlier call in the same folder stopped; returns at once where it had finished. Ray must be running.

    Args:
        on_round: called after every round with its row of the history (also for rounds that were done earlier).
        device: of the environment and learner in this process.
        gpus: GPUs per env runner, where the runs are collected in processes of their own.
        provenance: command, commit and date, which the results carry.

    Raises:
        UserError: what ``folder`` holds was made from other data, settings or ENNs.
    """
    origin = learned_from(config, dataset, provenance)
    if config.unroll.start:
        return _start_from(config, dataset, folder, origin)
    if not config.rl.rounds:
        return _from_recordings(config, dataset, folder, origin)
    real, config, training = config, coarsened(config), folder / "training"
    history = read_history(training / "history.json", origin)
    for row in history:
        if on_round:
            on_round(row)
    if len(history) < config.rl.rounds or not (folder / enn_file(config, config.enn.readers[0])).exists():
        algorithm = build(config, dataset, device, gpus)
        try:
            restore(algorithm, training, len(history), origin)
            for number in range(len(history), config.rl.rounds):
                history.append(play_round(algorithm, config, training, number, origin))
                write_json(training / "history.json", history)
                if on_round:
                    on_round(history[-1])
            export(algorithm, real, folder, history, origin)
        finally:
            algorithm.stop()
    files = {name: f"{enn_file(config, name)}" for name in config.enn.readers}
    return {"history": history, "files": files}


def _start_from(config: Config, dataset: Dataset, folder: Path, origin: Origin) -> dict[str, Any]:
    """The ENN that ``unroll.start`` names, as if RL had trained it."""
    reader, file = config.enn.readers[0], folder / enn_file(config, config.enn.readers[0])
    if not file.exists():
        critic = first_critic(config, dataset)
        write_json(folder / "training" / "history.json", [])
        save_critic(critic, file, {"settings": to_dotted(config), "start": config.unroll.start} | _card(origin, []))
    return {"history": [], "files": {reader: file.name}}


def _from_recordings(config: Config, dataset: Dataset, folder: Path, origin: Origin) -> dict[str, Any]:
    """The ENNs that learn from recorded populations, one reader after the other; the instructing one last, as everywhere."""
    for reader in reversed(config.enn.readers):
        file = folder / enn_file(config, reader)
        if not file.exists():
            critic = learn_from_recordings(config, dataset, reader, folder / "training" / RECORDED, origin)
            card = {"settings": to_dotted(config), "instructs": reader == config.enn.readers[0]} | _card(origin, [])
            save_critic(at_home(critic, config), file, card)
    write_json(folder / "training" / "history.json", [])
    return {"history": [], "files": {reader: enn_file(config, reader) for reader in config.enn.readers}}


def enn_file(config: Config, reader: str) -> str:
    """The file name of an ENN that RL trained: the instructing one is ``enn.safetensors``, or, if it is fine-tuned afterwards,
    ``enn-before.safetensors``."""
    if reader != config.enn.readers[0]:
        return f"enn-{reader}.safetensors"
    return "enn-before.safetensors" if config.unroll.segments else "enn.safetensors"


def fine_tune_enn(
    config: Config,
    dataset: Dataset,
    folder: Path,
    on_segment: Callable[[dict[str, Any]], None] | None = None,
    device: str = "cpu",
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fine-tune the instructing ENN of ``folder`` (see :mod:`rl.unrolled`); the history and the file that was written."""
    if device == "cpu":
        torch.set_num_threads(1)  # sums depend on their number, and a search judges with one
    path, tuned = folder / enn_file(config, config.enn.readers[0]), folder / "enn.safetensors"
    if tuned.exists() and not (folder / "training" / "unrolled.json").exists():
        return {"history": [], "file": tuned.name}  # it was done, and populations know this ENN: it is not made anew
    before = load_critic(path)
    origin = tuned_from(config, dataset, before, provenance)
    critic, history = fine_tune(coarsened(config), dataset, before, folder / "training", on_segment, device, origin)
    card = {"settings": to_dotted(config), "rounds": config.rl.rounds, "segments": len(history) and history[-1]["segment"]}
    card |= {"error": history[-1]["error"], "instructs": True} | _card(origin, history)
    card["provenance"] = distinct([*made_by(path), *card["provenance"]])
    save_critic(at_home(critic, config), tuned, card)
    return {"history": history, "file": tuned.name}


def _card(origin: Origin, history: list[dict[str, Any]]) -> dict[str, Any]:
    """What an ENN was made from, and the commands and commits that had a part in it."""
    made_by = [row.get("provenance", {}) for row in history]
    return {"origin": origin.as_json(), "provenance": distinct(made_by or [origin.provenance])}


def play_round(
    algorithm: "ENNTraining", config: Config, training: Path, number: int, origin: Origin | None = None
) -> dict[str, Any]:
    """Collect, learn, record, checkpoint; the row of the history."""
    started = time.perf_counter()
    algorithm.local_replay_buffer.start_round(stream(config.seed, "replay", number))
    algorithm.round = config.seed, number
    before = {name: _copy(critic) for name, critic in _critics(algorithm).items()}
    algorithm.train()
    recording = algorithm.local_replay_buffer.recordings[-1]
    write_checkpoint(training / f"round-{number:03d}.safetensors", recording.tensors(), origin)
    row: dict[str, Any] = {"round": number, "env_steps": int(recording.actions.size) * (number + 1)}
    row |= judge(before, recording, config) | {"seconds": time.perf_counter() - started} | (origin.row() if origin else {})
    checkpoint(algorithm, training, number + 1, origin)
    return row


def judge(critics: dict[str, Critic], recording: Recording, config: Config) -> dict[str, Any]:
    """How the ENNs did on runs that they had not been trained on: the score by λ, and how far Q of the level that was played is
    off the return that came true (root mean square) and ranks it (τ). V is the greedy policy's, and most runs are not."""
    scores = final_scores(recording, config.rl.gamma)
    member = torch.arange(len(scores)) % config.rl.members
    levels = fixed_level(member, len(config.instruction.ladder)).numpy()
    fixed, small = member.numpy() % 2 == 0, member.numpy() % 4 < 2
    row: dict[str, Any] = {}
    for start, chosen in (("small", small), ("he", ~small)):
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


# -- building ----------------------------------------------------------------------------------------------------------


class ENNTraining(DQN):
    """DQN whose iteration is one round: whole runs of every member, then ``updates`` gradient steps on all that is replayed."""

    # RLlib declares these as one of several kinds, or none
    config: Any
    env_runner_group: Any
    learner_group: Any
    local_replay_buffer: Any
    round: tuple[int, int] = (0, 0)
    """the seed, and the number of the round that is played"""

    def training_step(self) -> None:
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            played = self._collect()
        self.metrics.aggregate([metrics for _, metrics in played], key=ENV_RUNNER_RESULTS)
        self.local_replay_buffer.add([episode for episodes, _ in played for episode in episodes])
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            for _ in range(self.config.learner_config_dict["updates"]):
                self._learn()
        self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group, inference_only=True)

    def _collect(self) -> list[tuple[list[SingleAgentEpisode], Any]]:
        """Each env runner's runs of this round and its metrics. One that dies is restarted and plays the same runs.

        (RLlib's own sampling leaves out what a dead env runner should have played, and a restarted one has no seed.)
        """
        group, play = self.env_runner_group, functools.partial(_play, round=self.round)
        if not group.num_remote_workers():
            return [play(group.local_env_runner)[1]]
        played: dict[int, tuple[list[SingleAgentEpisode], Any]] = {}
        wanted, deaths = set(group._worker_manager.actor_ids()), 0
        torch.set_num_threads(1)
        while missing := sorted(wanted - played.keys()):
            played |= dict(group.foreach_env_runner(play, local_env_runner=False, remote_worker_ids=missing))
            deaths += not wanted <= played.keys()
            if deaths >= ATTEMPTS:
                raise RuntimeError(f"env runners died {deaths} times in round {self.round[1]}")
            if deaths and not wanted <= played.keys():
                self._revive(sorted(wanted - played.keys()))
        return [played[index] for index in sorted(played)]

    def _revive(self, dead: list[int]) -> None:
        """Wait until Ray has restarted env runners, and give them the ENNs as they are."""
        deadline = time.monotonic() + RESTART
        while not set(dead) <= set(self.env_runner_group.healthy_env_runner_ids()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"env runners {dead} were not restarted within {RESTART:.0f} s")
            self.restore_env_runners(self.env_runner_group)
            time.sleep(0.2)
        weights = {name: t.cpu() for name, t in _module(self).critics.state_dict().items()}
        self.env_runner_group.foreach_env_runner(
            functools.partial(_load_critics, weights=weights), local_env_runner=False, remote_worker_ids=dead
        )

    def _learn(self) -> None:
        size = self.config.total_train_batch_size
        columns = self.local_replay_buffer.sample(size, n_step=self.config.n_step, gamma=self.config.gamma)
        batch = SampleBatch({name: torch.from_numpy(values) for name, values in columns.items()})
        steps: dict[str, Any] = dict.fromkeys((NUM_ENV_STEPS_SAMPLED_LIFETIME, NUM_AGENT_STEPS_SAMPLED_LIFETIME), 0)
        self.learner_group.update(batch=MultiAgentBatch({MODULE: batch}, env_steps=size), timesteps=steps)


def build(config: Config, dataset: Dataset, device: str = "cpu", gpus: float = 0.0) -> ENNTraining:
    """RLlib's DQN around the environment and the critics."""
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    decisions = config.training.steps // config.rl.period
    data = ray.put(dataset)
    tune.register_env(ENVIRONMENT, functools.partial(_make_env, config=config, data=data, device=device))
    settings = (
        DQNConfig(algo_class=ENNTraining)
        .environment(ENVIRONMENT, disable_env_checking=True)
        .env_runners(
            num_env_runners=config.rl.env_runners,
            num_envs_per_env_runner=config.rl.members,
            gym_env_vectorize_mode="vector_entry_point",
            batch_mode="complete_episodes",
            rollout_fragment_length=max(decisions, config.rl.n_step),
            num_gpus_per_env_runner=gpus if config.rl.env_runners else 0,
            sample_timeout_s=24 * 3600,
        )
        .learners(num_learners=0, num_gpus_per_learner=1 if device != "cpu" else 0)
        .training(
            lr=config.rl.learning_rate,
            gamma=config.rl.gamma,
            train_batch_size_per_learner=config.rl.batch_size,
            n_step=config.rl.n_step,
            tau=config.rl.tau,
            target_network_update_freq=0,
            double_q=True,
            dueling=True,
            num_atoms=1,
            td_error_loss_fn="mse",
            grad_clip=None,  # it would couple the critics by their common norm
            epsilon=config.rl.epsilon,
            learner_config_dict={"updates": config.rl.updates},
            learner_class=CriticLearner,
            num_steps_sampled_before_learning_starts=0,
            replay_buffer_config={
                "type": "rl.replay.RecordingEpisodeReplayBuffer",
                "capacity": config.rl.replay * max(1, config.rl.env_runners),
            },
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=CriticModule, model_config=_module_settings(config, dataset)))
        .callbacks(on_environment_created=_give_live_critic)
        .fault_tolerance(restart_failed_env_runners=True)
        .reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=0, min_train_timesteps_per_iteration=0)
        .debugging(seed=stream(config.seed, "rllib") % 2**31, log_level="ERROR")
    )
    return cast(ENNTraining, settings.build_algo())


def _make_env(context: Any, config: Config, data: Any, device: str) -> TrainingRunEnv:
    dataset = cast(Dataset, ray.get(data))
    return TrainingRunEnv(config, dataset, config.rl.members, getattr(context, "worker_index", 0), device)


def _give_live_critic(*, env_runner: Any, env: TrainingRunEnv, env_context: Any, **_: Any) -> None:
    env.worker = env_context.worker_index
    env.critic_source = lambda: env_runner.module.critic


def _play(env_runner: Any, round: tuple[int, int]) -> tuple[int, tuple[list[SingleAgentEpisode], Any]]:
    """An env runner's index, its runs of a round, and its metrics: they depend on the seed, the round and the index alone."""
    seed, number = round
    torch.set_num_threads(1)
    env_runner.env.unwrapped.start_round(number)
    torch.manual_seed(stream(seed, "exploration", number, env_runner.worker_index or 0))
    return env_runner.worker_index or 0, (env_runner.sample(), env_runner.get_metrics())


def _module_settings(config: Config, dataset: Dataset) -> dict[str, Any]:
    chosen = numpy_stream(config.seed, "probes").choice(len(dataset.x_train), config.enn.probes)
    return {
        "config": to_dotted(config),
        "home": dataclasses.asdict(home_of(config, target_of(config, dataset))),
        "seed": stream(config.seed, "initial ENN"),
        "probes": np.array(dataset.x_train[chosen]),
    }


# -- state -------------------------------------------------------------------------------------------------------------


def _learner(algorithm: "ENNTraining") -> Any:
    return algorithm.learner_group._learner


def _module(algorithm: "ENNTraining") -> CriticModule:
    return _learner(algorithm).module[MODULE].unwrapped()


def _critics(algorithm: "ENNTraining") -> dict[str, Critic]:
    return {name: cast(Critic, critic) for name, critic in _module(algorithm).critics.items()}


def _copy(critic: Critic) -> Critic:
    """On the CPU, without drawing a random number: exploration must not depend on how many critics there are."""
    return copy.deepcopy(critic).cpu().eval().requires_grad_(False)


def checkpoint(algorithm: "ENNTraining", training: Path, rounds: int, origin: Origin | None = None) -> None:
    """Critics, their target copies and the optimiser after ``rounds`` rounds, without pickle."""
    tensors = {f"module/{name}": tensor for name, tensor in _module(algorithm).state_dict().items()}
    (optimiser,) = [optimiser for _, optimiser in _learner(algorithm).get_optimizers_for_module(MODULE)]
    tensors |= optimiser_tensors(optimiser)
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    write_checkpoint(training / f"state-{rounds:03d}.safetensors", tensors, origin)
    (training / f"state-{rounds - 2:03d}.safetensors").unlink(missing_ok=True)


def restore(algorithm: "ENNTraining", training: Path, rounds: int, origin: Origin | None = None) -> None:
    """Make a fresh algorithm what the one was that had played ``rounds`` rounds in ``training``."""
    for number in range(rounds):
        algorithm.local_replay_buffer.keep(Recording.of(read_checkpoint(training / f"round-{number:03d}.safetensors", origin)))
    if rounds:
        tensors = read_checkpoint(training / f"state-{rounds:03d}.safetensors", origin)
        module = {name.removeprefix("module/"): t for name, t in tensors.items() if name.startswith("module/")}
        _module(algorithm).load_state_dict(module)  # strict, unlike RLlib's set_state
        _load_optimiser(algorithm, tensors)
    weights = {name: t.cpu() for name, t in _module(algorithm).critics.state_dict().items()}
    algorithm.env_runner_group.foreach_env_runner(functools.partial(_load_critics, weights=weights))


def _load_critics(env_runner: Any, weights: dict[str, torch.Tensor]) -> None:
    if env_runner.module is not None:
        env_runner.module.critics.load_state_dict(weights)


def _load_optimiser(algorithm: "ENNTraining", tensors: dict[str, torch.Tensor]) -> None:
    (optimiser,) = [optimiser for _, optimiser in _learner(algorithm).get_optimizers_for_module(MODULE)]
    load_optimiser(optimiser, tensors)


def export(algorithm: "ENNTraining", config: Config, folder: Path, history: list[dict[str, Any]], origin: Origin) -> None:
    """Each ENN as safetensors + JSON; the instructing one last, so that its presence means that all are there."""
    for name, critic in reversed(_critics(algorithm).items()):
        card = {
            "settings": to_dotted(config),
            "rounds": len(history),
            "error": history[-1][f"error/{name}"],
            "kendall": history[-1][f"kendall/{name}"],
            "instructs": name == config.enn.readers[0],
            **_card(origin, history),
        }
        save_critic(at_home(critic, config), folder / enn_file(config, name), card)


def recordings(folder: Path) -> list[Recording]:
    """All rounds recorded in a run's folder, in order.

    Raises:
        UserError: there is none, or a file is damaged.
    """
    files = sorted((folder / "training").glob("round-*.safetensors"))
    if not files:
        raise UserError(f"{folder} holds no recorded runs; train an ENN there first with `grad-instructor train-enn`.")
    return [Recording.of(read_tensors(file)) for file in files]
