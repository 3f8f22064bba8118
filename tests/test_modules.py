"""Learning rules on modules: each is what it is on a population, convolutions pull as a slow loop does, and what cannot be
served is refused by name.

What is parametrised over ``SIGNALS`` runs on a new rule by itself.
"""

import copy
import gc
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.config import ENNConfig
from pipeline.enn import Critic, Home
from pipeline.errors import UserError
from pipeline.instruction import Instructor
from pipeline.learning import SIGNALS, bound, named
from pipeline.learning.modules import gradient, replace, replaced, restore
from pipeline.learning.modules.maps import outer, pull
from pipeline.learning.trained import Training
from pipeline.predictors import named as predictor
from pipeline.targets import ACTIVATIONS, MLP, Population, initialise
from pipeline.targets.convnet import SmallConvNet
from pipeline.targets.position import Position
from pipeline.targets.wide_resnet import WideResNet
from tests.support.reference_rules import synthesiser_parts

ROOT = Path(__file__).parents[1]
DEPTHS = [(6, 3), (6, 5, 3), (6, 7, 4, 3), (6, 7, 5, 4, 3)]
LAYERS = [name for name in SIGNALS if SIGNALS[name].serves == "layers"]
CHAINS = [name for name in SIGNALS if SIGNALS[name].serves == "chains"]
ANYWHERE = [name for name in SIGNALS if name not in CHAINS]
RANDOM = [name for name in SIGNALS if name in ("fa", "dfa", "ifa", "brsf", "frsf", "tp", "dtp", "pfa")]


def batch(classes=3, shape=(6,), examples=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(classes, (examples,), generator=generator)


def gradients(model, x, y, loss=F.cross_entropy):
    model.zero_grad()
    loss(model(x), y).backward()
    return [None if own.grad is None else own.grad.clone() for own in model.parameters()]


def equal(one, other):
    return all(own is its or torch.equal(own, its) for own, its in zip(one, other, strict=True))


def apart(one, another):
    return (one - another).norm() > 1e-3 * another.norm()


def convnet(widths=(4, 5), activation=nn.Tanh):
    """Batch normalisation, pooling, a stride and a shortcut."""
    torch.manual_seed(1)
    return Shortcut(*widths, activation).double()


class Shortcut(nn.Module):
    def __init__(self, first, second, activation):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, first, 3, padding=1), nn.BatchNorm2d(first)
        self.conv2, self.conv3 = nn.Conv2d(first, first, 3, padding=1, bias=False), nn.Conv2d(first, second, 3, stride=2)
        self.activation, self.classifier = activation(), nn.Linear(second, 3)

    def forward(self, x):
        h = F.avg_pool2d(self.activation(self.norm1(self.conv1(x))), 2)
        h = h + self.conv2(h)
        return self.classifier(self.activation(self.conv3(h)).mean((2, 3)))


IMAGES = batch(shape=(2, 10, 12))


# A module is the member of a population


def step_for_step(name, target, modules, optimiser="sgd", steps=4, **settings):
    """How far a population's member and modules that learn by a rule are apart after some steps, and how far they moved."""
    start = initialise(target, "he", [4], dtype=torch.float64)
    population = Population(target, start, seeds=[4], optimiser=optimiser, learning_rate=0.05)
    signal = bound(named(name, **settings), population)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimiser]
    optimisers = [kind(replace_in(model, name, **settings).parameters(), lr=0.05) for model in modules]
    for step in range(steps):
        x, y = batch(target.widths[-1], (target.widths[0],), seed=step)
        population.apply(population.grads(x[None], y[None], signal))
        for model, own in zip(modules, optimisers, strict=True):
            own.zero_grad()
            F.cross_entropy(model(x), y).backward()
            own.step()
    moved = (population.flat() - torch.cat([tensor.flatten() for tensor in start])).norm()
    return [
        (torch.cat([own.detach().flatten() for own in model.parameters()]) - population.flat()[0]).abs().max()
        for model in modules
    ], moved


def replace_in(model, name, **settings):
    replace(model, name, seed=4, **settings)
    return model


class Pixels(nn.Module):
    """A multilayer perceptron of convolutions of one pixel."""

    def __init__(self, mlp):
        super().__init__()
        body = [_pixel(layer) if isinstance(layer, nn.Linear) else layer for layer in mlp]
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return self.body(x[..., None, None]).flatten(1)


def _pixel(layer):
    conv = nn.Conv2d(layer.in_features, layer.out_features, 1).double()
    conv.load_state_dict({"weight": layer.weight[..., None, None], "bias": layer.bias})
    return conv


def member(target):
    return target.module([tensor[0] for tensor in initialise(target, "he", [4], dtype=torch.float64)])


@pytest.mark.parametrize("widths", DEPTHS, ids=str)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_module_learns_as_the_populations_member_linear_or_of_one_pixel(name, widths):
    target = MLP(widths, "tanh")
    apart_by, moved = step_for_step(name, target, [member(target), Pixels(member(target))])
    assert max(apart_by) < 1e-12 and moved > 1e-2


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", SIGNALS)
def test_with_every_activation(name, activation):
    target = MLP((6, 7, 4, 3), activation)
    (apart_by,), _ = step_for_step(name, target, [member(target)], "adam", steps=3)
    assert apart_by < 1e-10


@pytest.mark.parametrize("name", RANDOM)
def test_of_another_seed_it_is_another(name):
    target, (x, y) = MLP((6, 7, 4, 3), "tanh"), batch()
    one, other = member(target), member(target)
    replace(one, name, seed=4)
    replace(other, name, seed=5)
    first, second = gradients(one, x, y), gradients(other, x, y)
    assert apart(first[0], second[0]) == (name != "dtp" or True) and equal(first[-2:], second[-2:])


@pytest.mark.parametrize("name", SIGNALS)
def test_settings_reach_the_rule(name):
    target = MLP((6, 7, 4, 3), "tanh")
    given = {"pblf": {"phi": (0.5, -0.3, 0.9, 0.1), "modes": (0, 1)}, "usf": {"scale": 0.5}, "tp": {"rate": 0.1}}
    if name in given:
        (apart_by,), _ = step_for_step(name, target, [member(target)], **given[name])
        assert apart_by < 1e-12
        model, plain = member(target), member(target)
        replace(model, name, seed=4, **given[name])
        replace(plain, name, seed=4)
        assert not equal(gradients(model, *batch()), gradients(plain, *batch()))


# Convolutions pull as they should


def slow_pull(layer, weight, delta, shape):
    """A loop over every product of the convolution."""
    found = torch.zeros(shape, dtype=torch.float64)
    outputs, inputs, *_ = weight.shape
    groups, per_group = layer.groups, outputs // layer.groups
    rows, columns = shape[2:]
    for b, o, i, j in itertools.product(*map(range, delta.shape)):
        for c, u, v in itertools.product(range(inputs), *map(range, weight.shape[2:])):
            row = _place(i * layer.stride[0] + u * layer.dilation[0] - layer.padding[0], rows, layer.padding_mode)
            column = _place(j * layer.stride[1] + v * layer.dilation[1] - layer.padding[1], columns, layer.padding_mode)
            if row is not None and column is not None:
                found[b, o // per_group * inputs + c, row, column] += weight[o, c, u, v] * delta[b, o, i, j]
    assert groups * inputs == shape[1]
    return found


def _place(position, size, mode):
    if mode == "zeros":
        return position if 0 <= position < size else None
    if mode == "circular":
        return position % size
    if mode == "reflect":
        position = abs(position)
        return 2 * (size - 1) - position if position >= size else position
    return min(max(position, 0), size - 1)


GEOMETRIES = [
    {"kernel_size": 3},
    {"kernel_size": (3, 2), "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": (1, 2), "dilation": 2, "groups": 2},
    {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    {"kernel_size": 3, "padding": (1, 2), "padding_mode": "reflect", "stride": 2},
    {"kernel_size": 2, "padding": 1, "padding_mode": "replicate", "groups": 2},
]


@pytest.mark.parametrize("settings", GEOMETRIES, ids=str)
def test_a_convolution_pulls_with_other_weights_as_a_slow_loop_does(settings):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, **settings).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    delta, other = torch.randn_like(layer(x)), torch.randn_like(layer.weight)
    expected = slow_pull(layer, other, delta, x.shape)
    torch.testing.assert_close(pull(layer, other, delta, x), expected, rtol=1e-12, atol=1e-12)
    assert apart(pull(layer, layer.weight.detach(), delta, x), expected)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), layer, nn.Flatten(), nn.LazyLinear(3)).double()
    model(x)
    y = torch.tensor([0, 2])
    replace(model, "fa", feedback=[other, torch.randn_like(model[-1].weight)])
    found = gradients(model, x, y)
    with torch.no_grad():
        h = model[0](x)
        error = (F.softmax(model(x), 1) - F.one_hot(y, 3)) / 2
    back = (error @ replaced(model).rule.feedback[1]).view_as(delta)
    torch.testing.assert_close(
        found[0][..., 0, 0],
        torch.einsum("bohw,bihw->oi", slow_pull(layer, other, back, h.shape), x),
        rtol=1e-10,
        atol=1e-10,
    )


@pytest.mark.parametrize("settings", GEOMETRIES, ids=str)
def test_a_convolutions_slope_with_respect_to_other_weights_is_that_of_what_it_pulls(settings):
    """⟨pull(δ, W), h⟩ is linear in W, and ``outer`` its slope."""
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, **settings).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    delta, other = torch.randn_like(layer(x)), torch.randn_like(layer.weight)
    inner = (pull(layer, other, delta, x) * x).sum()
    torch.testing.assert_close((outer(layer, delta, x) * other).sum(), inner, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 6, 3, stride=2, padding=1), (4, 9)),
        (nn.Conv3d(4, 6, 2, padding="same"), (4, 3, 4, 5)),
        (nn.Conv2d(4, 6, 4, padding="same"), (4, 5, 6)),
        (nn.Linear(4, 6), (3, 4)),
        (nn.Linear(4, 6, bias=False), (4,)),
    ],
    ids=str,
)
def test_with_its_own_weights_a_layer_pulls_as_autograd_does(layer, shape):
    layer, x = layer.double(), torch.randn(2, *shape, dtype=torch.float64, requires_grad=True)
    given = layer(x)
    delta = torch.randn_like(given)
    expected = torch.autograd.grad(given, [x, layer.weight], delta)
    torch.testing.assert_close(pull(layer, layer.weight.detach(), delta, x.detach()), expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(outer(layer, delta, x.detach()), expected[1], rtol=1e-12, atol=1e-12)


# What should be backpropagation


def models():
    return {
        "shortcuts": (convnet(), *IMAGES),
        "small": (SmallConvNet(3, 2, widths=(4, 6)).double(), *IMAGES),
        "wide": (WideResNet(10, 1, 3, 2).double(), *IMAGES),
        "mlp": (member(MLP((6, 7, 4, 3), "gelu")), *batch()),
    }


@pytest.mark.parametrize("which", ["shortcuts", "small", "wide", "mlp"])
def test_what_should_be_backpropagation_is(which):
    model, x, y = models()[which]
    expected = gradients(model, x, y)
    own = [layer.weight.detach().clone() for layer in linear(model)]

    def of(name, **settings):
        replace(model, name, **settings)
        return gradients(model, x, y)

    positions = sum(isinstance(module, Position) for module in model.modules()) or len(own) - 1
    assert equal(of("backprop"), expected)
    assert equal(of("fa", feedback=own[1:]), expected)
    assert equal(of("pblf", phi=(0.0, 0.0, 0.0, 1.0)), expected)
    assert equal(of("pblf", phi=(0.5, 0.1, 0.9, 0.2), modes=[0] * positions), expected)
    for twin in (of("fa"), of("fa", feedback=[weight.flip(0) for weight in own[1:]]), of("pblf", phi=(0.5, 0.1, 0.9, 0.2))):
        assert apart(twin[0], expected[0]) and equal(twin[-2:], expected[-2:])
    restore(model)
    assert equal(gradients(model, x, y), expected)


def linear(model):
    """In the order in which they are called."""
    called = []
    hooks = [
        module.register_forward_hook(lambda module, *_: called.append(module))
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    with torch.no_grad():
        model(IMAGES[0] if any(isinstance(module, nn.Conv2d) for module in model.modules()) else batch()[0])
    for hook in hooks:
        hook.remove()
    return called


def test_a_constant_derivative_multiplies_by_its_powers_at_the_positions_of_a_wide_residual_network():
    model, (x, y) = WideResNet(10, 1, 3, 2).double(), IMAGES
    expected = dict(zip(dict(model.named_parameters()), gradients(model, x, y), strict=True))
    replace(model, "pblf", phi=(0.0, 0.0, 0.0, 0.5), modes=(1, 0, 1, 1))
    found = dict(zip(expected, gradients(model, x, y), strict=True))
    powers = {"conv": 3, "groups.0": 2, "groups.1": 2, "groups.2": 1, "norm": 0, "classifier": 0}
    for name, own in found.items():
        (power,) = [power for start, power in powers.items() if name.startswith(f"{start}.")]
        torch.testing.assert_close(own, expected[name] * 0.5**power, rtol=1e-10, atol=1e-14)


def test_a_learned_derivative_is_f_of_h_at_its_position():
    """By hand, at one position of a wide residual network, with its own activation."""
    model, (x, y), seen = WideResNet(10, 1, 3, 2).double(), IMAGES, {}
    w1, b1, w2, b2 = phi = (0.824, 0.3945, 0.2906, 0.8482)

    def by_hand(module, inputs, h):
        seen["h"] = h.detach()
        h.register_hook(lambda delta: delta * (w2 * torch.relu(w1 * seen["h"] + b1) + b2))

    hook = model.positions[2].register_forward_hook(by_hand)
    expected = gradients(model, x, y)
    hook.remove()
    replace(model, "pblf", phi=torch.tensor(phi, dtype=torch.float64), modes=(0, 0, 1, 0))
    for own, other in zip(gradients(model, x, y), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-9)  # φ is kept in float32
    replace(model, "pblf", phi=phi, modes=(0, 1, 0, 0))
    assert apart(gradients(model, x, y)[0], expected[0])


def test_direct_feedback_of_the_weights_is_backpropagation_on_one_hidden_layer_of_feature_maps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(320, 3)).double()
    expected = gradients(model, *IMAGES)
    replace(model, "dfa", feedback=[model[3].weight.detach().clone()])
    found = gradients(model, *IMAGES)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-14)
    replace(model, "dfa")
    assert apart(gradients(model, *IMAGES)[0], expected[0])


def test_direct_feedback_reaches_every_layers_inputs_in_the_size_of_their_maps():
    """By hand on a chain: each convolution's z gets the error through its own matrix and autograd from there."""
    torch.manual_seed(0)
    first, second, last = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 5, 3), nn.Linear(30, 3)
    model = nn.Sequential(first, nn.Tanh(), nn.MaxPool2d(2), second, nn.Tanh(), nn.Flatten(), last).double()
    x, y = IMAGES
    replace(model, "dfa", seed=3)
    found = gradients(model, x, y)
    _, maps, hidden = replaced(model)._way.bound.state
    assert maps.shape == (1, 3, 4 * 4 * 5) and hidden.shape == (1, 3, 30)
    restore(model)
    z1 = first(x)
    h1 = F.max_pool2d(torch.tanh(z1), 2)
    z2 = second(h1.detach())
    h2 = torch.tanh(z2).flatten(1)
    error = ((F.softmax(last(h2), 1) - F.one_hot(y, 3)) / len(x)).detach()
    expected = [
        *torch.autograd.grad(h1, [first.weight, first.bias], (error @ maps[0]).view_as(h1)),
        *torch.autograd.grad(h2, [second.weight, second.bias], error @ hidden[0]),
    ]
    for own, other in zip(found[:4], expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-14)


def slow_synthesis(model, state, x, y):
    """What synthetic gradients are on a chain of two convolutions and a linear layer: pixel by pixel, and by autograd."""
    first, second, last = (layer for layer in model if isinstance(layer, nn.Conv2d | nn.Linear))
    one_hot, count = F.one_hot(y, 3).double(), len(x)
    h1 = F.max_pool2d(torch.tanh(first(x)), 2)
    leaf = h1.detach().requires_grad_()
    h2 = torch.tanh(second(leaf)).flatten(1)
    top = h2.detach().requires_grad_()
    (error,) = torch.autograd.grad(F.cross_entropy(last(top), y), top)

    def synthetic(h, own):
        """(B, C, pixels)"""
        linear, inner, outer = synthesiser_parts(own)

        def seen(weight, bias, *labels):
            found = torch.stack(
                [torch.stack([h[b, :, p] @ weight[0] + bias[0] for p in range(h.shape[2])], 1) for b in range(count)]
            )
            return found + (one_hot @ labels[0][0])[:, :, None] if labels else found

        units = torch.softmax(seen(*inner), 1)
        return seen(*linear) + torch.einsum("hc,bhp->bcp", outer[0], units) * units.shape[1] ** 0.5

    maps = leaf.detach().flatten(2)
    s1 = synthetic(maps, state[0].parameters) / (count * maps.shape[2])
    s2 = synthetic(top.detach()[:, :, None], state[1].parameters)[..., 0] / count
    came = torch.autograd.grad(h2, leaf, s2, retain_graph=True)[0].flatten(2)
    gradients = [
        *torch.autograd.grad(h1, [first.weight, first.bias], s1.view_as(h1)),
        *torch.autograd.grad(h2, [second.weight, second.bias], s2),
    ]
    losses = [
        lambda own: ((synthetic(maps, own) - came * count * maps.shape[2]) ** 2).sum(1).mean(),
        lambda own: ((synthetic(top.detach()[:, :, None], own)[..., 0] - error * count) ** 2).sum(1).mean(),
    ]
    return gradients, losses


@pytest.mark.parametrize("name", ["dni", "cdni"])
def test_synthetic_gradients_of_feature_maps_are_those_of_each_pixels_channels(name):
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(2, 4, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.Tanh()]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(10, 3)).double()
    (x, y), handle = batch(shape=(2, 10, 8), examples=4), replace(model, name, synthesisers=Training(0.1, "sgd"))
    gradients(model, x, y)
    for _ in range(3):
        state = [one._replace(parameters=[own.clone() for own in one.parameters]) for one in handle._way.bound.state]
        with gradient(model):
            expected, losses = slow_synthesis(model, state, x, y)
        found = gradients(model, x, y)
        for own, other in zip(found[:4], expected, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-14)
        for before, after, loss in zip(state, handle._way.bound.state, losses, strict=True):
            leaves = [own.requires_grad_() for own in before.parameters]
            for own, slope, now in zip(leaves, torch.autograd.grad(loss(leaves), leaves), after.parameters, strict=True):
                torch.testing.assert_close(now, own.detach() - 0.1 * slope, rtol=1e-9, atol=1e-14)
    assert found[0].norm() > 1e-6


# Replaced and restored


def traces(model):
    return {name: {key: str(value) for key, value in vars(module).items()} for name, module in model.named_modules()}


@pytest.mark.parametrize("name", ["dfa", "pblf", "tp"])
def test_restored_there_is_no_trace(name):
    model, (x, y) = member(MLP((6, 7, 4, 3), "relu")), batch()
    before, tensors, keys = traces(model), list(model.parameters()), list(model.state_dict())
    expected, output = gradients(model, x, y), model(x)
    replace(model, name)
    found = gradients(model, x, y)
    assert apart(found[0], expected[0]) and torch.equal(model(x), output) and list(model.state_dict()) == keys
    model.zero_grad()
    restore(model)
    assert traces(model) == before or all(own.grad is None for own in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(own is other for own, other in zip(model.parameters(), tensors, strict=True))
    assert equal(gradients(model, x, y), expected)
    restore(model)


def test_replaced_twice_the_second_rule_holds():
    model, (x, y) = convnet(), IMAGES
    hooks = lambda: sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())  # noqa: E731
    replace(model, "fa")
    expected, count = gradients(model, x, y), hooks()
    replace(model, "dfa")
    assert apart(gradients(model, x, y)[0], expected[0]) and replaced(model).name == "dfa"
    replace(model, "fa")
    assert equal(gradients(model, x, y), expected) and hooks() == count


@pytest.mark.parametrize("name", ["brsf", "pfa", "pblf", "dni"])
def test_a_copy_has_a_rule_of_its_own(name):
    model, (x, y) = member(MLP((6, 7, 4, 3), "tanh")), batch()
    replace(model, name, seed=2)
    gradients(model, x, y)
    other = copy.deepcopy(model)
    first, second = gradients(model, x, y), gradients(other, x, y)
    assert equal(first, second) and replaced(other) is not replaced(model)
    restore(other)
    third = gradients(model, x, y)
    assert replaced(model) is not None and replaced(other) is None
    assert apart(gradients(other, x, y)[0], third[0])


@pytest.mark.parametrize("name", SIGNALS)
def test_a_restarted_run_goes_on_to_the_bit(name):
    images = name in ("brsf", "pfa", "dni", "dfa")
    at = [IMAGES if images else batch(seed=seed) for seed in range(8)]

    def run(model, steps, saved=None):
        handle = replace(model, name, seed=6)
        own = torch.optim.Adam(model.parameters(), lr=0.01)
        if saved is not None:
            for one, state in zip((model, own, handle), copy.deepcopy(saved), strict=True):
                one.load_state_dict(state)
        for step in steps:
            own.zero_grad()
            F.cross_entropy(model(at[step][0]), at[step][1]).backward()
            own.step()
        return [copy.deepcopy(one.state_dict()) for one in (model, own, handle)]

    def fresh():
        return SmallConvNet(3, 2, widths=(4, 6)).double() if images else member(MLP((6, 7, 4, 3), "tanh"))

    whole, half = run(fresh(), range(8)), run(fresh(), range(4))
    ended = run(fresh(), range(4, 8), half)
    assert all(torch.equal(own, other) for own, other in zip(whole[0].values(), ended[0].values(), strict=True))
    assert whole[2].keys() == ended[2].keys() and all(torch.equal(whole[2][key], ended[2][key]) for key in whole[2])
    forgot = run(fresh(), range(4, 8), (half[0], half[1], {"seed": half[2]["seed"]}))
    same = all(torch.equal(own, other) for own, other in zip(whole[0].values(), forgot[0].values(), strict=True))
    assert same == (name not in ("brsf", "tp", "dtp", "dni", "cdni", "pfa"))


def test_a_saved_state_brings_its_seed():
    model, other, (x, y) = convnet(), convnet(), IMAGES
    saved = replace(model, "brsf", seed=6)
    first = gradients(model, x, y)
    replace(other, "brsf", seed=7).load_state_dict({"seed": torch.tensor(6)})
    assert equal(gradients(other, x, y), first) and equal(gradients(model, x, y), gradients(other, x, y))
    assert int(saved.state_dict()["seed"]) == 6


# What a loop may do


@pytest.mark.parametrize("name", ANYWHERE)
def test_gradients_accumulate(name):
    model, (x, y) = SmallConvNet(3, 2, widths=(4, 6)).double().eval(), IMAGES
    replace(model, name)
    once = gradients(model, x, y)
    restore(model)
    replace(model, name)
    model.zero_grad()
    for part in (slice(3), slice(3, None)):
        (F.cross_entropy(model(x[part]), y[part], reduction="sum") / len(x)).backward()
    twice = [own.grad for own in model.parameters()]
    if name not in ("brsf", "pfa", "dni", "cdni"):  # which change after each backward pass
        for own, other in zip(once, twice, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)
    assert once[0].norm() > 1e-4 or name in ("frozen", "dni", "cdni")


@pytest.mark.parametrize("name", SIGNALS)
def test_half_precision_in_autocast(name):
    torch.manual_seed(0)
    target = MLP((6, 16, 16, 3), "tanh")
    model = target.module([tensor[0] for tensor in initialise(target, "he", [4])])
    x, y = batch()
    replace(model, name, seed=1)
    expected = gradients(model, x.float(), y)
    restore(model)
    replace(model, name, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(x.float())
    model.zero_grad()
    F.cross_entropy(output.float(), y).backward()
    for own, other in zip(model.parameters(), expected, strict=True):
        assert own.grad.dtype == torch.float32
        if name not in ("dni", "cdni"):  # whose first signals are 0
            assert (own.grad - other).norm() < 0.1 * other.norm() + 1e-6, name


@pytest.mark.parametrize("name", ["fa", "pfa", "dfa", "pblf", "tp", "expression"])
def test_a_rule_follows_its_model_to_another_type(name):
    target, (x, y) = MLP((6, 7, 4, 3), "tanh"), batch()
    model, other = member(target), member(target)
    for one in (model, other):
        replace(one, name, seed=1)
    expected = gradients(model, x, y)
    other.float()
    gradients(other, x.float(), y)
    found = gradients(other, x.float(), y)
    assert {own.dtype for own in found} == {torch.float32}
    if name not in ("pfa", "tp"):
        assert (found[0] - expected[0]).norm() < 1e-4 * expected[0].norm()
    other.double()
    assert {own.dtype for own in gradients(other, x, y)} == {torch.float64}


@pytest.mark.parametrize("name", SIGNALS)
def test_without_gradients_and_in_evaluation_nothing_is_watched(name):
    model, (x, y) = member(MLP((6, 7, 4, 3), "tanh")), batch()
    output = model(x).detach()
    handle = replace(model, name)
    with torch.no_grad():
        assert torch.equal(model(x), output)
    with torch.inference_mode():
        assert torch.equal(model.eval()(x), output)
    assert set(handle.state_dict()) == {"seed"}
    model.train()
    assert torch.equal(model(x).detach(), output)
    assert gradients(model, x[:1], y[:1])[0].isfinite().all()


def test_a_frozen_layer_stays_and_those_below_it_learn():
    model, (x, y) = convnet(), IMAGES
    replace(model, "fa")
    expected = gradients(model, x, y)
    model.zero_grad(set_to_none=True)
    model.conv3.requires_grad_(False)
    found = gradients(model, x, y)
    names = [name for name, _ in model.named_parameters()]
    for name, own, other in zip(names, found, expected, strict=True):
        assert own is None if name.startswith("conv3") else torch.equal(own, other)


@pytest.mark.parametrize("name", CHAINS)
def test_a_frozen_first_layer_of_a_chain(name):
    model, (x, y) = member(MLP((6, 7, 4, 3), "tanh")), batch()
    replace(model, name, seed=1)
    expected = gradients(model, x, y)
    restore(model)
    model[0].requires_grad_(False)
    replace(model, name, seed=1)
    found = gradients(model, x, y)
    assert found[0] is None or not found[0].any()
    assert equal(found[2:], expected[2:])


def test_a_layer_called_twice_pulls_by_one_feedback_both_times():
    torch.manual_seed(0)
    shared, last = nn.Linear(6, 6).double(), nn.Linear(6, 3).double()
    x, y = batch()

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.last = shared, last

        def forward(self, x):
            return self.last(torch.tanh(self.shared(torch.tanh(self.shared(x)))))

    model = Twice()
    replace(model, "fa", seed=3)
    found = gradients(model, x, y)
    _, first, second = replaced(model)._way.bound.state
    with torch.no_grad():
        h1 = torch.tanh(shared(x))
        h2 = torch.tanh(shared(h1))
        error = (F.softmax(last(h2), 1) - F.one_hot(y, 3)) / len(x)
    s2 = error @ second[0] * (1 - h2**2)
    s1 = s2 @ first[0] * (1 - h1**2)
    torch.testing.assert_close(found[0], s2.t() @ h1 + s1.t() @ x, rtol=1e-10, atol=1e-14)
    for name in ("dfa", "usf", "brsf", "pfa", "pblf"):
        replace(model, name)
        assert apart(gradients(model, x, y)[0], found[0])


def test_a_convolution_called_on_maps_of_two_sizes():
    """Of a direct rule only what its second call receives counts: nothing is sent to the model's inputs."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(2, 3)

        def forward(self, x):
            return self.last(F.relu(self.conv(F.max_pool2d(F.relu(self.conv(x)), 2))).mean((2, 3)))

    torch.manual_seed(0)
    model, found = Twice().double(), {}
    for name in ANYWHERE:
        replace(model, name)
        found[name] = gradients(model, *IMAGES)[0]
    assert replaced(model) is not None and all(own.isfinite().all() for own in found.values())
    assert apart(found["dfa"], found["backprop"]) and apart(found["fa"], found["dfa"])


class Odd(nn.Module):
    """What people build: paddings, groups, dilation, normalisations, a tied weight, attention, a shortcut, hooks."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(2, 4, 3, padding="same", padding_mode="reflect")
        self.depthwise = nn.Conv1d(4, 4, 4, stride=2, groups=4, dilation=2, padding=3)
        self.norm, self.layer_norm = nn.GroupNorm(2, 4), nn.LayerNorm(4)
        self.q, self.k, self.tied, self.last = (nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
        self.tied.weight = self.k.weight

    def forward(self, x):
        h = self.depthwise(F.silu(self.norm(self.first(x)))).transpose(1, 2)
        h = h + F.scaled_dot_product_attention(self.q(self.layer_norm(h)), self.k(h), h)
        return self.last(torch.tanh(self.tied(h)).mean(1))


def by_other_weights(model, x, y, pulls):
    """Gradients where each layer's inputs get what ``pulls`` makes of them, and its own weights what they always get: the layer
    sees its inputs detached, and a function that is 0, but for its gradient, is added. By autograd alone, in two passes."""

    received = {}

    def enter(layer, arguments):
        received[layer] = arguments[0]
        return (arguments[0].detach(),)

    def leave(layer, _, given):
        pulled = pulls(layer, received[layer])
        return given + pulled - pulled.detach()

    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv1d)]
    handles = [layer.register_forward_pre_hook(enter) for layer in layers]
    handles += [layer.register_forward_hook(leave) for layer in layers]
    found = gradients(model, x, y)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("examples", [5, 1])
def test_a_module_of_odd_layers_is_pulled_by_feedback_as_autograd_pulls_by_weights(examples):
    torch.manual_seed(0)
    model, (x, y) = Odd().double(), batch(shape=(2, 14), examples=examples)
    handle = replace(model, "fa", seed=3)
    found = gradients(model, x, y)
    names = ["first", "depthwise", "q", "k", "tied", "last"]
    feedback = {getattr(model, name): handle._way.bound.state[number] for number, name in enumerate(names)}
    restore(model)

    def pulled(layer, inputs):
        weight = feedback[layer]
        if layer is model.first:
            return 0 * layer.bias[:, None]
        call = F.linear if isinstance(layer, nn.Linear) else layer._conv_forward
        return call(inputs, weight[0], None)

    for own, other in zip(found, expected := by_other_weights(model, x, y, pulled), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-13)
    replace(model, "backprop")
    assert apart(gradients(model, x, y)[0], expected[0])


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


@pytest.mark.parametrize("name", ["backprop", "fa", "pblf"])
def test_hooks_of_others_come_before_a_rule_and_after_it(name):
    model = member(MLP((6, 7, 4, 3), "tanh"))
    (x, y), layers = batch(), list(model)
    written = nn.Sequential(*layers[:2], Times(2), layers[2], Times(3), *layers[3:])
    replace(written, name, seed=3)
    expected = gradients(written, x, y)
    restore(written)
    model[2].register_forward_pre_hook(lambda _, given: (given[0] * 2,))
    before = model[2].register_forward_hook(lambda _, __, output: output * 3)
    replace(model, name, seed=3)
    assert equal(gradients(model, x, y), expected)
    before.remove()
    assert apart(gradients(model, x, y)[0], expected[0])
    model[2].register_forward_hook(lambda _, __, output: output * 3)
    assert equal(gradients(model, x, y), expected)
    if name != "pblf":  # which leaves what a layer sends to its inputs to autograd
        late = model[2].register_forward_pre_hook(lambda _, given: (given[0] * 2,))
        with pytest.raises(UserError, match=f"a hook changes what layer '2' receives after the rule '{name}' has seen it"):
            model(x)
        late.remove()
        model[2].register_forward_hook(lambda *_: None, prepend=True)
        with pytest.raises(UserError, match=f"a hook sees what layer '2' gives before the rule '{name}' does"):
            model(x)


def test_layers_count_as_they_are_called_and_functions_serve_as_modules_do():
    class Odd(nn.Module):
        def __init__(self, mlp):
            super().__init__()
            self.c, self.nested, self.a = mlp[4], nn.Sequential(nn.Sequential(mlp[2])), mlp[0]

        def forward(self, x):
            return self.c(torch.tanh(self.nested(self.a(x).tanh_())))

    (x, y) = batch()
    for name in SIGNALS:
        model = member(MLP((6, 7, 4, 3), "tanh"))
        replace(model, name, seed=1)
        expected = gradients(model, x, y)
        restore(model)
        odd = Odd(model)
        replace(odd, name, seed=1)
        found = gradients(odd, x, y)
        for own, other in zip([found[4], found[2], found[0]], [expected[0], expected[2], expected[4]], strict=True):
            torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-14)


def test_lazy_layers_in_place_activations_and_arguments_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.LazyConv2d(4, 3), nn.LazyLinear(3)

        def forward(self, x):
            return self.last(input=F.relu_(self.conv(input=x)).flatten(1))

    for name in ANYWHERE:
        model = Named()
        replace(model, name)
        found = gradients(model, IMAGES[0].float(), IMAGES[1])
        assert type(model.conv) is nn.Conv2d and (found[0].any() or name in ("frozen", "dni", "cdni"))
        restore(model)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_lies_before_the_first_layer_learns_by_what_that_one_pulls():
    torch.manual_seed(0)
    model, y = (
        nn.Sequential(nn.Embedding(7, 6), nn.Flatten(), nn.Linear(24, 5), nn.ReLU(), nn.Linear(5, 3)).double(),
        batch()[1],
    )
    x = torch.randint(7, (9, 4))
    expected = gradients(model, x, y)
    replace(model, "fa", feedback=[model[2].weight.detach().clone(), model[4].weight.detach().clone()])
    assert equal(gradients(model, x, y), expected)
    replace(model, "fa")
    assert apart(gradients(model, x, y)[0], expected[0])


def test_inputs_that_ask_for_a_gradient_get_one_through_the_first_layers_own_weights():
    x, y = batch()
    for name in ("fa", "tp"):
        model = member(MLP((6, 7, 4, 3), "tanh"))
        replace(model, name)
        gradients(model, x, y)
        x.requires_grad_()
        x.grad = None
        model(x).logsumexp(1).sum().backward()
        grad = model[0].weight.grad
        assert grad is not None and x.grad is not None and x.grad.norm() > 0
        x.requires_grad_(False)


@pytest.mark.parametrize("name", SIGNALS)
def test_two_forward_passes_and_then_their_backward_passes(name):
    model, (x, y) = member(MLP((6, 7, 4, 3), "tanh")), batch()
    replace(model, name)
    model.zero_grad()
    first, second = F.cross_entropy(model(x[:4]), y[:4]), F.cross_entropy(model(x[4:]), y[4:])
    first.backward(retain_graph=True)
    one = [own.grad.clone() for own in model.parameters()]
    second.backward()
    assert all(own.grad.isfinite().all() for own in model.parameters())
    if name not in ("brsf", "pfa", "tp", "dtp", "dni", "cdni"):
        first.backward()
        third = [own.grad.clone() for own in model.parameters()]
        restore(model)
        replace(model, name)
        alone = gradients(model, x[4:], y[4:])
        for own, once, other in zip(third, one, alone, strict=True):
            torch.testing.assert_close(own, 2 * once + other, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ANYWHERE)
def test_memory_in_another_order_changes_nothing(name):
    x, y = IMAGES
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        model = SmallConvNet(3, 2, widths=(4, 6)).double().to(memory_format=order)
        replace(model, name, seed=2)
        own = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            own.zero_grad()
            F.cross_entropy(model(x.to(memory_format=order)), y).backward()
            own.step()
        found.append(torch.cat([own.detach().flatten() for own in model.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", SIGNALS)
def test_an_empty_batch_teaches_nothing(name):
    model, (x, y) = member(MLP((6, 7, 4, 3), "tanh")), batch()
    handle = replace(model, name)
    gradients(model, x[:1], y[:1])
    before = handle.state_dict()
    model.zero_grad()
    model(x[:0]).sum().backward()
    assert not any(own.grad is not None and own.grad.any() for own in model.parameters())
    assert all(torch.equal(own, before[key]) for key, own in handle.state_dict().items())
    assert all(own.isfinite().all() for own in gradients(model, x, y))


def test_a_part_without_gradients_and_a_model_that_is_one_layer():
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = member(MLP((6, 7, 4), "tanh")), member(MLP((4, 5, 3), "tanh"))

        def forward(self, x):
            with torch.no_grad():
                h = self.body(x).tanh()
            return self.head(h)

    model, (x, y) = Backbone(), batch()
    for name in SIGNALS:
        replace(model, name)
        found = gradients(model, x, y)
        assert all(own is None for own in found[:4]) and all(own is not None for own in found[4:])
    layer = nn.Linear(6, 3).double()
    expected = gradients(layer, x, y)
    for name in SIGNALS:
        replace(layer, name)
        torch.testing.assert_close(gradients(layer, x, y), expected, rtol=1e-12, atol=1e-15)
        restore(layer)
        assert not layer._forward_hooks and not layer._forward_pre_hooks


def test_a_pass_that_fails_leaves_the_next_one_alone():
    model, (x, y) = convnet(), IMAGES
    replace(model, "dfa")
    expected = gradients(model, x, y)
    with pytest.raises(RuntimeError):
        model(x[:, :1])
    assert equal(gradients(model, x, y), expected)


def test_in_its_context_the_gradient_is_the_gradient():
    model, (x, y) = convnet(), IMAGES
    expected = gradients(model, x, y)
    replace(model, "dfa")
    with gradient(model):
        assert equal(gradients(model, x, y), expected)
    assert apart(gradients(model, x, y)[0], expected[0])


@pytest.mark.parametrize("name", [name for name in SIGNALS if name not in ("dni", "cdni")])
def test_every_rule_learns_on_a_module(name):
    x, _ = batch(examples=60)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0.3).long()
    model = member(MLP((6, 16, 16, 3), "tanh"))
    replace(model, name)
    own, first = torch.optim.Adam(model.parameters(), lr=0.02), F.cross_entropy(model(x), y)
    for _ in range(50):
        own.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        own.step()
    assert loss < 0.6 * first


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fa", "dfa", "pblf", "brsf"])
def test_compiled_it_is_the_same(name):
    model, other = (SmallConvNet(3, 2, widths=(4, 6)) for _ in range(2))
    x, y = IMAGES[0].float(), IMAGES[1]
    compiled = torch.compile(model, backend="aot_eager")
    plain = gradients(compiled, x, y)
    gradients(other, x, y)
    for one in (model, other):
        replace(one, name, seed=1)
        gradients(one, x, y)
    for own, its in zip(gradients(compiled, x, y), expected := gradients(other, x, y), strict=True):
        torch.testing.assert_close(own, its, rtol=1e-3, atol=1e-5)
    assert apart(expected[0], plain[0])
    restore(model)
    replace(model, name, seed=1)
    with pytest.raises(UserError, match="a compiled model hides what lies between its layers"):
        compiled(x)
    with pytest.raises(UserError, match="a compiled model has no layers"):
        replace(compiled, name)


# Bad input


class Own(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Raw(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.matrix = nn.Linear(6, 3), nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        return self.layer(torch.relu(x @ self.matrix.t()))


class Two(nn.Module):
    """Two heads."""

    def __init__(self):
        super().__init__()
        self.body, self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        h = torch.relu(self.body(x))
        return self.first(h) + self.second(h)


class Computed(Raw):
    """A weight that is computed from a parameter."""

    def __init__(self, how):
        super().__init__()
        self.how, self.scale = how, nn.Parameter(torch.ones(6, 1))

    def forward(self, x):
        return self.layer(torch.relu(F.linear(x, self.how(self))))


class Rows(nn.Module):
    """Parts of an example as examples."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 5), nn.Linear(5, 4), nn.Linear(12, 3)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x.view(-1, 2))))).view(len(x), 12))


class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.c(h + torch.relu(self.b(h)))


class Uncalled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.other = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x):
        return self.layer(x) + F.linear(x, self.other.weight)


def sequence(*between, last=3):
    return nn.Sequential(nn.Linear(6, 6), *between, nn.Linear(6, last))


RELU = nn.ReLU()
RIGHT_AWAY = [
    (lambda: replace(sequence(), "dfaa"), "unknown learning rule 'dfaa'; did you mean 'dfa'"),
    (lambda: replace(sequence(), "fa", scale=2), "'fa' has no setting 'scale'; it takes feedback"),
    (lambda: replace(sequence(), named("fa"), feedback=[]), "the settings feedback are those of a rule given by its name"),
    (
        lambda: replace(nn.Sequential(nn.ReLU()), "fa"),
        "the model, of the kind Sequential, has no layer that a learning rule serves",
    ),
    (
        lambda: replace(nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2)), "fa"),
        "layer '1' is of the kind LSTM, which no learning rule",
    ),
    (lambda: replace(nn.TransformerEncoderLayer(4, 2), "fa"), "layer 'self_attn' is of the kind MultiheadAttention"),
    (lambda: replace(nn.Sequential(nn.ConvTranspose2d(2, 2, 2)), "fa"), "layer '0' is of the kind ConvTranspose2d"),
    (lambda: replace(nn.Sequential(Own(2, 2)), "fa"), "layer '0' computes its outputs in a way of its own, not as an? Linear"),
    (
        lambda: replace(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))), "fa"),
        "layer '0' makes its weight of other parameters",
    ),
    (lambda: replace(sequence(), "pblf", phi=(0.0, 0.0, 1.5, 0.0)), r"φ has 1\.5; all of it lies in \[−1, 1\]"),
    (lambda: replace(sequence(), "fa", seed=1 << 63), "the seed of a learning rule is 9223372036854775808; give a whole"),
    (lambda: replace(sequence(), "dfa", feedback=3), "the setting 'feedback' of the learning rule 'dfa' is 3; give a list of"),
    (lambda: replace(part_of(sequence()), "fa"), "layer '0' learns by a rule of a part of this model, or of a larger one"),
    (lambda: replace(sequence(), "fa").load_state_dict({}), "the saved state of the learning rule is none of a model's"),
]


def part_of(model):
    replace(model[0], "fa")
    return model


@pytest.mark.parametrize(("give", "says"), RIGHT_AWAY, ids=[says[:40] for _, says in RIGHT_AWAY])
def test_what_cannot_be_served_is_refused_at_once(give, says):
    with pytest.raises(UserError, match=says) as caught:
        give()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


AT_A_STEP = [
    (Raw, "fa", {}, "the model multiplies by its parameter 'matrix' outside of its layers"),
    (Raw, "tp", {}, "multiplies by its parameter 'matrix'"),
    (lambda: Computed(lambda own: own.matrix * own.scale), "dfa", {}, "the model multiplies by its parameter 'matrix' outside"),
    (lambda: Computed(lambda own: own.matrix.tril()), "fa", {}, "the model multiplies by its parameter 'matrix'"),
    (lambda: Computed(lambda own: torch.cat(own.matrix.chunk(2)[::-1])), "tp", {}, "multiplies by its parameter 'matrix'"),
    (Rows, "ifa", {}, "layer 'a' receives 27 examples, and the last one, 'c', 9; the rule 'ifa' serves chains"),
    (Rows, "dfa", {}, "layer 'b' receives 27 examples, and the output gives 9; the rule 'dfa' serves models that keep"),
    (Rows, "cdni", {}, "layer 'b' receives 27 examples, and the output gives 9; the rule 'cdni' serves models that keep"),
    (lambda: sequence(nn.GELU("tanh")), "tp", {}, r"between layers '0' and '2' lies gelu \(tanh\); the rule"),
    (Uncalled, "fa", {}, "layer 'other' is not called in the model's forward pass"),
    (Uncalled, "pblf", {}, "layer 'other' is not called in the model's forward pass"),
    (Two, "dfa", {}, "layer 'first' reaches the model's outputs around the last layer, 'second'; the rule 'dfa' serves"),
    (Two, "ifa", {}, "between layers 'first' and 'second' lies relu, layer 'body'; the rule 'ifa' serves chains"),
    (Around, "tp", {}, "between layers 'b' and 'c' lies Add; the rule 'tp' serves chains of linear layers"),
    (lambda: sequence(RELU, nn.Dropout(0.5)), "tp", {}, "between layers '0' and '3' lies"),
    (sequence, "ifa", {}, "between layers '0' and '1' lies nothing"),
    (lambda: sequence(RELU, nn.Tanh()), "dtp", {}, "between layers '0' and '3' lies tanh, relu"),
    (lambda: sequence(nn.LeakyReLU()), "tp", {}, "between layers '0' and '2' lies LeakyRelu"),
    (lambda: sequence(nn.LeakyReLU()), "pblf", {}, "this one has none of relu, tanh, sigmoid, gelu, silu"),
    (lambda: nn.Sequential(*sequence(RELU)[:2], *sequence(nn.Tanh())), "pblf", {}, "this one uses relu and tanh"),
    (
        lambda: sequence(RELU),
        "fa",
        {"feedback": [torch.ones(3, 5)]},
        r"feedback of layer '2' has shape \(3, 5\); give \(1, 3, 6\)",
    ),
    (lambda: sequence(RELU), "dfa", {"feedback": [torch.ones(5, 6)]}, r"feedback of layer '2' has shape \(5, 6\)"),
    (lambda: sequence(RELU), "fa", {"feedback": []}, "0 feedback matrices for 1 layers"),
    (lambda: sequence(RELU), "pblf", {"modes": (1, 0)}, r"mode bits of shape \(2,\) for 1 hidden layers"),
    (lambda: sequence(RELU), "usf", {"scale": torch.ones(3)}, r"scales of shape \(3,\) for 1 members"),
]


@pytest.mark.parametrize(("make", "name", "settings", "says"), AT_A_STEP, ids=[f"{one[1]}: {one[3][:40]}" for one in AT_A_STEP])
def test_what_cannot_be_served_is_refused_at_the_first_step(make, name, settings, says):
    model, (x, y) = make().double(), batch()
    replace(model, name, **settings)
    with pytest.raises(UserError, match=says) as caught:
        F.cross_entropy(model(x), y).backward()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert all(own.grad is None for own in model.body.parameters()) if isinstance(model, Two) and name == "dfa" else True
    restore(model)
    gradients(model, x, y)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_not_one_of_convolutions(name):
    model = convnet()
    replace(model, name)
    with pytest.raises(
        UserError, match=f"layer 'conv1', of the kind Conv2d, receives .*; the rule '{name}' serves chains of linear"
    ):
        model(IMAGES[0])


def test_a_rule_that_reads_labels_wants_the_cross_entropy_of_classes():
    x, y = batch()
    model, wanted = sequence(RELU).double(), torch.randn(9, 3, dtype=torch.float64)
    replace(model, "cdni")
    with pytest.raises(UserError, match="the rule 'cdni' reads each example's label off the error"):
        F.mse_loss(model(x), wanted).backward()
    for loss in (F.cross_entropy, lambda z, y: F.nll_loss(F.log_softmax(z, 1), y, reduction="sum")):
        assert gradients(model, x, y, loss)[0].isfinite().all()
    replace(model, "dni")
    F.mse_loss(model(x), wanted).backward()


def test_what_comes_after_the_first_step_must_be_as_it_was():
    (x, y) = IMAGES
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)
    )
    model.double()
    replace(model, "dfa")
    gradients(model, x, y)
    with pytest.raises(UserError, match="layer '2' receives 192 values of each example and received 240 at first"):
        gradients(model, x[:, :, :, :10], y)
    replace(model, "fa")
    gradients(model, x, y)
    gradients(model, x[:, :, :, :10], y)
    model[3] = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 1).double())
    gradients(model, x, y)  # which nobody watches
    chain = sequence(RELU).double()
    replace(chain, "tp")
    gradients(chain, *batch())
    chain.insert(1, nn.Dropout(0.5))
    with pytest.raises(UserError, match="between layers '0' and"):
        gradients(chain, *batch())


def test_second_derivatives_and_layers_on_their_own_are_refused():
    model, (x, y) = sequence(RELU).double(), batch()
    for name in ("backprop", "fa", "tp", "pblf"):
        replace(model, name)
        with pytest.raises(UserError, match="a second derivative needs the gradient of the loss"):
            torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()), create_graph=True)
    replace(model, "fa")
    with pytest.raises(UserError, match="layer '0' is called outside of its model's forward pass"):
        model[0](x)

    def loss(parameters):
        return F.cross_entropy(torch.func.functional_call(model, parameters, (x,)), y)

    parameters = {name: own.detach() for name, own in model.named_parameters()}
    with pytest.raises(UserError, match=r"torch\.func takes its own way backwards"):
        torch.func.grad(loss)(parameters)
    with gradient(model):
        assert torch.func.grad(loss)(parameters)["0.weight"].norm() > 0
    gradients(model, x, y)


def test_what_autograd_may_compute_without_layers_is_served():
    """Twins of those that multiply by a parameter: rows that are looked up, and positions that are added, are data."""

    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.places = nn.Embedding(50, 6), nn.Parameter(torch.randn(4, 6))
            self.layer = nn.Linear(6, 3)

        def forward(self, x):
            h = self.rows(x) + self.places
            return self.layer(torch.relu(torch.bmm(torch.bmm(h, h.transpose(1, 2)), h).mean(1)))

    model, other = Lookup().double(), Rows().double()
    replace(model, "fa")
    assert gradients(model, torch.arange(36).view(9, 4), batch()[1])[0].any()
    replace(other, "fa")
    assert gradients(other, *batch())[0].any()  # parts of an example as examples, where no error is sent to them


def test_what_is_no_batch_of_real_numbers_is_refused():
    torch.manual_seed(0)
    convolutions = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3))
    replace(convolutions, "dfa")
    with pytest.raises(UserError, match="layer '0' receives one example without a batch; the rule 'dfa' takes a batch"):
        convolutions(torch.randn(2, 6, 6))
    model = sequence(RELU)
    replace(model, "fa")
    with torch.autograd.forward_ad.dual_level(), pytest.raises(UserError, match="forward-mode differentiation takes its own"):
        model(torch.randn(2, 6))
    with pytest.raises(UserError, match="layer '0' receives complex numbers, which no learning rule serves"):
        model(torch.randn(2, 6).to(torch.complex64))


def test_a_state_of_another_rule_or_model_is_refused():
    model, (x, y) = sequence(RELU).double(), batch()
    handle = replace(model, "dfa")
    gradients(model, x, y)
    other = sequence(RELU, nn.Linear(6, 6), RELU).double()
    with pytest.raises(UserError, match="the saved state of the learning rule is none of"):
        replace(other, "fa").load_state_dict(handle.state_dict())
        gradients(other, x, y)
    wider = sequence(RELU, last=4).double()
    gradients_of = replace(wider, "dfa")
    gradients(wider, x, y)
    before = gradients_of.state_dict()
    with pytest.raises(UserError, match="the saved state of the learning rule is none of"):
        gradients_of.load_state_dict(handle.state_dict() | {"seed": torch.tensor(9)})
    assert all(torch.equal(own, before[name]) for name, own in gradients_of.state_dict().items())


def test_the_guide_runs(tmp_path, monkeypatch):
    """Its code, word for word."""
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs" / "learning-rules.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    names: dict = {}
    for block in code:
        exec(compile(block, "learning-rules.md", "exec"), names)
    assert len(code) == 3 and replaced(names["model"]).name == "brsf"
    gradients(names["model"], names["images"], names["labels"])


@pytest.mark.parametrize("name", [name for name in SIGNALS if name != "pblf"])
def test_an_example_without_a_batch_is_refused_and_spoils_nothing(name):
    model, twin, (x, y) = member(MLP((6, 7, 3), "tanh")), member(MLP((6, 7, 3), "tanh")), batch()
    for one in (model, twin):
        replace(one, name, seed=2)
    with pytest.raises(UserError, match=r"layer '0'.* receives .*the rule"):
        model(x[0])
    assert equal(gradients(model, x, y), gradients(twin, x, y))


@pytest.mark.parametrize("name", SIGNALS)
def test_a_model_that_learns_by_any_rule_can_be_saved_whole(name):
    model, (x, y) = member(MLP((6, 7, 4, 3), "tanh")), batch()
    replace(model, name, seed=2)
    gradients(model, x, y)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    other = torch.load(buffer, weights_only=False)
    assert equal(gradients(model, x, y), gradients(other, x, y)) and replaced(other) is not replaced(model)


@pytest.mark.slow
def test_a_model_saved_whole_learns_by_its_rule_and_can_be_restored(tmp_path):
    """In a process that has not replaced any rule, so that its hooks are as they are written."""
    model, (x, y) = member(MLP((6, 7, 4, 3), "tanh")), batch()
    replace(model, "fa", seed=2)
    expected = gradients(model, x, y)
    torch.save(model, tmp_path / "model.pt")
    torch.save((x, y, expected[0]), tmp_path / "batch.pt")
    script = """if True:
        import torch
        from torch.nn import functional as F
        from pipeline.learning.modules import replace, replaced, restore
        model = torch.load("model.pt", weights_only=False)
        x, y, expected = torch.load("batch.pt")
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        assert torch.equal(model[0].weight.grad, expected)
        replace(torch.nn.Linear(2, 2), "fa")
        restore(model)
        assert replaced(model) is None and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    """
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


# Over a rule


def instructor(**settings):
    torch.manual_seed(0)
    home = Home(
        MLP((6, 8, 5, 3)), steps=40, period=6, learning_rate=0.1, ladder=(0.0, 1.0), refresh=4, trust_region=0.02, strength=30.0
    )
    critic = Critic("probes", ENNConfig(hidden=8, probes=5), home).double()
    with torch.no_grad():
        critic.value_head.weight *= 20
    return Instructor(critic, **settings)


@pytest.mark.parametrize("hooks", ["refuse", "fire"])
@pytest.mark.parametrize("shape", [None, (6,)], ids=["chain", "any"])
def test_an_instruction_over_a_rule_is_that_over_backpropagation(shape, hooks):
    """The ENN reads the weights, and its own gradient goes the true way."""
    added, (x, y) = {}, batch()
    for name in (None, "fa", "dfa", "pblf", "tp"):
        model = member(MLP((6, 8, 5, 3), "relu"))
        if name is not None:
            replace(model, name)
        before = gradients(model, x, y)
        instructor(guarded=False, input_shape=shape, hooks=hooks).instruct(model)
        added[name] = torch.cat([(own.grad - old).flatten() for own, old in zip(model.parameters(), before, strict=True)])
        assert apart(before[0], gradients(model, x, y)[0] * 2)
        assert name is None or equal(gradients(model, x, y)[-2:], before[-2:])
    assert added[None].norm() > 1e-3
    for own in added.values():
        torch.testing.assert_close(own, added[None], rtol=1e-9, atol=1e-13)


def test_a_guarded_instruction_refuses_a_rule_that_is_no_gradient():
    model, (x, y) = member(MLP((6, 8, 5, 3), "relu")), batch()
    replace(model, "fa")
    gradients(model, x, y)
    with pytest.raises(
        UserError, match=r"a guarded instruction .* needs the gradient of the loss, and FeedbackAlignment sends"
    ):
        instructor().instruct(model)
    replace(model, "backprop")
    gradients(model, x, y)
    instructor().instruct(model)
    restore(model)
    replace(model[0], "fa")
    with pytest.raises(UserError, match="a guarded instruction"):
        instructor().instruct(model)


@pytest.mark.parametrize("name", ["fa", "dfa", "pblf"])
def test_weight_decay_over_a_rule_is_the_rule_and_the_decay(name):
    model, (x, y) = convnet(), IMAGES
    replace(model, name)
    found = gradients(model, x, y)
    before = [own.detach().clone() for own in model.parameters()]
    torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5).step()
    for own, start, slope in zip(model.parameters(), before, found, strict=True):
        torch.testing.assert_close(own.detach(), start - 0.1 * (slope + 0.5 * start), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["gradsign", "gradsign_live"])
def test_a_predictor_reads_the_gradient_whatever_the_rule(name):
    model, (x, y) = SmallConvNet(3, 2, widths=(4, 6)), IMAGES

    def score():
        return predictor(name).score(model, (x.float(), y), torch.Generator().manual_seed(0))

    expected = score()
    replace(model, "dfa")
    assert score() == expected and expected != 0
    gradients(model, x.float(), y)


@pytest.mark.parametrize("name", ["fa", "dfa", "pfa", "dni", "pblf", "tp"])
def test_what_a_pass_holds_goes_with_its_graph(name):
    """No memory waits until Python looks for cycles; that of a convolutional network's pass is large."""
    model, (x, y) = (
        (SmallConvNet(3, 2, widths=(4, 6)).double(), IMAGES) if name in ANYWHERE else (sequence(RELU).double(), batch())
    )
    replace(model, name)
    gradients(model, x, y)
    gc.collect()
    gc.disable()
    try:
        counts = []
        for _ in range(3):
            gradients(model, x, y)
            counts.append(sum(type(own) is torch.Tensor for own in gc.get_objects(generation=0)))
    finally:
        gc.enable()
    assert len(set(counts)) == 1
