"""What an equation is made of: the operands, one entry each.

For layer i, with the layer above it i + 1. Random matrices are drawn once from the member's seed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.learning.expression.grammar import Shape
from pipeline.targets import Context

Drawn = dict[str, Tensor]
"""the random matrices of a layer, by name, each (P, rows, columns)"""


@dataclass(frozen=True)
class Operand:
    """One operand."""

    name: str
    """as an equation spells it"""
    plain: str
    """the same in ASCII"""
    shape: Shape
    means: str
    value: Callable[[Context, Drawn, Tensor], Tensor]
    """(layer i, its random matrices, memory) -> what it is: written to the memory, or there already"""
    computed: bool = False
    """whether it is written to the memory"""
    drawn: str = ""
    """the random matrix that it needs"""
    ours: bool = False
    """whether the source's language lacks it; then no search proposes it"""


def _above(context: Context) -> Context:
    assert context.above is not None, "the output layer has no equation"
    return context.above


def _signal(context: Context) -> Tensor:
    found = _above(context).signal
    assert found is not None, "the layer above is asked first"
    return found


def _pull(context: Context, weights: Tensor | None, out: Tensor) -> Tensor:
    return _above(context).pull(_signal(context), weights, out)


def _slope(context: Context, out: Tensor) -> Tensor:
    return context.through(out.fill_(1.0), out)


_PULLS: tuple[tuple[str, str, str, str, Callable[[Context, Drawn, Tensor], Tensor]], ...] = (
    ("Wᵀs", "WTs", "", "what backpropagation sends down", lambda at, own, out: _pull(at, None, out)),
    ("Rᵀs", "RTs", "R", "what feedback alignment sends down", lambda at, own, out: _pull(at, own["R"], out)),
    ("Sᵀs", "STs", "S", "the same by random signs", lambda at, own, out: _pull(at, own["S"], out)),
    (
        "R_Lg",
        "RLg",
        "R_L",
        "what direct feedback alignment sends to each layer",
        lambda at, own, out: torch.bmm(own["R_L"], at.error, out=out),
    ),
)


def _through(
    pull: Callable[[Context, Drawn, Tensor], Tensor],
) -> Callable[[Context, Drawn, Tensor], Tensor]:
    return lambda at, own, out: at.through(pull(at, own, out), out)


_ENTRIES = (
    Operand("W", "W", ("m", "n"), "the weights W of the layer above", lambda at, own, out: _above(at).weight),
    Operand(
        "W±", "sgnW", ("m", "n"), "their signs", lambda at, own, out: torch.sign(_above(at).weight, out=out), computed=True
    ),
    Operand("R", "R", ("m", "n"), "a Gaussian matrix in the place of W", lambda at, own, out: own["R"], drawn="R"),
    Operand("S", "S", ("m", "n"), "a matrix of ±1 in the place of W", lambda at, own, out: own["S"], drawn="S"),
    Operand("R_L", "RL", ("n", "K"), "a Gaussian matrix from the classes", lambda at, own, out: own["R_L"], drawn="R_L"),
    Operand("z", "z", ("n", "B"), "the layer's pre-activation", lambda at, own, out: at.z),
    Operand("h", "h", ("n", "B"), "σ(z)", lambda at, own, out: at.h),
    Operand("z↑", "z_up", ("m", "B"), "the pre-activation of the layer above", lambda at, own, out: _above(at).z),
    Operand("g", "g", ("K", "B"), "the error at the output", lambda at, own, out: at.error),
    Operand("s", "s", ("m", "B"), "the signal of the layer above", lambda at, own, out: _signal(at)),
    Operand("σ′", "d", ("n", "B"), "the slope σ′(z)", lambda at, own, out: _slope(at, out), computed=True, ours=True),
    *(Operand(name, plain, ("n", "B"), means, pull, True, drawn) for name, plain, drawn, means, pull in _PULLS),
    *(
        Operand(f"({name})∘σ′", f"({plain})*d", ("n", "B"), f"{means}, times σ′", _through(pull), True, drawn)
        for name, plain, drawn, means, pull in _PULLS
    ),
)
OPERANDS: dict[str, Operand] = {entry.name: entry for entry in _ENTRIES}
"""by name"""


def gaussian(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Of Glorot's variance, 2 / (rows + columns): what goes back keeps its size. (The source does not say which.)"""
    return torch.randn(shape, generator=generator) * math.sqrt(2 / sum(shape))


def signs(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """±1."""
    return torch.randint(2, shape, generator=generator).mul_(2).sub_(1).float()


MATRICES: dict[str, tuple[Shape, Callable[[tuple[int, int], torch.Generator], Tensor]]] = {
    "R": (("m", "n"), gaussian),
    "S": (("m", "n"), signs),
    "R_L": (("n", "K"), gaussian),
}
"""the shape of each random matrix, and how it is drawn"""
