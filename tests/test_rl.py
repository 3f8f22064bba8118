"""The environment, the module, replay and the training, against slow references and against interruption."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core.columns import Columns
from scipy.stats import kendalltau
from torch.nn import functional as F

import rl.train
from pipeline.enn import Critic
from pipeline.files import read_json, read_tensors, write_json, write_tensors
from pipeline.instruction import Backprop, Instruct
from pipeline.instruction.loop import advance
from pipeline.seeding import stream
from pipeline.setting import home_of, target_of
from pipeline.targets import Batches, Population, initialise, unflatten
from rl.algorithm import MODULE, ENNTraining, build, critics_of, module_of
from rl.env import TrainingRunEnv
from rl.module import OBSERVERS, double_q_loss
from rl.replay import Recording, RecordingEpisodeReplayBuffer, _transitions
from rl.roles import fixed_level
from rl.rounds import judge, predictions, realised_returns, recordings, restore
from rl.train import train_enn

LEVELS = 4


def with_rl(config, **values):
    return dataclasses.replace(config, rl=dataclasses.replace(config.rl, **values))


def decisions(config):
    return config.training.steps // config.rl.period


def new_critic(config, dataset, reader="probes", seed=5):
    torch.manual_seed(seed)
    return Critic(reader, config.enn, home_of(config, target_of(config, dataset)))


def new_env(config, dataset, worker=0, critic=None):
    env = TrainingRunEnv(config, dataset, config.rl.members, worker)
    critic = critic or new_critic(config, dataset)
    env.critic_source = lambda: critic
    return env


def play(env, actions):
    """Observations (T + 1, P, N + 1) and rewards (T, P) of one run with ``actions`` (T, P)."""
    observations, rewards = [env.reset()[0]], []
    for row in actions:
        observation, reward, *_ = env.step(row)
        observations.append(observation)
        rewards.append(reward)
    return np.stack(observations), np.stack(rewards)


def constant(config, level):
    return np.full((decisions(config), config.rl.members), level)


def first_population(config, dataset, round_number=0, worker=0):
    """The members that the environment should start with, made one by one, and their batches."""
    target, sigma = target_of(config, dataset), config.target.sigma
    x, y = dataset.tensors("train")
    seeds = [stream(config.seed, "collect", round_number, worker, member) for member in range(config.rl.members)]
    schemes = ["he" if member % 4 >= 2 else "normal" for member in range(config.rl.members)]
    each = [initialise(target, scheme, [seed], sigma) for scheme, seed in zip(schemes, seeds, strict=True)]
    stacked = [torch.cat(tensors) for tensors in zip(*each, strict=True)]
    population = Population(target, stacked, "sgd", config.training.learning_rate)
    return population, Batches(x, y, config.training.batch_size, seeds, config.training.shared_order)


def seen(population):
    """What an observation says of a population's parameters."""
    return population.flat().half().float().numpy()


def slow_scores(env, dataset, count):
    """exp(−loss) of every member on the first ``count`` validation examples, by modules."""
    x, y = torch.tensor(dataset.x_validation[:count]), torch.tensor(dataset.y_validation[:count])
    modules = [env.target.module([tensor[member] for tensor in env.population.parameters]) for member in range(env.num_envs)]
    return np.array([torch.exp(-F.cross_entropy(module(x), y)).item() for module in modules])


@pytest.fixture(scope="module")
def trained(tiny, digits, ray_session, tmp_path_factory):
    """A whole training: its folder."""
    folder = tmp_path_factory.mktemp("trained")
    train_enn(tiny, digits, folder)
    return folder


# -- environment -------------------------------------------------------------------------------------------------------


def test_observations_are_the_parameters_and_the_progress_in_arrays_of_their_own(tiny, digits):
    env, population = new_env(tiny, digits), first_population(tiny, digits)[0]
    observations = [env.reset()[0]]
    assert np.array_equal(observations[0][:, :-1], seen(population))
    kept = [observations[0].copy()]
    for _ in range(decisions(tiny)):
        observations.append(env.step(np.ones(env.num_envs, int))[0])
        kept.append(observations[-1].copy())
        assert np.array_equal(observations[-1][:, :-1], seen(env.population))
    for step, (now, copy) in enumerate(zip(observations, kept, strict=True)):
        assert now.dtype == np.float32 and np.array_equal(now, copy) and env.observation_space.contains(now)
        assert np.array_equal(now[:, -1], np.full(env.num_envs, np.float32(np.float16(step / decisions(tiny)))))
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(observations, 2))


def test_half_of_the_members_start_small_and_half_from_he(tiny, digits):
    weights = unflatten(torch.from_numpy(new_env(tiny, digits).reset()[0][:, :-1]), target_of(tiny, digits).shapes)[0]
    sizes = weights.flatten(1).std(dim=1).tolist()
    for member, size in enumerate(sizes):
        assert size == pytest.approx((2 / 64) ** 0.5 if member % 4 >= 2 else 0.01, rel=0.2)


@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_rewards_are_the_scores_on_the_rewards_share_of_validation(tiny, digits, gamma):
    config = with_rl(tiny, gamma=gamma, score_examples=50)
    env = new_env(config, digits)
    env.reset()
    for step in range(1, decisions(config) + 1):
        _, reward, terminated, truncated, _ = env.step(np.arange(env.num_envs) % LEVELS)
        last = step == decisions(config)
        expected = slow_scores(env, digits, 50) * ((1 - gamma) + gamma * last)
        np.testing.assert_allclose(reward, expected, rtol=1e-5)
        assert np.ptp(reward) > 0 and (terminated == last).all() and not truncated.any()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("constant_score", [0.0, 0.3, 1.0])
def test_a_constant_score_is_worth_itself(tiny, digits, monkeypatch, gamma, constant_score):
    monkeypatch.setattr("rl.env.score", lambda evaluation, kind: torch.full_like(evaluation.loss, constant_score))
    config = with_rl(tiny, gamma=gamma)
    _, rewards = play(new_env(config, digits), constant(config, 0))
    for start in range(decisions(config)):
        value = sum(gamma**k * reward for k, reward in enumerate(rewards[start:]))
        np.testing.assert_allclose(value, constant_score, atol=1e-6)


def test_the_step_after_the_end_resets_and_ignores_actions(tiny, digits):
    assert TrainingRunEnv.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    ends = []
    for action in (0, LEVELS - 1):
        env = new_env(tiny, digits)
        play(env, constant(tiny, 1))
        env.start_round(3)
        observation, reward, terminated, truncated, _ = env.step(np.full(env.num_envs, action))
        assert not reward.any() and not terminated.any() and not truncated.any()
        assert np.array_equal(observation[:, :-1], seen(first_population(tiny, digits, 3)[0]))
        ends.append(env.step(np.zeros(env.num_envs, int))[0])
    assert np.array_equal(*ends)


def test_gymnasiums_own_bookkeeping_agrees(tiny, digits):
    env = RecordEpisodeStatistics(new_env(tiny, digits))
    env.reset(seed=0)
    total, episodes = np.zeros(env.num_envs), []
    for _ in range(2 * (decisions(tiny) + 1)):
        observation, reward, terminated, _, infos = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        total += reward
        if terminated.all():
            episodes.append(infos["episode"])
            np.testing.assert_allclose(infos["episode"]["r"], total, rtol=1e-6)
            total = np.zeros(env.num_envs)
    assert len(episodes) == 2 and all((episode["l"] == decisions(tiny)).all() for episode in episodes)


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("shared_order", [False, True])
def test_a_level_is_its_rule_step_for_step(tiny, digits, level, shared_order):
    config = dataclasses.replace(tiny, training=dataclasses.replace(tiny.training, shared_order=shared_order))
    critic = new_critic(config, digits)
    observations, _ = play(new_env(config, digits, critic=critic), constant(config, level))
    population, batches = first_population(config, digits)
    strengths = torch.full((config.rl.members,), config.instruction.ladder[level])
    instruct = Instruct(critic, config.training.steps, config.training.learning_rate, lambda *_: strengths)
    rule = instruct if level else Backprop()
    state = rule.init(population)
    for observation in observations[1:]:
        advance(population, rule, state, batches, config.rl.period)
        assert np.array_equal(observation[:, :-1], seen(population))


def test_a_members_action_is_its_own(tiny, digits):
    actions = constant(tiny, 0)
    alone, _ = play(new_env(tiny, digits), actions)
    actions[:, 3] = LEVELS - 1
    together, _ = play(new_env(tiny, digits), actions)
    neighbours = np.arange(tiny.rl.members) != 3
    assert np.array_equal(alone[:, neighbours], together[:, neighbours])
    assert not np.array_equal(alone[1:, 3], together[1:, 3])


def test_targets_are_named_by_seed_round_and_worker(tiny, digits):
    def start(config=tiny, number=0, worker=0, members=tiny.rl.members):
        env = TrainingRunEnv(config, digits, members, worker)
        env.start_round(number)
        return env.reset(seed=np.random.default_rng().integers(1000).item())[0]

    assert np.array_equal(start(number=1), start(number=1))
    assert np.array_equal(start()[:5], start(members=5))
    others = [start(), start(number=1), start(worker=1), start(dataclasses.replace(tiny, seed=1))]
    for one, other in itertools.combinations(others, 2):
        assert (one[:, :-1] != other[:, :-1]).any(axis=1).all()
    assert len(np.unique(start(), axis=0)) == tiny.rl.members


@pytest.mark.parametrize("damage", [float("nan"), float("inf"), 1e30])
def test_a_diverged_member_scores_nothing_and_stays_readable(tiny, digits, damage):
    whole, _ = play(new_env(tiny, digits), constant(tiny, 1))
    env = new_env(tiny, digits)
    env.reset()
    env.population.parameters[2][2] = damage
    for step in range(1, decisions(tiny) + 1):
        observation, reward, *_ = env.step(np.ones(env.num_envs, int))
        assert reward[2] == 0 and np.isfinite(observation).all() and env.observation_space.contains(observation)
        neighbours = np.arange(env.num_envs) != 2
        assert np.array_equal(observation[neighbours], whole[step][neighbours]) and (reward[neighbours] > 0).all()
    assert env.population.diverged_at[2] >= 0


def test_stepping_without_an_enn_is_an_error(tiny, digits):
    env = TrainingRunEnv(tiny, digits, 4)
    env.reset()
    with pytest.raises(RuntimeError, match="critic_source"):
        env.step(np.zeros(4, int))


# -- module and learner ------------------------------------------------------------------------------------------------


def test_every_level_is_kept_from_both_starts():
    members = torch.arange(32)
    level = fixed_level(members, LEVELS)
    for he in (False, True):
        met = {int(level[m]) for m in range(0, 32, 2) if (m % 4 >= 2) == he}
        assert met == set(range(LEVELS))


@contextmanager
def after_two_rounds(config, dataset, folder):
    """The algorithm that has played two rounds, so that its target copies differ from its critics."""
    built = build(config, dataset)
    restore(built, folder / "training", 2)
    built.local_replay_buffer.start_round(0)
    yield built
    built.stop()


@pytest.fixture(scope="module")
def algorithm(tiny, digits, trained):
    with after_two_rounds(tiny, digits, trained) as built:
        yield built


def learner_parts(algorithm, n_step=2, gamma=0.7):
    """The learner, its module, its configuration and a batch of tensors."""
    learner = algorithm.learner_group._learner
    columns = algorithm.local_replay_buffer.sample(64, n_step=n_step, gamma=gamma)
    batch = {name: torch.from_numpy(values) for name, values in columns.items()}
    return learner, learner.module[MODULE], learner.config.get_config_for_module(MODULE), batch


def test_the_observers_loss_is_rllibs(algorithm):
    learner, module, config, batch = learner_parts(algorithm)
    output = module.forward_train(batch)
    theirs = DQNTorchLearner.compute_loss_for_module(learner, module_id=MODULE, config=config, batch=batch, fwd_out=output)
    ours = double_q_loss(output, batch, config.gamma)
    torch.testing.assert_close(ours, theirs)
    assert batch[Columns.TERMINATEDS].any() and (batch["n_step"] == 2).any() and ours > 0


def test_the_target_is_rewards_then_the_target_networks_value_of_the_best_next_level(algorithm, tiny):
    """The loss by loops, from the observations on."""
    _, module, config, batch = learner_parts(algorithm)
    critics, targets = module.unwrapped().critics, module.unwrapped()._targets
    total = 0.0
    for row in range(64):
        now, then = (module.unwrapped().read(batch[name][row : row + 1]) for name in (Columns.OBS, Columns.NEXT_OBS))
        wanted = float(batch[Columns.REWARDS][row])
        if not batch[Columns.TERMINATEDS][row]:
            best = int(critics["convnet"].q_values(*then).argmax())
            wanted += tiny.rl.gamma ** float(batch["n_step"][row]) * targets["convnet"].q_values(*then)[0, best].item()
        total += (critics["convnet"].q_values(*now)[0, int(batch[Columns.ACTIONS][row])].item() - wanted) ** 2
    observed = module.forward_train(batch)[OBSERVERS][0]
    assert double_q_loss(observed, batch, config.gamma).item() == pytest.approx(total / 64, rel=1e-4)


CHAIN = {1: 0.25 + 0.5 * 0.92, 2: 0.25 + 0.5 * (0.88 + 0.90 + 0.92 + 0.001) / 4}


@pytest.mark.parametrize(("n_step", "expected"), [(1, CHAIN[1]), (2, CHAIN[2]), (5, CHAIN[2])])
def test_learning_makes_v_the_value_of_choosing_the_best_level_in_every_nth_period(n_step, expected, digits, tiny):
    """A chain of two states, by hand. In the second one four levels end the run with .88, .90, .92 and .001: V = .92. The first
    gives (1 − γ) s with s = .4, .5, .2, .3 and leads there: V = .5 (.5) + .5 (.92) = .71, greedy in both. Greedy in the first
    alone, V = .5 (.5) + .5 (mean of what the recorded runs took in the second), all alike."""
    gamma, ends = 0.5, np.array([0.88, 0.90, 0.92, 0.001])
    levels = np.stack([np.arange(4).repeat(4), np.tile(np.arange(4), 4)], 1)  # each pair once
    rewards = np.stack([(1 - gamma) * np.array([0.4, 0.5, 0.2, 0.3])[levels[:, 0]], ends[levels[:, 1]]], 1)
    states = np.tile(np.arange(3, dtype=np.float16)[:, None], (16, 1, 1))
    recording = Recording(states, levels, rewards.astype(np.float32))
    batch = {name: torch.from_numpy(own) for name, own in _transitions(recording, np.arange(32), n_step, gamma).items()}
    home = dataclasses.replace(new_critic(tiny, digits).home, ladder=(0.0, 1.0, 3.0, 10.0))
    critic = Critic("probes", dataclasses.replace(tiny.enn, hidden=3), home)
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.05)
    now, later = (torch.eye(3)[batch[name][:, 0].long()] for name in (Columns.OBS, Columns.NEXT_OBS))
    for _ in range(1500):
        following = critic._q(later)
        output = {"qf_preds": critic._q(now), "qf_next_preds": following, "qf_target_next_preds": following.detach()}
        optimiser.zero_grad()
        double_q_loss(output, batch, gamma).backward()
        optimiser.step()
    first, second, _ = critic.value_from(torch.eye(3)).tolist()
    assert second == pytest.approx(0.92, abs=0.005) and first == pytest.approx(expected, abs=0.005)


def test_without_discount_the_critic_regresses_on_the_next_score(algorithm):
    _, module, _, _ = learner_parts(algorithm)
    batch = {name: torch.from_numpy(v) for name, v in algorithm.local_replay_buffer.sample(64, n_step=5, gamma=0.0).items()}
    recorded_rounds = algorithm.local_replay_buffer.recordings
    observations = np.concatenate([recording.observations[:, :-1] for recording in recorded_rounds])
    rewards = np.concatenate([recording.rewards for recording in recorded_rounds])
    for row in range(64):  # the reward is the one right after the observation, whatever n is
        ((run, step),) = np.argwhere((observations == batch[Columns.OBS][row].numpy().astype(np.float16)).all(axis=-1))
        assert batch[Columns.REWARDS][row] == rewards[run, step]
    output = module.forward_train(batch)
    chosen = output["qf_preds"].gather(-1, batch[Columns.ACTIONS][:, None])[:, 0]
    torch.testing.assert_close(double_q_loss(output, batch, 0.0), F.mse_loss(chosen, batch[Columns.REWARDS]))


def gradients(learner, module, config, batch, watched):
    module.zero_grad()
    output = module.forward_train(batch)
    output = output | {OBSERVERS: output[OBSERVERS] if watched else []}
    learner.compute_loss_for_module(module_id=MODULE, config=config, batch=batch, fwd_out=output).backward()
    critics = module.unwrapped().critics
    found = {}
    for name, critic in critics.items():  # the strength head is no part of RL
        found[name] = [p.grad for key, p in critic.named_parameters() if not key.startswith("strength")]
        assert critic.strength_weight.grad is None and critic.strength_bias.grad is None
    return found, module.unwrapped()._targets


def test_observers_learn_and_leave_the_instructing_critic_alone(algorithm):
    parts = learner_parts(algorithm)
    alone, _ = gradients(*parts, watched=False)
    together, targets = gradients(*parts, watched=True)
    assert list(together) == ["probes", "convnet"]
    for one, other in zip(alone["probes"], together["probes"], strict=True):
        assert torch.equal(one, other)
    assert all(gradient is None or not gradient.any() for gradient in alone["convnet"])
    assert all(gradient is not None and gradient.any() for critic in together.values() for gradient in critic)
    assert all(parameter.grad is None for parameter in targets.parameters())


def test_an_observer_changes_nothing_that_the_instructing_critic_learns(tiny, digits, trained):
    learned_states = []
    for readers in (("probes",), ("probes", "convnet")):
        config = dataclasses.replace(tiny, enn=dataclasses.replace(tiny.enn, readers=readers))
        built = build(config, digits)
        built.local_replay_buffer.keep(recordings(trained)[0])
        built.local_replay_buffer.start_round(0)
        before = {name: tensor.clone() for name, tensor in critics_of(built)["probes"].state_dict().items()}
        for _ in range(5):
            built._learn()
        learned_states.append(critics_of(built)["probes"].state_dict())
        stayed = {name for name, tensor in learned_states[-1].items() if torch.equal(before[name], tensor)}
        assert stayed == {"strength_weight", "strength_bias"}, "which are no part of RL"
        built.stop()
    assert all(torch.equal(tensor, learned_states[1][name]) for name, tensor in learned_states[0].items())


def test_the_target_copies_follow_by_tau(tiny, digits, trained):
    with after_two_rounds(tiny, digits, trained) as algorithm:
        module = module_of(algorithm)
        before = {name: tensor.clone() for name, tensor in module._targets.state_dict().items()}
        algorithm._learn()
    critics = module.critics.state_dict()
    for name, tensor in module._targets.state_dict().items():
        torch.testing.assert_close(tensor, tiny.rl.tau * critics[name] + (1 - tiny.rl.tau) * before[name])
    assert any(not torch.equal(before[name], tensor) for name, tensor in module._targets.state_dict().items())


# -- replay ------------------------------------------------------------------------------------------------------------


def numbered(first_run, runs=3, length=6, seed=0):
    """A recording whose observations say which run and time they are: (run, t)."""
    draws = np.random.default_rng(seed)
    run, time = np.meshgrid(np.arange(first_run, first_run + runs), np.arange(length + 1), indexing="ij")
    actions = draws.integers(LEVELS, size=(runs, length))
    return Recording(np.stack([run, time], axis=-1).astype(np.float16), actions, draws.random((runs, length), np.float32))


def slow_transition(recording, run, time, n_step, gamma):
    total, taken, length = 0.0, 0, recording.actions.shape[1]
    while taken < n_step and time + taken < length:
        total += gamma**taken * recording.rewards[run, time + taken]
        taken += 1
    return total, taken, time + taken, time + taken == length


@pytest.mark.parametrize("n_step", [1, 3, 6, 11])
@pytest.mark.parametrize("gamma", [0.0, 0.8])
def test_replay_equals_a_slow_reference(n_step, gamma):
    buffer, rounds = RecordingEpisodeReplayBuffer(1000), [numbered(0, seed=1), numbered(3, runs=2, seed=2)]
    for recording in rounds:
        buffer.keep(recording)
    buffer.start_round(7)
    columns = buffer.sample(2000, n_step=n_step, gamma=gamma)
    met = np.zeros((5, 6), int)
    for row in range(2000):
        run, time = columns[Columns.OBS][row].astype(int)
        recording, inside = (rounds[0], run) if run < 3 else (rounds[1], run - 3)
        total, taken, end, terminated = slow_transition(recording, inside, time, n_step, gamma)
        met[run, time] += 1
        assert columns[Columns.REWARDS][row] == pytest.approx(total, rel=1e-5)
        assert columns["n_step"][row] == taken and columns[Columns.TERMINATEDS][row] == terminated
        assert columns[Columns.NEXT_OBS][row].tolist() == [run, end]
        assert columns[Columns.ACTIONS][row] == recording.actions[inside, time]
    assert met.min() > 30 and met.max() < 120  # 2000 / 30 = 67 expected of each: none is left out, none preferred
    buffer.start_round(7)
    again = buffer.sample(2000, n_step=n_step, gamma=gamma)
    assert all(np.array_equal(columns[name], again[name]) for name in columns)


def test_the_oldest_round_leaves_when_the_buffer_is_full():
    buffer = RecordingEpisodeReplayBuffer(40)
    for number in range(4):  # 18 transitions each
        buffer.keep(numbered(3 * number))
    assert (buffer.get_num_timesteps(), buffer.get_num_episodes()) == (36, 6)
    assert set(buffer.sample(500)[Columns.OBS][:, 0].astype(int)) == set(range(6, 12))
    small = RecordingEpisodeReplayBuffer(5)
    small.keep(numbered(0))
    small.keep(numbered(3))
    assert small.get_num_timesteps() == 18
    assert set(small.sample(500)[Columns.OBS][:, 0].astype(int)) == {3, 4, 5}


def test_a_buffer_that_nobody_started_draws_the_same_again():
    drawn = []
    for _ in range(2):
        buffer = RecordingEpisodeReplayBuffer(40)
        buffer.keep(numbered(0))
        drawn.append(buffer.sample(100)[Columns.OBS])
    assert np.array_equal(*drawn)


def test_a_recording_survives_its_file(tmp_path):
    draws = np.random.default_rng(0)
    observations = np.concatenate([draws.standard_normal((2, 4, 4)), [[[6e-8, -0.0, 6e4, 1e-5]] * 4] * 2]).astype(np.float16)
    one = Recording(observations, draws.integers(LEVELS, size=(4, 3)), draws.random((4, 3), np.float32))
    write_tensors(tmp_path / "round-000.safetensors", one.tensors())
    other = Recording.of(read_tensors(tmp_path / "round-000.safetensors"))
    for name in ("observations", "actions", "rewards"):
        before, after = getattr(one, name), getattr(other, name)
        assert before.dtype == after.dtype and before.tobytes() == after.tobytes()


# -- judging -----------------------------------------------------------------------------------------------------------


def recorded(config, dataset, seed=0):
    actions = np.random.default_rng(seed).integers(LEVELS, size=(decisions(config), config.rl.members))
    observations, rewards = play(new_env(config, dataset), actions)
    parts = observations.swapaxes(0, 1).astype(np.float16), actions.T.copy(), rewards.T.astype(np.float32)
    return Recording(*parts)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 0.95])
def test_realised_returns_are_discounted_sums(tiny, digits, gamma):
    recording = recorded(with_rl(tiny, gamma=gamma), digits)
    realised = realised_returns(recording, gamma)
    for run, rewards in enumerate(recording.rewards.astype(np.float64)):
        for time in range(len(rewards)):
            expected = sum(gamma**k * reward for k, reward in enumerate(rewards[time:]))
            assert realised[run, time] == pytest.approx(expected, rel=1e-5) and 0 <= realised[run, time] <= 1
    assert realised.shape == recording.actions.shape


def test_judging_by_loops(tiny, digits):
    config = with_rl(tiny, gamma=0.4)
    recording, critic = recorded(config, digits), new_critic(config, digits)
    row = judge({"probes": critic}, recording, config)
    values, returns, groups = [], [], {}
    for member, (run, rewards) in enumerate(zip(recording.observations, recording.rewards, strict=True)):
        start = "he" if member % 4 >= 2 else "small"
        name = "policy" if member % 2 else f"{config.instruction.ladder[member // 4 % LEVELS]:g}"
        groups.setdefault(f"score/{start}/{name}", []).append(rewards[-1])
        for time in range(len(rewards)):
            flat = torch.from_numpy(run[time : time + 1].astype(np.float32))
            q = critic.q_values(unflatten(flat[:, :-1], critic.home.target.shapes), flat[:, -1])[0]
            values.append(q[int(recording.actions[member, time])].item())
            returns.append(sum(config.rl.gamma**k * reward for k, reward in enumerate(rewards[time:])))
    assert {key for key in row if key.startswith("score/")} == set(groups)
    for key, scores in groups.items():
        assert row[key] == pytest.approx(np.mean(scores), rel=1e-5)
    np.testing.assert_allclose(predictions(critic, recording).ravel(), values, rtol=1e-5)
    assert row["error/probes"] == pytest.approx(np.sqrt(np.mean((np.array(values) - returns) ** 2)), rel=1e-4)
    assert row["kendall/probes"] == pytest.approx(kendalltau(values, returns).statistic, abs=1e-3)


# -- training ----------------------------------------------------------------------------------------------------------

EXPORTED = ("enn.safetensors", "enn.json", "enn-convnet.safetensors", "enn-convnet.json")


class Stopped(Exception):
    pass


def exported(folder):
    return {name: (folder / name).read_bytes() for name in EXPORTED}


def learned(folder):
    """The critics after the last round, without what differs from run to run (times)."""
    return read_json(folder / "enn.json")["sha256"], read_json(folder / "enn-convnet.json")["sha256"]


def critic_after(config, dataset, folder, rounds, reader="probes"):
    """The learner's critic after ``rounds`` rounds, by the checkpoint."""
    prefix = f"module/critics.{reader}."
    tensors = read_tensors(folder / "training" / f"state-{rounds:03d}.safetensors")
    critic = new_critic(config, dataset, reader)
    critic.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    return critic


def replayed(config, dataset, recording, number, worker, critic):
    """The environment played again with recorded actions under ``critic``."""
    env = new_env(config, dataset, worker, critic)
    env.start_round(number)
    observations, rewards = play(env, recording.actions.T)
    return observations.swapaxes(0, 1), rewards.T.astype(np.float32)


def assert_is_what_the_environment_produced(config, dataset, folder, worker):
    """Round 1 was played under the ENN as it was after round 0, and its file holds exactly what was seen."""
    recording = recordings(folder)[1]
    observations, rewards = replayed(config, dataset, recording, 1, worker, critic_after(config, dataset, folder, 1))
    assert np.array_equal(recording.observations.astype(np.float32), observations)
    assert np.array_equal(recording.rewards, rewards)
    other, _ = replayed(config, dataset, recording, 1, worker, new_critic(config, dataset))
    assert not np.array_equal(recording.observations.astype(np.float32), other)


def test_a_round_is_played_under_the_enn_learned_before_it_and_recorded_exactly(tiny, digits, trained):
    assert_is_what_the_environment_produced(tiny, digits, trained, worker=0)


def test_even_members_keep_their_level_and_odd_ones_do_not(tiny, trained):
    for recording in recordings(trained):
        even, odd = recording.actions[::2], recording.actions[1::2]
        assert (even == fixed_level(torch.arange(0, tiny.rl.members, 2), LEVELS).numpy()[:, None]).all()
        assert set(even.ravel()) == set(range(LEVELS)) and (np.ptp(odd, axis=1) > 0).any()


def test_the_history_says_what_happened(tiny, trained):
    history = read_json(trained / "training" / "history.json")
    per_round = tiny.rl.members * decisions(tiny)
    assert [(row["round"], row["env_steps"]) for row in history] == [(0, per_round), (1, 2 * per_round)]
    assert history[1]["score/small/0"] == pytest.approx(recordings(trained)[1].rewards[0, -1], rel=1e-6)


def test_the_enn_learns_from_every_round(tiny, digits, trained):
    one, two = (critic_after(tiny, digits, trained, rounds) for rounds in (1, 2))
    for (name, before), after in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.equal(before, after) == name.startswith("strength"), name


@pytest.mark.usefixtures("ray_session")
class TestResuming:
    def test_interrupted_after_a_round(self, tiny, digits, trained, tmp_path):
        def stop(row):
            raise Stopped

        with pytest.raises(Stopped):
            train_enn(tiny, digits, tmp_path, stop)
        assert len(read_json(tmp_path / "training" / "history.json")) == 1 and not (tmp_path / "enn.safetensors").exists()
        torch.manual_seed(1234)
        np.random.seed(1234)
        rows = []
        train_enn(tiny, digits, tmp_path, rows.append)
        assert learned(tmp_path) == learned(trained) and [row["round"] for row in rows] == [0, 1]
        for name in ("round-000", "round-001", "state-002"):
            file = f"training/{name}.safetensors"
            assert (tmp_path / file).read_bytes() == (trained / file).read_bytes()

    @pytest.mark.parametrize("lost", [(), ("training/state-002.safetensors",)])
    def test_killed_between_a_rounds_files_and_its_history(self, tiny, digits, trained, tmp_path, lost):
        folder = shutil.copytree(trained, tmp_path / "run")
        for name in (*EXPORTED, *lost):
            (folder / name).unlink()
        write_json(folder / "training" / "history.json", read_json(folder / "training" / "history.json")[:1])
        train_enn(tiny, digits, folder)
        assert learned(folder) == learned(trained)

    @pytest.mark.parametrize("lost", [("round-000",), ("round-001",), ("state-002",), ("state-001", "state-002")])
    def test_what_was_lost_or_had_to_be_deleted_is_trained_again(self, lost, tiny, digits, trained, tmp_path, capfd):
        folder = shutil.copytree(trained, tmp_path / "run")
        (folder / "enn.safetensors").unlink()
        for name in lost:
            (folder / "training" / f"{name}.safetensors").unlink()
        rows = []
        train_enn(tiny, digits, folder, rows.append)
        assert learned(folder) == learned(trained) and [row["round"] for row in rows] == [0, 1]
        assert f"{lost[-1]}.safetensors is missing" in " ".join(capfd.readouterr().out.split())

    @pytest.mark.parametrize("lost", ["enn.safetensors", "enn.json", "enn-convnet.safetensors", "enn-convnet.json"])
    def test_killed_before_the_export_or_between_two_files_of_an_enn(self, lost, tiny, digits, trained, tmp_path, monkeypatch):
        folder = shutil.copytree(trained, tmp_path / "run")
        (folder / lost).unlink()
        monkeypatch.setattr(rl.train, "play_round", None)
        train_enn(tiny, digits, folder)
        assert exported(folder) == exported(trained)

    def test_finished_returns_at_once(self, tiny, digits, trained, monkeypatch):
        monkeypatch.setattr(rl.train, "build", None)
        rows = []
        result = train_enn(tiny, digits, trained, rows.append)
        assert len(rows) == 2 and result["files"] == {"probes": "enn.safetensors", "convnet": "enn-convnet.safetensors"}


@pytest.mark.usefixtures("ray_session")
def test_another_seed_learns_another_enn(tiny, digits, trained, tmp_path):
    train_enn(dataclasses.replace(tiny, seed=1), digits, tmp_path)
    assert not set(learned(tmp_path)) & set(learned(trained))


@pytest.mark.usefixtures("ray_session")
def test_a_runner_in_a_process_of_its_own_gets_the_weights(tiny, digits, tmp_path):
    config = with_rl(tiny, env_runners=1)
    train_enn(config, digits, tmp_path)
    assert_is_what_the_environment_produced(config, digits, tmp_path, worker=1)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_killed_env_runner_plays_the_same_runs_again(tiny, digits, tmp_path, monkeypatch):
    config, collect, killed = with_rl(tiny, env_runners=2, members=8), ENNTraining._collect, []
    train_enn(config, digits, tmp_path / "undisturbed")

    def disturbed(algorithm):
        if not killed:
            killed.extend(algorithm.env_runner_group.foreach_env_runner(lambda _: os.getpid(), local_env_runner=False))
            os.kill(killed[0], signal.SIGKILL)
        return collect(algorithm)

    monkeypatch.setattr(ENNTraining, "_collect", disturbed)
    train_enn(config, digits, tmp_path / "killed")
    assert len(killed) == 2 and not Path(f"/proc/{killed[0]}").exists()
    assert learned(tmp_path / "killed") == learned(tmp_path / "undisturbed")
    ours, theirs = (recordings(tmp_path / name) for name in ("killed", "undisturbed"))
    for one, other in zip(ours, theirs, strict=True):
        assert len(one.actions) == 16
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


ALONE = """
import json, sys
import numpy as np, torch
from pipeline.enn import load_critic
from pipeline.targets import unflatten
values = {}
for name in ("enn", "enn-convnet"):
    critic = load_critic(f"{sys.argv[1]}/{name}.safetensors")
    flat = torch.from_numpy(np.load(f"{sys.argv[2]}/points.npy", allow_pickle=False))
    values[critic.reader_name] = critic.value(unflatten(flat[:, :-1], critic.home.target.shapes), flat[:, -1]).tolist()
assert not {"ray", "gymnasium", "mlflow"} & set(sys.modules)
print(json.dumps(values))
"""


def test_the_exported_enn_needs_no_ray_and_values_as_the_learner_does(tiny, digits, trained, tmp_path):
    points = recordings(trained)[1].observations[:, 2].astype(np.float32)
    np.save(tmp_path / "points.npy", points)
    output = subprocess.run([sys.executable, "-c", ALONE, trained, tmp_path], capture_output=True, text=True, check=True)
    flat = torch.from_numpy(points)
    for reader, values in json.loads(output.stdout).items():
        critic = critic_after(tiny, digits, trained, 2, reader)
        expected = critic.value(unflatten(flat[:, :-1], critic.home.target.shapes), flat[:, -1])
        np.testing.assert_allclose(values, expected.tolist(), rtol=1e-6)
        assert np.ptp(values) > 0


def test_rllib_makes_no_folder_for_all():
    """Its own would be ~/ray_results, which everyone may write to."""
    from ray.tune.trainable import Trainable

    assert callable(getattr(Trainable, "_setup_logdir", None)), "what is overridden is still there"
    own = object.__new__(ENNTraining)
    own._setup_logdir()
    place = Path(own._logdir)
    assert place.stat().st_mode & 0o777 == 0o700 and "ray_results" not in place.parts
    place.rmdir()
