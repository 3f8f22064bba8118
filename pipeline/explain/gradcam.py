"""Grad-CAM of an ENN over the weight image: where in the weights does it see what it predicts?

Source: Selvaraju et al., Grad-CAM (2017), by captum's LayerGradCam at the reader's last convolution. Departure: the map is
signed (no ReLU at the end): positive where the features speak for a high score, negative where they speak against it.

Letters: C channels, H × W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.enn import Critic
from pipeline.enn.readers import ConvNet
from pipeline.enn.weight_image import decode
from pipeline.errors import UserError
from pipeline.targets.target import weights


@dataclass(frozen=True)
class GradCAM:
    """The map of one set of weights."""

    title: str
    """of the checkpoint"""
    image: np.ndarray
    """first channel of the weight image, (H, W)"""
    map: np.ndarray
    """signed Grad-CAM over its pixels, (H, W)"""
    layers: tuple[np.ndarray, ...]
    """the map carried back to each layer's [weight | bias] matrix, (out, in + 1)"""
    value: float
    """V(θ, t), what is explained"""


def explain(critic: Critic, checkpoints: Mapping[str, tuple[Sequence[Tensor], float]]) -> list[GradCAM]:
    """Grad-CAM at each checkpoint: title → (parameters, each (1, …), and progress).

    Raises:
        UserError: the ENN reads no weight image.
    """
    if not isinstance(critic.reader, ConvNet):
        raise UserError(
            f"Grad-CAM needs an ENN that reads a weight image and this one is {critic.reader_name!r}; "
            "add 'convnet' to enn.readers."
        )
    return [_explain(critic, critic.reader, title, *checkpoint) for title, checkpoint in checkpoints.items()]


class _ValueOfImage(nn.Module):
    """V as a function of the weight image, which is what captum explains."""

    def __init__(self, critic: Critic, reader: ConvNet, progress: float) -> None:
        super().__init__()
        self.critic, self.reader, self.progress = critic, reader, progress

    def forward(self, image: Tensor) -> Tensor:
        return self.critic.value_of(self.reader.read_image(image, image.new_full((len(image),), self.progress)))


def _explain(critic: Critic, reader: ConvNet, title: str, parameters: Sequence[Tensor], progress: float) -> GradCAM:
    from captum.attr import LayerAttribution, LayerGradCam

    image = reader.image(parameters).detach().requires_grad_()
    model = _ValueOfImage(critic, reader, progress)
    coarse = cast(Tensor, LayerGradCam(model, reader.last_convolution).attribute(image, relu_attributions=False))
    fine = LayerAttribution.interpolate(coarse, tuple(image.shape[-2:]), "bilinear").detach()[0, 0].cpu()
    interpolation = reader.config.interpolation
    shapes = [(weight.shape[-2], weight.shape[-1] + 1) for weight in weights(parameters, reader.home.slots)]
    layers = tuple(decode(fine, shape, interpolation).numpy() for shape in shapes)
    with torch.no_grad():
        value = float(model(image)[0])
    return GradCAM(title, image[0, 0].detach().cpu().numpy(), fine.numpy(), layers, value)
