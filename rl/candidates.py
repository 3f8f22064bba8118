"""Judging one candidate of a search in stages, on populations that were recorded once for all candidates.

An ENN candidate first learns off-policy from the recorded runs (double Q, as in :mod:`rl.module`, without an environment) and
is measured on runs held out; then it is fine-tuned through unrolled training and instructs fresh targets, few, later many.
Numbers depend on the candidate's settings and the recordings alone: a stage continues from the state that the one before left,
and without that state it does the earlier stages again, with the same result. What recorded the runs is named by the
candidate's settings too (``recorded``): :func:`learn_from_recordings` makes the same ENN of them, without a search.

Letters: R recorded runs, T decisions in a run, N parameters of a target, P members, K points of held-out runs.
"""

import copy
import dataclasses
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pipeline.config import Config, coarsened, recording_config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.enn.readers import Probes
from pipeline.instruction import Backprop, Instruct, Rule, instructions
from pipeline.instruction.loop import advance, returns
from pipeline.instruction.reading import value_gradients
from pipeline.origin import Origin, judged_from, read_checkpoint, write_checkpoint
from pipeline.results.statistics import mean_interval, paired, rank_correlation
from pipeline.search.ladder import Failed
from pipeline.search.plan import Stage
from pipeline.seeding import numpy_stream, stream
from pipeline.setting import home_of, load_start, new_population, selection_data, target_of
from pipeline.targets import Batches, Population, unflatten
from rl.descent import Descent
from rl.env import TrainingRunEnv
from rl.module import double_q_loss, fixed_level
from rl.replay import Recording, RecordingEpisodeReplayBuffer
from rl.state import load_optimiser, optimiser_tensors
from rl.unrolled import FineTuning, log_loss_costate, shorten

QF_PREDS, QF_NEXT_PREDS, QF_TARGET_NEXT_PREDS = "qf_preds", "qf_next_preds", "qf_target_next_preds"
HELD_OUT = 4
"""one recorded run of so many (by blocks of sixteen members, which hold every start and level of λ) is never learned from"""
POINTS = 4
"""checkpoints of a held-out run at which gradients are compared"""
KEEP = 100
"""gradient steps on recorded runs between two checkpoints of a training"""
LOOK_AHEAD = 10
"""optimiser steps over which a held-out checkpoint is trained with and without the instruction"""


@dataclass(frozen=True)
class Recorded:
    """What was recorded once and serves every candidate. Plain arrays, so that Ray's workers share them."""

    observations: np.ndarray
    """(R, T + 1, N + 1) float16: parameters and progress"""
    strengths: np.ndarray
    """(R, T) float32: λ that was played"""
    loss: np.ndarray
    """(R, T + 1) float32, on the reward's validation examples"""
    accuracy: np.ndarray
    """(R, T + 1) float32, likewise"""
    gradients: np.ndarray
    """(K, N) float32: gradient of the loss on other validation examples, at POINTS checkpoints of every held-out run"""
    costates: np.ndarray
    """(K, N) float32: ∂ log(that loss at the end of the run) / ∂θ at the same checkpoints, trained on conventionally"""
    conventional: np.ndarray
    """(targets,) float32: last validation accuracy of the fresh targets, trained without an ENN"""

    def held_out(self) -> np.ndarray:
        """(R,) bool."""
        blocks = np.arange(len(self.loss)) // min(16, max(1, len(self.loss) // HELD_OUT))
        return blocks % HELD_OUT == HELD_OUT - 1

    def scores(self, kind: str) -> np.ndarray:
        """(R, T + 1) in [0, 1]."""
        return np.exp(-self.loss) if kind == "loss" else self.accuracy

    def recording(self, config: Config, runs: np.ndarray) -> Recording:
        """Those of ``runs`` (bool, R) whose every λ is on the candidate's ladder, with the candidate's rewards."""
        ladder = np.array(config.instruction.ladder, np.float32)
        chosen = runs & np.isin(self.strengths, ladder).all(1)
        scores, gamma = self.scores(config.rl.score)[chosen, 1:], config.rl.gamma
        rewards = (1 - gamma) * scores
        rewards[:, -1] += gamma * scores[:, -1]
        actions = np.searchsorted(ladder, self.strengths[chosen])
        return Recording(self.observations[chosen], actions.astype(np.int64), rewards.astype(np.float32))


# -- recording ---------------------------------------------------------------------------------------------------------


def record(config: Config, dataset: Dataset, folder: Path, rounds: int, targets: int, updates: int) -> Recorded:
    """As :func:`record_rounds`, with all that candidates are measured by; train ``targets`` fresh targets conventionally. What
    ``folder`` holds is read."""
    path, far, coarse = folder / "conventional.safetensors", folder / "costates.safetensors", coarsened(config)
    origin = judged_from(config, dataset)
    read = record_rounds(config, dataset, folder, rounds, updates, origin)
    if not path.exists():
        accuracy = torch.tensor(instruct_targets(config, dataset, None, targets))
        found = {"accuracy": accuracy, "gradients": _validation_gradients(coarse, dataset, read)}
        write_checkpoint(path, found, origin)
    if not far.exists():
        write_checkpoint(far, {"costates": _costates(coarse, dataset, read)}, origin)
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
        actions = torch.where(member % 2 == 0, fixed_level(member, levels), random)
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


def _validation_gradients(config: Config, dataset: Dataset, recorded: Recorded) -> Tensor:
    x, y = selection_data(config, dataset)
    found = []
    for flat, _ in _points(recorded):
        population = Population(target_of(config, dataset), unflatten(flat, target_of(config, dataset).shapes))
        gradients = population.grads(x.expand(len(flat), *x.shape), y.expand(len(flat), -1))
        found.append(torch.cat([gradient.flatten(1) for gradient in gradients], 1).clone())
    return torch.cat(found)


def _costates(config: Config, dataset: Dataset, recorded: Recorded) -> Tensor:
    """What a push at each checkpoint does to the end of its run (:mod:`rl.unrolled`): (K, N)."""
    training, target, found = config.training, target_of(config, dataset), []
    x, y = selection_data(config, dataset)
    for number, (flat, progress) in enumerate(_points(recorded)):
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


def _points(recorded: Recorded) -> list[tuple[Tensor, Tensor]]:
    """Parameters (POINTS, N) and progress (POINTS,) of every held-out run, from its first decision to its last."""
    places = np.linspace(1, recorded.loss.shape[1] - 2, POINTS).round().astype(int)
    runs = recorded.observations[recorded.held_out()]
    return [
        (torch.from_numpy(run[places, :-1].astype(np.float32)), torch.from_numpy(run[places, -1] * 1.0).float()) for run in runs
    ]


# -- judging -----------------------------------------------------------------------------------------------------------


def judge(
    config: Config, stages: Sequence[Stage], folder: Path | None, *, dataset: Dataset, recorded: Recorded
) -> dict[str, Any]:
    """What the last of ``stages`` finds out about the ENN of ``config``.

    Args:
        config: as :meth:`pipeline.search.plan.Plan.config` gives it: what trains the ENN as the last stage of all judges it.
        stages: from the first one on; earlier ones are only done again where their state is not in ``folder``.
        folder: of the candidate, where its state is kept; None keeps none.

    Raises:
        Failed: it diverged, or no ENN can be made of its settings.
    """
    torch.set_num_threads(1)
    trained = Trained(config, dataset, recorded)
    stage, started = stages[-1], time.thread_time()
    done = trained.load(folder, stage) if folder else (0, 0)
    trained.advance(*done, stage.updates, stage.segments)
    seconds = time.thread_time() - started
    critic = trained.critic()
    if not all(bool(tensor.isfinite().all()) for tensor in critic.state_dict().values()):
        raise Failed("its weights diverged")
    if folder:
        trained.save(folder, stage.updates, stage.segments)
    found = measure(trained.config, dataset, critic, recorded)
    if stage.targets:
        found |= gain(config, dataset, at_home(critic, config), recorded, stage.targets)
    return found | {"training_seconds": seconds, "seconds": time.thread_time() - started}


class Trained:
    """An ENN on its way: off-policy first, then through unrolled training, the learning rate of which falls to 0 at the last
    segment of the last stage (``unroll.segments``), whichever stage this is.

    Raises:
        Failed: no ENN can be made of the settings.
    """

    def __init__(self, config: Config, dataset: Dataset, recorded: Recorded) -> None:
        self.config, self.dataset, self.origin = coarsened(config), dataset, judged_from(config, dataset)
        if config.enn.probes > len(dataset.x_train) and config.enn.readers[0] == "probes":
            raise Failed(f"enn.probes is {config.enn.probes} and there are {len(dataset.x_train)} training examples")
        critic = first_critic(self.config, dataset)
        self.learning = Learning(self.config, critic, recorded, ~recorded.held_out())
        self.tuning: FineTuning | None = None

    def advance(self, updates: int, segments: int, more_updates: int, more_segments: int) -> None:
        """From so many updates and segments to so many."""
        self.learning.advance(more_updates - updates)
        for number in range(segments, more_segments):
            if self.tuning is None:
                self.tuning = FineTuning(self.config, self.dataset, self.learning.critic)
            self.tuning.segment(number)

    def critic(self) -> Critic:
        """A copy, at home where it learned."""
        if self.tuning is not None:
            return self.tuning.exported()
        return copy.deepcopy(self.learning.critic).eval().requires_grad_(False)

    def save(self, folder: Path, updates: int, segments: int) -> None:
        tensors = {f"learning/{name}": tensor for name, tensor in self.learning.tensors().items()}
        if self.tuning is not None:
            tensors |= {f"tuning/{name}": tensor for name, tensor in self.tuning.tensors().items()}
        write_checkpoint(folder / "state.safetensors", tensors | {"done": torch.tensor([updates, segments])}, self.origin)

    def load(self, folder: Path, stage: Stage) -> tuple[int, int]:
        """What was saved, and how many updates and segments it has had; (0, 0) where nothing was, or more than of ``stage``.

        Raises:
            UserError: it was made from something else.
        """
        path = folder / "state.safetensors"
        tensors = read_checkpoint(path, self.origin) if path.exists() else {"done": torch.tensor([0, 0])}
        updates, segments = tensors["done"].tolist()
        if not updates + segments or updates > stage.updates or segments > stage.segments:
            return 0, 0
        self.learning.load({n.removeprefix("learning/"): t for n, t in tensors.items() if n.startswith("learning/")})
        tuning = {n.removeprefix("tuning/"): t for n, t in tensors.items() if n.startswith("tuning/")}
        if tuning:
            self.tuning = FineTuning(self.config, self.dataset, self.learning.critic)
            self.tuning.load(tuning)
        return updates, segments


class Learning:
    """Double Q-learning of one critic from recorded runs: what RLlib's learner does in a round, without the environment."""

    def __init__(self, config: Config, critic: Critic, recorded: Recorded, runs: np.ndarray) -> None:
        self.config, self.critic, self.target = config, critic.train(), copy.deepcopy(critic).requires_grad_(False)
        self.optimiser = torch.optim.Adam(critic.parameters(), lr=config.rl.learning_rate)
        self.buffer = RecordingEpisodeReplayBuffer(config.rl.replay)
        recording = recorded.recording(config, runs)
        kept = -(-config.rl.replay // max(1, recording.actions.shape[1]))  # whole runs, the newest
        self.buffer.keep(Recording(recording.observations[-kept:], recording.actions[-kept:], recording.rewards[-kept:]))
        self.updates = 0

    def advance(self, updates: int) -> None:
        rl = self.config.rl
        for _ in range(updates):
            self.buffer.start_round(stream(self.config.seed, "offline", self.updates))
            columns = self.buffer.sample(rl.batch_size, n_step=rl.n_step, gamma=rl.gamma)
            batch = {name: torch.from_numpy(values) for name, values in columns.items()}
            self.optimiser.zero_grad()
            double_q_loss(self._outputs(batch), batch, rl.gamma).backward()
            self.optimiser.step()
            with torch.no_grad():
                for slow, fast in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                    slow.lerp_(fast, rl.tau)
            self.updates += 1

    def _outputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        shapes = self.critic.home.target.shapes
        both = torch.cat([batch[Columns.OBS], batch[Columns.NEXT_OBS]])
        now, then = self.critic.q_values(unflatten(both[:, :-1], shapes), both[:, -1]).chunk(2)
        following = batch[Columns.NEXT_OBS]
        with torch.no_grad():
            target = self.target.q_values(unflatten(following[:, :-1], shapes), following[:, -1])
        return {QF_PREDS: now, QF_NEXT_PREDS: then, QF_TARGET_NEXT_PREDS: target}

    def tensors(self) -> dict[str, Tensor]:
        """All that a bit-identical continuation needs."""
        tensors = {f"critic/{name}": tensor for name, tensor in self.critic.state_dict().items()}
        tensors |= {f"target/{name}": tensor for name, tensor in self.target.state_dict().items()}
        return tensors | optimiser_tensors(self.optimiser) | {"updates": torch.tensor(self.updates)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of :meth:`tensors`."""
        for name, network in (("critic/", self.critic), ("target/", self.target)):
            network.load_state_dict({key.removeprefix(name): t for key, t in tensors.items() if key.startswith(name)})
        load_optimiser(self.optimiser, tensors)
        self.updates = int(tensors["updates"])


def learn_from_recordings(config: Config, dataset: Dataset, reader: str, folder: Path, origin: Origin | None = None) -> Critic:
    """The ENN with this reader after ``rl.updates`` steps on the populations that ``recorded`` describes, which are recorded
    unless ``folder`` holds them: the ENN that a search with these settings judges, before its fine-tuning.

    Continues where an earlier call in the same folder stopped, and ends with the same numbers.
    """
    torch.set_num_threads(1)
    recording, rounds = recording_config(config), config.recorded
    config = coarsened(dataclasses.replace(config, enn=dataclasses.replace(config.enn, readers=(reader,))))
    critic = fresh_critic(config, dataset)
    if not config.rl.updates:
        return critic
    recorded = record_rounds(recording, dataset, folder, rounds.rounds, rounds.updates, origin)
    learning, state = Learning(config, critic, recorded, ~recorded.held_out()), folder / f"state-{reader}.safetensors"
    if state.exists():
        learning.load(read_checkpoint(state, origin))
    while learning.updates < config.rl.updates:
        learning.advance(min(KEEP, config.rl.updates - learning.updates))
        write_checkpoint(state, learning.tensors(), origin)
    return learning.critic


def at_home(critic: Critic, config: Config) -> Critic:
    """A copy as real runs are to use it: learned on coarser ones, it has the real ones' steps and learning rate. On the CPU,
    without drawing a random number: exploration must not depend on how many critics there are."""
    critic = copy.deepcopy(critic).cpu().eval().requires_grad_(False)
    critic.home = dataclasses.replace(home_of(config, critic.home.target), scale=critic.home.scale)
    return critic


def first_critic(config: Config, dataset: Dataset) -> Critic:
    """The ENN that ``unroll.start`` names, at home in these settings, or a fresh one."""
    if not config.unroll.start:
        return fresh_critic(config, dataset)
    target = target_of(config, dataset)
    critic = load_start(config, target)
    critic.home = dataclasses.replace(home_of(config, target), scale=critic.home.scale)
    return critic


def fresh_critic(config: Config, dataset: Dataset) -> Critic:
    """The ENN of ``config`` with random weights; its probes start at training inputs."""
    torch.manual_seed(stream(config.seed, "initial ENN") % 2**63)
    critic = Critic(config.enn.readers[0], config.enn, home_of(config, target_of(config, dataset)))
    if isinstance(critic.reader, Probes):
        chosen = numpy_stream(config.seed, "probes").choice(len(dataset.x_train), config.enn.probes)
        cast(Probes, critic.reader).start_from(torch.from_numpy(np.array(dataset.x_train[chosen])))
    return critic


# -- cheap measurements ------------------------------------------------------------------------------------------------


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
    for flat, progress in _points(recorded):
        own = value_gradients(critic, unflatten(flat, critic.home.target.shapes), progress).gradients
        found.append(torch.cat([gradient.flatten(1) for gradient in own], 1))
    wanted = -torch.from_numpy(recorded.gradients)
    return torch.nn.functional.cosine_similarity(torch.cat(found), wanted).view(-1, POINTS).double().numpy()


def _agreement(critic: Critic, recorded: Recorded) -> float:
    found = []
    for flat, progress in _points(recorded):
        parameters = unflatten(flat, critic.home.target.shapes)
        own = instructions(critic, parameters, progress, None, critic.home.learning_rate).instruction
        found.append(torch.cat([tensor.flatten(1) for tensor in own], 1))
    wanted = -torch.from_numpy(recorded.costates)
    return _number(float(torch.nn.functional.cosine_similarity(torch.cat(found), wanted).mean()), 0.0)


def _look_ahead(config: Config, dataset: Dataset, critic: Critic, recorded: Recorded) -> float:
    """Of the middle checkpoints of at most eight held-out runs; 0 where the instruction does nothing."""
    points = _points(recorded)[:: max(1, len(recorded.loss) // HELD_OUT // 8)][:8]
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


# -- the gain ----------------------------------------------------------------------------------------------------------


def gain(config: Config, dataset: Dataset, critic: Critic, recorded: Recorded, targets: int) -> dict[str, Any]:
    """What ``targets`` fresh targets gain in validation accuracy, in points, paired by seed: all, and by their start."""
    ours = np.array(instruct_targets(config, dataset, critic, targets))
    plain = recorded.conventional[:targets]
    difference = paired((100 * ours).tolist(), (100 * plain).tolist())
    starts = {f"gain_{name}": 100 * float((ours - plain)[place::2].mean()) for name, place in (("small", 0), ("he", 1))}
    _, low, high = mean_interval((100 * (ours - plain)).tolist())
    return {"gain": difference["difference"], "gain_low": low, "gain_high": high, **starts, "targets": targets}


def instruct_targets(config: Config, dataset: Dataset, critic: Critic | None, targets: int) -> list[float]:
    """Last validation accuracy of fresh targets, every other one from He; a few at a time, with the same result."""
    x, y = dataset.tensors("train")
    training, target, found = config.training, target_of(config, dataset), []
    for first in range(0, targets, 8):
        numbers = range(first, min(first + 8, targets))
        seeds = [stream(config.seed, "judged", number) for number in numbers]
        small, strong = (new_population(config, target, seeds, x, start) for start in (None, "he"))
        for own, other in zip(small.parameters, strong.parameters, strict=True):
            own[1::2] = other[1::2]
        rule: Rule = Instruct(critic, training.steps, training.learning_rate) if critic else Backprop()
        batches = Batches(x, y, training.batch_size, seeds, False)
        advance(small, rule, rule.init(small), batches, training.steps)
        found += small.evaluate(*selection_data(config, dataset)).accuracy.tolist()
    return found
