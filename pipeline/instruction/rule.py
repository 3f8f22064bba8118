"""The rule contract: how a target's update is made.

A rule turns a population and a batch into the gradients that the optimiser applies. Rules × targets are factored: a rule knows
a population's tensors and their slots, never which network they make.

Letters: P members, B examples.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from pipeline.targets import Population


class Batch(NamedTuple):
    """Examples of one step, of each member or, without P, for all of them."""

    x: Tensor
    """inputs (P, B, in) or (B, in)"""
    y: Tensor
    """classes (P, B) or (B,), whole numbers"""


@runtime_checkable
class Rule(Protocol):
    """How a target's update is made."""

    def init(self, population: Population) -> Any:
        """The rule's state for this population."""
        ...

    def update(self, population: Population, batch: Batch, state: Any) -> Sequence[Tensor]:
        """Gradients to apply, one tensor (P, …) per parameter; may be the population's own, changed in place."""
        ...
