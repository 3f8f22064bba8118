"""The weight image: a target's weight matrices as image channels at a reduced resolution ρ.

Each layer's ``[weight | bias]`` matrix of shape (out, in + 1) is scaled to the standard deviation that He initialisation
would give it, then resized to one canvas, ρ times the largest layer in each direction, so that layers of unlike shapes become
channels of one image (a smaller layer is enlarged). Resizing is separable and linear, ``image = R · W · Cᵀ``, which makes it
differentiable, cheap, and gives the way back from pixels to parameters: the transposes of the same two matrices.

Source: Grad-Instructor (arXiv 2406.10559) reduces the weights to an image of 10-20 % of the resolution; how layers of unlike
shapes and biases are treated is our choice.

Letters: P members, L layers, C channels, H × W pixels.
"""

import functools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pipeline.targets.target import Slot, layers

CHANNELS = {"signed": 1, "magnitude": 1, "both": 2}


def matrices(parameters: Sequence[Tensor], slots: Sequence[Slot]) -> list[Tensor]:
    """Each layer's (P, out, in + 1) matrix: its weight with its bias as the last column, in units of He's standard deviation.

    A bias has no standard deviation under He initialisation (it starts at 0), so it shares its layer's unit.
    """
    pairs = layers(parameters, slots)
    return [torch.cat([weight, bias[..., None]], dim=-1) * math.sqrt(weight.shape[-1] / 2) for weight, bias in pairs]


def canvas(shapes: Sequence[tuple[int, ...]], resolution: float) -> tuple[int, int]:
    """Height and width in pixels for a target whose weights have these ``shapes``, (out, in) each, at ρ = ``resolution``.

    Raises:
        ValueError: ρ outside (0, 1].
    """
    if not 0.0 < resolution <= 1.0:
        raise ValueError(f"resolution is {resolution}; give a ρ above 0 and at most 1")
    height, width = max(outputs for outputs, _ in shapes), max(inputs + 1 for _, inputs in shapes)
    return math.ceil(resolution * height), math.ceil(resolution * width)


def encode(
    parameters: Sequence[Tensor],
    slots: Sequence[Slot],
    size: tuple[int, int],
    interpolation: str = "area",
    channels: str = "both",
) -> Float[Tensor, "P C H W"]:
    """The weight image of each member. Differentiable in ``parameters`` (each (P, …)).

    Args:
        slots: which of ``parameters`` is what.
        size: height and width from :func:`canvas`.
        interpolation: ``area`` (mean over the pixel's rectangle) or ``bilinear`` (antialiased).
        channels: ``signed`` (mean weight), ``magnitude`` (mean |weight|) or ``both``, per layer, in the order of the layers.
    """
    planes = []
    for matrix in matrices(parameters, slots):
        if channels in ("signed", "both"):
            planes.append(_resize(matrix, size, interpolation))
        if channels in ("magnitude", "both"):
            planes.append(_resize(matrix.abs(), size, interpolation))
    return torch.stack(planes, dim=-3)


def decode(
    pixels: Float[Tensor, "*batch H W"], shape: tuple[int, int], interpolation: str = "area"
) -> Float[Tensor, "*batch out in_"]:
    """For a map over pixels, the value at each parameter of one layer: the mean of the pixels that read it, by their weight.

    Args:
        shape: (out, in + 1) of the layer; the last column is the bias.
    """
    rows = _resizer(shape[0], pixels.shape[-2], interpolation).to(pixels)
    columns = _resizer(shape[1], pixels.shape[-1], interpolation).to(pixels)
    rows, columns = rows / rows.sum(0, keepdim=True), columns / columns.sum(0, keepdim=True)
    return rows.T @ pixels @ columns


def _resize(matrix: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    if interpolation == "area":  # the same as the product below, and nine times faster at MNIST's size
        return functional.adaptive_avg_pool2d(matrix, size)
    rows = _resizer(matrix.shape[-2], size[0], interpolation).to(matrix)
    columns = _resizer(matrix.shape[-1], size[1], interpolation).to(matrix)
    return rows @ (matrix @ columns.T)


@functools.lru_cache(maxsize=64)
def _resizer(length: int, pixels: int, interpolation: str) -> Float[Tensor, "pixels length"]:
    """The matrix that resizes a line of ``length`` values to ``pixels``, in float64."""
    identity = torch.eye(length, dtype=torch.float64)
    if interpolation == "area":
        return functional.adaptive_avg_pool1d(identity[:, None], pixels)[:, 0].T.contiguous()
    # one image resized along one side: as a batch of columns, torch 2.15 resizes antialiased with wrong weights on the CPU
    return functional.interpolate(identity[None, None], size=(pixels, length), mode="bilinear", antialias=True)[0, 0]
