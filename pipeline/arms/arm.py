"""What an arm of a comparison is: one way of training, as a value. Nothing here imports torch.

A rule is made of what the comparison hands over (:class:`Setup`), so that an arm's file needs no import of what comes later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

FIRST = "first"
"""an arm's ENN: the instructing one, whose reader is the first of ``enn.readers``"""
BEFORE = "before"
"""an arm's ENN: the instructing one as RL left it, before fine-tuning"""


@runtime_checkable
class Setup(Protocol):
    """A population about to be trained, and what its rule may be made of."""

    @property
    def rules(self) -> Any:
        """The rules of :mod:`pipeline.instruction`, by name."""

    @property
    def signals(self) -> Any:
        """The learning rules of :mod:`pipeline.learning`, by name."""

    @property
    def config(self) -> Any:
        """:class:`pipeline.config.Config`"""

    @property
    def seeds(self) -> tuple[int, ...]:
        """of the members (P,)"""
        ...

    @property
    def strengths(self) -> Any:
        """The candidate that each member tries, a tensor (P,); zeros for an arm without candidates."""

    def signal(self, name: str, **others: Any) -> Any:
        """The learning rule of this name with its settings, and with others that no configuration has."""

    @property
    def learning_rate(self) -> Any:
        """Of the targets' optimiser, one for all members or each member's, a tensor (P,)."""

    def instruct(self) -> Any:
        """The instruction by the arm's ENN at these strengths; a strength below 0 lets the ENN choose λ."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of training."""

    name: str
    """as ``compare.arms`` calls it"""
    says: str
    """what it is, in one line"""
    rule: Callable[[Setup], Any]
    """what is added to backpropagation"""
    signal: str = "backprop"
    """what goes backwards, as :data:`pipeline.names.Signal` calls it"""
    start: str | None = None
    """initialisation; None: as configured"""
    strengths: str = ""
    """where ``config.compare`` lists the candidates for its strength; empty: there is nothing to choose"""
    everything: bool = False
    """train on training and validation data: a baseline may use what an ENN has seen"""
    enn: str = ""
    """which ENN instructs: FIRST, BEFORE, or one by its reader's name; empty: none does"""
    duels: tuple[str, ...] = ()
    """other arms that the report sets it against, beside the baseline"""
    explained: bool = False
    """Grad-CAM looks at its weights"""
    colour: str
    """of its curves in all figures; no other arm has it"""
    dash: tuple[int, tuple[int, ...]] | None = None
    """of its curves, as matplotlib's line styles; None: solid"""


def unmet(arms: tuple[Arm, ...], readers: tuple[str, ...], segments: int) -> list[str]:
    """What the settings lack that arms need, a sentence each.

    Args:
        readers: ``enn.readers``.
        segments: ``unroll.segments``.
    """
    sentences = []
    for arm in arms:
        if arm.enn not in ("", FIRST, BEFORE, *readers):
            sentences.append(
                f"compare.arms has {arm.name!r} but enn.readers has no {arm.enn!r}; add the reader or drop the arm."
            )
        if arm.enn == BEFORE and not segments:
            sentences.append(
                f"compare.arms has {arm.name!r}, the ENN before its fine-tuning, but unroll.segments is 0; drop the arm."
            )
    return sentences
