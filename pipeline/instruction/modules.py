"""Somebody's module, as an ENN reads it: by its forward pass, or, where it computes a chain of linear layers, by its weights.

Letters: K probes, C classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.enn import Critic
from pipeline.enn.readers import Probes, Unreadable
from pipeline.errors import reason_of
from pipeline.instruction.chain import Unfit, as_mlp, computed, departure
from pipeline.instruction.copies import Call, probes_like, scores_of, with_copies
from pipeline.instruction.reading import value_gradients
from pipeline.instruction.unseen import unseen
from pipeline.targets import MLP

__all__ = ["Chain", "Forward", "How", "Readable", "Slopes", "as_mlp", "readable"]


@dataclass(frozen=True)
class How:
    """What its owner says about reading a module."""

    input_shape: tuple[int, ...] | None = None
    """of one input"""
    forward: Call | None = None
    hooks: str = "refuse"

    @property
    def any_module(self) -> bool:
        """Whether the module may be anything, and not only linear layers with activations between them."""
        return self.input_shape is not None or self.forward is not None


class Slopes(NamedTuple):
    """What an ENN says about one module."""

    value: Tensor
    """V(θ, t), (1,)"""
    hidden: Float[Tensor, "1 hidden"]
    gradients: list[Tensor | None]
    """∂V/∂θ of each of its tensors, of the ENN's type and on its device; None where V does not depend on it"""


@runtime_checkable
class Readable(Protocol):
    """A module that an ENN can read."""

    model: nn.Module
    names: list[str]
    tensors: list[Tensor]
    """what is trained, or, of a chain, all its weights and biases"""
    target: MLP | None
    """of a chain"""
    output_bias: Tensor | None
    """what is added to the scores as it is, if that is known"""

    def features(self, progress: Float[Tensor, "1"]) -> Tensor:
        """Of the module now, for the ENN's head."""
        ...

    def slopes(self, progress: Float[Tensor, "1"]) -> Slopes:
        """V and its gradient."""
        ...

    def confirm(self) -> bool:
        """Whether the module still computes what it did when it was first looked at."""
        ...


def readable(model: nn.Module, critic: Critic, how: How) -> Readable:
    """``model`` as the ENN can read it: by its weights where it computes a chain of linear layers, else by its forward pass.

    Raises:
        Unreadable: the model, or one of its layers, is none that this ENN can read; the message names the layer.
    """
    probes = isinstance(critic.reader, Probes)
    if how.any_module:
        if not probes:
            raise Unreadable(
                f"only an ENN that reads by probes can read any module, and this one reads by {critic.reader_name}; "
                "leave input_shape and forward out for a chain of linear layers."
            )
        return Forward(model, critic, how)
    try:
        target, tensors = as_mlp(model)
    except Unfit as error:
        if not probes:
            raise
        try:
            return Forward(model, critic, how)
        except Unreadable:
            raise error from None
    except Unreadable as error:
        more = " Or give input_shape, and it is read by what it computes." if probes else ""
        raise Unreadable(f"{error}{more}") from None
    why = computed(model)
    if not why:
        critic.reader.check(target)
        chain = Chain(model, critic, how, target, tensors)
        why = chain.departs()
    if why and probes:
        return Forward(model, critic, how)
    if why:
        raise Unreadable(
            f"{why}, so that it is no chain of linear layers, which alone the {critic.reader_name} reader can read; use an ENN "
            "that reads by probes."
        )
    return chain  # pyright: ignore[reportPossiblyUnboundVariable]


@dataclass
class Chain:
    """A module that computes the chain of linear layers that it consists of."""

    model: nn.Module
    critic: Critic
    how: How
    target: MLP | None
    tensors: list[Tensor]
    names: list[str] = field(init=False)
    output_bias: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        self.names, self.output_bias = [names[id(tensor)] for tensor in self.tensors], self.tensors[-1]

    def departs(self) -> str:
        """Where it computes something else, in words; empty where it does not."""
        assert self.target is not None
        inputs = probes_like(self.critic, self.tensors[0])

        def run() -> Tensor:
            return scores_of(self.model, None, inputs, (inputs.shape[1],), self.target.widths[-1])  # type: ignore[union-attr]

        with unseen(self.model, self.how.hooks):
            return with_copies(self.model, {}, lambda model: departure(model, self.target, run, inputs))  # type: ignore[arg-type]

    def confirm(self) -> bool:
        return not self.departs()

    def stacked(self) -> list[Tensor]:
        """A population of one, of the critic's type and on its device."""
        like = next(self.critic.parameters())
        return [tensor.detach()[None].to(like) for tensor in self.tensors]

    def features(self, progress: Float[Tensor, "1"]) -> Tensor:
        return self._read(self.stacked(), progress)

    def slopes(self, progress: Float[Tensor, "1"]) -> Slopes:
        value, hidden, gradients = value_gradients(self.critic, self.stacked(), progress, features=self._read)
        return Slopes(value, hidden, [gradient[0] for gradient in gradients])

    def _read(self, parameters: Sequence[Tensor], progress: Tensor) -> Tensor:
        assert self.target is not None
        return self.critic.reader.read(parameters, progress, self.target.activation)


@dataclass
class Forward:
    """Any module that maps inputs to class scores, by its forward pass on the probes."""

    model: nn.Module
    critic: Critic
    how: How
    names: list[str] = field(init=False)
    tensors: list[Tensor] = field(init=False)
    target: MLP | None = None
    output_bias: Tensor | None = None

    def __post_init__(self) -> None:
        trained = {name: own for name, own in self.model.named_parameters() if own.requires_grad and own.is_floating_point()}
        self.names, self.tensors = list(trained), list(trained.values())
        inputs = self.critic.reader.home.widths[0]
        self.shape = self.how.input_shape or (inputs,)
        if math.prod(self.shape) != inputs:
            raise Unreadable(f"input_shape {self.shape} is not {inputs} values, which this ENN's probes have; give another.")
        with torch.no_grad():  # so that what cannot be read is refused before anything is instructed
            self._inside({}, self._logits)
        if self.tensors:
            self.output_bias = self._output_bias()

    def confirm(self) -> bool:
        return True

    def features(self, progress: Float[Tensor, "1"]) -> Tensor:
        with torch.no_grad():
            return self._inside({}, lambda model: self._features(model, progress))

    def slopes(self, progress: Float[Tensor, "1"]) -> Slopes:
        leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in zip(self.names, self.tensors, strict=True)}

        def inside(model: nn.Module) -> Slopes:
            with torch.enable_grad():
                hidden = self.critic.hidden(self._features(model, progress))
                value = self.critic.value_from(hidden)
                found = self._gradients(value.sum(), [*leaves.values(), *self.tensors])
            # a module that keeps its parameters in a list, say, uses these and not the copies: what is asked for is the sum
            found = [_sum(own, kept) for own, kept in zip(found, found[len(leaves) :], strict=False)]
            return Slopes(value.detach(), hidden.detach(), [None if own is None else _finite(own.to(hidden)) for own in found])

        return self._inside(leaves, inside)

    def _gradients(self, value: Tensor, leaves: list[Tensor], slope: Tensor | None = None) -> Sequence[Tensor | None]:
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if value.requires_grad:
            try:
                found = torch.autograd.grad(value, leaves, slope, allow_unused=True)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # of torch, or of a function of somebody's
                raise Unreadable(
                    f"the model cannot be differentiated on the probes ({reason_of(error)}); change what it is made of, or say "
                    "by forward= how to get scores that can."
                ) from error
        if all(own is None for own in found):
            raise Unreadable(
                "what the model returns depends on none of its trained parameters (is it computed without gradients?); say by "
                "forward= how to get scores that do."
            )
        return found

    def _output_bias(self) -> Tensor | None:
        """The parameter that is added to the scores as it is: the slope along it is the sum of the scores' slopes."""
        classes = self.critic.reader.home.widths[-1]
        places = [place for place, own in enumerate(self.tensors) if own.shape == (classes,)]
        if not places:
            return None
        leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in zip(self.names, self.tensors, strict=True)}

        def inside(model: nn.Module) -> Tensor | None:
            with torch.enable_grad():
                logits = self._logits(model)
                slope = torch.linspace(-1, 2, logits.numel(), dtype=logits.dtype, device=logits.device).view_as(logits)
                found = self._gradients(logits, list(leaves.values()), slope)
            for place in places:
                own = found[place]
                if own is not None and torch.allclose(own.to(slope), slope.sum(0), rtol=0.02):
                    return self.tensors[place]
            return None

        return self._inside(leaves, inside)

    def _features(self, model: nn.Module, progress: Tensor) -> Tensor:
        return self.critic.reader.read_logits(self._logits(model)[None], progress)  # type: ignore[attr-defined,operator]

    def _logits(self, model: nn.Module) -> Float[Tensor, "K C"]:
        like = next((own for own in model.parameters() if own.is_floating_point()), None)
        probes = probes_like(self.critic, like).view(-1, *self.shape)
        classes = self.critic.reader.home.widths[-1]
        return scores_of(model, self.how.forward, probes, self.shape, classes).to(next(self.critic.parameters()))

    def _inside(self, leaves: dict[str, Tensor], function: Callable[[nn.Module], Any]) -> Any:
        with unseen(self.model, self.how.hooks):
            return with_copies(self.model, leaves, function)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


def _finite(gradient: Tensor) -> Tensor:
    return gradient.nan_to_num(0.0, 0.0, 0.0)
