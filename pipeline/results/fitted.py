"""A table that loses no number on a narrow screen: what does not fit beside the rest stands in a further block below."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

WIDE = 100_000
"""columns of a screen on which everything fits"""


@dataclass(frozen=True)
class Fitted:
    """Cells under headings, for rich to print: as few blocks as there must be, each beginning with the first column."""

    columns: Sequence[str]
    cells: Sequence[Sequence[str]]
    between: int = 0
    """spaces beside a cell, more than the one that is there anyway"""

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator["Table"]:
        for block in self.blocks(console, options):
            yield self._table(block)

    def blocks(self, console: "Console", options: "ConsoleOptions") -> list[list[int]]:
        """The numbers of the columns in each block."""
        found: list[list[int]] = []
        for number in range(1, len(self.columns)):
            if found and self._width([*found[-1], number], console, options) <= options.max_width:
                found[-1].append(number)
            else:
                found.append([0, number])
        return found or [[0]]

    def _width(self, block: Sequence[int], console: "Console", options: "ConsoleOptions") -> int:
        from rich.measure import Measurement

        return Measurement.get(console, options.update(width=WIDE, max_width=WIDE), self._table(block)).maximum

    def _table(self, block: Sequence[int]) -> "Table":
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, self.between, 0, 0), pad_edge=False)
        for number in block:  # too long for any screen: it goes on in the next line
            table.add_column(self.columns[number], justify="left" if number == 0 else "right", overflow="fold")
        for row in self.cells:
            table.add_row(*(row[number] for number in block))
        return table
