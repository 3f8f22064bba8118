"""NAS-Bench-201 (Dong & Yang 2020, arXiv 2001.00326): a cell of four nodes, whose six edges each carry one of five operations.

A code lists the edges in the order of the cell's string, so that ``index`` counts as
:func:`pipeline.targets.nasbench201.cells`.
"""

import functools
from typing import TYPE_CHECKING

from pipeline.architectures.space import Code, Space
from pipeline.targets.nasbench201 import EDGES, OPERATIONS, Cell
from pipeline.targets.nasbench201 import network as network_of

if TYPE_CHECKING:
    from torch import nn

CHANNELS, CELLS = 16, 5
"""of the first stage, and of each of the three stages"""


def cell_of(code: Code) -> Cell:
    """The cell of a code."""
    return Cell(tuple(OPERATIONS[choice] for choice in code))


def text(code: Code) -> str:
    """``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``"""
    return str(cell_of(code))


def code_of(cell: str) -> Code:
    """The code of a cell's string; UserError where it is no cell, which says where."""
    return tuple(map(OPERATIONS.index, Cell.parse(cell).operations))


@functools.lru_cache(maxsize=1 << 15)
def canonical(code: Code) -> str:
    """The string of the first cell that computes the same; there are 5,260."""
    return str(cell_of(code).canonical())


def network(code: Code, shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    """The network of the benchmark, for images of three channels: 15 cells, 16 channels at first."""
    del shape
    return network_of(cell_of(code), classes=classes, channels=CHANNELS, cells=CELLS, seed=seed)


DECISIONS = {f"{source}→{target}": OPERATIONS for source, target in EDGES}
SPACE = Space("nasbench201", DECISIONS, network, text, code_of, canonical)
