"""Progress of long work: one live line with the time left on a terminal that can move its cursor, plain lines otherwise."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from pipeline.errors import printable

_AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""square brackets in a folder's name are no markup"""
_WIDTH = os.environ.get("COLUMNS", "")
_OF_A_FILE = max(40, int(_WIDTH)) if _WIDTH.isdecimal() and len(_WIDTH) < 5 else 120
_FILE: dict[str, Any] = {"width": _OF_A_FILE, "soft_wrap": True, "force_terminal": False}
"""a file is no terminal, whatever FORCE_COLOR says: that is about colours, and cursor movements come with it"""


class _Console(Console):
    """A console on which no name or text from somebody's file moves the cursor, rings or recolours."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text, KEPT)
            yield segment if text == segment.text else Segment(text, segment.style)


KEPT = "\n\t\u00a0"
"""what is no visible character and may be in what we print"""
_TERMINAL = sys.stdout is not None and sys.stdout.isatty()
console = _Console(**_AS_IT_IS) if _TERMINAL else _Console(**_AS_IT_IS, **_FILE)
QUIET = 2.0
"""without a terminal, seconds that must pass between two lines of progress"""


def warn(sentence: str) -> None:
    """Say what is wrong but stops nothing; also where nothing else is to be said."""
    (_Console(**_AS_IT_IS, stderr=True, soft_wrap=True) if console.quiet else console).print(f"warning: {sentence}")


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
    """Counts the parts of one stage. Those that an earlier command has done take no time here, and foretell none.

    Args:
        at_once: so many parts are worked on at the same time, and end together or nearly so: the time left is told by whole
            rounds of them. 0: how many there will be is not known, and no time is told.
    """

    def __init__(self, title: str, total: int, progress: Progress | None, at_once: int = 1) -> None:
        self.title, self.total, self.progress, self.done, self.before = title, total, progress, 0, 0
        self.at_once = at_once
        self.started = self.printed = self._known_at = time.monotonic()
        self._known = 0
        """parts in whole rounds"""
        self._told = False
        self.task: TaskID | None = progress.add_task(title, total=total, bar=self) if progress else None

    def left(self) -> float | None:
        """Seconds, by what the rounds that are over have taken; None where there was none yet, or they have proved too few."""
        if not self._known or self.done >= self.total:
            return None
        each = (self._known_at - self.started) / self._known
        return max(0.0, each * (self.total - self.before - self._known) - (time.monotonic() - self._known_at)) or None

    def of(self, total: int) -> None:
        """So many parts there are, which was not known at the start."""
        self.total = total
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, total=total)

    def skip(self, parts: int = 1) -> None:
        """Parts that were done before."""
        self.done, self.before = self.done + parts, self.before + parts
        self.started = self.printed = self._known_at = time.monotonic()
        self._known = 0
        if self.progress is not None and self.task is not None:
            self.progress.reset(self.task, total=self.total, completed=self.done)

    def advance(self, message: str = "") -> None:
        """One more part is done."""
        self.tell_skipped()
        self.done += 1
        if self.at_once and (self.done - self.before) % self.at_once == 0:
            self._known, self._known_at = self.done - self.before, time.monotonic()
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=self.done, description=f"{self.title} {message}")
        elif time.monotonic() - self.printed > QUIET or self.done == self.total:
            self.printed = time.monotonic()
            left = self.left()
            told = "" if left is None else f", {left:.0f} s left"
            console.print(f"{self.title}: {self.done}/{self.total}{f' {message}' if message else ''}{told}")

    def say(self, line: str) -> None:
        """A line that stays on the screen."""
        self.tell_skipped()
        (self.progress.console if self.progress else console).print(line)

    def tell_skipped(self) -> None:
        """Say once how much was done before."""
        if self.before and not self._told:
            self._told = True
            self.say(f"{self.title}: {self.before} of {self.total} were done before")


class _Left(ProgressColumn):
    """The time that a bar says is left."""

    def render(self, task: Task) -> Text:
        left = task.fields["bar"].left()
        return Text("" if left is None else f"{int(left) // 60}:{int(left) % 60:02d} left")


@contextmanager
def stage(title: str, total: int, at_once: int = 1) -> Iterator[Bar]:
    """The bar of one stage; see :class:`Bar`."""
    if not console.is_terminal or console.is_dumb_terminal:
        bar = Bar(title, total, None, at_once)
        yield bar
        bar.tell_skipped()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), _Left())
    with Progress(*columns, console=console) as progress:
        bar = Bar(title, total, progress, at_once)
        yield bar
        bar.tell_skipped()
