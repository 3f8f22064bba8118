"""What a network computes on its way, watched at torch's functions and not at modules: any use of a function is seen."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pipeline.predictors import recurrent
from pipeline.predictors.attention import ATTENTION, opened
from pipeline.predictors.checks import Unsuited, defined
from pipeline.predictors.layout import Layout, Output, layouts
from pipeline.predictors.paths import LINEAR_MAPS, TRANSPOSED, leaves_of
from pipeline.predictors.weights import weights
from pipeline.targets.nasbench201 import CellNetwork

RELU = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6}
POOLS = {F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d}


class WithoutBatchNorm(TorchFunctionMode):
    """Within, BatchNorm does nothing."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        return args[0] if func is F.batch_norm else func(*args, **(kwargs or {}))


class Outputs(TorchFunctionMode):
    """Within, keeps what is computed.

    Args:
        parameters: those that stand in the place of the network's, by name.
        relus, linear, rest: what is kept: ``relus``, ``linear``, or the others.

    Attributes:
        relus: what each ReLU gives.
        linear: what each convolution or linear layer of the network gives, also by weights that are computed from parameters.
        before: what the last linear layer reads, or, if that is an average pooling to one position, what the pooling reads.
        variances: of each BatchNorm in training mode, the batch's variance of each channel.

    Raises:
        Unsuited: a layer computes within itself what is to be kept.
    """

    def __init__(
        self,
        network: nn.Module,
        parameters: Mapping[str, Tensor] | None = None,
        relus: bool = False,
        linear: bool = False,
        rest: bool = False,
    ) -> None:
        super().__init__()
        own = weights(network)
        self.names = {id((parameters or own)[name]): name for name in own}
        self.fixed = {id(buffer) for buffer in network.buffers()}
        self.wanted = relus, linear, rest
        self.relus: list[Output] = []
        self.linear: list[Output] = []
        self.variances: list[Tensor] = []
        self.before, self._pooled = torch.empty(0), torch.empty(0)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        relus, linear, rest = self.wanted
        if func is ATTENTION and (linear or rest):
            with self:
                return opened(*args, **(kwargs or {}))
        if (relus and func in recurrent.RELUS) or (linear and (func in recurrent.LAYERS or func in recurrent.CELLS)):
            raise _hidden(self._name(recurrent.matrices(func, args)[0]))
        outputs = func(*args, **(kwargs or {}))
        if relus and func in RELU:
            kept = outputs.detach().clone() if "relu_" in func.__name__ else outputs.detach()
            self.relus.append(Output(kept, f"ReLU {len(self.relus) + 1}", None))
        elif func in LINEAR_MAPS or func in TRANSPOSED:
            self._linear_map(outputs, func is F.linear, *args, **(kwargs or {}))
        elif func is F.bilinear:
            self._linear_map(outputs, True, args[0], *args[2:], **(kwargs or {}))
        elif rest and func in POOLS and outputs.shape[2:].numel() == 1:
            self._pooled = args[0]
        elif rest and func is F.batch_norm:
            self.variances.append(args[0].detach().transpose(0, 1).flatten(1).var(1, correction=0))
        return outputs

    def _linear_map(self, outputs: Tensor, last: bool, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> None:
        """Args:
        last: channels are the last axis."""
        linear, rest = self.wanted[1:]
        if linear and (id(weight) in self.names or weight.requires_grad):
            self.linear.append(Output(outputs, self._name(weight), outputs.ndim - 1 if last else 1))
        if rest and id(weight) not in self.fixed:  # without gradients nobody knows what else a weight is computed from
            pooled = self._pooled.numel() and self._pooled.shape[1] == input.shape[-1] and weight.ndim == 2
            self.before = self._pooled if pooled else input

    def _name(self, weight: Tensor) -> str:
        """Of a weight, or of the first that it is computed from."""
        return next((self.names[id(own)] for own in (weight, *leaves_of(weight)) if id(own) in self.names), "a linear layer")


def _hidden(weight: str) -> Unsuited:
    return Unsuited(
        f"what the layer of {weight!r} computes within itself, step by step, cannot be looked at; choose another predictor."
    )


def layouts_of(
    network: nn.Module, x: Tensor, outputs: list[Output], parameters: dict[str, Tensor] | None = None, relus: bool = False
) -> list[Layout]:
    """Where examples and channels are in what a network computes of ``x``.

    Args:
        outputs: what :class:`Outputs` has kept, all or the first of it.
        parameters: those that stood in the place of the network's.
        relus: it is of ReLUs, else of linear maps.

    Raises:
        Unsuited: it cannot be told.
    """
    if isinstance(network, CellNetwork):  # examples first, everywhere
        return [Layout(own.channels) for own in outputs]

    def watch(few: Tensor) -> list[Output]:
        with WithoutBatchNorm(), Outputs(network, parameters, relus=relus, linear=not relus) as seen:
            torch.func.functional_call(network, parameters or {}, (few.clone(),))
        return (seen.relus if relus else seen.linear)[: len(outputs)]

    return layouts(watch, x, outputs)


def relus(network: nn.Module, x: Tensor, name: str) -> list[Tensor]:
    """(N, units) of each ReLU of the network: whether it lets through.

    Raises:
        Unsuited: there is none, or it cannot be told what it gives for which example.
        Undefined: the class scores are not finite.
    """
    with torch.no_grad():
        with Outputs(network, relus=True) as seen:
            outputs = network(x)
        defined(outputs)
        if not seen.relus:
            raise Unsuited(f"{name} reads where ReLUs let through, and this network computes none; choose another predictor.")
        places = layouts_of(network, x, seen.relus, relus=True)
    return [place.ordered(own.values).flatten(1) > 0 for own, place in zip(seen.relus, places, strict=True)]
