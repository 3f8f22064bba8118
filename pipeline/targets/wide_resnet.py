"""Wide residual networks, WRN-d-k (Zagoruyko & Komodakis, 2016, table 1), as plain ``nn.Module``s.

    convolution 3 × 3 to 16 channels;  three groups of n blocks of 16 k, 32 k and 64 k channels, the second and third halving
    the pixels;  batch normalisation, ReLU, mean over the pixels, linear;   d = 6 n + 4

A block is twice batch normalisation, ReLU and a convolution 3 × 3, beside a shortcut: the block's input, or where channels
change a convolution 1 × 1 of the normalised and rectified input, as in the authors' code. After the first convolution and after
each group stands a :class:`pipeline.targets.position.Position`, which computes nothing.

Ours: no dropout; convolutions begin from N(0, 2 / fan in), the authors' from N(0, 2 / fan out); the linear layer likewise, its
bias at 0; all from the seed alone.

Letters: B examples, C channels, H × W pixels, K classes.
"""

import itertools

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.targets.convnet import draw_he
from pipeline.targets.position import Position


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if (inputs, stride) == (outputs, 1) else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        h = F.relu(self.norm1(x))
        around = x if self.shortcut is None else self.shortcut(h)
        return around + self.conv2(F.relu(self.norm2(self.conv1(h))))


class WideResNet(nn.Module):
    """WRN-depth-width: ``WideResNet(16, 2)`` is WRN-16-2.

    Raises:
        UserError: a depth that is not 6 n + 4, or anything below 1.
    """

    def __init__(self, depth: int = 16, width: int = 2, classes: int = 10, channels: int = 3, seed: int = 0) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4 or min(width, classes, channels) < 1:
            raise UserError(
                f"WRN-{depth}-{width} with {channels} channels and {classes} classes; give a depth of 10, 16, 22 and so on, "
                "and of all else at least 1."
            )
        blocks, widths = (depth - 4) // 6, (16, 16 * width, 32 * width, 64 * width)
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.groups = nn.ModuleList(
            nn.Sequential(*(Block(outputs if n else inputs, outputs, 1 if n else stride) for n in range(blocks)))
            for (inputs, outputs), stride in zip(itertools.pairwise(widths), (1, 2, 2), strict=True)
        )
        self.positions = nn.ModuleList(Position() for _ in widths)
        self.norm, self.classifier = nn.BatchNorm2d(widths[-1]), nn.Linear(widths[-1], classes)
        draw_he(self, seed)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        first, *rest = self.positions
        h = first(self.conv(x))
        for group, position in zip(self.groups, rest, strict=True):
            h = position(group(h))
        return self.classifier(F.relu(self.norm(h)).mean((2, 3)))
