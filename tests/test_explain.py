"""Grad-CAM against its definition, computed by hand with autograd."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.config import ENNConfig
from pipeline.enn import Critic, Home
from pipeline.enn.weight_image import decode
from pipeline.errors import UserError
from pipeline.explain import explain
from pipeline.targets import MLP, initialise

TARGET = MLP((12, 10, 5, 3))
PROGRESS = {"start": 0.0, "middle": 0.5, "end": 1.0}


def make_critic(reader="convnet", **enn):
    torch.manual_seed(0)
    home = Home(TARGET, steps=100, period=10, learning_rate=0.1, ladder=(0.0, 1.0), refresh=5, trust_region=0.02)
    critic = Critic(reader, ENNConfig(**{"hidden": 8, "probes": 5, "resolution": 0.9, "width": 4} | enn), home).double()
    return critic.requires_grad_(False)


def checkpoints(target=TARGET):
    weights = [initialise(target, "he", [seed], dtype=torch.float64) for seed in range(3)]
    return {title: (own, at) for own, (title, at) in zip(weights, PROGRESS.items(), strict=True)}


def by_hand(critic, parameters, progress):
    """Selvaraju et al. (2017), equations 1 and 2 without the ReLU, at the last convolution."""
    reader = critic.reader
    activations = {}
    last = [layer for layer in reader.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    hook = last.register_forward_hook(lambda *call: activations.update(A=call[2].requires_grad_()))
    value = critic.value([tensor.requires_grad_() for tensor in parameters], torch.tensor([progress], dtype=torch.float64))
    hook.remove()
    (gradient,) = torch.autograd.grad(value.sum(), activations["A"])
    alpha = [gradient[0, channel].mean() for channel in range(gradient.shape[1])]
    coarse = sum(weight * activations["A"][0, channel] for channel, weight in enumerate(alpha))
    return coarse.detach(), value.item()


@pytest.mark.parametrize("enn", [{}, {"channels": "signed", "depth": 1}, {"interpolation": "bilinear", "kernel": 5}], ids=str)
def test_grad_cam_is_its_definition_and_signed(enn):
    critic = make_critic(**enn)
    maps = explain(critic, checkpoints())
    assert [cam.title for cam in maps] == list(PROGRESS)
    for cam, (parameters, progress) in zip(maps, checkpoints().values(), strict=True):
        coarse, value = by_hand(critic, parameters, progress)
        image = critic.reader.image(parameters)[0, 0].detach()
        fine = F.interpolate(coarse[None, None], image.shape, mode="bilinear")[0, 0]
        assert cam.image.shape == cam.map.shape == tuple(image.shape)
        torch.testing.assert_close(torch.from_numpy(cam.image), image)
        torch.testing.assert_close(torch.from_numpy(cam.map), fine, rtol=1e-9, atol=1e-15)
        assert cam.value == pytest.approx(value, rel=1e-12)
        assert [layer.shape for layer in cam.layers] == [(10, 13), (5, 11), (3, 6)]
        for layer in cam.layers:
            expected = decode(fine, layer.shape, critic.config.interpolation)
            torch.testing.assert_close(torch.from_numpy(layer), expected, rtol=1e-9, atol=1e-15)
    assert min(cam.map.min() for cam in maps) < 0, "no sign"
    assert abs(maps[0].map - maps[1].map).max() > 1e-6, "two targets are explained alike"


def test_a_head_that_ignores_the_features_leaves_nothing_to_see():
    critic = make_critic()
    critic.value_head.weight.zero_()
    assert all(not cam.map.any() and not any(layer.any() for layer in cam.layers) for cam in explain(critic, checkpoints()))


def test_the_map_follows_what_the_head_says():
    """Turning the head's sign turns V's logit and the map with it."""
    critic = make_critic()
    critic.value_head.bias.zero_()
    before = explain(critic, checkpoints())
    critic.value_head.weight.neg_()
    for cam, turned in zip(before, explain(critic, checkpoints()), strict=True):
        torch.testing.assert_close(torch.from_numpy(turned.map), -torch.from_numpy(cam.map), rtol=1e-9, atol=1e-15)
        assert turned.value == pytest.approx(1 - cam.value)


@pytest.mark.parametrize("reader", ["probes", "statistics"])
def test_an_enn_without_a_weight_image_says_what_to_do(reader):
    with pytest.raises(UserError, match=f"weight image and this one is '{reader}'; add 'convnet' to enn.readers"):
        explain(make_critic(reader), checkpoints())
