"""The network of a cell (Dong & Yang, ICLR 2020, §2.1).

A 3 × 3 convolution to 16 channels and BatchNorm; three stages of five cells at 16, 32 and 64 channels, between them a residual
block of stride 2 (3 × 3 with stride 2, 3 × 3; its shortcut a 2 × 2 average pool and a 1 × 1 convolution); BatchNorm, ReLU, the
mean over the image, a linear layer. Every convolution of a cell or a block stands between a ReLU and a BatchNorm, and none has
a bias. With the usual sizes the largest has 1,524,282 parameters where BatchNorm has none of its own; one image takes 7.78 to
220.12 million multiply-adds.

Edges that no path uses hold their weights and are not computed: the outputs are the same. (With ``affine`` an edge that nothing
reaches would bring the bias of its BatchNorm once that is trained; here it brings nothing.)

Letters: B images, C channels, K classes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import UserError, shown
from pipeline.seeding import stream
from pipeline.targets.nasbench201.cell import CONVOLUTIONS, EDGES, Cell, Edge

STAGES = 3


class Layer(NamedTuple):
    """A convolution or a linear layer, as a count sees it."""

    weights: int
    positions: int
    """outputs per channel for one image; multiply-adds are weights × positions"""
    live: bool
    """whether a path from input to output uses it"""


def network(
    cell: Cell, classes: int = 10, channels: int = 16, cells: int = 5, seed: int = 0, affine: bool = False
) -> "CellNetwork":
    """The network of a cell, initialised by PyTorch's defaults from the seed alone.

    Args:
        channels: of the first stage; each later one has twice as many.
        cells: of each stage.
        affine: whether BatchNorm has parameters of its own.

    Raises:
        UserError: no cell, or a size below 1.
    """
    if not isinstance(cell, Cell):
        raise UserError(f"a network needs a cell and got {shown(cell)}; make one with Cell.parse.")
    for name, size in (("classes", classes), ("channels", channels), ("cells", cells)):
        if type(size) is not int or size < 1:
            raise UserError(f"{name} is {shown(size)}; give a whole number of at least 1.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "nasbench201"))
        return CellNetwork(cell, classes, channels, cells, affine)


class CellNetwork(nn.Module):
    """See :func:`network`, which draws its weights from a seed.

    Attributes:
        cell: what it repeats.
        blocks: the stem, the cells and the residual blocks, in the order in which they are computed.
    """

    def __init__(self, cell: Cell, classes: int, channels: int, cells: int, affine: bool) -> None:
        super().__init__()
        self.cell = cell
        stem = nn.Sequential(_convolution(3, channels, 3), nn.BatchNorm2d(channels, affine=affine))
        blocks: list[nn.Module] = [stem, *(_Cell(cell, channels, affine) for _ in range(cells))]
        width = channels
        for _ in range(STAGES - 1):
            blocks.append(_Residual(width, 2 * width, affine))
            width *= 2
            blocks += [_Cell(cell, width, affine) for _ in range(cells)]
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Sequential(nn.BatchNorm2d(width, affine=affine), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Float[Tensor, "B 3 height width"]) -> Float[Tensor, "B K"]:
        for block in self.blocks:
            x = block(x)
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.last(x), 1).flatten(1))

    def layers(self, height: int, width: int) -> Iterator[Layer]:
        """Every convolution and the linear layer, for images of this size; nothing is computed."""
        connected, positions = self.cell.connected, height * width
        for block in self.blocks:
            if isinstance(block, _Cell):
                yield from block.counted(positions)
                continue
            if isinstance(block, _Residual):
                height, width = (height + 1) // 2, (width + 1) // 2
                positions = height * width
            for part in block.modules():
                if isinstance(part, nn.Conv2d):
                    yield Layer(part.weight.numel(), positions, connected)
        yield Layer(self.classifier.weight.numel(), 1, connected)


class _Cell(nn.Module):
    def __init__(self, cell: Cell, channels: int, affine: bool) -> None:
        super().__init__()
        self.edges = dict(zip(EDGES, zip(cell.operations, cell.live_edges(), strict=True), strict=True))
        self.channels = channels
        self.operations = nn.ModuleDict()
        for edge, (name, _) in self.edges.items():
            if name != "none":
                self.operations[_key(edge)] = _operation(name, channels, affine)

    def forward(self, x: Float[Tensor, "B C height width"]) -> Float[Tensor, "B C height width"]:
        nodes: dict[int, Tensor] = {0: x}
        for (i, j), (_, live) in self.edges.items():
            if live:  # then node i is there
                brought = self.operations[_key((i, j))](nodes[i])
                nodes[j] = nodes[j] + brought if j in nodes else brought
        return nodes[3] if 3 in nodes else torch.zeros_like(x)

    def counted(self, positions: int) -> Iterator[Layer]:
        for name, live in self.edges.values():
            if name in CONVOLUTIONS:
                yield Layer(self.channels**2 * CONVOLUTIONS[name] ** 2, positions, live)


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, affine: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _relu_convolution(inputs, outputs, 3, affine, stride=2), _relu_convolution(outputs, outputs, 3, affine)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), _convolution(inputs, outputs, 1))

    def forward(self, x: Float[Tensor, "B C height width"]) -> Float[Tensor, "B C2 height2 width2"]:
        return self.shortcut(x) + self.body(x)


def _operation(name: str, channels: int, affine: bool) -> nn.Module:
    if name in CONVOLUTIONS:
        return _relu_convolution(channels, channels, CONVOLUTIONS[name], affine)
    return nn.Identity() if name == "skip_connect" else nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _relu_convolution(inputs: int, outputs: int, kernel: int, affine: bool, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), _convolution(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs, affine=affine))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def _key(edge: Edge) -> str:
    return f"{edge[0]}to{edge[1]}"
