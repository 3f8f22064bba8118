"""Small convolutional networks as plain ``nn.Module``s: what learning rules and predictors are compared on beside multilayer
perceptrons.

    (convolution k × k, batch normalisation, σ, max pooling 2 × 2) × layers,   mean over the pixels,   linear

As it comes, the kernel is 3 × 3, σ a ReLU, and the last of the convolutions is not pooled. Without batch normalisation
convolutions have biases. With shortcuts a layer's input is added to σ, where both have as many channels (He et al., 2016, whose
blocks have two convolutions). Weights begin as He et al. (2015) draw them, from the seed alone.

Letters: B examples, C channels, H × W pixels, K classes.
"""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.seeding import torch_stream
from pipeline.targets.activations import ACTIVATIONS


class SmallConvNet(nn.Module):
    """Three convolutions and a linear layer, as it comes.

    Args:
        widths: channels after each convolution.
        kernel: pixels of a convolution's side, an odd number.
        normalised: by batch normalisation.
        shortcut: whether layers are added to what they read, where they can be.
        activation: σ, a name of ``ACTIVATIONS``.
        pooled: how many of the layers, from the first on, are pooled; all but the last if not given.

    Raises:
        UserError: no convolution, one without channels, an even kernel, or an unknown activation.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 3,
        seed: int = 0,
        widths: Sequence[int] = (16, 32, 64),
        kernel: int = 3,
        normalised: bool = True,
        shortcut: bool = False,
        activation: str = "relu",
        pooled: int | None = None,
    ) -> None:
        super().__init__()
        if not widths or min(*widths, classes, channels) < 1:
            raise UserError(f"a network of widths {tuple(widths)}, {channels} channels and {classes} classes; give at least 1.")
        if kernel < 1 or kernel % 2 == 0 or activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise UserError(
                f"a network of kernel {kernel} and activation {activation!r}; give an odd kernel, and one of {known}."
            )
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise([channels, *widths])):
            own = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not normalised)]
            own += [nn.BatchNorm2d(outputs)] * normalised + [ACTIVATIONS[activation].module()]
            layers += [Shortcut(*own)] if shortcut and inputs == outputs else own
            layers += [nn.MaxPool2d(2)] * (number < (len(widths) - 1 if pooled is None else pooled))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], classes)
        draw_he(self, seed)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classifier(self.features(x).mean((2, 3)))


class Shortcut(nn.Sequential):
    """Layers that are added to what they read."""

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return input + super().forward(input)


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
