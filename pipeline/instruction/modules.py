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
from pipeline.errors import UserError, reason_of
from pipeline.instruction.chain import Unfit, as_mlp, computed, departure
from pipeline.instruction.reading import value_gradients
from pipeline.instruction.scores import class_scores
from pipeline.instruction.unseen import unseen
from pipeline.targets import MLP

__all__ = ["Chain", "Forward", "How", "Readable", "Slopes", "as_mlp", "readable"]

Call = Callable[[nn.Module, Tensor], Any]
"""how to get the class scores of a batch of inputs from a module"""


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
        inputs = _probes(self.critic, self.tensors[0])

        def run() -> Tensor:
            return _scores(self.model, None, inputs, (inputs.shape[1],), self.target.widths[-1])  # type: ignore[union-attr]

        with unseen(self.model, self.how.hooks):
            return _with_copies(self.model, {}, lambda model: departure(model, self.target, run, inputs))  # type: ignore[arg-type]

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
                found = self._gradients(value.sum(), list(leaves.values()))
            return Slopes(value.detach(), hidden.detach(), [None if own is None else _finite(own.to(hidden)) for own in found])

        return self._inside(leaves, inside)

    def _gradients(self, value: Tensor, leaves: list[Tensor], slope: Tensor | None = None) -> Sequence[Tensor | None]:
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if value.requires_grad:
            found = torch.autograd.grad(value, leaves, slope, allow_unused=True)
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
        probes = _probes(self.critic, like).view(-1, *self.shape)
        classes = self.critic.reader.home.widths[-1]
        return _scores(model, self.how.forward, probes, self.shape, classes).to(next(self.critic.parameters()))

    def _inside(self, leaves: dict[str, Tensor], function: Callable[[nn.Module], Any]) -> Any:
        with unseen(self.model, self.how.hooks):
            return _with_copies(self.model, leaves, function)


class _Holder(nn.Module):
    """Lets ``torch.func.functional_call`` exchange a module's tensors for as long as a function of the module takes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module], Any]) -> Any:
        return function(self.model)


def _with_copies(model: nn.Module, leaves: dict[str, Tensor], function: Callable[[nn.Module], Any]) -> Any:
    """What ``function`` makes of the module with ``leaves``, by name, and copies of all its other tensors."""
    own = {
        f"model.{name}": leaves[name] if name in leaves else tensor.detach().clone()
        for name, tensor in model.named_parameters()
    }
    own |= {f"model.{name}": tensor.detach().clone() for name, tensor in model.named_buffers()}
    return torch.func.functional_call(_Holder(model), own, (function,))


def _probes(critic: Critic, like: Tensor | None) -> Float[Tensor, "K in_"]:
    probes = critic.reader.probes if isinstance(critic.reader, Probes) else _any_inputs(critic.reader.home.widths[0])
    probes = probes.detach().clone()
    return probes if like is None else probes.to(like.device, like.dtype)


def _any_inputs(inputs: int) -> Float[Tensor, "K in_"]:
    """Eight inputs between 0 and 1, for ENNs that have no probes of their own; no random stream is asked."""
    return (torch.arange(8 * inputs, dtype=torch.float64).view(8, inputs) * 0.618033988749895) % 1.0


def _scores(model: nn.Module, forward: Call | None, inputs: Tensor, shape: tuple[int, ...], classes: int) -> Tensor:
    try:
        output = forward(model, inputs) if forward else model(inputs)
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever somebody's code raises
        raise Unreadable(
            f"the model's forward pass fails on probes of shape {shape} ({reason_of(error)}); give the shape of one input as "
            "input_shape, or say by forward= how it is called."
        ) from error
    return class_scores(output, len(inputs), classes)


def _finite(gradient: Tensor) -> Tensor:
    return gradient.nan_to_num(0.0, 0.0, 0.0)
