"""Targets against slow, obvious references: separate modules with torch.optim, in float64, on the movement from the start."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from pipeline.errors import UserError
from pipeline.seeding import torch_stream
from pipeline.targets import ACTIVATIONS, MLP, Batches, Population, initialise, unflatten
from pipeline.targets.initialise import SCHEMES
from pipeline.targets.optimisers import OPTIMISERS as REGISTERED
from pipeline.targets.optimisers import Settings
from pipeline.targets.schedules import SCHEDULES
from pipeline.targets.target import Slot, in_order, layers, of_kind, weights

STEPS, BATCH, EXAMPLES = 8, 9, 40
COSINE = {"schedule": "cosine", "steps": 11}
OPTIMISERS = {
    "sgd": ("sgd", {}, torch.optim.SGD),
    "sgd with decay": ("sgd", {"weight_decay": 0.03}, torch.optim.SGD),
    "sgd with momentum and decay": ("sgd", {"momentum": 0.9, "weight_decay": 0.03}, torch.optim.SGD),
    "adam": ("adam", {"weight_decay": 0.03}, torch.optim.Adam),
    "adamw": ("adamw", {"weight_decay": 0.03}, torch.optim.AdamW),
    "sgd with momentum, cosine": ("sgd", {"momentum": 0.9, **COSINE}, torch.optim.SGD),
    "adamw, cosine": ("adamw", {"weight_decay": 0.03, **COSINE}, torch.optim.AdamW),
}


def torchs_own(optimiser):
    """torch's optimiser of that name, None where there is none: then :meth:`Form.step` is what the steps are held against."""
    return next((own for name, own in vars(torch.optim).items() if name.lower() == optimiser and isinstance(own, type)), None)


WITH_CASE = {optimiser for optimiser, *_ in OPTIMISERS.values()}, {own.get("schedule") for _, own, _ in OPTIMISERS.values()}
OPTIMISERS |= {name: (name, {"weight_decay": 0.03}, torchs_own(name)) for name in REGISTERED if name not in WITH_CASE[0]}
OPTIMISERS |= {
    f"sgd, {name}": ("sgd", COSINE | {"schedule": name}, torch.optim.SGD)
    for name in SCHEDULES
    if name not in {"constant", *WITH_CASE[1]}
}
assert {optimiser for optimiser, *_ in OPTIMISERS.values()} == set(REGISTERED), "an optimiser has no case"
assert {settings.get("schedule", "constant") for _, settings, _ in OPTIMISERS.values()} == set(SCHEDULES)
HUGE = 1e200


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks that end inside tensors and members, as they do in a real population."""
    monkeypatch.setattr("pipeline.targets.population.CHUNK", 13)


def data(device="cpu"):
    generator = torch_stream(0, "test data")
    x = torch.randn(EXAMPLES, 6, generator=generator, dtype=torch.float64)
    return x.to(device), torch.randint(3, (EXAMPLES,), generator=generator).to(device)


def start(target, seeds=(0, 1, 2), device="cpu"):
    return initialise(target, "he", seeds, device=device, dtype=torch.float64)


def train(population, batches, steps=STEPS, first=0):
    for step in range(first, first + steps):
        population.apply(population.grads(*batches(step)))
    return population


def schedule_of(optimiser, settings):
    """torch's own, where there is one."""
    name, steps = settings["schedule"], settings["steps"]
    return (
        CosineAnnealingLR(optimiser, steps) if name == "cosine" else LambdaLR(optimiser, lambda n: SCHEDULES[name](n / steps))
    )


def module_movement(target, parameters, optimiser, x, y, settings):
    """One member alone: an nn.Module, autograd and torch.optim."""
    module = target.module(parameters)
    optimiser = optimiser(module.parameters(), **{name: value for name, value in settings.items() if name not in COSINE})
    schedule = schedule_of(optimiser, settings) if "schedule" in settings else None
    for xs, ys in zip(x, y, strict=True):
        optimiser.zero_grad()
        F.cross_entropy(module(xs), ys).backward()
        optimiser.step()
        if schedule:
            schedule.step()
    return [now.detach() - before for now, before in zip(module.parameters(), parameters, strict=True)]


@pytest.mark.parametrize("widths", [(6, 5, 3), (6, 7, 4, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", [name for name, (*_, reference) in OPTIMISERS.items() if reference])
def test_a_population_equals_separate_modules(name, activation, widths):
    optimiser, settings, reference = OPTIMISERS[name]
    target, rates = MLP(widths, activation), torch.tensor([0.05, 0.1, 0.02], dtype=torch.float64)
    x, y = data()
    for shared, rate in itertools.product((False, True), (0.05, rates)):
        parameters = start(target)
        batches = Batches(x, y, BATCH, [0, 1, 2], shared)
        population = train(Population(target, parameters, optimiser, rate, **settings), batches)
        history = [[tensor.clone() for tensor in batches(step)] for step in range(STEPS)]
        for member in range(3):
            xs, ys = ([pair[part] if shared else pair[part][member] for pair in history] for part in (0, 1))
            own_rate = rate if isinstance(rate, float) else rate[member].item()
            own = [tensor[member] for tensor in parameters]
            expected = module_movement(target, own, partial(reference, lr=own_rate), xs, ys, settings)
            for now, before, moved in zip(population.parameters, own, expected, strict=True):
                assert moved.norm() > 1e-5
                assert (now[member] - before - moved).norm() < 1e-10 * moved.norm()


@pytest.mark.parametrize("name", [name for name, (_, settings, _) in OPTIMISERS.items() if "schedule" not in settings])
def test_an_optimisers_two_arithmetics_take_the_same_steps(name):
    """In place on a population's buffers, and in the form that unrolled training goes back over."""
    optimiser, settings, _ = OPTIMISERS[name]
    rates = torch.tensor([0.05, 0.1, 0.02], dtype=torch.float64)
    population = Population(MLP((6, 5, 3)), start(MLP((6, 5, 3))), optimiser, rates, **settings)
    form, other = REGISTERED[optimiser].form(Settings(rates, **settings)), [own.clone() for own in population.parameters]
    states = [{name: torch.zeros_like(own) for name in form.state} for own in other]
    batches, before = Batches(*data(), BATCH, [0, 1, 2], False), population.flat()
    for step in range(STEPS):
        gradients = [own.clone() for own in population.grads(*batches(step))]
        population.apply(population.gradients)
        for own, gradient, state in zip(other, gradients, states, strict=True):
            form.step(own, gradient, state, rates, [step] * 3)
    there = torch.cat([own.flatten(1) for own in other], dim=1)
    assert (population.flat() - before).norm(dim=1).min() > 1e-3
    assert (population.flat() - there).norm() < 1e-5 * (there - before).norm()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_losses_and_logits_agree_with_autograd(activation, shared):
    target = MLP((6, 5, 4, 3), activation)
    parameters = [tensor.requires_grad_() for tensor in start(target)]
    x, y = Batches(*data(), BATCH, [3, 4, 5], shared)(0)
    logits = target.logits(parameters, x)
    losses = F.cross_entropy(logits.flatten(0, 1), y.expand(3, -1).flatten(), reduction="none").view(3, -1).mean(1)
    expected = torch.autograd.grad(losses.sum(), parameters)
    population = Population(target, parameters)
    for mine, theirs in zip(population.grads(x, y), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(population.losses, losses.detach(), rtol=1e-12, atol=0)
    for member in range(3):
        module = target.module([tensor[member] for tensor in parameters])
        torch.testing.assert_close(logits[member], module(x if shared else x[member]), rtol=1e-12, atol=1e-14)


def test_evaluation_equals_modules_in_any_batch_size():
    target, (x, y) = MLP((6, 5, 3)), data()
    population = Population(target, start(target))
    for batch_size in (7, EXAMPLES, 2048):
        evaluation = population.evaluate(x, y, batch_size)
        for member in range(3):
            logits = target.module([tensor[member] for tensor in population.parameters])(x)
            assert evaluation.loss[member].item() == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-12)
            assert evaluation.accuracy[member].item() == (logits.argmax(1) == y).double().mean().item()


# Divergence


def assert_only_the_second_diverged(population, healthy, initial, at):
    assert population.diverged_at.tolist() == [-1, at, -1] and healthy.diverged_at.tolist() == [-1, -1, -1]
    for one, other, before in zip(population.parameters, healthy.parameters, initial, strict=True):
        assert torch.equal(one[[0, 2]], other[[0, 2]]), "a neighbour noticed"
        assert one.isfinite().all() and not torch.equal(one[[0, 2]], before[[0, 2]])
    evaluation = population.evaluate(*data())
    assert evaluation.loss[1] == math.inf and evaluation.accuracy[1] == 0
    assert evaluation.loss[[0, 2]].isfinite().all() and evaluation.accuracy[[0, 2]].min() > 0


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_huge_learning_rate_freezes_its_own_member_only(name, shared):
    optimiser, settings, _ = OPTIMISERS[name]
    target = MLP((6, 16, 16, 3))
    batches = Batches(*data(), BATCH, [0, 1, 2], shared)

    def run(rate, steps):
        rates = torch.tensor([0.1, rate, 0.1], dtype=torch.float64)
        return train(Population(target, start(target), optimiser, rates, **settings), batches, steps)

    population = run(HUGE, STEPS)
    at = int(population.diverged_at[1])
    assert 0 < at < STEPS - 1
    assert_only_the_second_diverged(population, run(0.1, STEPS), start(target), at)
    for now, then in zip(population.parameters, run(HUGE, at).parameters, strict=True):
        assert torch.equal(now[1], then[1]), "the frozen member moved"


@pytest.mark.parametrize("shared", [False, True])
def test_huge_initial_weights_freeze_their_member_at_once(shared):
    target = MLP((6, 5, 4, 3))
    batches = Batches(*data(), BATCH, [0, 1, 2], shared)
    initial = start(target)
    healthy = train(Population(target, initial, momentum=0.9), batches)
    initial[0][1] *= HUGE
    initial[2][1] *= HUGE
    population = train(Population(target, initial, momentum=0.9), batches)
    assert_only_the_second_diverged(population, healthy, initial, 0)
    assert all(torch.equal(now[1], before[1]) for now, before in zip(population.parameters, initial, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_rules_non_finite_update_freezes_one_member(bad):
    target = MLP((6, 5, 3))
    batches = Batches(*data(), BATCH, [0, 1, 2], False)
    population, healthy = (Population(target, start(target)) for _ in range(2))
    for step in range(3):
        update = [gradient.clone() for gradient in population.grads(*batches(step))]
        if step == 1:
            update[-1][1, 0] = bad
        population.apply(update)
    assert_only_the_second_diverged(population, train(healthy, batches, 3), start(target), 1)


def test_parameters_that_overflow_in_a_step_are_clipped_and_frozen():
    target, batches = MLP((6, 5, 3), "tanh"), Batches(*data(), BATCH, [0, 1], True)
    rates = torch.tensor([0.1, 1e308], dtype=torch.float64)
    population = Population(target, start(target, (0, 1)), learning_rate=rates)
    for step in range(3):
        population.apply([gradient * 1e3 for gradient in population.grads(*batches(step))])
    assert population.diverged_at.tolist() == [-1, 1] and population.flat().isfinite().all()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_freezing_without_asking_the_host_gives_the_same_numbers(name, device):
    """The GPU's way of freezing, here forced on the CPU as well, against the CPU's."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    optimiser, settings, _ = OPTIMISERS[name]
    target = MLP((6, 16, 16, 3))
    for rate, shared in itertools.product((0.1, torch.tensor([0.1, HUGE, 0.1], dtype=torch.float64)), (False, True)):
        batches = Batches(*data(), BATCH, [0, 1, 2], shared)
        usual = train(Population(target, start(target), optimiser, rate, **settings), batches)
        other = Population(target, start(target, device=device), optimiser, rate, **settings)
        for step in range(STEPS):
            other._all_alive = False
            other.apply(other.grads(*(tensor.to(device) for tensor in batches(step))))
        assert usual.diverged_at.tolist() == other.diverged_at.tolist()
        alive = usual.diverged_at < 0
        tolerance = {"rtol": 0, "atol": 0} if device == "cpu" else {"rtol": 1e-9, "atol": 1e-12}
        torch.testing.assert_close(other.flat().cpu()[alive], usual.flat()[alive], **tolerance)


# Slots


def test_slots_say_what_each_tensor_is():
    target = MLP((6, 5, 4, 3))
    described = [(slot.name, slot.shape, slot.kind, slot.fan_in, slot.layer) for slot in target.slots]
    assert described[:3] == [
        ("layer1.weight", (5, 6), "weight", 6, 0),
        ("layer1.bias", (5,), "bias", 6, 0),
        ("layer2.weight", (4, 5), "weight", 5, 1),
    ]
    module = target.module()
    assert target.shapes == tuple(tuple(parameter.shape) for parameter in module.parameters())
    assert (len(target.slots), target.depth, target.names[-1]) == (6, 3, "layer3.bias")
    assert target.size == sum(parameter.numel() for parameter in module.parameters())
    assert MLP.of_shapes(target.shapes, "tanh") == MLP((6, 5, 4, 3), "tanh")
    for shapes in (target.shapes[::-1], target.shapes[:-1], [], [(4,)], [(4, 3, 2), (4,)]):
        with pytest.raises(UserError, match="no chain of linear layers"):
            MLP.of_shapes(shapes)


def test_items_are_found_by_their_slots_wherever_these_stand():
    slots = [
        Slot("b.bias", (2,), "bias", 3, 1), Slot("a.weight", (3, 4), "weight", 4, 0),
        Slot("b.weight", (2, 3), "weight", 3, 1), Slot("a.bias", (3,), "bias", 4, 0),
    ]  # fmt: skip
    names = [slot.name for slot in slots]
    assert weights(names, slots) == ["a.weight", "b.weight"] and of_kind(names, slots, "scale") == []
    assert layers(names, slots) == [("a.weight", "a.bias"), ("b.weight", "b.bias")]
    assert in_order(layers(names, slots), slots) == names
    for wrong in (slots[:3], [*slots[:3], slots[2]], [*slots, Slot("a.scale", (3,), "scale", 4, 0)]):
        with pytest.raises(TypeError, match="has not one weight and one bias"):
            layers(range(len(wrong)), wrong)
    for function in (weights, layers):
        with pytest.raises(TypeError, match="3 tensors are not those of 4 slots"):
            function(names[:3], slots)


# Initialisation


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_member_is_the_same_in_any_population(scheme):
    target, x = MLP((6, 5, 4, 3)), data()[0]
    together, alone = (initialise(target, scheme, seeds, x=x) for seeds in ([5, 6, 7], [6]))
    for stacked, single in zip(together, alone, strict=True):
        assert torch.equal(stacked[1], single[0])
    weights = together[0]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


def test_initial_variances():
    target = MLP((300, 200, 100))
    for scheme, variances in {
        "normal": (0.02**2, 0.02**2),
        "glorot": (2 / 500, 2 / 300),
        "he": (2 / 300, 2 / 200),
    }.items():
        first, bias, second, _ = initialise(target, scheme, range(4), sigma=0.02)
        for weight, variance in zip((first, second), variances, strict=True):
            assert weight.var().item() == pytest.approx(variance, rel=0.03)
            assert abs(weight.mean().item()) < 0.02 * math.sqrt(variance)
        assert not bias.any()
    first = initialise(target, "glorot", range(4))[0]
    assert 0.99 * math.sqrt(6 / 500) < first.abs().max().item() <= math.sqrt(6 / 500)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_lsuv_is_orthonormal_with_unit_variance_in_every_layer(activation):
    target = MLP((20, 30, 10, 5), activation)
    x = 3 * torch.randn(256, 20, generator=torch_stream(0, "x")) + 1
    parameters = initialise(target, "lsuv", [0, 1], x=x)
    for member in range(2):
        h, module = x, target.module([tensor[member] for tensor in parameters])
        for layer in module:
            h = layer(h)
            if isinstance(layer, torch.nn.Linear):
                assert h.var(correction=0).item() == pytest.approx(1, abs=1e-4)
                weight = layer.weight if layer.out_features <= layer.in_features else layer.weight.t()
                gram = (weight @ weight.t()).detach()
                torch.testing.assert_close(gram / gram[0, 0], torch.eye(len(gram)), atol=1e-5, rtol=0)


# Data order


@pytest.mark.parametrize("shared", [False, True])
def test_epochs_are_permutations_and_steps_can_be_asked_for_in_any_order(shared):
    n, per_epoch, members = 23, 5, 1 if shared else 3
    x, y = torch.arange(n).float().unsqueeze(1), torch.arange(n)

    def batches(seeds=(7, 8, 9)):
        return Batches(x, y, 4, seeds, shared)

    ordered = batches()
    labels = []
    for step in range(3 * per_epoch):
        xs, ys = ordered(step)
        assert torch.equal(xs.squeeze(-1).long(), ys) and ys.shape == ((4,) if shared else (3, 4))
        labels.append(ys.view(members, 4).clone())
    for member, epoch in itertools.product(range(members), range(3)):
        seen = torch.cat([ys[member] for ys in labels[epoch * per_epoch : (epoch + 1) * per_epoch]])
        assert len(seen.unique()) == 20, "an example came twice in an epoch"
    other = batches()
    for step in np.random.default_rng(0).permutation(3 * per_epoch):
        assert torch.equal(other(int(step))[1].view(members, 4), labels[step])
    assert not torch.equal(labels[0], labels[per_epoch]), "two epochs have one order"
    if not shared:
        assert not torch.equal(labels[0][0], labels[0][1]), "two members have one order"
        assert torch.equal(batches([8])(6)[1][0], labels[6][1]), "an order depends on the population"


def test_a_set_smaller_than_a_batch_is_one_batch():
    x, y = torch.arange(3.0).unsqueeze(1), torch.arange(3)
    for step in range(3):
        assert sorted(Batches(x, y, 10, [0, 1], False)(step)[1][1].tolist()) == [0, 1, 2]


# State


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_restored_population_continues_bit_identically(name):
    optimiser, settings, _ = OPTIMISERS[name]
    target, batches = MLP((6, 16, 16, 3)), Batches(*data(), BATCH, [0, 1, 2], False)
    rates = torch.tensor([0.05, HUGE, 0.1], dtype=torch.float64)

    def fresh(seeds):
        return Population(target, start(target, seeds), optimiser, rates, **settings)

    original = train(fresh([0, 1, 2]), batches, 7)
    state = original.state_dict()
    restored = fresh([3, 4, 5])
    restored.load_state_dict(state)
    unrestored = fresh([3, 4, 5])
    unrestored.load_flat(original.flat())
    unrestored.step = original.step
    for population in (original, restored, unrestored):
        train(population, batches, 5, first=7)
    assert torch.equal(original.flat(), restored.flat())
    assert original.step == restored.step == 12 and original.diverged_at.tolist() == restored.diverged_at.tolist()
    assert original.diverged_at[1] > 0
    if "momentum" in name or "adam" in name:
        assert not torch.equal(original.flat()[0], unrestored.flat()[0]), "the optimiser's state made no difference"
    assert not torch.equal(state["parameters"], original.flat_parameters), "the state is no copy"


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if "momentum" in name or "adam" in name])
def test_a_member_that_takes_anothers_place_has_no_state_of_it(name):
    """It diverged, and the next lives: it moves as if the optimiser had never seen a gradient; its neighbours go on."""
    optimiser, settings, _ = OPTIMISERS[name]
    target, batches = MLP((6, 5, 3)), Batches(*data(), BATCH, [0, 1, 2], False)
    rates = torch.tensor([0.05, HUGE, 0.05], dtype=torch.float64)
    population = train(Population(target, start(target), optimiser, rates, **settings), batches, 7)
    assert population.diverged_at[1] >= 0
    neighbours = population.flat()[[0, 2]]
    population.replace(1, [tensor[1] for tensor in start(target)])
    assert population.diverged_at.tolist() == [-1, -1, -1] and torch.equal(population.flat()[[0, 2]], neighbours)
    assert all(not view[1].any() for buffer in population._state.values() for view in population._views(buffer))
    assert all(view[0].any() for buffer in population._state.values() for view in population._views(buffer)[::2])


def test_flat_rows_are_members_and_a_fresh_copy():
    target = MLP((6, 5, 3))
    population = Population(target, start(target))
    flat = population.flat()
    assert flat.shape == (3, target.size)
    expected = torch.cat([p.detach().flatten() for p in target.module([t[1] for t in population.parameters]).parameters()])
    assert torch.equal(flat[1], expected)
    for tensor, view in zip(population.parameters, unflatten(flat, target.shapes), strict=True):
        assert torch.equal(tensor, view) and view.data_ptr() != tensor.data_ptr()
    population.load_flat(flat.flip(0))
    assert torch.equal(population.flat(), flat.flip(0)) and not torch.equal(flat[0], flat[2])
    assert all(tensor.is_contiguous() for tensor in population.parameters)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP((4,)), "widths"),
        (lambda: MLP((4, 2), "swish"), "activation"),
        (lambda: initialise(MLP((4, 2)), "xavier", [0]), "initialisation"),
        (lambda: initialise(MLP((4, 2)), "he", []), "at least one seed"),
        (lambda: initialise(MLP((4, 2)), "lsuv", [0]), "batch of training"),
        (lambda: initialise(MLP((4, 2)), "lsuv", [0], x=torch.zeros(8, 4)), "do not vary"),
        (lambda: Population(MLP((4, 2)), [torch.zeros(3, 2, 4), torch.zeros(3, 3)]), "no population"),
        (lambda: Population(MLP((4, 2)), initialise(MLP((4, 2)), "he", [0]), "lion"), "optimiser"),
        (lambda: Population(MLP((4, 2)), initialise(MLP((4, 2)), "he", [0]), learning_rate=torch.ones(2)), "learning rates"),
        (lambda: Population(MLP((4, 2)), initialise(MLP((4, 2)), "he", [0]), schedule="cosine"), "how many steps"),
        (lambda: Batches(torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), 2, [0], True), "one label per example"),
        (
            lambda: Population(MLP((4, 2)), initialise(MLP((4, 2)), "he", [0]), "adam").load_state_dict(
                Population(MLP((4, 2)), initialise(MLP((4, 2)), "he", [0])).state_dict()
            ),
            "another target",
        ),
    ],
)
def test_bad_input_says_what_to_do(make, message):
    with pytest.raises(UserError, match=message):
        make()
