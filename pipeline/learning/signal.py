"""The contract of a learning rule: what goes back to each layer's pre-activation.

A rule is written once, with :meth:`pipeline.targets.Context.pull` and elementwise operations on what a
:class:`pipeline.targets.Context` holds, and so serves every target whose layers make contexts. Written through the contract,
backpropagation is :mod:`pipeline.learning.backprop`.

Letters: P members, B examples.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from pipeline.errors import UserError
from pipeline.targets import Context, Population, Target


@runtime_checkable
class SignalRule(Protocol):
    """A learning rule. Derive from it for the defaults: from the output down, no gradient, nothing to remember."""

    order: Literal["down", "up"] = "down"
    """in which layers are asked for their signals: from the output down or from the inputs up"""
    exact: bool = False
    """whether what goes back is the gradient of the loss"""
    serves: Literal["chains", "layers", "positions"] = "chains"
    """which modules (:mod:`pipeline.learning.modules`). ``chains``: linear layers with an activation between them, whose
    contexts are whole, as a population's are. ``layers``: all that are made of linear and convolutional layers, as the rule
    reads no more than what the layer above pulls, the error at the output and h. ``positions``: likewise, and nothing is pulled
    in the weights' place; it acts where the module has a :class:`pipeline.targets.position.Position`"""
    columns: bool = False
    """of one that serves ``layers``: whether it multiplies h by matrices of its own. Then it sees all as a population has it,
    (P, channels, B), each pixel of a feature map as an example of its own"""
    labels: bool = False
    """whether it reads the examples' labels"""

    def init(self, target: Target, seeds: Sequence[int]) -> Any:
        """The rule's state for one member per seed: tensors with a leading axis P, on the CPU, in lists, tuples or dictionaries
        as it likes; floating ones in float32, or in float64 where the digits are given. What is random in it is drawn from the
        member's seed alone."""
        return None

    def signal(self, context: Context, state: Any) -> Float[Tensor, "..."]:
        """b_i, what goes back to the layer's z, of its shape (P, out, B). The layers before it in :attr:`order` have theirs."""
        ...

    def learn(self, contexts: Sequence[Context], state: Any) -> None:
        """Called after all signals of a step, from the inputs on, for rules that train something of their own."""


@dataclass
class Bound:
    """A rule with its state: what :meth:`pipeline.targets.Population.grads` takes as its signal."""

    rule: SignalRule
    state: Any

    def __call__(self, contexts: Sequence[Context]) -> None:
        for context in contexts if self.rule.order == "up" else reversed(contexts):
            context.signal = self.rule.signal(context, self.state)
        self.rule.learn(contexts, self.state)

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of what the rule remembers, by name; with the population's own it continues a run to the bit."""
        return {name: tensor.clone() for name, tensor in _tensors(self.state)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`.

        Raises:
            UserError: the state of another rule, target or number of members.
        """
        own = dict(_tensors(self.state))
        if own.keys() != state.keys() or any(state[name].shape != tensor.shape for name, tensor in own.items()):
            raise UserError(
                f"the saved state of the learning rule is none of {type(self.rule).__name__} on these members; start afresh or "
                "restore its settings."
            )
        for name, tensor in own.items():
            tensor.copy_(state[name])


def bound(rule: SignalRule, population: Population) -> Bound:
    """The rule with a fresh state for a population's members, on its device and in its type."""
    return Bound(rule, to(rule.init(population.target, population.seeds), population.flat_parameters))


def require_gradient(rule: SignalRule | None, reader: str) -> None:
    """Nothing, if the rule sends back the gradient of the loss; None is backpropagation.

    Args:
        reader: what needs it, as the sentence begins.

    Raises:
        UserError: it does not.
    """
    if rule is not None and not getattr(rule, "exact", False):
        raise UserError(
            f"{reader} needs the gradient of the loss, and {type(rule).__name__} sends back none; use backpropagation with it."
        )


def _tensors(state: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a rule's state, by name."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, Mapping):
        for key, own in state.items():
            yield from _tensors(own, f"{name}.{key}")
    elif isinstance(state, list | tuple):
        keys = getattr(state, "_fields", range(len(state)))
        for key, own in zip(keys, state, strict=True):
            yield from _tensors(own, f"{name}.{key}")


def to(state: Any, like: Tensor) -> Any:
    """A rule's state on another device; its floating tensors in another type."""
    if isinstance(state, Tensor):
        return state.to(like.device, like.dtype if state.is_floating_point() else state.dtype)
    if isinstance(state, Mapping):
        return {name: to(own, like) for name, own in state.items()}
    if isinstance(state, list | tuple):
        moved = [to(own, like) for own in state]
        return type(state)(*moved) if hasattr(state, "_fields") else type(state)(moved)
    return state
