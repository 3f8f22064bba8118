"""Predictors: each equals what its paper says, written slowly; none leaves a trace; what is not defined is named."""

import copy
import math

import pytest
import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.predictors import named
from pipeline.predictors.gradients import each_gradient
from pipeline.predictors.weights import weights
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
    assert {score("gradsign", made, (x[order], y[order]), chunk=chunk) for chunk in (2, 3, 8, 100)} == {wanted}
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
    made = network(Cell.parse(CELLS["cell"]), channels=8, cells=2)
    x, y = torch.randn(32, 3, 16, 16, generator=generator()), torch.arange(32) % 10
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


def test_a_count_follows_the_size_of_images_and_needs_no_good_ones():
    made = network(Cell.parse(CELLS["cell"]), channels=2, cells=1)
    small, large = (torch.full((1, 3, side, side), math.nan) for side in (8, 16))
    labels = torch.tensor([77])
    assert score("flops", made, (large, labels)) > 3 * score("flops", made, (small, labels)) > 0
    assert score("live_params", made, (large, labels)) == score("live_params", made, (small, labels))
