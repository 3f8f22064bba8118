"""What an equation does to one matrix: the unary operators, one entry each.

Reductions stay within a member. In our layout, (n, B), a row is a unit and a column an example; a norm "of each column" is the
source's, whose matrices are our transposes (:mod:`pipeline.learning.expression.grammar`), and so is taken of each row here.

x is (P, rows, columns). An operator writes to ``out``, which may be x itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.learning.expression.grammar import Axis

FACTOR = 0.9
"""of running averages"""


class Average(NamedTuple):
    """What a standardisation remembers of one layer, each (P, rows, 1) or (P, 1, columns)."""

    mean: Tensor
    variance: Tensor


@dataclass
class Given:
    """What an operator may need beside x."""

    value: float
    """its constant"""
    draw: Callable[[Callable[[tuple[int, ...], torch.Generator], Tensor], Tensor], Tensor]
    """(how to draw, a tensor like which) -> numbers from each member's stream, others at each step and in each place"""
    average: Average | None
    """what is remembered in this place"""
    first: bool
    """whether nothing is remembered yet"""
    axis: int
    """the axis of the batch, or of columns in a matrix that has none: what averages are taken over"""
    check: Callable[[Tensor], None]
    """freezes members in which something is not finite that the result would hide"""


@dataclass(frozen=True)
class UnaryOperator:
    """One operator, or one for each of its ``values``."""

    name: str
    """as ASCII calls it: a function"""
    shown: str
    """how it is written; ∙ stands for x, c for its constant"""
    means: str
    apply: Callable[[Tensor, Given, Tensor], Tensor]
    values: tuple[float, ...] = ()
    """constants that a search tries; any may be written"""
    hides: bool = False
    """whether it may make something finite of what is not"""
    transposes: bool = False
    random: bool = False
    """whether it draws at each step"""
    remembers: bool = False
    """whether it has running averages"""
    allowed: Callable[[float], bool] = lambda value: value > 0
    """constants that may be written"""


def _noise(x: Tensor, given: Given, out: Tensor) -> Tensor:
    return torch.add(x, given.draw(_normal, x), alpha=given.value, out=out)


def _factor(x: Tensor, given: Given, out: Tensor) -> Tensor:
    return torch.mul(x, given.draw(_normal, x).mul_(given.value).add_(1.0), out=out)


def _drop(x: Tensor, given: Given, out: Tensor) -> Tensor:
    kept = given.draw(_uniform, x).ge_(given.value)
    return torch.mul(x, kept.div_(1 - given.value), out=out)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator)


def _standard(x: Tensor, given: Given, out: Tensor) -> Tensor:
    average = given.average
    assert average is not None
    mean, variance = x.mean(given.axis, keepdim=True), x.var(given.axis, correction=0, keepdim=True)
    for own, new in ((average.mean, mean), (average.variance, variance)):
        own.copy_(new if given.first else FACTOR * own + (1 - FACTOR) * new)
    given.check(average.variance)
    return torch.sub(x, average.mean, out=out).div_(average.variance.sqrt())


# -- norms -----------------------------------------------------------------------------------------------------------------

Norm = Callable[[Tensor], Tensor]
"""(P, rows, columns) -> what x is divided by, (P, 1 or rows, 1 or columns)"""
BOTH, COLUMN, ROW = (1, 2), (2,), (1,)
"""axes that the norm of a whole matrix, and of each column and each row in the source's layout, runs over"""


def _of_entries(order: float, axes: tuple[int, ...]) -> Norm:
    if order == 0:
        return lambda x: (x != 0).sum(axes, keepdim=True).to(x.dtype)
    if order == 1:
        return lambda x: x.abs().sum(axes, keepdim=True)
    if order == 2:
        return lambda x: torch.linalg.vector_norm(x, 2, axes, keepdim=True)
    return lambda x: x.abs().amax(axes, keepdim=True) if order > 0 else x.abs().amin(axes, keepdim=True)


def _induced(axis: int, largest: bool) -> Norm:
    """The largest or smallest sum of absolute values along ``axis``."""

    def norm(x: Tensor) -> Tensor:
        sums = x.abs().sum(axis)
        return (sums.amax(1) if largest else sums.amin(1)).view(-1, 1, 1)

    return norm


def _by(norm: Norm) -> Callable[[Tensor, Given, Tensor], Tensor]:
    def apply(x: Tensor, given: Given, out: Tensor) -> Tensor:
        size = norm(x)
        given.check(size)
        return torch.div(x, size, out=out)

    return apply


_ORDERS = {"0": ("₀", 0.0), "1": ("₁", 1.0), "2": ("₂", 2.0), "min": ("₋∞", -torch.inf), "inf": ("∞", torch.inf)}
_OVER = {"": ("", BOTH, "of all entries"), "c": ("ᶜ", COLUMN, "of each column"), "r": ("ʳ", ROW, "of each row")}
_NORMS = (
    *(
        UnaryOperator(
            f"norm{order}{over}",
            f"∙ / ‖·‖{sign}{mark}",
            f"divided by its {sign.replace('₋', '−').translate(str.maketrans('₀₁₂', '012'))} norm, {whole}",
            _by(_of_entries(number, axes)),
        )
        for over, (mark, axes, whole) in _OVER.items()
        for order, (sign, number) in _ORDERS.items()
        if (order, over) != ("2", "")  # Frobenius'
    ),
    UnaryOperator(
        "norm2", "∙ / ‖·‖₂", "divided by its 2 norm of all entries, which is Frobenius'", _by(_of_entries(2.0, BOTH))
    ),
    # the source's largest sum of a column is our largest sum of a row
    UnaryOperator("norm1i", "∙ / ‖·‖₁ⁱ", "divided by its induced 1 norm, the largest sum of a column", _by(_induced(2, True))),
    UnaryOperator(
        "normmini", "∙ / ‖·‖₋∞ⁱ", "divided by its induced −∞ norm, the smallest sum of a row", _by(_induced(1, False))
    ),
    UnaryOperator("norminfi", "∙ / ‖·‖∞ⁱ", "divided by its induced ∞ norm, the largest sum of a row", _by(_induced(1, True))),
)

GAINS = (0.01, 0.1, 0.5, 1.0)
_ENTRIES = (
    UnaryOperator("T", "∙ᵀ", "transposed", lambda x, given, out: x.transpose(1, 2), transposes=True),
    UnaryOperator("inv", "∙⁻¹", "1 / x", lambda x, given, out: torch.reciprocal(x, out=out), hides=True),
    UnaryOperator("abs", "|∙|", "absolute value", lambda x, given, out: torch.abs(x, out=out)),
    UnaryOperator("neg", "−∙", "negative", lambda x, given, out: torch.neg(x, out=out)),
    UnaryOperator("step", "1[∙ > 0]", "1 where x is above 0, else 0", lambda x, given, out: out.copy_(x > 0), hides=True),
    UnaryOperator(
        "relu", "∙⁺", "x where it is above 0, else 0", lambda x, given, out: torch.clamp_min(x, 0.0, out=out), hides=True
    ),
    UnaryOperator("sgn", "sgn(∙)", "its sign", lambda x, given, out: torch.sign(x, out=out), hides=True),
    UnaryOperator("sqrt", "√|∙|", "root of the absolute value", lambda x, given, out: torch.abs(x, out=out).sqrt_()),
    UnaryOperator("ssq", "∙^±2", "sgn(x) x²", lambda x, given, out: torch.mul(x, x.abs(), out=out)),
    UnaryOperator("cube", "∙³", "cube", lambda x, given, out: torch.pow(x, 3, out=out)),
    UnaryOperator("scale", "c·∙", "c times x", lambda x, given, out: torch.mul(x, given.value, out=out), (0.1, 0.5, 2.0, 10.0)),
    UnaryOperator(
        "shift",
        "∙ + c",
        "x + c",
        lambda x, given, out: torch.add(x, given.value, out=out),
        GAINS,
        allowed=lambda value: value != 0,
    ),
    UnaryOperator("noise", "noise(∙, c)", "x + c · noise, Gaussian", _noise, GAINS, random=True),
    UnaryOperator("factor", "factor(∙, c)", "x ∘ (1 + c · noise), Gaussian", _factor, GAINS, random=True),
    UnaryOperator(
        "drop",
        "drop(∙, c)",
        "dropout: 0 with probability c, else x / (1 − c)",
        _drop,
        (0.01, 0.1, 0.3),
        random=True,
        allowed=lambda value: 0 < value < 1,
    ),
    UnaryOperator(
        "clip",
        "clip(∙, c)",
        "clipped to ± c",
        lambda x, given, out: torch.clamp(x, -given.value, given.value, out=out),
        GAINS,
        True,
    ),
    *_NORMS,
    UnaryOperator("std", "std(∙)", "(x − m̂) / √ŝ with running averages over the batch, factor 0.9", _standard, remembers=True),
)
UNARIES: dict[str, UnaryOperator] = {entry.name: entry for entry in _ENTRIES}
"""by name"""


def averaged(rows: Axis, columns: Axis) -> int:
    """The axis that running averages are taken over: the batch's; of a matrix without one, its columns'."""
    return 1 if rows == "B" and columns != "B" else 2
