"""NAS-Bench-201 (Dong & Yang 2020, arXiv 2001.00326): a cell of four nodes, whose six edges each carry one of five operations.

A code lists the edges in the order of the cell's string, so that ``index`` counts as the string reads.
"""

from typing import TYPE_CHECKING

from pipeline.architectures.space import Code, Space
from pipeline.errors import UserError, nearest, shown

if TYPE_CHECKING:
    from torch import nn

    from pipeline.targets.nasbench201 import Cell

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ("0→1", "0→2", "1→2", "0→3", "1→3", "2→3")
"""from which node to which"""
PLACES = (("0",), ("0", "1"), ("0", "1", "2"))
"""by node from 1 on, the nodes that its edges come from"""
CHANNELS, CELLS = 16, 5
"""of the first stage, and of each of the three stages"""


def text(code: Code) -> str:
    """``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``"""
    names = iter(code)
    return "+".join("|" + "|".join(f"{OPERATIONS[next(names)]}~{source}" for source in node) + "|" for node in PLACES)


def code_of(cell: str) -> Code:
    """The code of a cell's string.

    Raises:
        UserError: it is no cell; the sentence says where.
    """
    nodes = str(cell).strip().split("+")
    if len(nodes) != len(PLACES):
        raise UserError(f"{shown(cell)} has {len(nodes)} nodes, and a cell has 3: give |op~0|+|op~0|op~1|+|op~0|op~1|op~2|.")
    found: list[int] = []
    for node, (sources, words) in enumerate(zip(PLACES, nodes, strict=True), 1):
        edges = words.strip().strip("|").split("|")
        if [edge.rpartition("~")[2] for edge in edges] != list(sources):
            raise UserError(f"node {node} of the cell {shown(cell)} is not written as {_pattern(sources)}; write it so.")
        for edge in edges:
            name = edge.rpartition("~")[0]
            if name not in OPERATIONS:
                near = nearest(name, OPERATIONS)
                raise UserError(
                    f"node {node} of the cell {shown(cell)} has {shown(name)}, no operation; did you mean {near!r}?"
                )
            found.append(OPERATIONS.index(name))
    return tuple(found)


def _pattern(sources: tuple[str, ...]) -> str:
    return "|" + "|".join(f"op~{source}" for source in sources) + "|"


def cell_of(code: Code) -> "Cell":
    """The cell of a code."""
    from pipeline.targets.nasbench201 import Cell

    return Cell.parse(text(code))


def canonical(code: Code) -> "Cell":
    """The cell that stands for all that compute the same."""
    return cell_of(code).canonical()


def network(code: Code, shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    """The network of the benchmark: 15 cells, 16 channels at first."""
    from pipeline.targets.nasbench201 import network

    return network(cell_of(code), classes=classes, channels=CHANNELS, cells=CELLS, seed=seed)


SPACE = Space("nasbench201", dict.fromkeys(EDGES, OPERATIONS), network, text, code_of, canonical)
