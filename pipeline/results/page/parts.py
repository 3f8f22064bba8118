"""What a page is made of, as values: all texts are plain, and become HTML when the page is rendered."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.results.figures import Drawing


@dataclass(frozen=True)
class Words:
    """Paragraphs; or, where it is a list, its points."""

    texts: Sequence[str]
    listed: bool = False
    kind: str = "words"


@dataclass(frozen=True)
class Code:
    """Lines to be typed, or a file."""

    text: str
    kind: str = "code"


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    rows: Sequence[tuple[str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    colours: Sequence[str] = ()
    """of the rows, as in the figures"""
    words: Sequence[int] = ()
    """columns that hold words and not numbers, beside the first"""
    kind: str = "table"


@dataclass(frozen=True)
class Chart:
    """A figure, a panel beside the other, or below it on a small screen."""

    name: str
    """no other chart of the page has it"""
    drawing: Drawing
    coloured: bool = False
    """its colours are a scale, and stay as they are on a dark screen"""
    kind: str = "chart"


@dataclass(frozen=True)
class Folded:
    """What only some want to see, under a title."""

    title: str
    parts: Sequence["Part"]
    kind: str = "folded"


Part = Words | Code | Facts | Table | Chart | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    anchor: str
    """a word, by which links name it"""
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    lead: Sequence[str]
    """the answer, in a sentence or a few"""
    sections: Sequence[Section] = field(default_factory=tuple)
