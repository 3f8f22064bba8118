"""RLlib's DQN around the environment and the critics: one iteration is one round, and a dead env runner plays it again."""

import dataclasses
import functools
import logging
import shutil
import tempfile
import time
from typing import Any, cast

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

from pipeline.config import Config, to_dotted
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.seeding import stream
from pipeline.setting import home_of, target_of
from rl.critics import beginning
from rl.env import TrainingRunEnv
from rl.module import CriticLearner, CriticModule

ENVIRONMENT = "grad-instructor/training-run"
MODULE = "default_policy"
ATTEMPTS = 4
"""how often an env runner may die in one round before that is taken to be the round's fault"""
RESTART = 300.0
"""seconds in which Ray must have restarted an env runner"""


class ENNTraining(DQN):
    """DQN whose iteration is one round: whole runs of every member, then ``updates`` gradient steps on all that is replayed."""

    # RLlib declares these as one of several kinds, or none
    config: Any
    env_runner_group: Any
    learner_group: Any
    local_replay_buffer: Any
    round: tuple[int, int] = (0, 0)
    """the seed, and the number of the round that is played"""

    def _setup_logdir(self) -> None:
        """RLlib logs nothing here. Its folder is an empty one of this user's own, and not in ~/ray_results, which it would make
        for all to write to."""
        self._logdir = tempfile.mkdtemp(prefix="grad-instructor-")

    def cleanup(self) -> None:
        super().cleanup()
        shutil.rmtree(self._logdir, ignore_errors=True)

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
        weights = {name: t.cpu() for name, t in module_of(self).critics.state_dict().items()}
        self.env_runner_group.foreach_env_runner(
            functools.partial(load_critics, weights=weights), local_env_runner=False, remote_worker_ids=dead
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
        .rl_module(rl_module_spec=RLModuleSpec(module_class=CriticModule, model_config=module_settings(config, dataset)))
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


def module_settings(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What :class:`rl.module.CriticModule` is built from, in another process as well."""
    home = dataclasses.asdict(home_of(config, target_of(config, dataset)))
    return {"config": to_dotted(config), "home": home, **beginning(config, dataset)}


def learner_of(algorithm: ENNTraining) -> Any:
    return algorithm.learner_group._learner


def module_of(algorithm: ENNTraining) -> CriticModule:
    return learner_of(algorithm).module[MODULE].unwrapped()


def critics_of(algorithm: ENNTraining) -> dict[str, Critic]:
    return {name: cast(Critic, critic) for name, critic in module_of(algorithm).critics.items()}


def load_critics(env_runner: Any, weights: dict[str, torch.Tensor]) -> None:
    if env_runner.module is not None:
        env_runner.module.critics.load_state_dict(weights)
