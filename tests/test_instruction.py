"""Rules against torch and autograd, one member at a time, in float64, on the movement from the start; and the Instructor."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.config import ENNConfig
from pipeline.enn import Critic, Home, save_critic
from pipeline.enn.readers import Unreadable
from pipeline.errors import UserError
from pipeline.instruction import (
    L1,
    L2,
    Backprop,
    Batch,
    Growth,
    Instruct,
    Instructor,
    RandomPush,
    instruction_scale,
    instructions,
)
from pipeline.instruction.guard import Guard
from pipeline.instruction.loop import advance, advance_guarded, returns, score, train
from pipeline.instruction.low_rank import LowRank, Product, add
from pipeline.instruction.modules import as_mlp
from pipeline.instruction.trust_region import FLOOR
from pipeline.targets import ACTIVATIONS, MLP, Batches, Evaluation, Population, initialise
from pipeline.targets.members import norms
from pipeline.targets.optimisers import OPTIMISERS
from pipeline.targets.target import of_kind, weights

TARGET, RATE, STEPS = MLP((6, 8, 5, 3)), 0.1, 17
LAMBDAS = torch.tensor([0.0, 0.05, 400.0], dtype=torch.float64)
"""nothing, less than the trust region, more than it"""


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=generator, dtype=torch.float64), torch.randint(3, (40,), generator=generator)


def start(target=TARGET, seeds=(0, 1, 2), dtype=torch.float64):
    return initialise(target, "he", seeds, dtype=dtype)


def batches(seeds=(0, 1, 2), shared=False):
    return Batches(*data(), 9, seeds, shared)


def make_critic(reader="probes", target=TARGET, dtype=torch.float64, **use):
    torch.manual_seed(0)
    usual = {"steps": 40, "period": 6, "learning_rate": RATE, "ladder": (0.0, 1.0, 300.0), "refresh": 4, "trust_region": 0.02}
    home = Home(target, **usual | use)
    critic = Critic(reader, ENNConfig(hidden=8, probes=5, resolution=0.6, width=4), home).to(dtype)
    with torch.no_grad():
        critic.value_head.weight *= 20  # a gradient that is felt
    return critic


def fresh(target=TARGET, seeds=(0, 1, 2), **settings):
    return Population(target, start(target, seeds), learning_rate=RATE, **settings)


def movement(population, rule, steps=STEPS, order=None):
    before = population.flat()
    advance(population, rule, rule.init(population), order or batches(), steps)
    return population.flat() - before


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def module_movement(target, parameters, order, member, steps, change_gradients, **settings):
    """One member alone: an nn.Sequential, autograd and torch's SGD, with the .grad changed before each step."""
    module = target.module(parameters)
    optimiser = torch.optim.SGD(module.parameters(), lr=RATE, **settings)
    for step in range(steps):
        x, y = (tensor if order.shared_order else tensor[member] for tensor in order(step))
        optimiser.zero_grad()
        F.cross_entropy(module(x), y).backward()
        change_gradients(step, list(module.parameters()))
        optimiser.step()
    return flat(module.parameters()) - flat(parameters)


def assert_same_movement(mine, theirs):
    assert theirs.norm() > 1e-3
    assert (mine - theirs).norm() < 1e-10 * theirs.norm()


# Penalties and controls


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_l2_is_torchs_weight_decay(momentum):
    strengths = torch.tensor([0.0, 0.03, 0.3], dtype=torch.float64)
    moved = movement(fresh(momentum=momentum), L2(strengths))
    for member, own in enumerate(zip(*start(), strict=True)):
        settings = {"weight_decay": strengths[member].item(), "momentum": momentum}
        assert_same_movement(moved[member], module_movement(TARGET, own, batches(), member, STEPS, lambda *_: None, **settings))


def test_l1_is_the_gradient_of_its_penalty():
    strengths = torch.tensor([0.0, 0.003, 0.03], dtype=torch.float64)
    moved = movement(fresh(), L1(strengths))
    for member, own in enumerate(zip(*start(), strict=True)):

        def penalise(_, parameters, strength=strengths[member]):
            (strength * sum(weight.abs().sum() for weight in parameters if weight.dim() == 2)).backward()

        assert_same_movement(moved[member], module_movement(TARGET, own, batches(), member, STEPS, penalise))


CONTROLLED = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "adam": {"optimiser": "adam"},
    "adamw, cosine": {"optimiser": "adamw", "schedule": "cosine", "steps": 400},
}
CONTROLLED |= {name: {"optimiser": name} for name in OPTIMISERS if name not in ("sgd", "adam", "adamw")}


def unmoved(settings, scheme="normal"):
    """Two members and a batch of blank inputs: no weight has a gradient, so that what moves weights is the control alone."""
    target = MLP((6, 8, 3))
    population = Population(target, initialise(target, scheme, [0, 1], dtype=torch.float64), learning_rate=0.05, **settings)
    return population, Batches(torch.zeros(40, 6, dtype=torch.float64), data()[1], 9, [0, 1], False)


def norms_of(population):
    return [weight.flatten(1).norm(dim=1) for weight in weights(population.parameters, population.target.slots)]


@pytest.mark.parametrize("name", CONTROLLED)
def test_growth_is_two_percent_a_step_up_to_he_whatever_the_optimiser(name):
    assert {settings.get("optimiser", "sgd") for settings in CONTROLLED.values()} == set(OPTIMISERS)
    population, order = unmoved(CONTROLLED[name])
    rule, before = Growth(), norms_of(population)
    state = rule.init(population)
    slots = population.target.slots
    he = [math.sqrt(2 / w.shape[-1]) * math.sqrt(w[0].numel()) for w in weights(population.parameters, slots)]
    advance(population, rule, state, order, 10)
    for now, small in zip(norms_of(population), before, strict=True):
        torch.testing.assert_close(now, small * 1.02**10, rtol=1e-9, atol=0)
    plain, _ = unmoved(CONTROLLED[name])
    advance(plain, Backprop(), None, order, 10)
    assert population.parameters[3].norm() > 0, "no bias moved: that they do not grow is not shown"
    biases = (of_kind(own.parameters, slots, "bias") for own in (population, plain))
    for now, other in zip(*biases, strict=True):
        assert torch.equal(now, other), "biases must not grow"
    advance(population, rule, state, order, 300)
    for now, norm in zip(norms_of(population), he, strict=True):
        torch.testing.assert_close(now, torch.full_like(now, norm), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", CONTROLLED)
def test_growth_takes_each_members_last_layer_as_far_as_it_is_told(name):
    population, order = unmoved(CONTROLLED[name], "he")
    first, rule = norms_of(population)[0], Growth(last=torch.tensor([2.0, 6.0]))
    advance(population, rule, rule.init(population), order, 300)
    now, he = norms_of(population), math.sqrt(2 / 6 * 48)
    torch.testing.assert_close(now[1], torch.tensor([2.0, 6.0]).double() * math.sqrt(2 / 8 * 24), rtol=1e-9, atol=0)
    torch.testing.assert_close(now[0], first.clamp_min(he), rtol=1e-9, atol=0)


def test_growth_leaves_gradients_and_members_that_diverged_alone():
    population, order = unmoved({})
    population.parameters[0][1, 0, 0] = torch.inf
    rule = Growth()
    advance(population, rule, rule.init(population), order, 1)
    before = [tensor[1].clone() for tensor in population.parameters]
    plain = [gradient.clone() for gradient in population.grads(*order(3))]
    ruled = rule.update(population, Batch(*order(3)), rule.init(population))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(plain, ruled, strict=True))
    assert population.diverged_at.tolist() == [-1, 0]
    assert all(torch.equal(now[1], then) for now, then in zip(population.parameters, before, strict=True))


def test_random_push_is_one_direction_as_long_as_the_trust_region_beside_any_optimiser():
    """It moves the weights itself and leaves the gradients alone, so that no optimiser repeats or rescales it."""
    population, rule = fresh(), RandomPush([0, 1, 2], trust_region=0.03, steps=5)
    state, directions = rule.init(population), []
    for step in range(7):
        plain = [gradient.clone() for gradient in population.grads(*batches()(step))]
        before = [tensor.clone() for tensor in population.parameters]
        update = rule.update(population, Batch(*batches()(step)), state)
        assert all(torch.equal(one, other) for one, other in zip(update, plain, strict=True))
        pushes = [now - then for now, then in zip(population.parameters, before, strict=True)]
        for push, tensor in zip(pushes, before, strict=True):
            floor = FLOOR * math.sqrt(tensor[0].numel())
            allowed = 0.03 * tensor.flatten(1).norm(dim=1).clamp_min(floor) if step < 5 else torch.zeros(3).double()
            torch.testing.assert_close(push.flatten(1).norm(dim=1), allowed, rtol=1e-10, atol=1e-14)
        directions.append([F.normalize(push.flatten(1), dim=1) for push in pushes])
        population.apply(update)
    for first, fifth in zip(directions[0], directions[4], strict=True):
        torch.testing.assert_close(first, fifth, rtol=1e-9, atol=1e-12)
        assert (first[0] - first[1]).norm() > 0.1, "two members are pushed alike"
    alone = RandomPush([1]).init(fresh(seeds=[1]))
    for one, together in zip(alone, state, strict=True):
        assert torch.equal(one[0], together[1]), "a member's push depends on the population"


# The instruction


def by_hand(critic, target, strength, run_steps, clipped):
    """−λ ∂V/∂θ within the trust region, renewed at each period and refresh: what Instruct does, for one module, slowly."""
    kept = []

    def instruct(step, parameters):
        home = critic.home
        if step % home.period % home.refresh == 0:
            leaves = [parameter.detach().clone().requires_grad_() for parameter in parameters]
            at = torch.tensor([step / run_steps], dtype=torch.float64)
            value = critic.value([leaf[None] for leaf in leaves], at, target.activation)
            kept.clear()
            for leaf, gradient in zip(leaves, torch.autograd.grad(value[0], leaves), strict=True):
                radius = home.trust_region * max(leaf.detach().norm().item(), FLOOR * math.sqrt(leaf.numel()))
                length = RATE * strength * gradient.norm().item()
                clipped.add(length > radius)
                kept.append(strength * gradient / (1 + length / radius))
        for parameter, instruction in zip(parameters, kept, strict=True):
            parameter.grad -= instruction

    return instruct


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(
    ("reader", "target", "shared"),
    [
        ("probes", TARGET, False),
        ("probes", MLP((6, 9, 3), "tanh"), True),
        ("convnet", MLP((6, 9, 4, 3), "gelu"), False),
        ("statistics", MLP((6, 9, 4, 3), "sigmoid"), True),
    ],
    ids=str,
)
def test_instruct_equals_autograd_on_separate_modules(reader, target, shared, momentum):
    """17 steps of a run of 40: three periods, each with a refresh inside; some targets are not what the ENN learned on."""
    critic, clipped = make_critic(reader), set()
    rule = Instruct(critic, 40, RATE, lambda population, progress: LAMBDAS)
    moved = movement(fresh(target, momentum=momentum), rule, order=batches(shared=shared))
    plain = movement(fresh(target, momentum=momentum), Backprop(), order=batches(shared=shared))
    for member, own in enumerate(zip(*start(target), strict=True)):
        instruct = by_hand(critic, target, LAMBDAS[member].item(), 40, clipped)
        expected = module_movement(target, own, batches(shared=shared), member, STEPS, instruct, momentum=momentum)
        assert_same_movement(moved[member], expected)
    assert clipped == {True, False}, "the trust region was never, or always, in the way"
    assert (moved - plain)[1:].norm(dim=1).min() > 1e-5 * plain.norm(), "the instruction was not felt"


@pytest.mark.parametrize("reader", ["probes", "convnet", "statistics"])
def test_without_strength_it_is_backprop_bit_for_bit_and_asks_for_no_gradient(reader, monkeypatch):
    monkeypatch.setattr("pipeline.instruction.reading.value_gradients", None)
    none = Instruct(make_critic(reader), 40, RATE, lambda population, progress: torch.zeros(3).double())
    assert torch.equal(movement(fresh(), none), movement(fresh(), Backprop()))
    assert torch.equal(movement(fresh(), Instruct(make_critic(reader, strength=0.0), 40, RATE)), movement(fresh(), Backprop()))


def test_one_member_without_strength_is_conventional_beside_instructed_ones():
    rule = Instruct(make_critic(), 40, RATE, lambda population, progress: LAMBDAS)
    moved, plain = movement(fresh(), rule), movement(fresh(), Backprop())
    assert torch.equal(moved[0], plain[0]) and not torch.equal(moved[1], plain[1])


def test_the_critic_chooses_strengths_where_none_are_given():
    critic, seen = make_critic(), []

    def strengths(population, progress):
        seen.append((population.step, progress.tolist()))
        return critic.strengths(population.parameters, progress)

    own = movement(fresh(), Instruct(critic, 40, RATE))
    assert torch.equal(own, movement(fresh(), Instruct(critic, 40, RATE, strengths)))
    assert seen == [(step, [step / 40] * 3) for step in (0, 6, 12)]
    assert not torch.equal(own, movement(fresh(), Backprop())), "only level 0 was chosen: nothing was tested"


@pytest.mark.parametrize(("period", "refresh", "expected"), [(8, 5, [0, 5, 8, 13, 16]), (6, 3, [0, 3, 6, 9, 12, 15])])
def test_an_instruction_is_reused_until_its_refresh(period, refresh, expected, monkeypatch):
    import pipeline.instruction.reading as module

    original, asked = module.value_gradients, []

    def count(*arguments):
        asked.append(population.step)
        return original(*arguments)

    monkeypatch.setattr(module, "value_gradients", count)
    population, critic = fresh(), make_critic(period=period, refresh=refresh, strength=1.0)
    movement(population, Instruct(critic, 40, RATE))
    assert asked == expected


def test_the_trust_region_is_never_left():
    generator = torch.Generator().manual_seed(4)
    for size, factor in itertools.product((0.0, 1e-8, 1.0, 1e3), (0.0, 1e-12, 1.0, 1e12)):
        parameter = size * torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)
        gradient = factor * torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)
        scale = instruction_scale(gradient, parameter, LAMBDAS, RATE, 0.02)
        radius = 0.02 * parameter.flatten(1).norm(dim=1).clamp_min(FLOOR * math.sqrt(20))
        step = RATE * scale * gradient.flatten(1).norm(dim=1)
        assert (step <= radius * (1 + 1e-9)).all() and (scale <= LAMBDAS).all() and (scale >= 0).all()
        wanted = RATE * LAMBDAS * gradient.flatten(1).norm(dim=1)
        inside, outside = wanted < 1e-6 * radius, wanted > 1e6 * radius
        torch.testing.assert_close(scale[inside], LAMBDAS[inside], rtol=2e-6, atol=0)
        torch.testing.assert_close(step[outside], radius[outside], rtol=2e-6, atol=0)


@pytest.mark.parametrize("reader", ["probes", "convnet", "statistics"])
def test_a_member_that_is_no_number_disturbs_no_neighbour(reader):
    critic = make_critic(reader)

    def run(damage):
        population = fresh()
        population.parameters[0][1, 0, 0] *= damage
        movement(population, Instruct(critic, 40, RATE, lambda population, progress: LAMBDAS.flip(0)))
        return population

    healthy = run(1.0)
    for damage in (math.nan, math.inf, 1e200):
        population = run(damage)
        assert population.diverged_at[1] >= 0 and population.diverged_at[[0, 2]].tolist() == [-1, -1]
        assert torch.equal(population.flat()[[0, 2]], healthy.flat()[[0, 2]])


def test_an_unreadable_population_is_refused_before_the_first_step():
    with pytest.raises(Unreadable, match=r"layer1\.weight has 7 inputs"):
        Instruct(make_critic(), 40, RATE).init(fresh(MLP((7, 8, 3))))


# The Instructor in anyone's own loop


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("reader", ["probes", "convnet", "statistics"])
@pytest.mark.parametrize(("guarded", "decoupled"), [(False, False), (True, False), (False, True), (True, True)])
def test_instructor_equals_instruct_on_a_population_of_one(reader, guarded, decoupled, dtype, tmp_path):
    x, y = data()
    order, target = Batches(x.to(dtype), y, 9, [1], False), MLP((6, 9, 4, 3), "tanh")
    critic = make_critic(reader, dtype=dtype, decoupled=decoupled, schedule="cosine")
    save_critic(critic, tmp_path / "enn.safetensors", {})
    instructor = Instructor.load(tmp_path / "enn.safetensors", steps=30, learning_rate=RATE, guarded=guarded)
    parameters = start(target, [1], dtype)
    own = [tensor[0] for tensor in parameters]
    population = Population(target, parameters, learning_rate=RATE)
    moved = movement(population, Instruct(critic, 30, RATE, guard=Guard() if guarded else None), order=order)[0]
    module, before = target.module(own), flat(own)
    optimiser = torch.optim.SGD(module.parameters(), lr=RATE)
    for step in range(STEPS):
        xs, ys = (tensor[0] for tensor in order(step))
        optimiser.zero_grad()
        F.cross_entropy(module(xs), ys).backward()
        instructor.instruct(module)
        optimiser.step()
    expected = flat(module.parameters()) - before
    assert (moved - expected).norm() < (1e-10 if dtype == torch.float64 else 1e-4) * expected.norm()
    at = torch.tensor([STEPS / 30], dtype=dtype)
    value = critic.value([tensor[None] for tensor in module.parameters()], at, "tanh")
    assert instructor.predict(module) == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize(("momentum", "same"), [(0.0, True), (0.9, False)])
def test_a_decoupled_instruction_passes_the_optimiser_by(momentum, same):
    """With plain SGD both ways are one; momentum repeats what is in the gradient, and not what moved the weights."""
    moves = [
        movement(fresh(momentum=momentum), Instruct(make_critic(strength=300.0, decoupled=decoupled), 40, RATE), 8)
        for decoupled in (False, True)
    ]
    difference = (moves[0] - moves[1]).norm() / moves[0].norm()
    assert difference < 1e-10 if same else difference > 0.01


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(6, 3), (6, 8, 3), (6, 9, 4, 3)], ids=str)
@pytest.mark.parametrize("strength", [None, 0.05, 400.0])
def test_a_reading_of_low_rank_is_the_instruction(widths, activation, strength):
    target, at = MLP(widths, activation), torch.tensor([0.3], dtype=torch.float64)
    critic, parameters = make_critic(scale=3.0), start(target, [4])
    with torch.no_grad():
        critic.strength_weight.normal_()
    own = None if strength is None else torch.tensor([strength], dtype=torch.float64)
    slow = instructions(critic, parameters, at, own, RATE, activation)
    chosen, pushes = LowRank(critic).instructions(target, [tensor[0] for tensor in parameters], at, own, RATE)
    assert chosen.item() == pytest.approx(slow.strength.item(), rel=1e-12)
    for push, expected in zip(pushes, slow.instruction, strict=True):
        added = torch.ones_like(expected[0])
        add(added, push, -2.0)
        torch.testing.assert_close((1 - added) / 2, expected[0], rtol=1e-9, atol=1e-12 * expected.norm().item())
        assert isinstance(push, Product) == (expected[0].dim() == 2) and expected.norm() > 1e-6


def test_one_that_is_not_finite_is_left_to_the_slow_way():
    module = TARGET.module([tensor[0] for tensor in start()])
    with torch.no_grad():
        module[0].weight[0, 0] = math.inf
    parameters = [tensor.detach() for tensor in module.parameters()]
    critic = make_critic(strength=0.5)
    assert LowRank(critic).instructions(TARGET, parameters, torch.zeros(1, dtype=torch.float64), None, RATE) is None
    Instructor(critic).instruct(module)
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_a_decoupled_instruction_shrinks_with_the_schedule_of_home():
    moved = {}
    for schedule in ("constant", "cosine"):
        critic = make_critic(strength=300.0, decoupled=True, schedule=schedule, refresh=1, period=1)
        module = TARGET.module([tensor[0] for tensor in start()])
        instructor = Instructor(critic, steps=10, learning_rate=RATE, guarded=False)
        for _ in range(10):
            before = flat(module.parameters()).clone()
            instructor.instruct(module)
            moved.setdefault(schedule, []).append((flat(module.parameters()) - before).norm().item())
        assert all(parameter.grad is None for parameter in module.parameters())
    assert moved["cosine"][0] == pytest.approx(moved["constant"][0])
    assert moved["cosine"][9] < 0.05 * moved["cosine"][0] and moved["constant"][9] > 0.3 * moved["constant"][0]


def test_a_frozen_member_is_not_moved():
    population = fresh()
    population.parameters[0][1] = math.nan
    advance(population, Backprop(), None, batches(), 1)
    frozen, living = population.flat()[1].clone(), population.flat()[[0, 2]]
    assert population.diverged_at.tolist() == [-1, 0, -1]
    population.move([torch.ones_like(tensor) for tensor in population.parameters], 0.5)
    assert torch.equal(population.flat()[1].nan_to_num(7.0), frozen.nan_to_num(7.0))
    assert torch.equal(population.flat()[[0, 2]], living + 0.5)


def test_instruct_adds_to_the_gradients_that_are_there():
    target = MLP((6, 8, 3))
    module = target.module([tensor[0] for tensor in start(target)])
    expected = []
    at = torch.zeros(1, dtype=torch.float64)
    leaves = [parameter.detach()[None].requires_grad_() for parameter in module.parameters()]
    critic = make_critic(strength=1e-8, trust_region=1.0)
    for gradient in torch.autograd.grad(critic.value(leaves, at).sum(), leaves):
        expected.append(-1e-8 * gradient[0])
    Instructor(critic).instruct(module)
    for parameter, instruction in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, instruction, rtol=1e-6, atol=1e-22)
        parameter.grad = torch.full_like(parameter, 0.5)
    module[0].bias.requires_grad_(False)
    Instructor(critic).instruct(module)
    for parameter, instruction in zip(module.parameters(), expected, strict=True):
        instruction = instruction if parameter.requires_grad else 0 * instruction
        torch.testing.assert_close(parameter.grad, 0.5 + instruction, rtol=1e-6, atol=1e-22)


@pytest.mark.parametrize("decoupled", [False, True])
def test_parameters_that_their_owner_froze_are_left_alone(decoupled):
    module = TARGET.module([tensor[0] for tensor in start()])
    module[0].weight.requires_grad_(False)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    Instructor(make_critic(strength=1.0, decoupled=decoupled), guarded=False).instruct(module)
    frozen, *others = module.parameters()
    assert frozen.grad is None and torch.equal(frozen, before[0])
    for now, then in zip(others, before[1:], strict=True):
        assert not torch.equal(now, then) if decoupled else now.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_model_of_another_precision_is_instructed_in_its_own(dtype):
    model = TARGET.module().to(dtype)
    instructor = Instructor(make_critic(dtype=torch.float32), strength=1.0)
    instructor.instruct(model)
    instructor.instruct(model)
    assert all(parameter.grad.dtype == dtype and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert 0 <= instructor.predict(model) <= 1


class Nested(nn.Module):
    """A model as people write them: blocks, dropout, a flattened image, softmax outside."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 5))
        self.activation = nn.GELU()
        self.head = nn.Linear(5, 3)
        self.softmax = nn.Softmax(dim=-1)


def test_a_nested_model_is_read_in_the_order_of_its_layers():
    model = Nested()
    target, tensors = as_mlp(model)
    assert target == MLP((6, 8, 5, 3), "gelu")
    assert [id(tensor) for tensor in tensors] == [id(parameter) for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(6, 3)), "layer '0' is a Conv2d"),
        (nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), "layer '1' is a BatchNorm1d"),
        (nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(), nn.Linear(8, 3)), "layer '1' is a LeakyReLU"),
        (nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)), "layer '0' has no bias"),
        (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)), "activations relu, tanh"),
        (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(9, 3)), "layer '2' takes 9 inputs"),
        (nn.Sequential(nn.ReLU()), "no linear layer"),
        (nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 3)), "layer1.weight has 7 inputs"),
        (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), "layer2.weight has 4 classes"),
    ],
)
def test_models_that_cannot_be_read_are_refused_by_name(model, message):
    instructor = Instructor(make_critic(dtype=torch.float32))
    for use in (instructor.instruct, instructor.predict):
        with pytest.raises(UserError) as caught:
            use(model)
        assert message in str(caught.value) and str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert all(parameter.grad is None for parameter in model.parameters())


# Returns and the loop


def test_returns_are_the_discounted_scores_from_here_on():
    scores = np.random.default_rng(0).random((7, 4))
    assert np.array_equal(returns(scores, 0.0)[:-1], scores[1:])
    np.testing.assert_allclose(returns(np.full((7, 4), 0.3), 0.9), 0.3, rtol=1e-12)
    for gamma in (0.0, 0.5, 0.97):
        for point in range(7):
            left = 6 - point
            slow = sum((1 - gamma) * gamma**k * scores[point + 1 + k] for k in range(left)) + gamma**left * scores[-1]
            np.testing.assert_allclose(returns(scores, gamma)[point], slow, rtol=1e-12)


def test_scores_lie_between_0_and_1_even_after_divergence():
    evaluation = Evaluation(torch.tensor([0.0, 2.0, math.inf]), torch.tensor([1.0, 0.25, 0.0]))
    assert score(evaluation, "loss").tolist() == pytest.approx([1.0, math.exp(-2), 0.0])
    assert score(evaluation, "accuracy").tolist() == [1.0, 0.25, 0.0]


@pytest.mark.parametrize("instructed", [False, True])
def test_measuring_changes_nothing(instructed):
    critics = {reader: make_critic(reader) for reader in ("probes", "convnet")}
    rule = Instruct(critics["probes"], 20, RATE) if instructed else Backprop()
    alone = movement(fresh(momentum=0.9), rule, steps=20)
    population, points, before = fresh(momentum=0.9), [], fresh().flat()
    trace = train(population, rule, batches(), 20, 6, data(), critics, points.append)
    assert torch.equal(population.flat() - before, alone) and population.step == 20
    assert trace.steps == points == [0, 6, 12, 18, 20]
    for series in (trace.seconds, trace.loss, trace.accuracy, trace.gradient_norm, trace.instruction_norm):
        assert len(series) == 5
    assert len(trace.strength) == 4
    assert {name: len(values) for name, values in trace.predicted.items()} == dict.fromkeys(critics, 5)
    assert trace.seconds == sorted(trace.seconds) and trace.seconds[0] == 0 < trace.seconds[1]
    evaluation = population.evaluate(*data())
    assert trace.loss[-1].tolist() == evaluation.loss.tolist() and trace.accuracy[-1].tolist() == evaluation.accuracy.tolist()
    last = critics["convnet"].value(population.parameters, torch.ones(3, dtype=torch.float64)).tolist()
    assert trace.predicted["convnet"][-1].tolist() == pytest.approx(last, rel=1e-12)
    assert bool(np.any(trace.strength)) == bool(np.any(trace.instruction_norm)) == instructed
    assert not trace.instruction_norm[0].any()


def test_norms_are_over_all_tensors_of_a_member():
    tensors = start()
    assert norms(tensors).tolist() == pytest.approx([flat(own).norm().item() for own in zip(*tensors, strict=True)], rel=1e-12)


# The guard


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_guard_ends_an_instruction_that_leads_uphill_and_leaves_one_that_leads_downhill(sign):
    guard, generator = Guard(), torch.Generator().manual_seed(0)
    for _ in range(30):
        gradients = [torch.randn(3, 5, 4, generator=generator), torch.randn(3, 5, generator=generator)]
        guard.reading(gradients, [sign * tensor + 0.5 * torch.randn(tensor.shape, generator=generator) for tensor in gradients])
    assert guard.factor.tolist() == pytest.approx([1e-3] * 3 if sign > 0 else [1.0] * 3)


def test_trust_that_was_lost_comes_back_where_the_instruction_leads_downhill_again():
    """Member by member: the first goes on leading uphill, the second turns."""
    guard, gradients = Guard(), [torch.ones(2, 5, 4), torch.ones(2, 5)]
    for _ in range(8):
        guard.reading(gradients, gradients)
    lost = guard.factor
    assert lost.tolist() == pytest.approx([1e-3] * 2)
    turned, trusts = torch.tensor([1.0, -1.0]), []
    for _ in range(20):
        guard.reading(gradients, [tensor * turned.view(-1, *[1] * (tensor.dim() - 1)) for tensor in gradients])
        trusts.append(guard.factor.tolist())
    rising = [trust for _, trust in trusts]
    assert rising[0] == pytest.approx(1e-3) and rising[-1] == 1.0, "it forgives too soon, or never"
    assert all(now >= before for before, now in itertools.pairwise(rising))
    assert all(trust == pytest.approx(1e-3) for trust, _ in trusts), "one member's turn is another's"


def test_a_member_goes_on_from_the_better_half_of_a_trial():
    """With the instruction for a member whose score it raises, without it for the others; then on as usual."""
    rule = Instruct(make_critic(period=4, refresh=2), 40, RATE, lambda population, progress: LAMBDAS.clamp_min(1.0), Guard())
    half = {}
    for name in ("with", "without"):
        population = fresh()
        free = Instruct(rule.critic, 40, RATE, rule.strengths, Guard()) if name == "with" else Backprop()
        advance(population, free, free.init(population), batches(), 4)
        half[name] = population.flat()
    calls = []

    def score(population):
        calls.append(population.flat())
        return torch.tensor([1.0, 0.0, 0.5]) if len(calls) == 1 else torch.tensor([0.0, 1.0, 0.5])

    rule.guard = Guard(score)
    population = fresh()
    assert advance_guarded(population, rule, rule.init(population), batches(), 4) == 8
    assert torch.equal(calls[0], half["with"]) and torch.equal(calls[1], half["without"])
    assert torch.equal(population.flat()[0], half["with"][0]) and torch.equal(population.flat()[1:], half["without"][1:])
    assert not torch.equal(half["with"][0], half["without"][0])
    assert rule.guard.allowed.tolist() == [1.0, 0.0, 0.0] and population.step == 4
    before = population.flat()
    state = rule.init(population)
    advance(population, rule, state, batches(), 1)
    assert state.strength[0] > 0 and not state.strength[1:].any()
    assert not torch.equal(population.flat(), before)


def test_trials_are_at_doubling_distances_and_more_often_while_the_enn_is_followed():
    guard = Guard(lambda population: torch.zeros(1))
    guard.allowed = torch.zeros(2)
    assert [period for period in range(40) if guard.is_trial(period)] == [0, 1, 3, 7, 15, 31]
    guard.allowed = torch.tensor([0.0, 1.0])
    assert [period for period in range(12) if guard.is_trial(period)] == [0, 1, 3, 5, 7, 9, 11]
    assert guard.is_trial(10, last=True)
    guard.allowed = torch.zeros(2)
    assert not guard.is_trial(10, last=True)


# Any module, by probes


def test_a_reading_is_of_the_network_as_it_predicts():
    """Without dropout: the same at every reading, although the model is being trained."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 3)).double()
    instructor = Instructor(make_critic(), 40, RATE, strength=1.0, input_shape=(1, 2, 3))
    assert len({instructor.predict(model) for _ in range(5)}) == 1 and model.training


def test_probes_instruct_any_module_as_they_do_a_chain_of_linear_layers():
    target = MLP((6, 8, 3))
    modules = [target.module([tensor[0] for tensor in start(target)]) for _ in range(2)]
    critic, x, y = make_critic(), *data()
    for module, shape in zip(modules, (None, (6,)), strict=True):
        instructor = Instructor(critic, 40, RATE, strength=1.0, input_shape=shape)
        F.cross_entropy(module(x), y).backward()
        instructor.instruct(module)
    for one, other in zip(modules[0].parameters(), modules[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-14)


def test_probes_instruct_a_convolutional_network_and_refuse_other_outputs():
    def network(classes):
        return nn.Sequential(nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(8, classes)).double()

    model, critic = network(3), make_critic()
    instructor = Instructor(critic, 40, RATE, strength=1.0, input_shape=(1, 2, 3))
    instructor.instruct(model)
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert model.training and 0 < instructor.predict(model) < 1
    with pytest.raises(Unreadable, match="reads 3 classes"):
        Instructor(critic, 40, RATE, strength=1.0, input_shape=(1, 2, 3)).instruct(network(4))
    with pytest.raises(Unreadable, match="is not 6 values"):
        Instructor(critic, 40, RATE, strength=1.0, input_shape=(1, 3, 3)).instruct(model)
    with pytest.raises(Unreadable, match="reads by probes"):
        Instructor(make_critic("convnet"), 40, RATE, strength=1.0, input_shape=(1, 2, 3)).instruct(model)
