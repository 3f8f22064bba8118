"""The one exception that a user is meant to read."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

from pipeline.addresses import without_secrets


class UserError(Exception):
    """Bad input. The message is one sentence that says what is wrong and what to do; the command line exits with code 2.

    It may name what somebody else has named: whatever would move a terminal's cursor in it is spelt out.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def printable(text: str, besides: str = "") -> str:
    """The text with every character that is no visible one spelt out, as Python writes it, but for those of ``besides``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in besides else c.encode("unicode_escape").decode() for c in text)


LONGEST = 120
"""characters of a value that is shown"""


def shown(value: Any) -> str:
    """What is in a file, as a few words of one line: it may be huge, deeply nested, or full of control characters."""
    try:
        text = _SHORT.repr(value)
        return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    except (ValueError, RecursionError):  # Python writes out no whole number of thousands of digits
        return f"a huge {type(value).__name__}"


def nearest(name: Any, known: Iterable[str]) -> str:
    """Which of the names that there are was probably meant."""
    return difflib.get_close_matches(str(name)[:80], list(known), n=1, cutoff=0.0)[0]


def reason_of(error: BaseException) -> str:
    """Why something of another package failed, in a sentence of ours: its first line of words, or, without any, its type.
    Addresses in it tell no password."""
    lines = without_secrets(str(error)).strip().splitlines()
    first = "".join(letter if letter.isprintable() else " " for letter in (lines[0] if lines else ""))
    return first[:LONGEST].rstrip(" .") or type(error).__name__


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
