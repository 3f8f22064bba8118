"""What an equation does on a probe batch: two equations with one fingerprint are the same, however they are written."""

import functools
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.learning.expression import Expression
from pipeline.learning.expression.simplify import simplified
from pipeline.learning.expression.spelling import parse, plain
from pipeline.learning.signal import bound
from pipeline.targets import MLP, Context, Population, initialise

WIDTHS, EXAMPLES, SEEDS, STEPS = (4, 6, 5, 3), 7, (11, 12), 2
"""widths that all differ; two members, so that what is drawn differs too; two steps, so that averages are used"""
DIGITS = 9
"""significant ones, in which the same equation in other words is the same"""


@functools.lru_cache(1 << 14)
def fingerprint(equation: str, activation: str = "tanh") -> str:
    """Sixteen hexadecimal digits of what the equation sends back in a small network.

    Where a member diverges there is nothing to tell equations apart by, and they are so by their simplest form.
    """
    signals = probed(equation, activation)
    if signals is None:
        return hashlib.sha256(plain(simplified(parse(equation))).encode()).hexdigest()[:16]
    return hashlib.sha256(_rounded(signals).numpy().tobytes()).hexdigest()[:16]


def probed(equation: str, activation: str = "tanh", last: bool = False) -> Tensor | None:
    """All signals on the probe, one after the other; None where one is not finite.

    Args:
        last: of the last hidden layer alone, which receives the error at the output whatever the equation is.
    """
    population, batches = _probe(activation)
    rule, found = bound(Expression(equation), population), []

    def keep(contexts: Sequence[Context]) -> None:
        rule(list(contexts))
        found.extend(
            context.signal.flatten().clone() for context in contexts[-2 if last else 0 : -1] if context.signal is not None
        )

    for batch in batches:
        population.grads(*batch, keep)
    signals = torch.cat(found)
    return signals if bool(torch.isfinite(signals).all()) else None


def _rounded(values: Tensor) -> Tensor:
    """To significant digits; no −0."""
    size = torch.where(values == 0, 1.0, values.abs()).log10().floor()
    step = 10.0 ** (size - DIGITS + 1)
    return torch.round(values / step) * step + 0.0


@functools.cache
def _probe(activation: str) -> tuple[Population, list[tuple[Tensor, Tensor]]]:
    """A population that is never trained, and batches."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS, EXAMPLES, WIDTHS[0], generator=generator, dtype=torch.float64)
    y = torch.randint(WIDTHS[-1], (STEPS, EXAMPLES), generator=generator)
    target = MLP(WIDTHS, activation)
    return Population(target, initialise(target, "he", SEEDS, dtype=torch.float64), seeds=SEEDS), list(zip(x, y, strict=True))
