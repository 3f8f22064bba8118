"""A small convolutional network as a plain ``nn.Module``: what learning rules are compared on beside multilayer perceptrons.

    (convolution 3 × 3, batch normalisation, ReLU, max pooling 2 × 2) × layers,   mean over the pixels,   linear

The last of the convolutions is not pooled. Weights begin as He et al. (2015) draw them, from the seed alone.

Letters: B examples, C channels, H × W pixels, K classes.
"""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.seeding import torch_stream


class SmallConvNet(nn.Module):
    """Three convolutions and a linear layer, as it comes.

    Args:
        widths: channels after each convolution.

    Raises:
        UserError: no convolution, or one without channels.
    """

    def __init__(self, classes: int = 10, channels: int = 3, seed: int = 0, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        if not widths or min(*widths, classes, channels) < 1:
            raise UserError(f"a network of widths {tuple(widths)}, {channels} channels and {classes} classes; give at least 1.")
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise([channels, *widths]):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        self.classifier = nn.Linear(widths[-1], classes)
        draw_he(self, seed)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classifier(self.features(x).mean((2, 3)))


@torch.no_grad()
def draw_he(module: nn.Module, seed: int) -> None:
    """Weights of linear maps from N(0, 2 / fan in), each from the stream of its name; biases 0; normalisations as they are."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            weight = layer.weight
            drawn = torch.randn(weight.shape, generator=torch_stream(seed, "parameters", f"{name}.weight"))
            weight.copy_(drawn.mul_((2 / weight[0].numel()) ** 0.5))
            if layer.bias is not None:
                layer.bias.zero_()
