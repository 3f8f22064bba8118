"""A cell of NAS-Bench-201 (Dong & Yang, ICLR 2020, figure 1): nodes 0 to 3, an operation on each edge i → j, i < j.

Node 0 is the cell's input, node 3 its output; a node is the sum of what its edges bring. ``none`` brings nothing.

When two cells are equal. The benchmark's own code tells cells apart by a string of each; there are 6,466 among the 15,625
(:meth:`Cell.benchmark_string`). That is not equality: it writes a convolution that two skips carry on as it writes two
convolutions of the same input, and one cell in several ways. 430 of the strings stand for cells that compute different things,
with different numbers of weights. :meth:`Cell.canonical` is the same for two cells exactly where they compute the same sums of
the same operations, each convolution with weights of its own: 5,260 distinct ones.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import UserError, nearest, shown

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
CONVOLUTIONS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
"""operations with weights, and the width of their kernel"""
Edge = tuple[int, int]
Term = tuple[str, tuple, int]
"""an operation, the terms whose sum it is applied to, and which of the convolutions it is (0 for a pool)"""
INPUT: Term = ("", (), 0)


@dataclass(frozen=True, order=True)
class Cell:
    """The operations on the six edges; cells with the same operations are equal, and hash alike.

    Raises:
        UserError: there are not six of them, or one is no operation.
    """

    operations: tuple[str, ...]
    """in the order 0→1, 0→2, 1→2, 0→3, 1→3, 2→3"""

    def __post_init__(self) -> None:
        if not isinstance(self.operations, tuple) or len(self.operations) != len(EDGES):
            raise UserError(
                f"a cell has six operations, on the edges {', '.join(map(_edge_name, EDGES))}; got {shown(self.operations)}."
            )
        for edge, operation in zip(EDGES, self.operations, strict=True):
            _check_operation(operation, edge, self.operations)

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """The cell of a string such as ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|``.

        Raises:
            UserError: it is none; the message says where.
        """
        if not isinstance(text, str):
            raise UserError(f"a cell is given as text such as {EXAMPLE}; got {shown(text)}.")
        nodes = text.strip().split("+")
        if len(nodes) != 3:
            raise UserError(
                f"the cell {shown(text)} has {len(nodes)} nodes between its plus signs and needs three; write it as {EXAMPLE}."
            )
        return cls(tuple(operation for node, part in enumerate(nodes, 1) for operation in _of_node(part, node, text)))

    def __str__(self) -> str:
        named = dict(zip(EDGES, self.operations, strict=True))
        return "+".join("|" + "".join(f"{named[i, j]}~{i}|" for i in range(j)) for j in (1, 2, 3))

    def live_edges(self) -> tuple[bool, ...]:
        """Of each edge, whether a path from input to output uses it."""
        return _live_edges(self.operations)

    @property
    def connected(self) -> bool:
        """Whether any path leads from input to output."""
        return any(self.live_edges())

    def live(self) -> "Cell":
        """The same cell with ``none`` on every edge that no path uses."""
        return Cell(tuple(op if alive else "none" for op, alive in zip(self.operations, self.live_edges(), strict=True)))

    def meaning(self) -> tuple[Term, ...]:
        """What it computes, as a sum of terms: the same for two cells exactly where they are equal."""
        return _meaning(self.live().operations)

    def canonical(self) -> "Cell":
        """The first, in the order of :data:`OPERATIONS`, of all cells that compute the same; it has no dead edge."""
        return _first_of_each()[self.meaning()]

    def benchmark_string(self) -> str:
        """By what the benchmark's own code tells cells apart; see above for what it confuses."""
        named, nodes = dict(zip(EDGES, self.operations, strict=True)), ["0"]
        for j in (1, 2, 3):
            nodes.append("+".join(sorted(_written(named[i, j], nodes[i]) for i in range(j))))
        return nodes[-1]


EXAMPLE = "'|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|'"


def cells() -> Iterator[Cell]:
    """All 15,625 of them, in the order of :data:`OPERATIONS`."""
    return map(Cell, itertools.product(OPERATIONS, repeat=len(EDGES)))


def _check_operation(operation: object, edge: Edge, within: object) -> None:
    if operation not in OPERATIONS:
        raise UserError(
            f"the cell {shown(within)} has {shown(operation)} on the edge {_edge_name(edge)}, which is no operation; did you "
            f"mean {nearest(operation, OPERATIONS)!r}? choose from {', '.join(OPERATIONS)}."
        )


def _of_node(part: str, node: int, text: str) -> list[str]:
    """The operations on the edges that lead to a node, from its part of the string."""
    pieces = part.strip().split("|")
    if len(pieces) != node + 2 or pieces[0] or pieces[-1]:
        raise UserError(
            f"the cell {shown(text)} says {shown(part)} of node {node}, which needs {node} operations between bars; write it "
            f"as {EXAMPLE}."
        )
    found = []
    for source, piece in enumerate(pieces[1:-1]):
        operation, tilde, number = piece.partition("~")
        _check_operation(operation, (source, node), text)
        if not tilde or number != str(source):
            raise UserError(
                f"the cell {shown(text)} says {shown(piece)} of the edge {_edge_name((source, node))}, which must end in "
                f"'~{source}'; write it as {EXAMPLE}."
            )
        found.append(operation)
    return found


def _edge_name(edge: Edge) -> str:
    return f"{edge[0]}→{edge[1]}"


@functools.lru_cache(maxsize=1 << 15)
def _live_edges(operations: tuple[str, ...]) -> tuple[bool, ...]:
    there = [edge for edge, operation in zip(EDGES, operations, strict=True) if operation != "none"]
    reached, reaching = {0}, {3}
    for j in (1, 2, 3):
        reached |= {target for source, target in there if target == j and source in reached}
    for i in (2, 1, 0):
        reaching |= {source for source, target in there if source == i and target in reaching}
    return tuple(edge in there and edge[0] in reached and edge[1] in reaching for edge in EDGES)


def _written(operation: str, source: str) -> str:
    if operation == "none" or source == "#":
        return "#"
    return source if operation == "skip_connect" else f"({source})@{operation}"


# -- what a cell computes ------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _first_of_each() -> Mapping[tuple, Cell]:
    """The first cell of each meaning; less than a second, once."""
    found: dict[tuple, Cell] = {}
    for cell in cells():
        if cell.live() == cell:  # the first of a meaning has no dead edge: 'none' comes first
            found.setdefault(_meaning(cell.operations), cell)
    return found


def _meaning(operations: tuple[str, ...]) -> tuple[Term, ...]:
    """The output as a sum of terms, the convolutions numbered in whichever way makes it come first."""
    named = dict(zip(EDGES, operations, strict=True))
    alike: dict[tuple, list[Edge]] = {}
    plain = _nodes(named, dict.fromkeys(EDGES, 1))
    for edge, operation in named.items():
        if operation in CONVOLUTIONS:  # only convolutions of the same input may change places
            alike.setdefault((operation, plain[edge[0]]), []).append(edge)
    groups = [alike[key] for key in sorted(alike)]
    starts = [1 + sum(map(len, groups[:at])) for at in range(len(groups))]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    return min(_nodes(named, _numbered(order, starts))[-1] for order in orders)


def _numbered(groups: Sequence[Sequence[Edge]], starts: Sequence[int]) -> dict[Edge, int]:
    pairs = zip(groups, starts, strict=True)
    return {edge: number for group, start in pairs for number, edge in enumerate(group, start)}


def _nodes(named: Mapping[Edge, str], numbers: Mapping[Edge, int]) -> list[tuple[Term, ...]]:
    """The terms whose sum each node is, sorted."""
    nodes: list[tuple[Term, ...]] = [(INPUT,)]
    for j in (1, 2, 3):
        terms: list[Term] = []
        for i in range(j):
            operation, source = named[i, j], nodes[i]
            if operation == "skip_connect":
                terms += source
            elif operation != "none" and source:
                terms.append((operation, source, numbers[i, j] if operation in CONVOLUTIONS else 0))
        nodes.append(tuple(sorted(terms)))
    return nodes
