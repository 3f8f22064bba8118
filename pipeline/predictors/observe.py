"""What a network computes on its way, watched at torch's functions and not at modules: any use of a function is seen."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pipeline.predictors.checks import Unsuited, defined
from pipeline.predictors.paths import LINEAR_MAPS, TRANSPOSED
from pipeline.predictors.weights import weights

RELU = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6}
POOLS = {F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d}


class Outputs(TorchFunctionMode):
    """Within, keeps what is computed.

    Attributes:
        relus: what each ReLU gives, (N, …).
        linear: what each convolution or linear layer of the network gives, and whether its channels are last.
        before: what the last linear layer reads, or, if that is a mean over positions, what the mean is taken of.
        variances: of each BatchNorm in training mode, the batch's variance of each channel.
    """

    def __init__(self, network: nn.Module, relus: bool = False, linear: bool = False, rest: bool = False) -> None:
        super().__init__()
        self.watched = {id(weight) for weight in weights(network).values()}
        self.wanted = relus, linear, rest
        self.relus: list[Tensor] = []
        self.linear: list[tuple[Tensor, bool]] = []
        self.variances: list[Tensor] = []
        self.before, self._pooled = torch.empty(0), torch.empty(0)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        relus, linear, rest = self.wanted
        if relus and func in RELU:
            self.relus.append(outputs.detach().clone() if "relu_" in func.__name__ else outputs.detach())
        elif func in LINEAR_MAPS or func in TRANSPOSED:
            self._linear_map(outputs, linear, rest, *args, **(kwargs or {}))
        elif rest and func in POOLS and outputs.shape[2:].numel() == 1:
            self._pooled = args[0]
        elif rest and func is F.batch_norm:
            self.variances.append(args[0].detach().transpose(0, 1).flatten(1).var(1, correction=0))
        return outputs

    def _linear_map(self, outputs: Tensor, linear: bool, rest: bool, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> None:
        if id(weight) not in self.watched:
            return
        if linear:
            self.linear.append((outputs, weight.ndim == 2))
        if rest:
            pooled = self._pooled.numel() and self._pooled.shape[1] == input.shape[-1] and weight.ndim == 2
            self.before = self._pooled if pooled else input


def relus(network: nn.Module, x: Tensor, name: str) -> list[Tensor]:
    """(N, units) of each ReLU of the network: whether it lets through.

    Raises:
        Unsuited: there is none.
        Undefined: the class scores are not finite.
    """
    with torch.no_grad(), Outputs(network, relus=True) as seen:
        outputs = network(x)
    defined(outputs)
    if not seen.relus:
        raise Unsuited(f"{name} reads where ReLUs let through, and this network computes none; choose another predictor.")
    return [own.flatten(1) > 0 for own in seen.relus]
