"""AZ-NAS (Lee & Ham, CVPR 2024): what its parts have in common. The combination of the four, by the logarithms of their ranks,
is called `az_nas`; the fourth part, complexity, is `flops`.

The features f_0, f_1, … are the outputs of the stem and of each cell or residual block of a NAS-Bench-201 network, and of each
convolution and linear layer of any other, the last one (its class scores) left out; attention is its projections, of which one
that makes queries, keys and values at once is one feature. Weights are drawn from N(0, 2 / fan-in),
images are Gaussian, BatchNorm takes the batch's statistics.

*Departures*: features of networks that are none of NAS-Bench-201 (the authors write a function for each search space); a pair
of features without a path between them, or of sizes that are no multiple of each other, has no trainability and is left out.

Letters: N examples, C channels.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pipeline.predictors.checks import Unsuited, defined
from pipeline.predictors.drawn import drawn
from pipeline.predictors.layout import Layout
from pipeline.predictors.observe import Outputs, layouts_of
from pipeline.predictors.predictor import Predictor
from pipeline.targets.nasbench201 import CellNetwork


class Feature(NamedTuple):
    """An output on the way."""

    values: Tensor
    layout: Layout = Layout()
    """where its examples and channels are"""

    def ordered(self, values: Tensor) -> Float[Tensor, "N C ..."]:
        """Something of its shape, with examples first, then channels."""
        return self.layout.ordered(values)


class AZNAS(Predictor):
    """A part of AZ-NAS."""

    source: ClassVar[str] = "Lee & Ham, AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search, CVPR 2024"
    data: ClassVar[bool] = False
    labels: ClassVar[bool] = False
    real: ClassVar[bool] = True
    least: ClassVar[int] = 2

    def drawn_features(self, network: nn.Module, x: Shaped[Tensor, "N ..."]) -> list[Feature]:
        """Features of Gaussian images under weights that are drawn anew.

        Raises:
            Unsuited: there are fewer than two.
            Undefined: they are not finite.
        """
        parameters = {name: own.requires_grad_() for name, own in drawn(network, "he").items()}
        found = features(network, parameters, torch.randn(x.shape, dtype=x.dtype).to(x.device))
        for own in found:
            defined(own.values.detach())
        if len(found) < 2:
            raise Unsuited(
                "AZ-NAS compares the features of layers before the last, and this network has no two; give a deeper one."
            )
        return found


def features(network: nn.Module, parameters: dict[str, Tensor], x: Shaped[Tensor, "N ..."]) -> list[Feature]:
    """f_0, f_1, …"""
    if isinstance(network, CellNetwork):
        found: list[Feature] = []
        hooks = [block.register_forward_hook(lambda _, __, output: found.append(Feature(output))) for block in network.blocks]
        try:
            torch.func.functional_call(network, parameters, (x,))
        finally:
            for hook in hooks:
                hook.remove()
        return found
    with Outputs(network, parameters, linear=True) as seen:
        torch.func.functional_call(network, parameters, (x.clone(),))
    outputs = seen.linear[:-1]
    places = layouts_of(network, x, outputs, parameters)
    return [Feature(own.values, place) for own, place in zip(outputs, places, strict=True)]


def entropies(found: Sequence[Feature]) -> list[float]:
    """Of each feature the entropy of the spectrum of its channels' covariance (eq. 2-4); NaN where it is constant."""
    return [_entropy(rows(own.ordered(own.values.detach())).double()) for own in found]


def rows(values: Float[Tensor, "N C ..."]) -> Float[Tensor, "positions C"]:
    """The channels of each example and position."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def _entropy(values: Float[Tensor, "positions C"]) -> float:
    values = values - values.mean(0)
    spectrum = torch.linalg.eigvalsh(values.T @ values / len(values)).clamp(min=0)
    if not float(spectrum.sum()) > 0:
        return math.nan
    shares = spectrum / spectrum.sum()
    return float(-(shares * (shares + 1e-8).log()).sum())


def lowest(value: float) -> float:
    """−∞ in place of NaN, as the authors have it: a network whose features are constant is the worst."""
    return -math.inf if math.isnan(value) else value
