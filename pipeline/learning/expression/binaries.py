"""What an equation does to two matrices: the binary operators, one entry each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BinaryOperator:
    """One operator. Both matrices have one shape, but for the product's and those of which one is dropped."""

    name: str
    """as ASCII writes it, between its operands, or calls it"""
    shown: str
    means: str
    apply: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(x, y, where it is written, which may be x where it goes element by element)"""
    level: int = 0
    """how strongly it binds; 0: it is written as a function"""
    commutes: bool = False
    hides: bool = False
    """whether it may make something finite of what is not"""


_ENTRIES = (
    BinaryOperator("+", "+", "sum", lambda x, y, out: torch.add(x, y, out=out), 1, True),
    BinaryOperator("-", "−", "difference", lambda x, y, out: torch.sub(x, y, out=out), 1),
    BinaryOperator("*", "∘", "product of elements", lambda x, y, out: torch.mul(x, y, out=out), 2, True),
    BinaryOperator("/", "/", "quotient of elements", lambda x, y, out: torch.div(x, y, out=out), 2, hides=True),
    BinaryOperator("@", "·", "matrix product", lambda x, y, out: torch.bmm(x, y, out=out), 3),
    BinaryOperator("left", "left", "the first; the second is never computed", lambda x, y, out: x),
    BinaryOperator("min", "min", "the smaller", lambda x, y, out: torch.minimum(x, y, out=out), commutes=True, hides=True),
    BinaryOperator("max", "max", "the larger", lambda x, y, out: torch.maximum(x, y, out=out), commutes=True, hides=True),
)
BINARIES: dict[str, BinaryOperator] = {entry.name: entry for entry in _ENTRIES}
"""by name"""
PRODUCT, LEFT = "@", "left"
