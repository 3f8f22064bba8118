"""Progress of long work: one live line with the time left on a terminal, plain lines otherwise."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""square brackets in a folder's name are no markup"""
_WIDTH = os.environ.get("COLUMNS", "")
_OF_A_FILE = max(40, int(_WIDTH)) if _WIDTH.isdecimal() and len(_WIDTH) < 5 else 120
console = Console(**_AS_IT_IS) if sys.stdout.isatty() else Console(**_AS_IT_IS, width=_OF_A_FILE, soft_wrap=True)
QUIET = 2.0
"""without a terminal, seconds that must pass between two lines of progress"""


def warn(sentence: str) -> None:
    """Say what is wrong but stops nothing; also where nothing else is to be said."""
    (Console(**_AS_IT_IS, stderr=True, soft_wrap=True) if console.quiet else console).print(f"warning: {sentence}")


@contextmanager
def saying(quiet: bool = False, results_only: bool = False) -> Iterator[None]:
    """During the block the console is ``quiet``; or it goes where errors go, so that what is printed is a result alone."""
    before = console.quiet, console._file
    console.quiet = quiet or console.quiet
    if results_only:
        console.file = sys.stderr
    try:
        yield
    finally:
        console.quiet = before[0]
        console._file = before[1]


class Bar:
    """Counts the parts of one stage. Those that an earlier command has done take no time here, and foretell none."""

    def __init__(self, title: str, total: int, progress: Progress | None) -> None:
        self.title, self.total, self.progress, self.done, self.before = title, total, progress, 0, 0
        self.started = self.printed = time.monotonic()
        self._told = False
        self.task: TaskID | None = progress.add_task(title, total=total) if progress else None

    def of(self, total: int) -> None:
        """So many parts there are, which was not known at the start."""
        self.total = total
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, total=total)

    def skip(self, parts: int = 1) -> None:
        """Parts that were done before."""
        self.done, self.before = self.done + parts, self.before + parts
        self.started = self.printed = time.monotonic()
        if self.progress is not None and self.task is not None:
            self.progress.reset(self.task, total=self.total, completed=self.done)

    def advance(self, message: str = "") -> None:
        """One more part is done."""
        self.tell_skipped()
        self.done += 1
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=self.done, description=f"{self.title} {message}")
        elif time.monotonic() - self.printed > QUIET or self.done == self.total:
            self.printed = time.monotonic()
            left = (self.printed - self.started) / max(1, self.done - self.before) * (self.total - self.done)
            console.print(f"{self.title}: {self.done}/{self.total}, {left:.0f} s left {message}".rstrip())

    def say(self, line: str) -> None:
        """A line that stays on the screen."""
        self.tell_skipped()
        (self.progress.console if self.progress else console).print(line)

    def tell_skipped(self) -> None:
        """Say once how much was done before."""
        if self.before and not self._told:
            self._told = True
            self.say(f"{self.title}: {self.before} of {self.total} were done before")


@contextmanager
def stage(title: str, total: int) -> Iterator[Bar]:
    """The bar of one stage."""
    if not console.is_terminal:
        bar = Bar(title, total, None)
        yield bar
        bar.tell_skipped()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = Bar(title, total, progress)
        yield bar
        bar.tell_skipped()
