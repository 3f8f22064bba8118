"""A convolutional network on the weight image: the paper's kind of ENN.

A family by depth, width and kernel: ``depth`` convolutions of ``width`` channels, the first two of them with stride 2 where the
image is large enough, then a mean over a fixed 4 × 4 grid. Widths may vary between targets (the canvas varies with them); the
number of layers may not, since layers are channels.

Source: Grad-Instructor (arXiv 2406.10559), whose layers are not given in what could be read; the family is our choice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config import ENNConfig
from pipeline.enn.readers.reader import Reader, check_depth
from pipeline.enn.weight_image import CHANNELS, canvas, encode
from pipeline.targets import MLP
from pipeline.targets.target import weights

GRID = 4


class ConvNet(Reader):
    """Reads any MLP of the home target's depth."""

    settings = ("resolution", "interpolation", "channels", "depth", "width", "kernel")

    def __init__(self, config: ENNConfig, home: MLP) -> None:
        super().__init__(config, home)
        channels = CHANNELS[config.channels] * home.depth
        height, width = canvas(weights(home.shapes, home.slots), config.resolution)
        layers: list[nn.Module] = []
        for index in range(config.depth):
            stride = (_stride(index, height), _stride(index, width))
            layers += [nn.Conv2d(channels, config.width, config.kernel, stride, config.kernel // 2), nn.GELU()]
            height, width = (height - 1) // stride[0] + 1, (width - 1) // stride[1] + 1
            channels = config.width
        self.body = nn.Sequential(*layers)
        self.features = config.width * GRID * GRID + 1

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The layer whose activations Grad-CAM weighs."""
        return [layer for layer in self.body if isinstance(layer, nn.Conv2d)][-1]

    def check(self, target: MLP) -> None:
        check_depth("convnet", self.home, target)

    def image(self, parameters: Sequence[Tensor]) -> Float[Tensor, "P C H W"]:
        """The weight image that this reader sees."""
        slots = self.home.slots  # of any target of this depth, whatever its widths
        size = canvas([tuple(weight.shape[1:]) for weight in weights(parameters, slots)], self.config.resolution)
        return encode(parameters, slots, size, self.config.interpolation, self.config.channels)

    def read_image(self, image: Float[Tensor, "P C H W"], progress: Float[Tensor, " P"]) -> Float[Tensor, "P features"]:
        """Features of weight images already made."""
        pooled = nn.functional.adaptive_avg_pool2d(self.body(image), GRID)
        return torch.cat([pooled.flatten(1), progress[:, None]], dim=1)

    def read(
        self, parameters: Sequence[Tensor], progress: Float[Tensor, " P"], activation: str | None = None
    ) -> Float[Tensor, "P features"]:
        return self.read_image(self.image(parameters), progress)


def _stride(index: int, side: int) -> int:
    return 2 if index < 2 and side >= 2 * GRID else 1


READER = ConvNet
