"""One forward pass of a module as its layers' hooks record it, and a way of learning: what is made of it backwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.learning.signal import Bound, SignalRule
from pipeline.targets import Target


@dataclass(eq=False)
class Call:
    """A layer, or a position, at work."""

    name: str
    layer: Any
    """a linear or convolutional layer, or a position"""
    index: int
    """among the calls of its pass"""
    owner: "Pass" = field(repr=False)

    @property
    def is_last(self) -> bool:
        """Whether it is the output."""
        return self.index == self.owner.count - 1


@dataclass(eq=False)
class Pass:
    """One forward pass, and what is known of it as its backward pass goes on. It lives as long as autograd's graph does, and
    goes with it: nothing in it leads back to itself, so that no memory waits for Python's search for cycles."""

    count: int = 0
    """of calls"""
    last: str = ""
    """name of the layer called last"""
    called: set[str] = field(default_factory=set)
    """names of layers, also of those that autograd does not follow"""
    error: Tensor | None = None
    """∂L/∂z at the last layer, (1, K, B)"""
    labels: Tensor | None = None
    contexts: dict[int, Any] = field(default_factory=dict)
    """by the index of the call, for what a rule learns of its own"""
    signals: dict[int, Tensor] = field(default_factory=dict)
    """likewise, where all are known at once"""
    learning: bool = False
    """whether the rule has been told to learn when this backward pass is over"""


@dataclass(eq=False)
class Seen:
    """What is known of a call while the forward pass lasts, and not kept, as it holds autograd's graph."""

    call: Call
    received: Tensor
    entered: Tensor
    """what the layer is to see in its place"""
    node: Any = None
    """autograd's node of what the call gave"""
    given: Tensor | None = None


class Way:
    """How a rule serves a module: one of :mod:`~pipeline.learning.modules.layers`, ``chains``, ``positions``."""

    reroutes = True
    """whether it says what goes to a layer's inputs, in autograd's place"""

    def __init__(self, rule: SignalRule, name: str) -> None:
        self.rule, self.name = rule, name
        self.bound: Bound | None = None

    @property
    def state(self) -> Bound:
        """The rule with its state."""
        assert self.bound is not None, "there is no backward pass before a forward pass"
        return self.bound

    def describe(self, seen: Sequence[Seen], output: Any) -> Target:
        """What the rule is told about the module, after its first forward pass."""
        raise NotImplementedError

    def check(self, seen: Sequence[Seen], output: Any) -> None:
        """After each forward pass.

        Raises:
            UserError: this one is none that the rule can serve.
        """

    def enter(self, call: Call, received: Tensor) -> Tensor:
        """What the layer is to see in the place of what it receives."""
        return received

    def leave(self, call: Call, received: Tensor, given: Tensor) -> Tensor:
        """What comes after the layer in the place of what it gives."""
        return given

    def labels(self, error: Tensor) -> Tensor:
        """(B,), read off the error: of the mean cross entropy, p − y, the label's alone is negative and the sum is 0. Zeros
        where the rule reads none.

        Raises:
            UserError: the error is that of no cross entropy of classes.
        """
        error = error[0]
        if not self.rule.labels:
            return torch.zeros(error.shape[-1], dtype=torch.int64, device=error.device)
        sums_to_zero = error.sum(0).abs() <= 0.05 * error.abs().sum(0)
        if bool(((error < 0).sum(0) > 1).any()) or not bool(sums_to_zero.all()) or error.shape[0] < 2:
            raise UserError(
                f"the rule {self.name!r} reads each example's label off the error at the output, and this is not that of the "
                "cross entropy of class scores; use another rule or that loss."
            )
        return error.argmin(0)


def only_first_order() -> None:
    """Nothing, in an ordinary backward pass.

    Raises:
        UserError: the backward pass is itself to be differentiated.
    """
    if torch.is_grad_enabled():
        raise UserError(
            "a second derivative needs the gradient of the loss, and a learning rule sends back none; restore the model first."
        )
