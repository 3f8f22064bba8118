"""Small networks of many kinds, as somebody might have them scored: ``NETWORKS[name]() → (network, examples, labels)``."""

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.targets.nasbench201 import Cell, network

CELLS = {
    "cell": "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|",
    "cell with dead edges": "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|",
    "cell without weights": "|skip_connect~0|+|none~0|avg_pool_3x3~1|+|avg_pool_3x3~0|none~1|skip_connect~2|",
    "disconnected cell": "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|",
}


def small(cell, affine=False, **sizes):
    return network(Cell.parse(cell), classes=4, **{"channels": 3, "cells": 1, "seed": 1, "affine": affine} | sizes).double()


class Twice(nn.Module):
    """One layer is used twice, and one weight belongs to two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.other, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.other.weight = self.first.weight

    def forward(self, x):
        return self.last(self.again(self.again(self.first(x).tanh()).tanh()) + self.other(x))


class ByFunctions(nn.Module):
    """Layers that are called by torch's functions and not as modules; one weight is used in a way that no layer uses it."""

    def __init__(self, odd=False):
        super().__init__()
        self.one, self.two, self.odd = nn.Conv2d(3, 5, 3, padding=1, stride=2), nn.Linear(5, 4), odd

    def forward(self, x):
        h = F.relu(F.conv2d(x, self.one.weight, self.one.bias, stride=2, padding="valid"))
        out = F.linear(h.mean((2, 3)), self.two.weight)
        return out + (self.two.weight**2).sum() * out.detach() if self.odd else out


class Mixing(nn.Module):
    """Each example sees the others: alone it is another network."""

    def __init__(self, upwards=False):
        super().__init__()
        self.one, self.two, self.upwards = nn.Linear(6, 5), nn.Linear(5, 4), upwards

    def forward(self, x):
        h = self.one(x)
        h = h.cumsum(0) if self.upwards else h - 0.5 * h.mean(0)
        return self.two(h.tanh())


class PositionsFirst(nn.Module):
    """A sequence whose first axis counts positions: as many as there are examples in a pass."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x):  # (N, 8, 3)
        return self.two(self.one(x.transpose(0, 1)).tanh().mean(0))


class Tokens(nn.Module):
    """A small transformer; attention's projections are weights too."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3, batch_first=True)
        self.last = nn.Linear(6, 4)

    def forward(self, x):  # (N, T, 6)
        return self.last(self.layer(x).mean(1))


def convolutional(norm):
    uneven = ((3, 1), 1, "same") if norm is nn.BatchNorm2d else ((3, 2), 1, 1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False), norm(8), nn.SiLU(),
        nn.Conv2d(8, 6, 1, stride=2), nn.GELU(), nn.Conv2d(6, 6, *uneven),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 4),
    )  # fmt: skip


def _with(make, *shape):
    def made(count=11):
        torch.manual_seed(3)
        return make().double(), torch.randn(count, *shape, dtype=torch.float64), torch.arange(count) % 4

    return made


IMAGE = (3, 9, 9)
NETWORKS = {name: _with(lambda text=text: small(text), *IMAGE) for name, text in CELLS.items()}
NETWORKS |= {
    "cell with affine BatchNorm": _with(lambda: small(CELLS["cell"], affine=True), *IMAGE),
    "mlp": _with(lambda: nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5, bias=False), nn.Tanh(), nn.Linear(5, 4)), 6),
    "cnn with BatchNorm": _with(lambda: convolutional(nn.BatchNorm2d), *IMAGE),
    "cnn with GroupNorm": _with(lambda: convolutional(lambda c: nn.GroupNorm(2, c)), *IMAGE),
    "1-D": _with(
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 4, 1), nn.Flatten(), nn.Linear(20, 4)
        ),
        *(2, 5),
    ),
    "transposed": _with(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2, stride=2), nn.Flatten(), nn.Linear(192, 4)
        ),
        *IMAGE,
    ),
    "twice": _with(Twice, 6),
    "by functions": _with(ByFunctions, *IMAGE),
    "by functions, oddly": _with(lambda: ByFunctions(odd=True), *IMAGE),
    "mixing": _with(Mixing, 6),
    "mixing upwards": _with(lambda: Mixing(upwards=True), 6),
    "positions first": _with(PositionsFirst, 8, 3),
    "tokens": _with(Tokens, 5, 6),
    "one layer": _with(lambda: nn.Linear(6, 4), 6),
}
