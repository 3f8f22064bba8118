"""Somebody's module, as an ENN reads it: as a chain of linear layers, or by what it makes of the probes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.enn import Critic
from pipeline.enn.readers import Probes, Unreadable
from pipeline.targets import ACTIVATIONS, MLP


@dataclass(frozen=True)
class Readable:
    """A module, as an ENN reads it."""

    tensors: list[Tensor]
    features: Callable[[Sequence[Tensor], Tensor], Tensor]
    """of parameters, each (1, …), and progress (1,)"""
    like: Tensor
    target: MLP | None = None
    """what the module is, if it is a chain of linear layers"""

    def stacked(self) -> list[Tensor]:
        """A population of one, of the critic's type and on its device."""
        return [tensor.detach()[None].to(self.like) for tensor in self.tensors]

    @classmethod
    def of_mlp(cls, model: nn.Module, critic: Critic, check: bool) -> "Readable":
        target, tensors = as_mlp(model)
        if check:
            critic.reader.check(target)
        return cls(
            tensors,
            lambda parameters, progress: critic.reader.read(parameters, progress, target.activation),
            next(critic.parameters()),
            target,
        )

    @classmethod
    def of_any(cls, model: nn.Module, critic: Critic, input_shape: tuple[int, ...]) -> "Readable":
        if not isinstance(critic.reader, Probes):
            raise Unreadable(
                f"only an ENN that reads by probes can read any module, and this one reads by {critic.reader_name}; "
                "leave input_shape out for a chain of linear layers."
            )
        inputs, classes = critic.reader.home.widths[0], critic.reader.home.widths[-1]
        if math.prod(input_shape) != inputs:
            raise Unreadable(f"input_shape {input_shape} is not {inputs} values, which this ENN's probes have; give another.")
        reader, names = critic.reader, [name for name, _ in model.named_parameters()]
        probes = reader.probes.view(-1, *input_shape)

        def features(parameters: Sequence[Tensor], progress: Tensor) -> Tensor:
            own = {name: tensor[0] for name, tensor in zip(names, parameters, strict=True)}
            training = model.training
            model.eval()  # no dropout, and running statistics where there are any
            try:
                logits = torch.func.functional_call(model, own, (probes,))
            finally:
                model.train(training)
            if logits.shape != (len(probes), classes):
                raise Unreadable(
                    f"the model makes outputs of shape {tuple(logits.shape[1:])} and this ENN reads {classes} classes; "
                    "train an ENN on such targets."
                )
            return reader.read_logits(logits[None], progress)

        return cls([tensor for _, tensor in model.named_parameters()], features, next(critic.parameters()))


KNOWN = {activation.module: name for name, activation in ACTIVATIONS.items()}


def as_mlp(model: nn.Module) -> tuple[MLP, list[Tensor]]:
    """The target that ``model`` is, and its parameters in the order of the target's slots.

    Raises:
        Unreadable: a layer holds parameters or is an activation and is none that a reader knows, or layers do not fit.
    """
    tensors: list[Tensor] = []
    widths: list[int] = []
    activations: set[str] = set()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            if layer.bias is None:
                raise Unreadable(f"layer {name!r} has no bias, which this reader expects; build it with bias=True.")
            if widths and layer.in_features != widths[-1]:
                raise Unreadable(
                    f"layer {name!r} takes {layer.in_features} inputs but the layer before it gives {widths[-1]}; "
                    "only a chain of linear layers can be read."
                )
            widths = widths or [layer.in_features]
            widths.append(layer.out_features)
            tensors += [layer.weight, layer.bias]
        elif type(layer) in KNOWN:
            activations.add(KNOWN[type(layer)])
        elif not _is_silent(layer):
            raise Unreadable(
                f"layer {name!r} is a {type(layer).__name__}, which no reader can read; only linear layers with "
                f"{', '.join(kind.__name__ for kind in KNOWN)} between them can be."
            )
    if not tensors:
        raise Unreadable("the model has no linear layer; only a chain of linear layers can be read.")
    if len(activations) > 1:
        raise Unreadable(f"the model mixes the activations {', '.join(sorted(activations))}; use one kind.")
    return MLP(tuple(widths), next(iter(activations), "relu")), tensors


def _is_silent(layer: nn.Module) -> bool:
    """Whether a layer that is neither linear nor a known activation may be overlooked: a container, Dropout, Softmax."""
    activation = type(layer).__module__ == nn.ReLU.__module__ and not isinstance(layer, nn.Softmax | nn.LogSoftmax)
    return not activation and not any(True for _ in layer.parameters(recurse=False))
