"""Fine-tuning through unrolled training: against autograd through whole segments; resumed; never scored on training data."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import rl.critics
import rl.unrolled.training
import rl.unrolled.tuning
from pipeline.config import (
    PRESETS,
    Config,
    ENNConfig,
    InstructionConfig,
    RLConfig,
    TargetConfig,
    TrainingConfig,
    UnrollConfig,
    coarsened,
    validate,
)
from pipeline.data import load
from pipeline.enn import Critic, load_critic
from pipeline.errors import UserError
from pipeline.instruction import Instruct, instructions
from pipeline.instruction.loop import advance
from pipeline.setting import adapting, home_of, reward_data, target_of
from pipeline.targets import ACTIVATIONS, Batches, Population, initialise
from pipeline.targets.optimisers.adaptive import DAMPING
from rl.train import fine_tune_enn, train_enn
from rl.unrolled import FineTuning, Folds, Life, fine_tune

CONFIG = Config(
    target=TargetConfig(hidden=(8,), activation="tanh"),
    training=TrainingConfig(learning_rate=0.2, batch_size=16, steps=24),
    enn=ENNConfig(readers=("probes",), probes=5, hidden=7),
    rl=RLConfig(period=12),
    instruction=InstructionConfig(refresh=3, trust_region=0.05),
    unroll=UnrollConfig(segments=6, steps=6, members=4, score_examples=64, strength=2.0),
)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def fresh_critic(config, dataset):
    torch.manual_seed(0)
    critic = Critic(config.enn.readers[0], config.enn, home_of(config, target_of(config, dataset)))
    with torch.no_grad():
        critic.value_head.weight.mul_(3)
        critic.strength_weight.normal_()
    return critic


TRAININGS = {
    "sgd": {},
    "momentum": {"momentum": 0.8, "learning_rate": 0.05, "weight_decay": 0.02},
    "adam": {"optimiser": "adam", "learning_rate": 0.01, "weight_decay": 0.02},
    "adamw": {"optimiser": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
    "cosine": {"momentum": 0.8, "learning_rate": 0.05, "schedule": "cosine"},
}


def reference_step(optimiser, state, theta, gradients, step):
    """One step by formula. With Adam the way back sees a constant, damped size, as rl/descent.py says."""
    training, rate = optimiser.training, optimiser.rates([step] * 4).view(-1, 1, 1)
    moved = []
    for index, (parameter, gradient) in enumerate(zip(theta, gradients, strict=True)):
        eta = rate.view(-1, *[1] * (parameter.dim() - 1))
        if training.optimiser != "adamw":
            gradient = gradient + training.weight_decay * parameter
        first, second = (0.9, 0.999) if training.optimiser != "sgd" else (training.momentum, 0.0)
        gain = 1 - first if training.optimiser != "sgd" else 1.0
        mean = first * state.get(("mean", index), 0.0) + gain * gradient
        state["mean", index] = mean
        shrunk = parameter * (1 - eta * training.weight_decay) if training.optimiser == "adamw" else parameter
        if training.optimiser == "sgd":
            moved.append(shrunk - eta * mean)
            continue
        square = second * state.get(("square", index), 0.0) + (1 - second) * gradient.detach() ** 2
        state["square", index] = square
        root, unbiased = (square / (1 - second ** (step + 1))).sqrt(), 1 - first ** (step + 1)
        typical = root.flatten(1).mean(1).view(-1, *[1] * (parameter.dim() - 1))
        taken = eta * mean / ((root + 1e-8) * unbiased)
        seen = eta * mean / ((root + DAMPING * typical + 1e-8) * unbiased)
        moved.append(shrunk - (taken.detach() + seen - seen.detach()))
    return moved


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("anneal", [0, 3])
@pytest.mark.parametrize(
    ("name", "decoupled"), [*((name, False) for name in TRAININGS), ("momentum", True), ("adamw", True), ("cosine", True)]
)
def test_the_enn_gets_the_gradient_of_unrolled_training(digits, name, decoupled, anneal, activation):
    """Autograd through every step of the segment, the slow way, with the instruction's dependence on θ left out."""
    config = dataclasses.replace(
        CONFIG,
        target=dataclasses.replace(CONFIG.target, activation=activation),
        instruction=dataclasses.replace(CONFIG.instruction, decoupled=decoupled),
        training=dataclasses.replace(CONFIG.training, **TRAININGS[name]),
        unroll=dataclasses.replace(CONFIG.unroll, anneal=anneal),
    )
    tuning = FineTuning(config, digits, fresh_critic(config, digits))
    critic, trajectory = tuning.critic, tuning._forward()
    tuning._anneal(trajectory)
    costate, losses = tuning._end(0)
    before = [parameter.detach().clone() for parameter in critic.parameters()]

    target, rate = tuning.target, tuning.learning_rate
    theta = [tensor.clone().requires_grad_() for tensor in trajectory.parameters[0]]
    wrong, state = torch.zeros(()), {}
    last = tuning.descent.rates([CONFIG.unroll.steps])
    for step, (x, y) in enumerate(trajectory.batches):
        if step < CONFIG.unroll.steps and step % tuning.refresh == 0:
            terms = instructions(critic, theta, trajectory.progress[step // tuning.refresh], None, rate, graph=True)
            wrong = wrong + ((terms.value - torch.exp(-losses)) ** 2).mean()
        loss = torch.nn.functional.cross_entropy(target.logits(theta, x).transpose(1, 2), y, reduction="none").mean(1).sum()
        gradients = list(torch.autograd.grad(loss, theta, create_graph=True))
        instructed = step < CONFIG.unroll.steps
        if not instructed:
            tuning.descent.rates = lambda ages, at=step: last * (1 - (at - CONFIG.unroll.steps + 1) / (anneal + 1))
        if instructed and not decoupled:
            gradients = [g - i for g, i in zip(gradients, terms.instruction, strict=True)]
        theta = reference_step(tuning.descent, state, theta, gradients, step)
        if instructed and decoupled:
            eta = float(tuning.descent.rates([step])[0])
            theta = [parameter + eta * i for parameter, i in zip(theta, terms.instruction, strict=True)]
    x, y = tuning.folds.reward(tuning.lives, 0, CONFIG.unroll.score_examples)
    final = torch.nn.functional.cross_entropy(target.logits(theta, x).transpose(1, 2), y, reduction="none").mean(1)
    torch.testing.assert_close(final.detach(), losses, rtol=1e-3, atol=1e-5)
    expected = torch.autograd.grad(final.log().mean() + wrong, list(critic.parameters()), allow_unused=True)

    row = tuning._backward(trajectory, costate, losses, torch.ones(4, dtype=torch.bool), 0)
    assert row["promised"] != 0 and row["error"] > 0
    assert any(not torch.equal(now, then) for now, then in zip(critic.parameters(), before, strict=True)), "nothing was learned"
    mine, theirs = [], []
    for (name, parameter), gradient in zip(critic.named_parameters(), expected, strict=True):
        assert (parameter.grad is None) == (gradient is None), name
        if gradient is not None:
            mine.append(parameter.grad.flatten())
            theirs.append(gradient.flatten())
    mine, theirs = torch.cat(mine), torch.cat(theirs)
    theirs = theirs * min(1.0, 1.0 / float(theirs.norm()))  # the optimiser's gradient is cut to this norm
    assert (mine - theirs).norm() < 1e-3 * theirs.norm()


@pytest.mark.parametrize("lost", [(), ("000004",), ("000002", "000004")], ids=str)
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_stopped_and_resumed_is_the_same(digits, tmp_path, monkeypatch, name, lost):
    monkeypatch.setattr(rl.unrolled.training, "KEEP", 2)
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **TRAININGS[name]))
    whole, history = fine_tune(config, digits, fresh_critic(CONFIG, digits), tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(row):
        if row["segment"] == 4:
            raise Killed

    with pytest.raises(Killed):
        fine_tune(config, digits, fresh_critic(CONFIG, digits), tmp_path / "parts", kill)
    for segments in lost:
        (tmp_path / "parts" / f"unrolled-{segments}.safetensors").unlink()
    resumed, again = fine_tune(config, digits, fresh_critic(CONFIG, digits), tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    for row in history + again:
        del row["seconds"]
    assert history == again and [row["segment"] for row in history] == [2, 4, 6]


def test_fine_tuning_goes_on_from_a_named_enn_on_other_targets(digits, tmp_path):
    start = dataclasses.replace(CONFIG.unroll, start="digits-mlp", segments=2)
    enn = ENNConfig(readers=("probes",), probes=32, hidden=64)
    config = dataclasses.replace(
        CONFIG, target=TargetConfig(hidden=(9, 6)), enn=enn, rl=dataclasses.replace(CONFIG.rl, rounds=0), unroll=start
    )
    assert train_enn(validate(config), digits, tmp_path) == {"history": [], "files": {"probes": "enn-before.safetensors"}}
    before, shipped = load_critic(tmp_path / "enn-before.safetensors"), load_critic("digits-mlp")
    assert torch.equal(before.value_head.weight, shipped.value_head.weight) and before.home.target.widths == (64, 9, 6, 10)
    fine_tune_enn(config, digits, tmp_path)
    after = load_critic(tmp_path / "enn.safetensors")
    assert not torch.equal(after.value_head.weight, before.value_head.weight) and after.home.scale == CONFIG.unroll.strength
    for unlike in ({"readers": ("convnet",)}, {"probes": 64}, {"hidden": 65}):
        with pytest.raises(UserError, match="make them alike"):
            train_enn(dataclasses.replace(config, enn=dataclasses.replace(enn, **unlike)), digits, tmp_path / "other")


@pytest.mark.parametrize(("preset", "name"), [("digits", "digits-mlp"), ("fashion", "mnist-mlp"), ("paper-deep", "mnist-mlp")])
def test_adapting_lets_any_preset_go_on_with_an_enn_of_the_package(preset, name):
    """Valid whatever the coarsening; λ, refresh and trust region are those that the ENN was trained with."""
    config, home = validate(adapting(PRESETS[preset], name)), load_critic(name).home
    learning = coarsened(config)
    assert (learning.instruction.refresh, config.unroll.start, config.rl.rounds) == (home.refresh, name, 0)
    assert learning.instruction.trust_region == pytest.approx(home.trust_region) and config.unroll.strength == home.scale
    assert config.enn.readers == ("probes",) and config.target == PRESETS[preset].target and config.unroll.segments > 0


def test_no_member_is_scored_on_what_it_trains_on(digits):
    x, y = digits.tensors("train")
    numbered = torch.arange(len(x), dtype=torch.float32)[:, None]
    folds = Folds(CONFIG, numbered, y, reward_data(CONFIG, digits))
    lives = [Life(birth, 0, 10**6) for birth in range(1, 41)]
    scored = {life.birth: set(folds.reward([life], 0, 5000)[0].flatten().int().tolist()) for life in lives}
    for life in lives:
        epoch = len(folds.outside[folds._fold(life.birth)]) // 16
        trained = {int(i) for step in range(epoch) for i in folds.batch([life], step, 16)[0].flatten().tolist()}
        assert len(trained) == epoch * 16, "an example came twice in an epoch"
        assert not trained & scored[life.birth]
    assert set.union(*scored.values()) == set(range(len(x))), "some examples never score"
    kept = Folds(
        dataclasses.replace(CONFIG, unroll=dataclasses.replace(CONFIG.unroll, folds=1)), x, y, reward_data(CONFIG, digits)
    )
    rows = kept.reward(lives[:2], 0, 50)[0].flatten(0, 1)
    reward = reward_data(CONFIG, digits)[0]
    assert all(bool((row == reward).all(1).any()) for row in rows)


@pytest.mark.parametrize("reader", ["probes", "convnet", "statistics"])
def test_every_reader_can_be_fine_tuned(digits, tmp_path, reader):
    config = dataclasses.replace(CONFIG, enn=dataclasses.replace(CONFIG.enn, readers=(reader,), resolution=0.5))
    before = fresh_critic(config, digits)
    after, _ = fine_tune(config, digits, before, tmp_path)
    moved = [name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before.state_dict()[name])]
    assert {"value_head.weight", "strength_weight", "strength_bias"} <= set(moved)
    assert not [name for name in moved if name.startswith("advantage")]


def test_a_member_that_diverged_is_replaced(digits):
    tuning = FineTuning(CONFIG, digits, fresh_critic(CONFIG, digits))
    tuning.population.parameters[0][1] = torch.nan
    tuning.segment(0)
    assert tuning.failed.tolist() == [False, True, False, False]
    births = [life.birth for life in tuning.lives]
    row = tuning.segment(1)
    assert tuning.lives[1].birth > births[1] and not bool(tuning.failed.any())
    assert all(np.isfinite(value) for value in row.values())


def taught(digits, config, spoiled):
    """An ENN after one segment in which some members are not finite, its row and its gradient."""
    tuning = FineTuning(config, digits, fresh_critic(config, digits))
    for member in spoiled:
        tuning.population.parameters[0][member] = torch.nan
    row = tuning.segment(0)
    return tuning, row, [None if p.grad is None else p.grad.clone() for p in tuning.critic.parameters()]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_member_that_diverged_does_not_teach(digits, name):
    """The ENN's gradient is that of the other members alone: those of a population without it."""
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **TRAININGS[name]))
    fewer = dataclasses.replace(config, unroll=dataclasses.replace(config.unroll, members=2))
    _, row, gradients = taught(digits, config, [2, 3])
    _, expected, others = taught(digits, fewer, [])
    compared = [(own, other) for own, other in zip(gradients, others, strict=True) if own is not None]
    assert len(compared) > 4 and row.keys() == expected.keys()
    for own, other in compared:
        assert other.norm() > 0
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-6 * float(other.abs().max()))
    for key, value in expected.items():
        assert row[key] == pytest.approx(value, rel=1e-3), key


def test_where_all_members_diverge_the_enn_learns_nothing(digits, tmp_path):
    tuning, row, _ = taught(digits, CONFIG, range(4))
    before = fresh_critic(CONFIG, digits).state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in tuning.critic.state_dict().items())
    assert all(np.isnan(value) for value in row.values()), "a number is told where nothing was measured"


def test_the_learning_rate_of_fine_tuning_rises_and_falls_to_nothing(digits):
    segments = 40
    config = dataclasses.replace(CONFIG, unroll=dataclasses.replace(CONFIG.unroll, segments=segments))
    tuning, rates = FineTuning(config, digits, fresh_critic(config, digits)), []
    for number in range(segments):
        tuning.segment(number)
        rates.append(tuning.optimiser.param_groups[0]["lr"])
    peak, top = config.unroll.learning_rate, int(np.argmax(rates))
    assert rates[0] < 0.2 * peak and 0.7 * peak < rates[top] <= peak and top < 15
    assert all(now < before for before, now in itertools.pairwise(rates[top:]))
    assert 0 < rates[-1] <= 1.5 * peak / segments


@pytest.mark.parametrize(("louder", "cut"), [(1.0, False), (10.0, True)])
def test_a_large_gradient_is_shortened_to_1_and_a_small_one_is_left(digits, louder, cut, monkeypatch):
    """One segment that is much worse than the others would fill Adam's averages for long."""
    critic, config = fresh_critic(CONFIG, digits), CONFIG
    critic.strength_weight.data *= 0.1  # or tanh is flat
    critic.value_head.weight.data *= louder
    if cut:
        loud = {"instruction": {"trust_region": 1.0}, "unroll": {"strength": 200.0}}
        config = dataclasses.replace(
            CONFIG, **{name: dataclasses.replace(getattr(CONFIG, name), **new) for name, new in loud.items()}
        )

    def length(largest):
        monkeypatch.setattr(rl.unrolled.tuning, "LARGEST_GRADIENT", largest)
        tuning = FineTuning(config, digits, critic)
        tuning.segment(0)
        return float(torch.cat([p.grad.flatten() for p in tuning.critic.parameters() if p.grad is not None]).norm())

    usual, whole = length(rl.unrolled.tuning.LARGEST_GRADIENT), length(1e9)
    assert whole > 5 if cut else 0.1 < whole < 1
    assert usual == pytest.approx(1.0 if cut else whole, rel=1e-3)


def test_a_replaced_target_starts_without_the_momentum_of_the_one_before(digits):
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **TRAININGS["adamw"]))
    tuning = FineTuning(config, digits, fresh_critic(config, digits))
    tuning.segment(0)
    assert set(tuning.descent.state) == {"momentum", "square"}
    before = tuning.descent.copy()
    tuning.failed[1] = True
    tuning._renew()
    for name, tensors in tuning.descent.state.items():
        for now, then in zip(tensors, before[name], strict=True):
            assert then[1].any() and not now[1].any() and torch.equal(now[[0, 2, 3]], then[[0, 2, 3]])


@pytest.mark.slow
def test_fine_tuning_teaches(digits, tmp_path):
    """From the same small weights, targets under the fine-tuned ENN beat those under the ENN that it started from."""
    config = dataclasses.replace(
        Config(),
        enn=ENNConfig(readers=("probes",)),
        instruction=InstructionConfig(refresh=5),
        unroll=UnrollConfig(segments=100),
    )
    before = rl.critics.fresh_critic(config, digits)  # its probes start at training inputs, as those of users do
    before.home = dataclasses.replace(before.home, scale=config.unroll.strength)
    after, _ = fine_tune(config, digits, before, tmp_path)
    losses = []
    for critic in (before, after):
        target = target_of(config, digits)
        population = Population(target, initialise(target, "normal", list(range(8))), "sgd", config.training.learning_rate)
        batches = Batches(*digits.tensors("train"), config.training.batch_size, list(range(8)), False)
        rule = Instruct(critic, config.training.steps, config.training.learning_rate)
        advance(population, rule, rule.init(population), batches, 200)
        losses.append(population.evaluate(*digits.tensors("validation")).loss.mean())
    assert losses[1] < 0.8 * losses[0]
