"""Predictors: each equals what its paper says, written slowly; none leaves a trace; what is not defined is named."""

import copy
import math
import re
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from grad_instructor import Instructor
from grad_instructor import predictors as public
from pipeline.errors import UserError
from pipeline.predictors import PREDICTORS, named
from pipeline.predictors.az_nas import entropies, features
from pipeline.predictors.az_trainability import trainability
from pipeline.predictors.drawn import drawn
from pipeline.predictors.gradients import each_gradient
from pipeline.predictors.rank import ascending, by_ranks, combined, parts_of, rank
from pipeline.predictors.weights import weights
from pipeline.predictors.zen import change
from pipeline.targets import MLP, Population, initialise
from pipeline.targets.nasbench201 import Cell, network
from tests.support import reference_predictors as reference
from tests.support.networks import CELLS, NETWORKS

ONE_BY_ONE = ("transposed", "by functions, oddly", "mixing", "mixing upwards", "positions first", "tokens")
"""networks whose examples cannot be computed together"""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def score(name, made, batch, **settings):
    return named(name, **settings).score(made, batch, generator())


# -- GradSign ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_gradsign_is_the_loop_over_examples(name):
    made, x, y = NETWORKS[name]()
    wanted = reference.gradsign(made, x, y)
    assert score("gradsign", made, (x, y), chunk=8) == wanted
    assert score("gradsign", made, (x, y), chunk=1) == wanted
    assert (wanted == 0) == (name == "disconnected cell")


@pytest.mark.parametrize("name", NETWORKS)
def test_examples_are_computed_together_where_that_is_the_same(name):
    made, x, y = NETWORKS[name]()
    made = reference.copied(made)
    assert each_gradient(made, x, y, lambda *_: None, 8) == (name not in ONE_BY_ONE)


@pytest.mark.parametrize("name", ["cell", "cnn with BatchNorm", "mlp", "mixing"])
def test_an_example_scores_the_same_in_any_company(name):
    """Order, passes and neighbours change nothing; another network, example or label does."""
    made, x, y = NETWORKS[name]()
    wanted = score("gradsign", made, (x, y))
    order = torch.randperm(len(x), generator=generator())
    assert {score("gradsign", made, (x[order], y[order]), chunk=chunk) for chunk in (3, 100)} == {wanted}
    assert score("gradsign", made, (x, (y + 1) % 4)) != wanted
    parts = [score("gradsign", made, (x[n : n + 1], y[n : n + 1])) for n in range(len(x))]
    assert sum(parts) >= wanted, "|a + b| is at most |a| + |b|"


def test_gradsigns_means_divide_by_all_and_by_live_weights():
    made, x, y = NETWORKS["cell with dead edges"]()
    total, count = score("gradsign", made, (x, y)), sum(own.numel() for own in weights(made).values())
    assert score("gradsign_mean", made, (x, y)) == total / count
    assert score("gradsign_live", made, (x, y)) == total / reference.live(made, x, y) > total / count
    made, x, y = NETWORKS["disconnected cell"]()
    assert score("gradsign_mean", made, (x, y)) == 0 and math.isnan(score("gradsign_live", made, (x, y)))


def test_in_single_precision_it_is_the_loop_but_for_rounding():
    made = network(Cell.parse(CELLS["cell"]), channels=8, cells=1)
    x, y = torch.randn(20, 3, 16, 16, generator=generator()), torch.arange(20) % 10
    assert score("gradsign", made, (x, y)) == pytest.approx(reference.gradsign(made, x, y), rel=5e-4)


def test_batchnorm_over_the_batch_is_another_score():
    """The twin: with the statistics of the batch the gradients are others."""
    made, x, y = NETWORKS["cell"]()
    together = copy.deepcopy(made).train()
    found = [torch.zeros_like(own) for own in weights(together).values()]
    losses = nn.functional.cross_entropy(together(x), y, reduction="none")
    for loss in losses:
        for total, own in zip(
            found, torch.autograd.grad(loss, list(weights(together).values()), retain_graph=True), strict=True
        ):
            total += own.sign()
    assert sum(float(own.abs().sum()) for own in found) != reference.gradsign(made, x, y)


def test_one_value_per_channel_has_no_statistics():
    made = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))
    batch = torch.randn(4, 6, generator=generator()), torch.arange(4)
    for chunk in (1, 4):
        with pytest.raises(UserError, match="one value per channel"):
            score("gradsign", made, batch, chunk=chunk)


# -- counts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "tokens"])
def test_live_weights_are_those_with_a_gradient(name):
    """Of a smooth network all; a ReLU may cut one off for the few examples here, so more of them are asked."""
    made, x, y = NETWORKS[name](23)
    assert score("live_params", made, (x, y)) == reference.live(made, x, y)


class Hidden(nn.Module):
    """A network that does not say what it is made of."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("name", CELLS)
def test_what_a_cell_says_of_its_layers_is_what_a_pass_finds(name):
    made, x, y = NETWORKS[name]()
    for count in ("live_params", "live_flops", "params"):
        assert score(count, made, (x, y)) == score(count, Hidden(made), (x, y))
    dead = score("params", made, (x, y)) - score("live_params", made, (x, y)) - made.classifier.bias.numel()
    assert (dead > 0) == (name in ("cell with dead edges", "disconnected cell"))


def test_multiply_adds_by_hand():
    made, x, y = NETWORKS["cnn with BatchNorm"]()
    by_hand = 8 * 3 * 9 * 81 + 8 * 2 * 9 * 16 + 6 * 8 * 4 + 6 * 6 * 3 * 4 + 6 * 4
    assert score("flops", made, (x, y)) == score("live_flops", made, (x, y)) == by_hand
    made, x, y = NETWORKS["transposed"]()
    assert score("flops", made, (x, y)) == 4 * 3 * 9 * 16 + 4 * 3 * 4 * 16 + 192 * 4
    made, x, y = NETWORKS["twice"]()
    assert score("flops", made, (x, y)) == 4 * 36 + 24 and score("params", made, (x, y)) == 2 * 36 + 24 + 3 * 6 + 4


class Attentive(nn.Module):
    """Attention with dropout, by the module or by the function; a mean that is taken off by hand; a normalised weight."""

    def __init__(self, by_hand, dropout=0.5):
        super().__init__()
        self.by_hand, self.dropout, self.read = by_hand, dropout, nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
        self.attention = nn.MultiheadAttention(4, 2, dropout=dropout, batch_first=True)
        self.last = nn.Linear(4, 5)

    def forward(self, x):
        h = self.read(x)
        if self.by_hand:
            p = self.dropout if self.training else 0.0
            h = F.dropout(h - h.mean(-1, keepdim=True), self.dropout, self.training)
            return self.last(F.scaled_dot_product_attention(h, h, h, None, p).mean(1))
        return self.last(self.attention(h, h, h, need_weights=False)[0].mean(1))


def test_attention_and_weights_that_are_computed_count():
    torch.manual_seed(0)
    x, y = torch.randn(6, 7, 3, generator=generator()), torch.arange(6) % 5
    made, by_hand = Attentive(by_hand=False), Attentive(by_hand=True)
    assert score("flops", made, (x, y)) == score("live_flops", made, (x, y)) == 7 * (3 * 4 + 4 * 4 * 4) + 4 * 5
    assert score("live_flops", by_hand, (x, y)) == 7 * 3 * 4 + 4 * 5
    assert score("live_params", by_hand, (x, y)) == 3 * 4 + 4 + 4 * 5, "the norms of a weight's rows count with it"


@pytest.mark.parametrize("by_hand", [False, True])
def test_dropout_is_off_wherever_a_network_has_it(by_hand):
    torch.manual_seed(0)
    made, without = Attentive(by_hand).double(), Attentive(by_hand, dropout=0.0).double()
    without.load_state_dict(made.state_dict())
    x, y = torch.randn(6, 7, 3, generator=generator(), dtype=torch.float64), torch.arange(6) % 5
    assert score("gradsign", made, (x, y)) == reference.gradsign(without, x, y) != reference.gradsign(made, x, y) or not by_hand
    assert named("snip").score(made, (x, y), generator(1)) == named("snip").score(made, (x, y), generator(2))


class Keeping(nn.Module):
    """Sets attributes and makes a buffer when it is called."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(6, 4), 0

    def forward(self, x):
        self.calls, self.features = self.calls + 1, self.layer(x)
        self.register_buffer("made", torch.ones(1))
        return self.features


def test_what_a_network_keeps_while_it_is_scored_is_forgotten():
    made = Keeping()
    before, names = state(made), made.state_dict().keys()
    for name in ("gradsign", "snip", "live_params", "zen"):
        score(name, made, BATCH)
        assert same(state(made), before) and made.calls == 0, name
    made(BATCH[0])
    assert not same(state(made), before) and made.state_dict().keys() > names


def test_a_count_follows_the_size_of_images_and_needs_no_good_ones():
    made = network(Cell.parse(CELLS["cell"]), channels=2, cells=1)
    small, large = (torch.full((1, 3, side, side), math.nan) for side in (8, 16))
    labels = torch.tensor([77])
    assert score("flops", made, (large, labels)) > 3 * score("flops", made, (small, labels)) > 0
    assert score("live_params", made, (large, labels)) == score("live_params", made, (small, labels))


# -- what others have proposed -------------------------------------------------------------------------------------------

PLAIN = (
    "cell",
    "cell with dead edges",
    "cell without weights",
    "cell with affine BatchNorm",
    "mlp",
    "cnn with BatchNorm",
    "cnn with GroupNorm",
    "1-D",
)
BY_PAPER = ("grad_norm", "snip", "grasp", "synflow", "fisher", "jacob_cov", "naswot", "swap", "zico")


@pytest.mark.parametrize("network_name", PLAIN)
@pytest.mark.parametrize("name", BY_PAPER)
def test_each_is_what_its_paper_says(name, network_name):
    made, x, y = NETWORKS[network_name]()
    wanted = getattr(reference, name)(made, x, y)
    if name == "naswot" and network_name == "mlp":  # two examples of eleven have one pattern
        assert score(name, made, (x, y)) == -math.inf
        return
    found = score(name, made, (x, y))
    assert found == pytest.approx(wanted, rel=1e-4 if name == "grasp" else 1e-9) and found not in (0, math.nan)
    assert score(name, made, (x.roll(1, 0).abs(), y)) != found or name == "synflow", "a constant would pass"


def blocks(made):
    """The modules whose outputs AZ-NAS compares."""
    layers = [module for module in made.modules() if isinstance(module, reference.LAYERS)]
    return list(made.blocks) if hasattr(made, "blocks") else layers[:-1]


@pytest.mark.parametrize("network_name", ["cell", "cell without weights", "mlp", "cnn with BatchNorm", "1-D"])
def test_az_nas_is_what_its_paper_says(network_name):
    made, x, _ = NETWORKS[network_name]()
    if network_name.startswith("cell"):
        x = x[:3, :, :4, :4]  # the paper's sizes halve without a rest
    parameters = {name: own.requires_grad_() for name, own in drawn(made, "he").items()}
    found = features(made, parameters, x)
    copied = reference.loaded(made, parameters)
    seen, _ = reference.hooked(copied, x, nn.Module)
    wanted = [output for module, _, output in seen if any(module is own for own in blocks(copied))]
    assert len(found) == len(wanted) > 1
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own.values, other, rtol=1e-9, atol=1e-12)
    assert entropies(found) == pytest.approx(reference.entropies(wanted), rel=1e-6)
    if network_name != "cnn with BatchNorm":  # whose sizes do not halve
        signs = [torch.randint(2, own.shape, generator=generator()).double() * 2 - 1 for own in wanted]
        assert trainability(found, signs) == pytest.approx(reference.trainability(wanted, signs), rel=1e-6)


def test_az_nas_of_a_block_that_does_nothing_is_the_worst():
    x = torch.randn(4, 3, 6, 6, dtype=torch.float64, generator=generator()), torch.arange(4)
    nothing = network(
        Cell.parse("|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"), channels=2, cells=1
    ).double()
    assert score("az_trainability", nothing, x) == -math.inf
    cut, images, labels = NETWORKS["disconnected cell"]()
    assert score("az_expressivity", cut, (images, labels)) == score("az_progressivity", cut, (images, labels)) == -math.inf
    assert score("az_trainability", cut, (images, labels)) < -1e5


@pytest.mark.parametrize(
    ("network_name", "read"),
    [
        ("cell", lambda made: made.last),
        ("mlp", lambda made: made[-1]),
        ("cnn with BatchNorm", lambda made: next(part for part in made if isinstance(part, nn.AdaptiveAvgPool2d))),
        ("1-D", lambda made: made[-1]),
    ],
)
def test_zen_is_what_its_paper_says(network_name, read):
    made, x, _ = NETWORKS[network_name]()
    parameters, noise = drawn(made, "unit"), torch.randn(x.shape, dtype=x.dtype, generator=generator(5))
    assert change(made, parameters, x, noise) == pytest.approx(reference.zen(made, parameters, x, noise, read), rel=1e-6)


def test_weights_are_drawn_as_said():
    made = nn.Sequential(nn.Conv2d(8, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(64, 500), nn.PReLU())
    nn.init.normal_(made[1].weight), nn.init.normal_(made[1].bias)
    for how, wanted in (("unit", (1, 1)), ("he", ((2 / 72) ** 0.5, (2 / 64) ** 0.5))):
        found = drawn(made, how)
        assert [float(found[name].std()) for name in ("0.weight", "3.weight")] == pytest.approx(wanted, rel=0.05)
        assert not found["0.bias"].any() and not found["1.bias"].any() and (found["1.weight"] == 1).all()
        assert torch.equal(found["4.weight"], made[4].weight) and not torch.equal(found["0.weight"], made[0].weight)


def test_the_enns_value_is_that_of_the_instructor():
    target = MLP((64, 32, 10))
    made = target.module([own[0] for own in initialise(target, "he", [3])])
    batch = torch.rand(4, 64, generator=generator()), torch.arange(4)
    assert score("enn", made, batch) == pytest.approx(Instructor.load("digits-mlp").predict(made), rel=1e-6)
    assert score("enn", made, batch, enn="digits-mlp") == score("enn", made, batch)
    with pytest.raises(UserError, match="no ENN of the package reads networks of 6 inputs"):
        score("enn", nn.Linear(6, 4), (torch.rand(4, 6), torch.arange(4)))
    with pytest.raises(UserError, match="no ENN of the package reads networks of 243 inputs"):
        score("enn", NETWORKS["cnn with BatchNorm"]()[0], NETWORKS["cnn with BatchNorm"]()[1:])


def test_an_enn_reads_any_network_of_its_inputs_and_classes():
    made = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10))
    batch = torch.rand(4, 1, 8, 8, generator=generator()), torch.arange(4)
    wanted = Instructor.load("digits-mlp", input_shape=(1, 8, 8)).predict(made)
    assert score("enn", made, batch) == pytest.approx(wanted, rel=1e-6) and 0 < wanted < 1


# -- the contract --------------------------------------------------------------------------------------------------------

RANDOM = ("zen", "az_expressivity", "az_progressivity", "az_trainability")
"""those that draw weights and images"""


def subject(name):
    """A network that a predictor can read, with every kind of state that it must leave alone, and a batch."""
    if name == "enn":
        target = MLP((64, 32, 10))
        made = target.module([own[0] for own in initialise(target, "he", [3])])
        return made, (torch.rand(6, 64, generator=generator()), torch.arange(6))
    made, x, y = NETWORKS["cell with affine BatchNorm"]()
    made(x)  # its running statistics are not those of the start
    made.append = nn.Dropout(0.5)
    return made, (x, y)


def state(made):
    """All that a predictor might change."""
    kept = {name: value.clone() for name, value in made.state_dict().items()}
    grads = {name: None if own.grad is None else own.grad.clone() for name, own in made.named_parameters()}
    flags = [(own.requires_grad, id(own), own._version) for own in made.parameters()]
    modes = [module.training for module in made.modules()]
    hooks = [
        (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks)) for module in made.modules()
    ]
    names = [sorted(vars(module)) for module in made.modules()]
    process = torch.get_rng_state(), torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    return kept, grads, flags, modes, hooks, names, [id(own) for own in made.buffers()], process


def same(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return all(map(same, one, other)) if isinstance(one, tuple | list) else one == other


@pytest.mark.parametrize("failing", [False, True], ids=["", "failing"])
@pytest.mark.parametrize("name", PREDICTORS)
def test_no_trace_is_left(name, failing):
    made, (x, y) = subject(name)
    first, *rest = made.parameters()
    first.requires_grad_(False)
    rest[0].grad = torch.ones_like(rest[0])
    list(made.modules())[2].eval()
    before, images, labels = state(made), x.clone(), y.clone()
    if failing:
        handle = made.register_forward_hook(fail_at(2 if PREDICTORS[name].data else 1))
        computes = name not in ("params", "flops", "live_params", "live_flops")
        with pytest.raises(ZeroDivisionError) if computes else nullcontext():
            score(name, made, (x, y))
        handle.remove()
    else:
        score(name, made, (x, y))
    assert same(state(made), before) and torch.equal(x, images) and torch.equal(y, labels)


def fail_at(call):
    calls = []

    def hook(*_):
        calls.append(1)
        if len(calls) >= call:
            raise ZeroDivisionError

    return hook


def test_a_trace_would_be_seen():
    """The twin: each kind of trace makes the comparison fail."""
    made, (x, _) = subject("gradsign")
    for leave in (
        lambda: made(x),
        lambda: made.eval(),
        lambda: next(made.parameters()).requires_grad_(False),
        lambda: made.register_forward_hook(print),
        lambda: setattr(made, "left", 3),
        lambda: torch.rand(1),
        lambda: setattr(made.classifier.weight, "grad", torch.zeros_like(made.classifier.weight)),
    ):
        before = state(made)
        leave()
        assert not same(state(made), before)


@pytest.mark.parametrize("name", PREDICTORS)
def test_the_generator_alone_decides(name):
    """The same seed gives the same score to the bit, in whatever mode the network is; another where something is drawn."""
    made, batch = subject(name)
    first = named(name).score(made.train(), batch, generator(1))
    torch.rand(3)
    assert named(name).score(made.eval(), batch, generator(1)) == first and math.isfinite(first)
    assert (named(name).score(made, batch, generator(2)) != first) == (name in RANDOM)


@pytest.mark.parametrize("name", PREDICTORS)
def test_what_a_predictor_says_that_it_needs_it_needs(name):
    made, (x, y) = subject(name)
    kind, first = PREDICTORS[name], score(name, made, (x, y))
    assert (score(name, made, (torch.randn(x.shape, dtype=x.dtype, generator=generator(9)), y)) != first) == kind.data
    assert (score(name, made, (x, (y + 1) % 4)) != first) == kind.labels
    assert kind.source and kind.statistics in ("batch", "example", "none")


@pytest.mark.parametrize("name", [name for name in PREDICTORS if name != "enn"])
def test_a_dead_weight_counts_where_that_is_said(name):
    """Two cells that are equal, of which one has weights that no path uses: equal scores, if the live weights are the same."""
    made, x, y = NETWORKS["cell with dead edges"]()
    twin = network(made.cell.live(), classes=4, channels=3, cells=1).double()
    twin.load_state_dict({name: made.state_dict()[name] for name in twin.state_dict()})
    pair = [score(name, own, (x, y)) for own in (made, twin)]
    if name not in RANDOM:  # what is drawn is another draw
        assert (pair[0] != pair[1]) == PREDICTORS[name].dead_weights


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_predictor_takes_single_precision_and_few_examples(name):
    made, (x, y) = subject(name)
    few = max(2, PREDICTORS[name].least)
    assert not math.isnan(score(name, made.float(), (x.float(), y), examples=few))
    assert score(name, made, (x.float(), y), examples=few) == score(name, made, (x[:few].float(), y[:few]))


# -- ranks ---------------------------------------------------------------------------------------------------------------


def test_ranks_by_hand():
    assert ascending([3.0, 1.0, 2.0, 1.0]) == [4, 1.5, 3, 1.5] and ascending([]) == []
    assert ascending([-math.inf, 0.0]) == [1, 2]
    assert by_ranks([[1.0, 2.0, 3.0], [30.0, 20.0, 10.0]]) == [2, 2, 2]
    logarithms = by_ranks([[1.0, 2.0], [1.0, 2.0]], "logarithm")
    assert logarithms == pytest.approx([2 * math.log(0.5), 0])
    with_nan = by_ranks([[1.0, math.nan, 3.0], [1.0, 9.0, 3.0]])
    assert with_nan[0] == 1 and math.isnan(with_nan[1]) and with_nan[2] == 2, "ranks are among those that have one"
    values = {part: [1.0, 2.0] for part in parts_of("az_nas")}
    assert combined("az_nas", values) == pytest.approx([4 * math.log(0.5), 0])
    assert combined("flops", values) == [1, 2] and combined("flops+az_trainability", values) == [1, 2]
    more = values | {"synflow": [5.0, 3.0]}
    assert combined("synflow+az_nas", more) == [1.5, 1.5] and combined("az_nas+synflow", more) == [1.5, 1.5]
    assert parts_of("flops+az_nas") == ("flops", *parts_of("az_nas")[:3]), "each once"
    assert parts_of("live_params+jacob_cov") == ("live_params", "jacob_cov") and len(parts_of("az_nas")) == 4


def models(widths=(4, 30, 8)):
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 4)) for width in widths]


def deep(widths=(4, 9)):
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.Linear(width, 4)) for width in widths]


BATCH = torch.randn(12, 6, generator=generator()), torch.arange(12) % 4


def test_networks_are_ranked():
    found = public.rank(models(), BATCH, ["gradsign", "live_params"])
    assert found.order == [1, 2, 0] and found.best == 1 and found.unranked == {} and found.combined == [1, 3, 2]
    assert [own.value for own in found.scores["live_params"]] == [40, 300, 80]
    assert all(own.milliseconds > 0 for own in found.scores["gradsign"])
    alone = rank(models(), BATCH, ["gradsign"], seed=4)
    assert alone.combined == [own.value for own in alone.scores["gradsign"]] and alone.order == [1, 2, 0]
    assert rank(deep(), BATCH, ["az_nas"], device="cpu").scores.keys() == {*parts_of("az_nas")}


def test_what_is_not_a_number_is_named_and_never_ranked():
    flat, *others = models()
    with torch.no_grad():
        flat[2].weight.zero_()
    found = rank([others[0], flat, others[1]], BATCH, ["jacob_cov", "live_params"])
    assert found.unranked == {1: ["jacob_cov"]} and 1 not in found.order and len(found.order) == 2
    assert math.isnan(found.combined[1]) and not math.isnan(found.combined[0])
    with pytest.raises(UserError, match="no network has a rank: jacob_cov"):
        _ = rank([flat], BATCH, ["jacob_cov"]).best


def test_a_network_that_a_predictor_cannot_use_is_named_and_the_others_are_ranked():
    one, wide, other = models()
    normed = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 4))
    found = rank([one, normed, nn.ReLU(), wide, nn.Linear(5, 4), other], BATCH, ["gradsign", "live_params"])
    assert found.order == [3, 5, 0] and found.unranked.keys() == found.why.keys() == {1, 2, 4}
    assert found.unranked[1] == ["gradsign"] and found.unranked[2] == ["gradsign", "live_params"]
    for place, says in ((1, "BatchNorm"), (2, r"\(ReLU\) has no weights"), (4, r"does not take examples of shape \(6,\)")):
        assert re.search(says, found.why[place])
    assert [own.value for own in found.scores["gradsign"]][::3] == [
        own.value for own in rank([one, wide], BATCH, ["gradsign"]).scores["gradsign"]
    ]
    with pytest.raises(UserError, match="BatchNorm of this network"):
        rank([normed, normed], BATCH, ["params", "gradsign"])
    with pytest.raises(UserError, match="labels run from 3 to 6"):
        rank([one, wide], (X, Y + 3), ["gradsign"])
    with pytest.raises(ZeroDivisionError) as caught:
        wide.register_forward_hook(fail_at(1))
        rank([one, wide], BATCH, ["snip"])
    assert caught.value.__notes__ == ["This was network 1 of the list, scored by snip."]


@pytest.mark.slow
def test_a_compiled_network_scores_as_it_does_itself():
    for name in PREDICTORS:
        if name != "enn":
            compiled = torch.compile(deep()[0], backend="eager")
            compiled(X)
            in_part = nn.Sequential(torch.compile(deep()[0], backend="eager"))
            assert score(name, compiled, BATCH) == score(name, in_part, BATCH) == score(name, deep()[0], BATCH), name


def test_a_population_is_its_members():
    target = MLP((6, 5, 4))
    population = Population(target, initialise(target, "he", [0, 1, 2]))
    found = rank(population, BATCH, ["gradsign", "snip"])
    parts = [target.module([own[member] for own in population.parameters]) for member in range(3)]
    assert found == replace(rank(parts, BATCH, ["gradsign", "snip"]), scores=found.scores)


# -- bad input -----------------------------------------------------------------------------------------------------------

X, Y = BATCH


def norm_of_outputs():
    return nn.Sequential(nn.Linear(6, 4), nn.Unflatten(1, (4, 1)))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"predictors": ["gradsing"]}, "unknown predictor 'gradsing'; did you mean 'gradsign'"),
        ({"predictors": ["live_params+jacobcov"]}, "did you mean 'jacob_cov'"),
        ({"predictors": []}, "are a list of names"),
        ({"device": "cpux"}, "device is 'cpux', which this machine"),
        ({"models": []}, "no network to rank"),
        ({"models": [nn.ReLU()]}, r"\(ReLU\) has no weights"),
        ({"models": [norm_of_outputs()]}, r"outputs of shape \(1, 4, 1\) .*no class scores"),
        ({"batch": (X[:, :5], Y)}, r"does not take examples of shape \(5,\)"),
        ({"batch": (X, Y + 3)}, "labels run from 3 to 6 and the network has 4 classes, 0 to 3"),
        ({"batch": (X, -Y)}, "labels run from -3 to 0"),
        ({"batch": (X, Y[:5])}, r"got shapes \(12, 6\) and \(5,\)"),
        ({"batch": (X, Y.float())}, "whole numbers as labels"),
        ({"batch": (X[:0], Y[:0])}, "N at least 1"),
        ({"batch": (X.where(X < 1, math.nan), Y)}, "not finite"),
        ({"batch": (X.where(X < 1, math.inf), Y)}, "not finite"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(given, says):
    with pytest.raises(UserError, match=says) as refused:
        rank(**{"models": models(), "batch": BATCH, "predictors": ["gradsign"]} | given)
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_a_batch_smaller_than_asked_for_is_refused():
    for name, count, says in (
        ("gradsign", 13, "has 12 examples and 13"),
        ("zico", 1, "at least 2"),
        ("snip", -1, "at least 1"),
    ):
        with pytest.raises(UserError, match=says):
            score(name, models()[0], BATCH, examples=count)
    with pytest.raises(UserError, match="no setting 'exmples'"):
        named("gradsign", exmples=3)
    with pytest.raises(UserError, match=r"no setting 'least'; it takes examples, chunk\."):
        named("gradsign", least=3)  # of the class, and no setting
    with pytest.raises(UserError, match="did you mean 'synflow'"):
        named("sinflow")


@pytest.mark.parametrize("value", [2.5, 4.0, math.nan, math.inf, True, np.True_, "8", None, -1, np.int64(-3), [4], 1j])
@pytest.mark.parametrize(("name", "setting"), [("gradsign", "chunk"), ("gradsign_live", "chunk"), ("snip", "examples")])
def test_a_setting_that_is_no_number_of_examples_is_refused(name, setting, value):
    with pytest.raises(UserError, match=rf"'{setting}' is .*; give a whole number of at least 1, or 0") as refused:
        named(name, **{setting: value})
    assert "\n" not in str(refused.value)


def test_settings_of_other_libraries_are_taken():
    """And a number beyond the batch is a pass of all, as ever."""
    wanted = score("gradsign", models()[0], BATCH, examples=5, chunk=2)
    for chunk in (np.int64(2), np.uint8(2), 10**30):
        assert score("gradsign", models()[0], BATCH, examples=np.int32(5), chunk=chunk) == wanted
    assert type(named("snip", examples=np.int64(3)).examples) is int
    assert named("enn", enn=Path("here")) == named("enn", enn="here")


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: named("enn", enn=3), "'enn' is 3; give a name or a path"),
        (lambda: PREDICTORS["gradsign"](chunk=-1), "chunk' is -1; give a whole number"),
        (lambda: rank(models(), BATCH, ["gradsign+"]), "unknown predictor ''"),
        (lambda: rank(models(), BATCH, ["snip+gradsign+snip"]), "a predictor twice"),
    ],
)
def test_what_cannot_be_a_predictor_is_refused_in_a_sentence(ask, says):
    with pytest.raises(UserError, match=says):
        ask()


class TwoWhileItTrains(nn.Linear):
    def forward(self, x):
        scores = super().forward(x)
        return (scores, scores) if self.training else scores


@pytest.mark.parametrize("name", ["gradsign", "snip", "synflow", "fisher", "jacob_cov", "live_params", "zico", "grasp"])
def test_outputs_beside_the_class_scores_while_it_trains_are_refused(name):
    with pytest.raises(UserError, match=r"in training mode makes a tuple of .*no class scores"):
        score(name, TwoWhileItTrains(6, 4), BATCH)


@pytest.mark.parametrize(("name", "count"), [("snip", 1), ("zico", 2), ("zico", 3)])
def test_a_batchnorm_that_sees_one_value_is_refused_in_a_sentence(name, count):
    made = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))
    with pytest.raises(UserError, match=r"in training mode does not take examples of shape \(6,\)"):
        score(name, made, (X[:count], Y[:count]))
    score(name, made, (X[:4], Y[:4]))


class Overwriting(nn.Module):
    """Writes into its input, as an ``nn.ReLU(inplace=True)`` that comes first does."""

    def __init__(self, inplace):
        super().__init__()
        self.inplace = inplace
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 4))

    def forward(self, x):
        return self.layers(x.mul_(2).add_(1) if self.inplace else x * 2 + 1)


@pytest.mark.parametrize("name", [name for name in PREDICTORS if name != "enn"])
def test_a_network_may_write_into_its_input(name):
    torch.manual_seed(0)
    made, other = Overwriting(inplace=True), Overwriting(inplace=False)
    other.load_state_dict(made.state_dict())
    x = X.float()
    before = x.clone()
    assert score(name, made, (x, Y)) == score(name, other, (x, Y))
    assert torch.equal(x, before)


def test_names_of_predictors_may_come_one_by_one():
    names = ["live_params", "snip"]
    assert rank(models(), BATCH, (name for name in names)).combined == rank(models(), BATCH, names).combined


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_predictor_takes_half_precision(dtype):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 4))
    for name in PREDICTORS:
        if name != "enn":
            wanted, found = (score(name, made.to(one), (X.float(), Y)) for one in (torch.float32, dtype))
            drawn_anew = name == "zen" or name.startswith("az_")  # from other random numbers in another precision
            assert not math.isnan(found) and (drawn_anew or found == pytest.approx(wanted, rel=0.1)), name


def test_what_an_unchecked_network_raises_is_not_hidden():
    class Broken(nn.Linear):
        def forward(self, x):
            raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        score("gradsign", Broken(6, 4), BATCH)


@pytest.mark.parametrize("name", ["gradsign", "grasp", "synflow", "live_params", "az_trainability"])
def test_a_score_does_not_depend_on_where_it_is_asked_for(name):
    """Without gradients, in inference mode or under autocast: the same, and these go on as before."""
    made, (x, y) = subject(name)
    wanted = score(name, made, (x, y))
    with torch.no_grad():
        assert score(name, made, (x, y)) == wanted and not torch.is_grad_enabled()
    with torch.inference_mode():
        assert score(name, made, (x * 1, y * 1)) == wanted and torch.is_inference_mode_enabled()
    with torch.autocast("cpu", torch.bfloat16):
        assert score(name, made, (x, y)) == wanted and torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_network_that_is_not_finite_has_no_score_by_it(name):
    """Where weights are looked at; counts, and those that draw their own, do not care."""
    made, batch = subject(name)
    with torch.no_grad():
        next(iter(weights(made).values())).view(-1)[0] = math.nan
    looks = PREDICTORS[name].data or name in ("synflow", "enn")
    assert math.isnan(score(name, made, batch)) == looks


def test_the_last_gradient_may_be_what_is_not_finite():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 5, bias=False), nn.Linear(5, 4)

        def forward(self, x):
            return self.two(self.one(x * 0).abs().sqrt())  # finite, with an infinite slope at 0

    for name in ("gradsign", "gradsign_live", "grad_norm", "zico"):
        assert math.isnan(score(name, Root(), BATCH)), name


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_batch_of_another_shape_is_refused_by_all(name):
    made, (x, y) = subject(name)
    with pytest.raises(UserError, match="does not take examples of shape"):
        score(name, made, (torch.rand(len(x), 7), y))
    with pytest.raises(UserError, match="does not take examples of shape"):
        score(name, made, (torch.rand(len(x), 5, 8, 8), y))


def test_what_is_computed_without_gradients_counts_nothing():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 4)

        def forward(self, x):
            with torch.no_grad():
                h = self.one(x)
            return self.two(h)

    torch.manual_seed(0)
    made = Half()
    assert score("fisher", made, BATCH) == pytest.approx(score("fisher", made.two, (made.one(X).detach(), Y)))
    assert score("gradsign", made, BATCH) == reference.gradsign(made, X, Y)


def test_networks_that_are_none_yet_are_refused():
    with torch.device("meta"), pytest.raises(UserError, match="lies on the device 'meta', where tensors have no values"):
        score("params", nn.Linear(6, 4), BATCH)
    with warnings.catch_warnings(action="ignore"):  # torch.jit is going
        traced = torch.jit.trace(nn.Linear(6, 4), X)
    with pytest.raises(UserError, match="compiled by TorchScript, which hides its layers"):
        score("params", traced, BATCH)
    with pytest.raises(UserError, match="lazy"):
        score("params", nn.LazyLinear(4), BATCH)
    embedded = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(18, 4))
    tokens = torch.randint(9, (12, 6), generator=generator()), Y
    assert score("gradsign", embedded, tokens) == reference.gradsign(embedded[2], embedded[:2](tokens[0]).detach(), Y)
    assert score("live_params", embedded, tokens) == 72
    for name in ("jacob_cov", "zen"):
        with pytest.raises(UserError, match="whole numbers"):
            score(name, embedded, tokens)
