"""What no predictor can use, said in a sentence before anything is computed."""

import numbers
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import UserError, reason_of, shown
from pipeline.predictors.weights import weights

NETWORKS_OWN = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError)
"""what somebody's network raises at examples that it was not made for; anything else is an error of its code, and stays one"""


Watch = Callable[[Tensor], AbstractContextManager[Any]]
"""makes, of inputs, what is to be entered while a network computes something of them"""


class Undefined(ArithmeticError):
    """A score is not defined for this network: it is NaN."""


class Unsuited(UserError):
    """A predictor is not made for this network, whatever the batch: among others it has no rank, and the message says why."""


def defined(values: Tensor) -> None:
    """Raises Undefined unless all are finite: nothing that is computed from others would mean anything."""
    if not bool(torch.isfinite(values).all()):
        raise Undefined


def setting(name: str, value: Any, default: Any) -> int | str:
    """A setting's value as its default has it: a whole number of any library, or a text or a path.

    Raises:
        UserError: it is neither, or a number below 0.
    """
    if isinstance(default, str):
        if isinstance(value, str | os.PathLike):
            return os.fspath(value)
        raise UserError(f"the predictor's setting {name!r} is {shown(value)}; give a name or a path.")
    return whole(value, f"the predictor's setting {name!r}", "give a whole number of at least 1, or 0 for the default")


def whole(value: Any, what: str, how: str = "give a whole number", least: float = 0) -> int:
    """A whole number, numpy's too.

    Raises:
        UserError: it is none, or too small; the sentence says how to give one.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise UserError(f"{what} is {shown(value)}; {how}.")
    return int(value)


def generator(generator: torch.Generator) -> None:
    """Raises UserError unless it is one of the CPU's, so that a GPU draws the same numbers."""
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        raise UserError(f"a predictor draws from a torch.Generator of the CPU and got {shown(generator)}; give one.")


def network(network: nn.Module) -> None:
    """Raises UserError unless it is a module with a convolution or a linear layer."""
    if not isinstance(network, nn.Module):
        raise UserError(f"a predictor scores a torch.nn.Module and got {shown(network)}; give a network.")
    if isinstance(network, torch.jit.ScriptModule):
        raise UserError("the network is compiled by TorchScript, which hides its layers; give the module that it was made of.")
    if any(isinstance(parameter, nn.parameter.UninitializedParameter) for parameter in network.parameters()):
        raise UserError("the network has lazy layers that do not know their sizes yet; call it once on a batch.")
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        raise UserError("the network lies on the device 'meta', where tensors have no values; give one that is initialised.")
    if not weights(network):
        raise UserError(
            f"the network ({type(network).__name__}) has no weights: no convolution and no linear layer; give one that has."
        )


def batch(
    network: nn.Module,
    batch: tuple[Tensor, Tensor],
    examples: int = 0,
    least: int = 1,
    data: bool = True,
    labels: bool = True,
    real: bool = False,
    watch: Watch = nullcontext,
) -> tuple[Tensor, Tensor]:
    """The examples that a predictor looks at, where the network's parameters are and of their type.

    Args:
        examples: how many; 0: all.
        least: how many it needs.
        data, labels: whether it looks at them; what it does not look at may be anything of the right shape.
        real: whether it cannot look at whole numbers.
        watch: what looks on while the network is tried on the first of them.

    Raises:
        UserError: they are none.
        Undefined: the network's class scores are not finite.
    """
    x, y = pair(batch)
    count = examples or len(x)
    if type(count) is not int or count < max(1, least):
        raise UserError(
            f"this predictor needs at least {max(1, least)} examples and {shown(count)} were asked for; ask for more."
        )
    if len(x) < count:
        raise UserError(f"the batch has {len(x)} examples and {count} were asked for; give a larger batch or ask for fewer.")
    x, y = x[:count].clone(), y[:count]  # a network may write into its input: not into the caller's
    like = next(iter(weights(network).values()))
    y = y.clone() if y.is_inference() else y
    if real and not x.is_floating_point():
        raise UserError(f"this predictor changes the images, which hold whole numbers ({x.dtype}); choose another predictor.")
    if data and not bool(torch.isfinite(x).all()):
        raise UserError("the images hold numbers that are not finite; give others, or scale them first.")
    x, y = x.to(like.device, like.dtype) if x.is_floating_point() else x.to(like.device), y.to(like.device).long()
    scores = class_scores(network, x[:1] if data else torch.zeros_like(x[:1]), watch)
    classes = scores.shape[1]
    if labels and not bool(((y >= 0) & (y < classes)).all()):
        raise UserError(
            f"labels run from {int(y.min())} to {int(y.max())} and the network has {classes} classes, 0 to {classes - 1}; "
            "give labels or a network that fit."
        )
    if data:
        defined(scores)
    return x, y


def pair(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
        raise UserError(f"a batch is a pair of tensors, images (N, …) and labels (N,); got {shown(batch)}.")
    x, y = batch
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not len(x) or y.is_floating_point() or y.is_complex():
        raise UserError(
            f"a batch is images (N, …) and whole numbers as labels (N,), N at least 1; got shapes {tuple(x.shape)} and "
            f"{tuple(y.shape)} of types {x.dtype} and {y.dtype}."
        )
    return x, y


def class_scores(network: nn.Module, x: Tensor, watch: Watch = nullcontext) -> Tensor:
    """(1, K) of one example, in evaluation mode and without a trace.

    Raises:
        UserError: the network does not take the example, or makes no class scores of it.
    """
    modes = {module: module.training for module in network.modules()}
    try:
        for module in modes:
            module.training = False
        return _scores_of(network, x, "", watch)
    finally:
        for module, training in modes.items():
            module.training = training


def trains(network: nn.Module, x: Tensor) -> None:
    """Raises UserError where the network, as it is in training mode, takes no batch like this or makes no class scores of it:
    one with outputs beside them while it trains, or a BatchNorm that sees one value."""
    _scores_of(network, x, " in training mode")


def _scores_of(network: nn.Module, x: Tensor, mode: str, watch: Watch = nullcontext) -> Tensor:
    inputs, devices = x.clone(), [x.device] if x.device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices), watch(inputs):
            outputs = network(inputs)
    except NETWORKS_OWN as error:
        raise UserError(
            f"the network{mode} does not take examples of shape {tuple(x.shape[1:])}: {reason_of(error)}; give a batch that "
            "fits it."
        ) from error
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(x) or not outputs.is_floating_point():
        said = f"outputs of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise UserError(
            f"the network{mode} makes {said} of {_counted(x)}, which are no class scores ({len(x)}, classes); give one that "
            "does."
        )
    return outputs


def _counted(x: Tensor) -> str:
    return "one example" if len(x) == 1 else f"{len(x)} examples"
