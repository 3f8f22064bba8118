"""An update is a signal and terms: what goes backwards, and what is added to the gradients that it makes.

    Update()                              # backpropagation
    Update(terms=[L2(strength)])          # with a penalty; L2(strength) alone is the same rule
    Update("fa", [L2(strength)])          # the same penalty over another learning rule

A term never asks where the gradients come from. One that does need the gradient of the loss says so, and is refused where the
signal is none.

Letters: P members.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pipeline.instruction.rule import Batch
from pipeline.learning import Bound, SignalRule, bound, named, require_gradient
from pipeline.targets import Population


class Term:
    """What is added to an update. Alone it is a rule, too: backpropagation with this one term.

    At every step all terms read, then all add, then all move, so that none sees what another has done to the weights.
    """

    needs_gradient = ""
    """what of this term needs the gradient of the loss, in words; empty where it takes any signal"""

    def init(self, population: Population) -> Any:
        """The term's state for this population."""
        return None

    def read(self, population: Population, gradients: Sequence[Tensor], state: Any) -> None:
        """Look at the weights and at what the signal made of them, before anything is added."""

    def add(self, population: Population, gradients: Sequence[Tensor], state: Any) -> None:
        """Add to the gradients, one tensor (P, …) per parameter, in place."""

    def move(self, population: Population, state: Any) -> None:
        """Move the weights beside the optimiser's step."""

    def update(self, population: Population, batch: Batch, state: Any) -> Sequence[Tensor]:
        """As a rule."""
        gradients = population.grads(batch.x, batch.y)
        _add_terms(population, gradients, [(self, state)])
        return gradients


@dataclass
class UpdateState:
    """What an :class:`Update` remembers between steps."""

    signal: Bound | None = None
    terms: list[Any] = field(default_factory=list)
    """one state per term"""


class Update:
    """A rule: what goes backwards, and what is added to it.

    Args:
        signal: the learning rule, or its name; None is backpropagation on the fused path.
        terms: in the order in which they add.

    Raises:
        UserError: a term needs the gradient of the loss, and the signal is none; or no learning rule has this name.
    """

    def __init__(self, signal: SignalRule | str | None = None, terms: Sequence[Term] = ()) -> None:
        signal = named(signal) if isinstance(signal, str) else signal
        for term in terms:
            if term.needs_gradient:
                require_gradient(signal, term.needs_gradient)
        self.signal, self.terms = signal, tuple(terms)

    def init(self, population: Population) -> UpdateState:
        signal = None if self.signal is None else bound(self.signal, population)
        return UpdateState(signal, [term.init(population) for term in self.terms])

    def update(self, population: Population, batch: Batch, state: UpdateState | None) -> Sequence[Tensor]:
        """``state`` may be None where there is nothing to remember: for backpropagation alone."""
        if state is None:
            state = UpdateState()
        gradients = population.grads(batch.x, batch.y, state.signal)
        if self.terms:
            _add_terms(population, gradients, list(zip(self.terms, state.terms, strict=True)))
        return gradients


class Backprop(Update):
    """Conventional training: the gradient of the loss and nothing else; ``Update()`` by its name."""

    def __init__(self) -> None:
        super().__init__()


def parts(rule: Any, state: Any) -> list[tuple[Any, Any]]:
    """The terms of a rule with their states: those of an update, or the rule itself."""
    if isinstance(rule, Update):
        return list(zip(rule.terms, state.terms if state else (), strict=True))
    return [(rule, state)]


def without(rule: Any, state: Any, left_out: Term) -> tuple[Update, UpdateState]:
    """The same update without one of its terms."""
    kept = [(term, own) for term, own in parts(rule, state) if term is not left_out]
    signal, bound_signal = (rule.signal, state.signal) if isinstance(rule, Update) else (None, None)
    return Update(signal, [term for term, _ in kept]), UpdateState(bound_signal, [own for _, own in kept])


def _add_terms(population: Population, gradients: Sequence[Tensor], terms: Sequence[tuple[Term, Any]]) -> None:
    for term, state in terms:
        term.read(population, gradients, state)
    for term, state in terms:
        term.add(population, gradients, state)
    for term, state in terms:
        term.move(population, state)
