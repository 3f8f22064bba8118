"""The Instructor in somebody's own loop: what it reads, that it leaves no trace, its state, and what loops do around it.

The oracle is autograd through the module itself: λ ∂V/∂θ of what it makes of the probes, with its own tensors.
"""

import copy
import math
import random
import re
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from grad_instructor import integrations
from pipeline.enn.readers import Unreadable
from pipeline.errors import UserError
from pipeline.instruction import Instructor
from pipeline.instruction.chain import linears
from pipeline.instruction.low_rank import LowRank
from pipeline.instruction.memory import Bound
from pipeline.instruction.modules import Chain, Forward, How, as_mlp, readable
from pipeline.instruction.own_guard import MEMORY, NONE, RANGE, FarFromHome, OwnGuard
from pipeline.targets import MLP
from tests.test_instruction import RATE, data, make_critic

ROOT = Path(__file__).resolve().parents[1]
LAMBDA = 0.5


def seeded(make):
    torch.manual_seed(3)
    return make().double()


class Three(nn.Module):
    """The layers of an MLP with two hidden ones; what is done with them is up to subclasses."""

    def __init__(self):
        super().__init__()
        self.a, self.h, self.b = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.b(F.relu(self.h(F.relu(self.a(x)))))


class Twice(Three):
    def forward(self, x):
        return self.b(F.relu(self.h(F.relu(self.h(F.relu(self.a(x)))))))


class Skipped(Three):
    def forward(self, x):
        return self.b(F.relu(self.a(x)))


class Residual(Three):
    def forward(self, x):
        h = F.relu(self.a(x))
        return self.b(h + F.relu(self.h(h)))


class OtherOrder(Three):
    def __init__(self):
        super().__init__()
        self.a, self.h, self.g, self.b = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.b(F.relu(self.h(F.relu(self.g(F.relu(self.a(x)))))))


class Functional(Three):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.b(self.function(self.h(self.function(self.a(x)))))


class Normalised(Three):
    def forward(self, x):
        return super().forward((x - 0.13) / 0.31)


class Scaled(nn.Linear):
    def forward(self, x):
        return 0.5 * super().forward(x)


class Temperature(Three):
    def forward(self, x):
        return 3 * super().forward(x)


class Tied(Three):
    """Two layers of one weight, each with a bias of its own."""

    def __init__(self):
        super().__init__()
        self.a, self.g = nn.Linear(6, 5), nn.Linear(5, 5)
        self.h.weight = self.g.weight

    def forward(self, x):
        return self.b(F.relu(self.h(F.relu(self.g(F.relu(self.a(x)))))))


class LowRankAdapter(nn.Module):
    """A frozen layer, and two small matrices that are trained."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.down, self.up = (
            layer.requires_grad_(False),
            nn.Parameter(torch.randn(2, 6)),
            nn.Parameter(torch.randn(5, 2)),
        )

    def forward(self, x):
        return self.layer(x) + x @ self.down.t() @ self.up.t()


class Outputs(Three):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        logits = super().forward(x)
        hidden = self.a(x)
        return {
            "tuple": (hidden, logits),
            "dict": {"hidden": hidden, "logits": logits},
            "named": types.SimpleNamespace(logits=logits, loss=None),
            "dict without a name": {"hidden": hidden, "scores": logits},
        }[self.kind]


class TwoInputs(Three):
    def forward(self, x, mask):
        return {"one": super().forward(x * mask), "other": super().forward(x)}


class Listed(Three):
    """Keeps a parameter in a list, and uses that."""

    def __init__(self):
        super().__init__()
        self.kept = [self.a.weight]

    def forward(self, x):
        return self.b(F.relu(self.h(F.relu(F.linear(x, self.kept[0], self.a.bias)))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.last = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.cells(x.view(-1, 2, 3))[0][:, -1])


class Checkpointed(Three):
    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x):
        h = F.relu(self.a(x))
        return self.b(checkpoint(lambda h: F.relu(self.h(h)), h, use_reentrant=self.reentrant))


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


def computing(layer, change):
    """A chain, one of whose weights is computed."""
    model = Three()
    model.a = change(layer())
    return model


def plain(*layers):
    return nn.Sequential(*layers)


def norm_chain():
    return plain(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3))


FIRST = lambda: nn.Linear(6, 5)  # noqa: E731
LINEAR = {
    "a layer used twice": Twice,
    "a layer not used": Skipped,
    "residual": Residual,
    "registered in another order": OtherOrder,
    "torch.tanh": lambda: Functional(torch.tanh),
    "F.silu": lambda: Functional(F.silu),
    "F.gelu, approximated": lambda: Functional(lambda x: F.gelu(x, approximate="tanh")),
    "nn.GELU, approximated": lambda: plain(FIRST(), nn.GELU("tanh"), nn.Linear(5, 3)),
    "nothing between": lambda: plain(FIRST(), nn.ReLU(), nn.Linear(5, 5), nn.Linear(5, 3)),
    "softmax between": lambda: plain(FIRST(), nn.Softmax(-1), nn.Linear(5, 3)),
    "two activations in a row": lambda: plain(FIRST(), nn.Tanh(), nn.Tanh(), nn.Linear(5, 3)),
    "inputs normalised": Normalised,
    "a subclass that scales": lambda: plain(Scaled(6, 5), nn.ReLU(), nn.Linear(5, 3)),
    "a temperature": Temperature,
    "a shared weight": Tied,
    "pruned": lambda: computing(FIRST, lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5)),
    "weight_norm of old": lambda: computing(FIRST, weight_norm),
    "spectral_norm of old": lambda: computing(FIRST, spectral_norm),
    "weight_norm": lambda: computing(FIRST, parametrizations.weight_norm),
    "spectral_norm": lambda: computing(FIRST, parametrizations.spectral_norm),
    "a parametrisation": lambda: computing(
        FIRST, lambda own: parametrize.register_parametrization(own, "weight", Halved()) or own
    ),
}
"""what consists of linear layers and activations, and computes something else than their chain"""
ANY = {
    "batch normalisation, dropout": norm_chain,
    "an adapter": lambda: plain(LowRankAdapter(FIRST()), nn.ReLU(), nn.Linear(5, 3)),
    "parameters in a list": Listed,
    "recurrent": Recurrent,
    "checkpointed": lambda: Checkpointed(False),
    "no bias": lambda: plain(nn.Linear(6, 5, bias=False), nn.LeakyReLU(), nn.Linear(5, 3)),
    "convolutions": lambda: plain(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)),
} | {f"returns a {kind}": lambda kind=kind: Outputs(kind) for kind in ("tuple", "dict", "named", "dict without a name")}
CHAINS = {
    "plain": Three,
    "dropout": lambda: plain(FIRST(), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3)),
    "softmax at the end": lambda: plain(FIRST(), nn.Tanh(), nn.Linear(5, 3), nn.Softmax(-1)),
    "log-softmax at the end": lambda: plain(FIRST(), nn.Tanh(), nn.Linear(5, 3), nn.LogSoftmax(-1)),
    "nested, flattened": lambda: plain(nn.Flatten(), plain(FIRST(), nn.GELU()), plain(nn.Linear(5, 3))),
}


def logits_of(output):
    if isinstance(output, torch.Tensor):
        return output.log() if bool((output >= 0).all() and torch.allclose(output.sum(1), torch.ones(()).double())) else output
    if isinstance(output, tuple):
        return output[1]
    return output.logits if hasattr(output, "logits") else output.get("logits", output.get("scores"))


def asked_for(model, critic, call=None):
    """λ ∂V/∂θ by autograd through a copy of the module itself, by name of what is trained."""
    own = model.eval()
    output = call(own, critic.reader.probes) if call else logits_of(own(critic.reader.probes))
    value = critic.value_of(critic.reader.read_logits(output[None], torch.zeros(1).double()))
    trained = {name: parameter for name, parameter in own.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(value.sum(), list(trained.values()), allow_unused=True)
    return {name: LAMBDA * own for name, own in zip(trained, gradients, strict=True) if own is not None}


def instructed(model, **options):
    """What one call adds to the gradients, which are there already."""
    instructor = Instructor(wide_critic(), 40, RATE, guarded=False, **options)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.25) if parameter.requires_grad else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FarFromHome)
        instructor.instruct(model)
    added = {name: 0.25 - own.grad for name, own in model.named_parameters() if own.grad is not None}
    return {name: own for name, own in added.items() if bool(own.any())}, instructor


def wide_critic(reader="probes", **use):
    """Whose trust region is in nobody's way."""
    return make_critic(reader, **({"strength": LAMBDA, "trust_region": 1e9} | use))


def assert_same(found, expected):
    assert found.keys() == expected.keys() and expected
    for name, own in expected.items():
        torch.testing.assert_close(found[name], own, rtol=1e-6, atol=1e-12)


# -- what is computed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_computed_is_what_is_instructed(name):
    model = seeded(LINEAR[name])
    found, instructor = instructed(model)
    assert_same(found, asked_for(model, instructor.critic))
    assert isinstance(readable(model, instructor.critic, How()), Forward)


@pytest.mark.parametrize(
    "name", ["a layer used twice", "torch.tanh", "residual", "inputs normalised", "a subclass that scales"]
)
def test_read_as_a_list_of_layers_it_would_be_another_instruction(name):
    """The twin: what is wanted above is not what the list of layers gives."""
    model, critic = seeded(LINEAR[name]), wide_critic()
    target, tensors = as_mlp(model)
    _, pushes = LowRank(critic).instructions(
        target, [own.detach() for own in tensors], torch.zeros(1).double(), torch.tensor([LAMBDA]).double(), RATE
    )
    as_listed = torch.cat([(own if isinstance(own, torch.Tensor) else own.dense()).flatten() for own in pushes])
    truth = asked_for(model, critic)
    names = {id(own): name for name, own in model.named_parameters()}
    wanted = torch.cat([truth[names[id(own)]].flatten() for own in tensors])
    assert (as_listed - wanted).norm() > 0.02 * wanted.norm()


@pytest.mark.parametrize("name", ANY)
def test_any_module_is_instructed_by_what_it_computes(name):
    model = seeded(ANY[name])
    found, instructor = instructed(model, input_shape=(6,))
    assert_same(found, asked_for(model, instructor.critic))


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_read_the_fast_way_and_alike(name):
    model = seeded(CHAINS[name])
    found, instructor = instructed(model)
    assert isinstance(readable(model, instructor.critic, How()), Chain)
    assert_same(found, asked_for(model, instructor.critic))


def test_several_inputs_and_outputs_are_said_by_a_function():
    def call(model, x):
        return model(x, torch.arange(6.0).double())["one"]

    model = seeded(TwoInputs)
    found, instructor = instructed(model, forward=call)
    assert_same(found, asked_for(model, instructor.critic, call))


@pytest.mark.parametrize("reader", ["convnet", "statistics"])
@pytest.mark.parametrize("name", LINEAR)
def test_a_reader_of_weights_refuses_what_is_no_chain_and_names_the_layer(reader, name):
    model = seeded(LINEAR[name])
    depth = len(linears(model))
    with pytest.raises(Unreadable, match=r"layer '|the model does not return what its last layer") as caught:
        Instructor(make_critic(reader, MLP((6, *[5] * (depth - 1), 3)))).instruct(model)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda: Outputs("tuple"), {}, "forward="),
        (TwoInputs, {"input_shape": (6,)}, r"fails on probes of shape \(6,\) .*mask"),
        (Three, {"input_shape": (2, 3)}, r"fails on probes of shape \(2, 3\)"),
        (
            lambda: plain(nn.Linear(6, 3), nn.Unflatten(1, (3, 1))),
            {"input_shape": (6,)},
            r"outputs of shape \(3, 1\) and this ENN reads 3",
        ),
        (lambda: Checkpointed(True), {"input_shape": (6,), "strength": 1.0}, "cannot be differentiated .*use_reentrant"),
        (lambda: torch.nn.LazyLinear(3), {"input_shape": (6,)}, "lazy"),
        (lambda: nn.Linear(6, 3, device="meta"), {}, "meta device"),
        (lambda: torch.jit.script(nn.Sequential(nn.Linear(6, 3))), {}, "the model is a TorchScript"),
        (lambda: plain(torch.jit.script(nn.Linear(6, 3))), {"input_shape": (6,)}, "layer '0' is a TorchScript"),
        (lambda: type("FullyShardedDataParallel", (Three,), {})(), {}, "sharded"),
        (lambda: plain(type("FSDPModule", (Three,), {})()), {}, "layer '0' is sharded"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(make, options, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make()
    if words == "forward=":
        model.forward = lambda x: (Three.forward(model, x), Three.forward(model, x) + 1)
    with pytest.raises(Unreadable, match=words) as caught:
        Instructor(make_critic(dtype=torch.float32), **options).instruct(model)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_scores_without_a_gradient_are_refused():
    model = seeded(Three)
    model.forward = torch.no_grad()(model.forward)
    with pytest.raises(Unreadable, match="depends on none"):
        Instructor(make_critic(), input_shape=(6,), strength=1.0).instruct(model)


def test_a_network_that_changes_what_it_computes_is_read_anew():
    model, instructor = seeded(lambda: Functional(torch.relu)), Instructor(make_critic(period=2, refresh=2), strength=1.0)
    step(model, instructor, sgd(model), 0)
    assert isinstance(instructor._read[2], Chain)
    model.function = torch.tanh
    step(model, instructor, sgd(model), 1)
    step(model, instructor, sgd(model), 2)
    assert isinstance(instructor._read[2], Forward)


# -- no trace ----------------------------------------------------------------------------------------------------------


class Busy(nn.Module):
    """Counts, keeps, draws and counts in tensors whenever it is called."""

    def __init__(self):
        super().__init__()
        self.net = norm_chain()
        self.calls, self.seen, self.log = 0, [], {}
        self.count = torch.zeros(())
        self.register_buffer("total", torch.zeros(3).double())
        self.fails = False

    def forward(self, x):
        self.calls += 1
        self.seen.append(len(x))
        self.log["last"] = x
        self.count += 1
        noise = torch.randn(3).double() + random.random() + np.random.rand()
        out = self.net(x)
        self.total += out.detach().mean(0)
        self.net[0].weight.data.mul_(1.0000001)
        self.extra = out
        if self.fails:
            raise ValueError("half-way")
        return out + 1e-9 * noise


def busy():
    """A model in use, with frozen parts, and its critic, which is being trained."""
    model = seeded(Busy)
    model.train()
    model.net[1].eval()
    model.net[1].weight.requires_grad_(False)
    x, y = data()
    F.cross_entropy(model(x), y).backward()
    critic = make_critic(strength=1.0).train()
    return model, critic


def picture(model, critic):
    """Everything that somebody could look at."""
    parts = {f"{name}.training": own.training for name, own in model.named_modules()}
    parts |= {f"{name} {key}": own.clone() for name, part in model.named_modules() for key, own in part._buffers.items()}
    parts |= {name: own.detach().clone() for name, own in model.named_parameters()}
    parts |= {
        f"{name}.requires_grad": own.requires_grad for name, own in [*model.named_parameters(), *critic.named_parameters()]
    }
    parts |= {f"{name}.grad": None if own.grad is None else own.grad.clone() for name, own in critic.named_parameters()}
    parts |= {f"{name}.hooks": (list(own._forward_hooks), list(own._forward_pre_hooks)) for name, own in model.named_modules()}
    parts |= {"calls": model.calls, "seen": list(model.seen), "log": dict(model.log), "count": model.count.clone()}
    parts |= {"attributes": {name: sorted(own.__dict__) for name, own in model.named_modules()}, "extra": model.extra}
    parts |= {"critic": critic.training, "torch": torch.get_rng_state()}
    parts |= {
        "numpy": str(np.random.get_state()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "grad": torch.is_grad_enabled(),
    }
    return parts


def differences(before, after):
    def same(one, other):
        if isinstance(one, torch.Tensor | np.ndarray):
            return np.array_equal(
                np.asarray(one.detach() if isinstance(one, torch.Tensor) else one),
                np.asarray(other.detach() if isinstance(other, torch.Tensor) else other),
            )
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        return one == other

    return [name for name in before if not same(before[name], after[name])]


@pytest.mark.parametrize("where", ["plain", "autocast", "no_grad", "inference_mode"])
@pytest.mark.parametrize("hooks", [None, "ignore"])
def test_a_reading_leaves_no_trace(where, hooks):
    model, critic = busy()
    fired = []
    if hooks:
        model.net[0].register_forward_hook(lambda *_: fired.append(1))
        model.net[0].register_full_backward_hook(lambda *_: fired.append(1))
        model.net[0].weight.register_hook(lambda _: fired.append(1))
    instructor = Instructor(critic, 40, RATE, input_shape=(6,), guarded=False, hooks=hooks or "refuse")
    context = {
        "plain": torch.enable_grad,
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
        "no_grad": torch.no_grad,
        "inference_mode": torch.inference_mode,
    }[where]
    with context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FarFromHome)
        before = picture(model, critic)
        instructor.predict(model)
        assert differences(before, picture(model, critic)) == []
        grads = [None if own.grad is None else own.grad.clone() for own in model.parameters()]
        instructor.instruct(model)
        assert differences(before, picture(model, critic)) == []
    moved = [
        own.grad is not None and not torch.equal(own.grad, then) for own, then in zip(model.parameters(), grads, strict=True)
    ]
    assert moved == [own.requires_grad for own in model.parameters()], "what is trained, and nothing else, has other gradients"
    assert fired == []


def test_no_trace_where_the_forward_pass_fails_half_way():
    model, critic = busy()
    model.fails = True
    before = picture(model, critic)
    instructor = Instructor(critic, 40, RATE, input_shape=(6,))
    for use in (instructor.instruct, instructor.predict):
        with pytest.raises(Unreadable, match="half-way"):
            use(model)
    assert differences(before, picture(model, critic)) == [] and instructor.step == 0


def test_a_trace_would_be_seen():
    """The twin of the tests above: calling the model as it is changes nearly everything in the picture."""
    model, critic = busy()
    before = picture(model, critic)
    model.eval()(data()[0][:5])
    found = differences(before, picture(model, critic))
    assert {
        "calls",
        "seen",
        "log",
        "count",
        " total",
        "net.0.weight",
        "torch",
        "numpy",
        "extra",
        "net.3.training",
    } <= set(found)


@pytest.mark.parametrize("everywhere", [False, True])
def test_forward_hooks_are_refused_unless_one_says_what_they_do(everywhere):
    model, fired = seeded(Three), []

    def hook(module, received, given):
        fired.append(1)
        return 2 * given

    handle = nn.modules.module.register_module_forward_hook(hook) if everywhere else model.h.register_forward_hook(hook)
    try:
        for hooks in ("refuse", "fire") if everywhere else ("refuse",):
            with pytest.raises(Unreadable, match="every layer" if everywhere else "layer 'h' has a forward hook"):
                instructed(model, hooks=hooks)
        ignored, instructor = instructed(model, hooks="ignore")
        instructor.predict(model)
        assert not fired
        if everywhere:
            return
        obeyed, instructor = instructed(model, hooks="fire")
        assert fired
        assert_same(obeyed, asked_for(model, instructor.critic))
        assert any(not torch.allclose(ignored[name], obeyed[name], rtol=0.01) for name in ignored)
    finally:
        handle.remove()


def test_chance_in_evaluation_mode_is_the_same_at_every_reading():
    class Noisy(Three):
        def forward(self, x):
            return super().forward(F.dropout(x, 0.5))

    model, instructor = seeded(Noisy), Instructor(make_critic(), input_shape=(6,))
    assert len({instructor.predict(model) for _ in range(4)}) == 1


# -- one model, one run ------------------------------------------------------------------------------------------------


def step(model, instructor, optimiser, number, **how):
    x, y = data()
    optimiser.zero_grad()
    begin = number * 7 % 30
    F.cross_entropy(model(x[begin : begin + 9]), y[begin : begin + 9]).backward()
    instructor.instruct(model, **how)
    optimiser.step()


def sgd(model, rate=RATE):
    return torch.optim.SGD(model.parameters(), lr=rate)


def test_another_model_is_refused_and_may_be_looked_at():
    one, other, instructor = seeded(Three), seeded(lambda: Three()), Instructor(make_critic(), strength=1.0)
    step(one, instructor, sgd(one), 0)
    with pytest.raises(UserError, match="belongs to another model"):
        instructor.instruct(other)
    assert all(parameter.grad is None for parameter in other.parameters()) and instructor.step == 1
    assert instructor.predict(other) == Instructor(make_critic(), strength=1.0).predict(other) or instructor.step == 1
    step(one, instructor, sgd(one), 1)
    instructor.reset()
    step(other, instructor, sgd(other), 0)
    assert instructor.step == 1


@pytest.mark.parametrize("kind", ["initialised", "loaded", "replaced"])
def test_a_model_that_was_made_anew_is_noticed(kind):
    model, instructor = seeded(Three), Instructor(make_critic(), strength=1.0)
    for number in range(3):
        step(model, instructor, sgd(model), number)
    torch.manual_seed(99)
    fresh = Three().double()
    if kind == "initialised":
        for layer in model.children():
            layer.reset_parameters()
    elif kind == "loaded":
        model.load_state_dict(fresh.state_dict())
    else:
        model.a, model.h, model.b = fresh.a, fresh.h, fresh.b
    with pytest.raises(UserError, match=r"reset\(\)"):
        instructor.instruct(model)
    assert instructor.step == 3


def test_a_model_that_is_trained_fast_is_not_taken_for_another():
    """Adam from small weights, at a high rate: the first step is longer than the weights."""
    model, instructor = seeded(Three), Instructor(make_critic(), strength=1.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for number in range(20):
        step(model, instructor, optimiser, number)
    assert instructor.step == 20


def test_a_part_that_is_frozen_or_freed_on_the_way_is_followed():
    model, instructor = seeded(Residual), Instructor(make_critic(period=4, refresh=4), strength=1.0, guarded=False)
    model.a.weight.requires_grad_(False)
    step(model, instructor, sgd(model), 0)
    assert model.a.weight.grad is None
    model.a.weight.requires_grad_(True)
    for number in range(1, 6):
        step(model, instructor, sgd(model), number)
    assert "a.weight" in instructor._held.pushes


@pytest.mark.parametrize(
    ("make", "guarded", "use"),
    [
        (Three, None, {}),
        (Residual, None, {"scale": 3.0}),
        (Three, False, {"decoupled": True, "schedule": "cosine"}),
        (Residual, True, {}),
        (norm_chain, None, {"decoupled": True}),
    ],
)
def test_a_loop_that_was_stopped_at_any_step_goes_on_to_the_same_bits(make, guarded, use, tmp_path):
    steps, options = 9, {"input_shape": (6,)} if make is norm_chain else {}

    def new():
        model = seeded(make).eval()  # chance would be another after a restart
        return (
            model,
            Instructor(make_critic(**use), steps, RATE, guarded=guarded, **options),
            torch.optim.SGD(model.parameters(), RATE, 0.5),
        )

    def weights(model):
        return torch.cat([own.detach().flatten() for own in model.parameters()])

    kept, differ = [], 0
    warnings.simplefilter("ignore", FarFromHome)
    whole = new()
    for number in range(steps):
        kept.append(copy.deepcopy([whole[0].state_dict(), whole[2].state_dict()]))
        torch.save(whole[1].state_dict(), tmp_path / f"{number}.pt")
        step(*whole, number)
    for number in range(steps):
        for restored in (True, False) if number in (2, 5) else (True,):
            model, instructor, optimiser = again = new()
            model.load_state_dict(kept[number][0])
            optimiser.load_state_dict(kept[number][1])
            if restored:
                instructor.load_state_dict(torch.load(tmp_path / f"{number}.pt", weights_only=True))
            for later in range(number, steps):
                step(*again, later)
            if restored:
                assert torch.equal(weights(model), weights(whole[0])), f"stopped at step {number}"
                assert instructor.last == whole[1].last
            else:
                differ += not torch.equal(weights(model), weights(whole[0]))
    assert differ == 2, "the state made no difference: nothing was tested"


@pytest.mark.parametrize(
    "damage", [lambda state: {}, lambda state: 3, lambda state: state | {"step": "7"}, lambda state: state | {"more": 1}]
)
def test_a_state_that_is_none_is_refused(damage):
    instructor = Instructor(make_critic())
    with pytest.raises(UserError, match="no state of an instructor"):
        instructor.load_state_dict(damage(instructor.state_dict()))


def test_a_state_belongs_to_its_enn_and_its_model():
    model, instructor = seeded(Three), Instructor(make_critic(), strength=1.0)
    step(model, instructor, sgd(model), 0)
    with pytest.raises(UserError, match="another ENN"):
        Instructor(make_critic("statistics")).load_state_dict(instructor.state_dict())
    other = Instructor(make_critic(), strength=1.0)
    other.load_state_dict(instructor.state_dict())
    with pytest.raises(UserError, match="other parameters"):
        other.instruct(seeded(OtherOrder))


# -- around it ---------------------------------------------------------------------------------------------------------


def trained(loop, make=Three, steps=6, **options):
    """The weights after somebody's loop of ``steps`` optimiser steps."""
    model = seeded(make)
    use = {name: options.pop(name) for name in ("decoupled", "schedule") if name in options}
    instructor = Instructor(make_critic(strength=1.0, **use), 20, RATE, guarded=False, **options)
    loop(model, instructor, sgd(model), steps)
    return torch.cat([own.detach().flatten() for own in model.parameters()]), instructor


def usual(model, instructor, optimiser, steps):
    for number in range(steps):
        step(model, instructor, optimiser, number)


def test_accumulated_gradients_are_instructed_once_whether_one_asks_once_or_every_time():
    def accumulating(every):
        def loop(model, instructor, optimiser, steps):
            x, y = data()
            for number in range(steps):
                optimiser.zero_grad()
                begin = number * 7 % 30
                for part in range(3):
                    rows = slice(begin + 3 * part, begin + 3 * part + 3)
                    (F.cross_entropy(model(x[rows]), y[rows]) / 3).backward()
                    if every or part == 2:
                        instructor.instruct(model)
                optimiser.step()

        return loop

    whole, once, always = (trained(loop) for loop in (usual, accumulating(False), accumulating(True)))
    torch.testing.assert_close(once[0], whole[0], rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(always[0], whole[0], rtol=1e-10, atol=1e-13)
    assert always[1].step == once[1].step == 6


@pytest.mark.parametrize("decoupled", [False, True])
def test_a_gradient_scaler_changes_nothing_and_a_skipped_step_is_skipped(decoupled):
    def loop(model, instructor, optimiser, steps):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        x, y = data()
        number = 0
        while number < steps:
            optimiser.zero_grad()
            begin = number * 7 % 30
            loss = F.cross_entropy(model(x[begin : begin + 9]), y[begin : begin + 9])
            overflow = number == 2 and scaler.get_scale() == 2.0**16
            scaler.scale(loss * (math.inf if overflow else 1)).backward()
            scaler.unscale_(optimiser)
            before = [own.detach().clone() for own in model.parameters()]
            instructor.instruct(model)
            scaler.step(optimiser)
            if overflow:
                assert all(torch.equal(own, then) for own, then in zip(model.parameters(), before, strict=True))
            scaler.update()
            number += not overflow

    scaled, whole = trained(loop, decoupled=decoupled), trained(usual, decoupled=decoupled)
    torch.testing.assert_close(scaled[0], whole[0], rtol=1e-10, atol=1e-13)
    assert scaled[1].step == 6


@pytest.mark.parametrize("stopped", [False, True], ids=["", "stopped"])
@pytest.mark.parametrize("decoupled", [False, True])
def test_a_step_that_a_loop_leaves_out_is_not_counted_and_its_instruction_is_not_lost(decoupled, stopped):
    """Two in a row, and one at a reading; what is added to gradients is then as if nobody had been asked in between."""
    moved = []

    def leaving_out(model, instructor, optimiser, steps):
        x, y = data()
        for number in (0, 1, -1, -2, *range(2, steps - 1), -3, steps - 1):
            optimiser.zero_grad()
            begin = number * 7 % 30
            F.cross_entropy(model(x[begin : begin + 9]), y[begin : begin + 9]).backward()
            before = model.a.weight.detach().clone()
            instructor.instruct(model)
            moved.append(not torch.equal(model.a.weight, before))
            if number >= 0:
                optimiser.step()
            elif stopped:
                instructor.load_state_dict(instructor.state_dict())

    found, whole = trained(leaving_out, decoupled=decoupled), trained(usual, decoupled=decoupled)
    assert found[1].step == whole[1].step == 6
    assert sum(moved) == 6 * decoupled
    assert decoupled or torch.equal(found[0], whole[0])


def test_an_optimiser_that_writes_to_data_makes_steps():
    """It leaves no trace in a tensor's version, and gradients may be set to 0 in place."""
    model, instructor, (x, y) = seeded(Three), Instructor(make_critic(strength=1.0), 20, RATE, guarded=False), data()
    for _ in range(3):
        model.zero_grad(set_to_none=False)
        F.cross_entropy(model(x), y).backward()
        instructor.instruct(model)
        for own in model.parameters():
            own.data.sub_(own.grad, alpha=RATE)
    assert instructor.step == 3


def test_scaled_gradients_are_refused_or_said():
    model, (x, y) = seeded(Residual), data()
    F.cross_entropy(model(x), y).mul(1024).backward()
    with pytest.raises(UserError, match="unscale them"):
        Instructor(make_critic(), strength=1.0).instruct(model)
    found = []
    for scale in (1.0, 1024.0):
        model.zero_grad()
        F.cross_entropy(model(x), y).mul(scale).backward()
        Instructor(make_critic(), strength=1.0).instruct(model, scale)
        found.append(torch.cat([own.grad.flatten() for own in model.parameters()]) / scale)
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-13)


def test_the_output_bias_is_found_in_any_module_and_no_other_parameter_is_taken_for_it():
    critic = make_critic()
    model = seeded(Residual)
    assert readable(model, critic, How()).output_bias is model.b.bias
    assert readable(seeded(Temperature), critic, How()).output_bias is None


def test_each_parameter_group_has_its_own_trust_region_and_what_is_in_none_is_left_alone():
    model = seeded(Three)
    groups = [{"params": model.a.parameters(), "lr": 0.01}, {"params": model.b.parameters(), "lr": 1.0}]
    optimiser = torch.optim.SGD(groups, lr=0.1)
    critic = make_critic(strength=1e9, trust_region=0.02)
    Instructor(critic, optimizer=optimiser, guarded=False).instruct(model)
    for layer, rate in ((model.a, 0.01), (model.b, 1.0)):
        assert (rate * layer.weight.grad.norm()).item() == pytest.approx(0.02 * layer.weight.norm().item(), rel=1e-3)
    assert model.h.weight.grad is None
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.1)
    other = seeded(Three)
    other.load_state_dict(model.state_dict())
    assert schedule.get_last_lr() == [pytest.approx(0.001), pytest.approx(0.1)]


def test_a_closure_is_fine_but_for_a_line_search():
    def loop(model, instructor, optimiser, steps):
        for number in range(steps):

            def closure(number=number):
                optimiser.zero_grad()
                x, y = data()
                begin = number * 7 % 30
                loss = F.cross_entropy(model(x[begin : begin + 9]), y[begin : begin + 9])
                loss.backward()
                instructor.instruct(model)
                return loss

            optimiser.step(closure)

    assert torch.equal(trained(loop)[0], trained(usual)[0])
    for decoupled, words in ((False, "another optimiser"), (True, "before optimizer.step")):
        with pytest.raises(UserError, match=words):
            trained(
                lambda model, own, _, steps: loop(model, own, torch.optim.LBFGS(model.parameters()), steps), decoupled=decoupled
            )


@pytest.mark.parametrize("make", [Three, Residual])
def test_autocast_around_it_changes_nothing(make):
    def loop(model, instructor, optimiser, steps):
        x, y = data()
        for number in range(steps):
            optimiser.zero_grad()
            begin = number * 7 % 30
            F.cross_entropy(model(x[begin : begin + 9]), y[begin : begin + 9]).backward()
            with torch.autocast("cpu", torch.bfloat16):
                instructor.instruct(model)
            optimiser.step()

    assert torch.equal(trained(loop, make)[0], trained(usual, make)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("make", [Three, Residual, norm_chain])
def test_models_of_other_types_with_buffers_are_instructed_in_their_own(make, dtype):
    torch.manual_seed(3)
    model, options = make().to(dtype), {"input_shape": (6,)} if make is norm_chain else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FarFromHome)
        Instructor(make_critic(dtype=torch.float32, trust_region=1e9), strength=LAMBDA, guarded=False, **options).instruct(
            model
        )
    exact = copy.deepcopy(model).double()
    truth = asked_for(exact, wide_critic())
    for name, parameter in model.named_parameters():
        if name not in truth or not truth[name].norm() > 1e-9:
            continue
        assert parameter.grad.dtype == dtype
        cosine = F.cosine_similarity(-parameter.grad.double().flatten(), truth[name].flatten(), dim=0)
        assert cosine > (0.999 if dtype == torch.float64 else 0.98), name


class FakeParallel(nn.DataParallel):
    """As a model looks that is trained in parallel."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module = module


class FakeCompiled(nn.Module):
    """As torch.compile wraps it."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module


@pytest.mark.parametrize("wrap", [FakeParallel, FakeCompiled, lambda own: FakeCompiled(FakeParallel(own))])
def test_wrappers_are_seen_through_and_are_the_same_model(wrap):
    model, instructor = seeded(Three), Instructor(make_critic(), strength=1.0)
    step(model, instructor, sgd(model), 0)
    instructor.instruct(wrap(model))
    assert instructor.predict(wrap(model)) == instructor.predict(model)


@pytest.mark.slow
def test_a_compiled_model_is_read_as_it_is_and_is_not_compiled_again():
    from torch._dynamo.utils import counters

    def loop(model, instructor, optimiser, steps):
        fast = torch.compile(model, backend="eager")
        fast(data()[0][:9])
        usual(fast, instructor, optimiser, 1)
        compiled = counters["stats"]["unique_graphs"]
        for number in range(1, steps):
            step(fast, instructor, optimiser, number)
        assert counters["stats"]["unique_graphs"] == compiled > 0

    for make in (Three, Residual):
        torch.testing.assert_close(trained(loop, make)[0], trained(usual, make)[0], rtol=1e-9, atol=1e-12)


def _in_parallel(rank, folder):
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = seeded(Residual)
    parallel = DistributedDataParallel(model)
    instructor, optimiser = Instructor(make_critic(strength=1.0), 20, RATE), sgd(model)
    x, y = data()
    for number in range(6):
        optimiser.zero_grad()
        rows = slice(number + 10 * rank, number + 10 * rank + 10)
        F.cross_entropy(parallel(x[rows]), y[rows]).backward()
        instructor.instruct(parallel)
        optimiser.step()
    torch.save(torch.cat([own.detach().flatten() for own in model.parameters()]), f"{folder}/{rank}.pt")
    shown = x.roll(rank, 0), y.flip(0) if rank else y  # each process looks at something else
    instructor = Instructor(make_critic(strength=1.0, period=2, refresh=2, decoupled=True), 20, RATE, validation=shown)
    for number in range(6):
        optimiser.zero_grad()
        F.cross_entropy(parallel(x[number : number + 10]), y[number : number + 10]).backward()
        instructor.instruct(parallel)
        optimiser.step()
    weights = torch.cat([own.detach().flatten() for own in model.parameters()])
    torch.save((weights, instructor.guard.state_dict()["validation"]), f"{folder}/shown-{rank}.pt")
    try:
        Instructor(make_critic(strength=1.0), 20, RATE, validation=shown).instruct(model)
        refused = ""
    except UserError as error:
        refused = str(error)
    torch.save(refused, f"{folder}/inside-{rank}.pt")
    try:
        from torch.distributed.fsdp import fully_shard

        sharded = fully_shard(seeded(Three))
        Instructor(make_critic()).instruct(sharded)
        refused = ""
    except Unreadable as error:
        refused = str(error)
    torch.save(refused, f"{folder}/refused-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_stay_together_and_a_sharded_model_is_refused(tmp_path):
    torch.multiprocessing.spawn(_in_parallel, (str(tmp_path),), nprocs=2)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(one, other)
    model, instructor = seeded(Residual), Instructor(make_critic(strength=1.0), 20, RATE)
    optimiser, (x, y) = sgd(model), data()
    for number in range(6):
        optimiser.zero_grad()
        F.cross_entropy(model(x[number : number + 20]), y[number : number + 20]).backward()
        instructor.instruct(model)
        optimiser.step()
    alone = torch.cat([own.detach().flatten() for own in model.parameters()])
    torch.testing.assert_close(one, alone, rtol=1e-9, atol=1e-12)
    assert "sharded" in torch.load(tmp_path / "refused-0.pt")
    (one, seen), (other, likewise) = (torch.load(tmp_path / f"shown-{rank}.pt") for rank in (0, 1))
    assert torch.equal(one, other) and seen == likewise and seen["checks"] == 3, "what each has seen is shared"
    assert "give the DistributedDataParallel" in torch.load(tmp_path / "inside-1.pt")


# -- values, and what is told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        *({"steps": value} for value in (-3, 0, 10.5, "385", True, math.nan)),
        *({"learning_rate": value} for value in (0, -0.1, math.nan, math.inf, "0.1")),
        *({"strength": value} for value in (math.nan, math.inf, -0.5, "1")),
        *({"input_shape": value} for value in (6, (2, -3), (-2, -3), (), (2.0, 3), "6", (2, True))),
        {"hooks": "fires"},
    ],
    ids=str,
)
def test_values_that_are_none_are_refused_in_one_sentence(options):
    (name,) = options
    with pytest.raises(UserError, match=rf"^{name} is .*; give ") as caught:
        Instructor(make_critic(), **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize("scale", [0, -1.0, math.nan, "2"])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(UserError, match=r"^scale is"):
        Instructor(make_critic()).instruct(seeded(Three), scale)


def test_usual_values_are_taken():
    own = Instructor(make_critic(), np.int64(7), np.float64(0.5), 0, [2, 3])
    assert (own.steps, own.learning_rate, own.how.input_shape) == (7, 0.5, (2, 3))


def test_an_enn_is_named_and_a_device_there():
    with pytest.raises(UserError, match=r"did you mean 'mnist-tuned'\?"):
        Instructor.load("mnist-tunde")
    for device in ("cuda", "cuda:7", "nowhere") if not torch.cuda.is_available() else ("cuda:99", "nowhere"):
        with pytest.raises(UserError, match=r"^device is") as caught:
            Instructor.load("digits-mlp", device=device)
        assert "\n" not in str(caught.value)


def test_a_learning_rate_is_the_optimisers_and_moves_no_weights_of_its_own():
    """A decoupled ENN moves them by the rate of its own runs."""
    moved = []
    for rate in (None, 0.001, 5.0):
        model = seeded(Three)
        before = torch.cat([own.detach().flatten() for own in model.parameters()])
        Instructor(make_critic(strength=1.0, decoupled=True), 20, rate, guarded=False).instruct(model)
        moved.append(torch.cat([own.detach().flatten() for own in model.parameters()]) - before)
    assert torch.equal(moved[0], moved[1]) and torch.equal(moved[0], moved[2]) and moved[0].norm() > 0


def test_the_latest_step_is_told():
    model, instructor = seeded(Three), Instructor(make_critic(refresh=4, period=6), 20, RATE, strength=2.0)
    assert instructor.last is None
    value = instructor.predict(model)
    x, y = data()
    F.cross_entropy(model(x), y).backward()
    before = torch.cat([own.grad.flatten() for own in model.parameters()])
    instructor.instruct(model)
    own, after = instructor.last, torch.cat([own.grad.flatten() for own in model.parameters()])
    assert (own.step, own.progress, own.strength, own.trust, own.read, own.instructed) == (0, 0.0, 2.0, 1.0, True, True)
    assert own.value == pytest.approx(value, rel=1e-9)
    assert own.gradient_norm == pytest.approx(before.norm().item()) and own.instruction_norm == pytest.approx(
        (after - before).norm().item()
    )
    sgd(model).step()
    step(model, instructor, sgd(model), 1)
    assert instructor.last.step == 1 and instructor.last.progress == 1 / 20 and not instructor.last.read


# -- the guard of one's own loop ---------------------------------------------------------------------------------------


def readings(cosine, count, far=False):
    """A guard after so many instructions at this cosine with minus the gradient."""
    guard, trust = OwnGuard(far), []
    gradient = torch.tensor([[1.0, 0.0]])
    for _ in range(count):
        guard.reading([gradient], [-torch.tensor([[cosine, math.sqrt(1 - cosine**2)]])])
        trust.append(guard.factor)
    return guard, trust


def test_trust_is_as_large_as_the_agreement():
    assert readings(0.0, 4)[1] == [1.0, 0.0, 0.0, 0.0] and readings(-0.5, 4)[1][1:] == [0.0] * 3
    assert readings(NONE + RANGE + 0.01, 4)[1] == [1.0] * 4
    assert readings(NONE + RANGE / 2, 4)[1][1:] == pytest.approx([0.5] * 3, abs=1e-5)
    assert readings(0.9, 3, far=True)[1] == [0.1, 0.0, 0.0]


def test_agreement_is_a_discounted_mean():
    guard, gradient = OwnGuard(), torch.tensor([[1.0, 0.0]])
    cosines, mean, weight = [0.5, -0.4, 0.1, 0.3], 0.0, 0.0
    for cosine in cosines:
        guard.reading([3 * gradient], [-7 * torch.tensor([[cosine, math.sqrt(1 - cosine**2)]])])
        mean, weight = MEMORY * mean + cosine, MEMORY * weight + 1
    assert guard.factor == pytest.approx(min(1.0, max(0.0, (mean / weight - NONE) / RANGE)), abs=1e-5)
    assert 0 < guard.factor < 1


def test_what_is_no_number_is_not_trusted():
    guard = OwnGuard()
    for _ in range(3):
        guard.reading([torch.tensor([[math.nan]])], [torch.ones(1, 1)])
    assert guard.factor == 0


@pytest.mark.parametrize(
    ("make", "options", "far"),
    [
        (Three, {}, False),
        (Residual, {}, False),
        (lambda: computing(FIRST, parametrizations.weight_norm), {}, False),
        (norm_chain, {"input_shape": (6,)}, "layer '1' is a BatchNorm1d"),
        (ANY["convolutions"], {"input_shape": (6,)}, "layer '1' is a Conv2d"),
        (lambda: MLP((6, 5, 5, 5, 5, 3)).module(), {}, "5 linear layers"),
    ],
)
def test_far_from_home_one_is_warned_once_and_the_enn_is_not_followed(make, options, far):
    model, instructor = seeded(make), Instructor(make_critic(strength=1.0, period=2, refresh=2), **options)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number in range(4):
            step(model, instructor, sgd(model), number)
    found = [str(own.message) for own in told if own.category is FarFromHome]
    assert len(found) == bool(far) and all(far in own for own in found)
    assert instructor.guard.far == bool(far)
    if far:
        assert not instructor.last.instructed and instructor.last.trust == 0


def test_an_enn_that_never_agrees_is_told_of_once():
    model = seeded(Three)
    instructor = Instructor(make_critic(strength=1.0, period=1, refresh=1))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number in range(9):
            step(model, instructor, sgd(model), number)
            instructor.guard.sum = -1.0  # as if all instructions had led uphill
    assert sum("do not agree" in str(own.message) for own in told if own.category is FarFromHome) == 1


def test_accumulation_is_known_by_the_gradient_and_the_weights():
    """The parts of what makes a call a repeated one, each alone."""
    model, bound = seeded(Three), Bound()
    tensors = list(model.parameters())
    for own in tensors:
        own.grad = torch.zeros_like(own)
    bound.remember(model, [], tensors)
    assert bound.is_repeat(tensors)
    tensors[0].grad.add_(1)
    assert bound.is_repeat(tensors), "more was accumulated"
    with torch.no_grad():
        tensors[2].add_(1)
    assert not bound.is_repeat(tensors), "the optimiser has moved a weight"
    bound.remember(model, [], tensors)
    for own in tensors:
        own.grad = torch.zeros_like(own)
    assert not bound.is_repeat(tensors), "gradients were begun anew"


# -- what docs/own-loop.md shows ---------------------------------------------------------------------------------------

RECIPES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/templates/own-loop.md.j2").read_text(), re.M | re.S)


def world(folder):
    """What the recipes talk of."""
    torch.manual_seed(0)
    model = MLP((784, 20, 10)).module()
    batches = [(torch.rand(8, 784), torch.randint(10, (8,))) for _ in range(6)]
    names = {"torch": torch, "F": F, "Instructor": Instructor, "model": model, "batches": batches, "device": "cpu"}
    names |= {"x": batches[0][0], "y": batches[0][1], "loss": F.cross_entropy(model(batches[0][0]), batches[0][1])}
    names |= {"optimizer": sgd(model), "instructor": Instructor.load("mnist-mlp", 600, 0.1), "path": folder / "kept.pt"}
    return names


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_recipe_runs_as_it_stands(number, tmp_path):
    recipe, names = RECIPES[number], world(tmp_path)
    if "integrations" in recipe:
        pytest.skip("with the libraries, below")
    before = [own.detach().clone() for own in names["model"].parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("error", FarFromHome)
        exec(recipe, names)
    instructor, model = names["instructor"], names["model"]
    if "instruct(" in recipe:
        assert instructor.step > 0 and instructor.last.strength > 0 and instructor.last.gradient_norm > 0
        assert any(not torch.equal(own, then) for own, then in zip(model.parameters(), before, strict=True))
    elif "groups" in recipe:
        assert {group["lr"] for group in instructor.optimizer.param_groups} == {0.01, 0.1}
    elif "validation=" in recipe:
        with pytest.warns(FarFromHome, match="validation data do not agree"):  # which are noise here
            instructor.instruct(model)
        assert instructor.guard.validation.checks == 1 and instructor.last.validation_loss > 0
    else:
        assert "forward=" in recipe or "load_state_dict" in recipe


def test_there_are_recipes_for_all_that_is_named():
    text = "\n".join(RECIPES)
    for word in ("scale=4", "GradScaler", "clip_grad_norm_", "optimizer=optimizer", "LBFGS", "load_state_dict", "forward="):
        assert word in text
    assert all(f"{word}" in text for word in ("lightning_callback", "trainer_callback", "instruct_accelerated"))


def recipe_of(word):
    (found,) = [own for own in RECIPES if word in own]
    return found


def by_hand():
    """Two batches accumulated per step, four steps, in a plain loop."""
    (x, y), model = data(), seeded(Three).float()
    instructor, optimiser = Instructor(make_critic(dtype=torch.float32, strength=1.0), 8, RATE), sgd(model)
    for number in range(4):
        optimiser.zero_grad()
        for part in range(2):
            rows = slice((20 * number + 10 * part) % 40, (20 * number + 10 * part) % 40 + 10)
            (F.cross_entropy(model(x[rows].float()), y[rows]) / 2).backward()
        instructor.instruct(model)
        optimiser.step()
    return torch.cat([own.detach().flatten() for own in model.parameters()])


def batches_of_ten():
    x, y = data()
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x.float(), y), batch_size=10)


def instructor_of(**options):
    return Instructor(make_critic(dtype=torch.float32, strength=1.0), 8, RATE, **options)


@pytest.mark.slow
def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning", reason="pip install 'grad-instructor[integrations]'")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = seeded(Three).float()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return F.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return sgd(self)

    usual = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    usual |= {"accumulate_grad_batches": 2, "default_root_dir": tmp_path}
    exec(recipe_of("lightning_callback"), {"lightning": lightning, "instructor": instructor_of(), "quiet": usual})
    module, name = Module(), next(iter(set(re.findall(r"import (lightning_callback)", recipe_of("lightning_callback")))))
    callback = getattr(integrations, name)
    trainer = lightning.Trainer(max_epochs=2, callbacks=[callback(instructor_of())], enable_checkpointing=False, **usual)
    trainer.fit(module, batches_of_ten())
    assert torch.equal(torch.cat([own.detach().flatten() for own in module.parameters()]), by_hand())
    halved = lightning.Trainer(max_epochs=1, callbacks=[callback(instructor_of())], enable_checkpointing=False, **usual)
    first = Module()
    halved.fit(first, batches_of_ten())
    halved.save_checkpoint(tmp_path / "half.ckpt")
    later, own = Module(), instructor_of()
    trainer = lightning.Trainer(max_epochs=2, callbacks=[callback(own)], enable_checkpointing=False, **usual)
    trainer.fit(later, batches_of_ten(), ckpt_path=str(tmp_path / "half.ckpt"), weights_only=False)
    assert torch.equal(torch.cat([own.detach().flatten() for own in later.parameters()]), by_hand()) and own.step == 4


@pytest.mark.slow
def test_hugging_faces_trainer(tmp_path):
    transformers = pytest.importorskip("transformers", reason="pip install 'grad-instructor[integrations]'")
    pytest.importorskip("accelerate", reason="pip install 'grad-instructor[integrations]'")

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = seeded(Three).float()

        def forward(self, inputs, labels=None):
            logits = self.net(inputs)
            return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}

    x, y = data()
    rows = [{"inputs": own.float(), "labels": label} for own, label in zip(x, y, strict=True)]

    def trained(resume=None):
        model, instructor = Classifier(), instructor_of(input_shape=(6,))
        asked = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=2,
            per_device_train_batch_size=10,
            gradient_accumulation_steps=2,
            max_grad_norm=0,
            save_steps=1,
            use_cpu=True,
            disable_tqdm=True,
            report_to=[],
            train_sampling_strategy="sequential",
        )
        optimisers = (sgd(model), torch.optim.lr_scheduler.LambdaLR(sgd(model), lambda step: 1.0))
        names = {"transformers": transformers, "instructor": instructor, "model": model}
        names["arguments"] = {"args": asked, "train_dataset": rows, "optimizers": optimisers}
        exec(recipe_of("trainer_callback"), names)
        names["trainer"].train(resume_from_checkpoint=resume)
        return torch.cat([own.detach().flatten() for own in model.parameters()]), instructor.step

    whole, steps = trained()
    torch.testing.assert_close(whole, by_hand(), rtol=1e-5, atol=1e-6)
    again, resumed = trained(str(tmp_path / "checkpoint-3"))
    assert torch.equal(again, whole) and steps == resumed == 4


@pytest.mark.slow
def test_accelerate():
    accelerate = pytest.importorskip("accelerate", reason="pip install 'grad-instructor[integrations]'")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, instructor = seeded(Three).float(), instructor_of()
    model, optimizer, batches = accelerator.prepare(model, sgd(model), batches_of_ten())
    names = {
        "accelerator": accelerator,
        "instructor": instructor,
        "model": model,
        "optimizer": optimizer,
        "batches": batches,
        "F": F,
    }
    for _ in range(2):
        exec(recipe_of("instruct_accelerated"), names)
    assert torch.equal(torch.cat([own.detach().flatten() for own in model.parameters()]), by_hand()) and instructor.step == 4


@pytest.mark.parametrize(("call", "library"), [("lightning_callback", "lightning"), ("trainer_callback", "transformers")])
def test_a_library_that_is_missing_is_named(call, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    for name in [name for name in sys.modules if name.startswith(("pipeline.instruction.integrations.", f"{library}."))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"install with: pip install 'grad-instructor\[integrations\]'\.$"):
        getattr(integrations, call)(instructor_of())
