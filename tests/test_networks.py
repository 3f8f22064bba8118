"""Networks for images: the published sizes, seeded weights, and positions that compute nothing."""

import pytest
import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.targets.convnet import SmallConvNet
from pipeline.targets.networks import network
from pipeline.targets.position import Position
from pipeline.targets.wide_resnet import WideResNet

MILLIONS = {(40, 1): 0.6, (40, 2): 2.2, (40, 4): 8.9, (28, 10): 36.5, (22, 8): 17.2, (16, 8): 11.0}
"""parameters, as Zagoruyko & Komodakis print them (table 4)"""


@pytest.mark.parametrize(("depth", "width"), MILLIONS)
def test_a_wide_residual_network_has_the_published_number_of_parameters(depth, width, monkeypatch):
    monkeypatch.setattr("pipeline.targets.wide_resnet.draw_he", lambda module, seed: None)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in WideResNet(depth, width).parameters())
    assert round(size / 1e6, 1) == MILLIONS[depth, width]


@pytest.mark.parametrize("name", ["small-cnn", "wrn-10-1", "wrn-16-2"])
def test_weights_come_from_the_seed_alone(name):
    one, again, other = network(name, seed=1), network(name, seed=1), network(name, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    weights = [(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True) if a.dim() > 1]
    assert weights and not any(torch.equal(a, b) for a, b in weights)
    assert network(name, classes=7, channels=1)(torch.zeros(2, 1, 16, 20)).shape == (2, 7)


def test_a_wide_residual_network_has_four_positions_which_hold_and_change_nothing():
    model, x = WideResNet(10, 1).eval(), torch.randn(2, 3, 8, 8)
    seen = []
    positions = [module for module in model.modules() if isinstance(module, Position)]
    for position in positions:
        position.register_forward_hook(lambda module, inputs, output: seen.append((output.shape[1], output is inputs[0])))
    with_positions = model(x)
    assert seen == [(16, True), (16, True), (32, True), (64, True)]
    assert not any("position" in key for key in model.state_dict())
    model.positions = nn.ModuleList(nn.Identity() for _ in positions)
    assert torch.equal(model(x), with_positions)


@pytest.mark.parametrize(
    ("give", "says"),
    [
        (lambda: WideResNet(12, 1), r"WRN-12-1 .*; give a depth of 10, 16, 22"),
        (lambda: WideResNet(10, 0), "WRN-10-0"),
        (lambda: SmallConvNet(widths=()), "give at least 1"),
        (lambda: network("vgg"), "unknown network 'vgg'; give small-cnn or wrn-DEPTH-WIDTH"),
    ],
)
def test_a_network_that_there_is_not_is_refused(give, says):
    with pytest.raises(UserError, match=says) as caught:
        give()
    assert str(caught.value).endswith(".")
