"""The layers of a network as a count sees them: how many weights, at how many positions, and whether a path uses them.

The network of a NAS-Bench-201 cell says so by itself (:meth:`pipeline.targets.nasbench201.CellNetwork.layers`). Any other is
measured by one pass over random positive inputs, in which every weight is replaced by about the mean over its inputs, and
normalisations and activations by nothing: nothing can then cancel or be cut off, so that a weight is live, on a path from input
to output, exactly where a sum of the outputs, weighted at random, has a gradient with respect to it. (SynFlow's idea, Tanaka et
al., 2020, with values that stay near 1.) A weight that is computed from parameters counts by the largest of them. Recurrent
layers are computed as they are, with their own matrices, each of which counts at every position.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pipeline.predictors import recurrent
from pipeline.predictors.attention import ATTENTION, opened
from pipeline.predictors.weights import weights
from pipeline.targets.nasbench201 import CellNetwork, Layer

LINEAR_MAPS = (F.linear, torch.conv1d, torch.conv2d, torch.conv3d)
TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
ACTIVATIONS = (
    "relu relu6 leaky_relu gelu silu elu selu celu tanh sigmoid hardtanh hardswish hardsigmoid mish softplus softsign "
    "logsigmoid prelu rrelu threshold hardshrink softshrink relu_ tanh_ sigmoid_ clamp clamp_ clamp_min"
)
NORMALISATIONS = "batch_norm layer_norm group_norm instance_norm rms_norm"
NOTHING = {
    getattr(home, name)
    for home, names in ((F, f"{ACTIVATIONS} {NORMALISATIONS}"), (torch, ACTIVATIONS), (Tensor, ACTIVATIONS))
    for name in names.split()
    if hasattr(home, name)
}
"""functions that are replaced by their first argument"""
EXAMPLES = 2
"""of the pass"""


def layers(network: nn.Module, x: Tensor) -> list[Layer]:
    """Every convolution and linear layer; ``x`` (N, …) says the shape of an example, and where it is."""
    if isinstance(network, CellNetwork):
        return list(network.layers(*x.shape[-2:]))
    paths = Paths(network)
    inputs = torch.rand((EXAMPLES, *x.shape[1:]), dtype=paths.dtype, device=x.device) + 0.5
    with torch.enable_grad(), paths:
        outputs = network(inputs if x.is_floating_point() else x[:1].expand(EXAMPLES, *x.shape[1:]))
    sources = [*paths.parameters, *paths.stand_ins.values()]
    total = (outputs * _positive(outputs)).sum()  # so that what subtracts a mean cancels nothing
    found = torch.autograd.grad(total, sources, allow_unused=True) if outputs.requires_grad else [None] * len(sources)
    live = [own is not None and bool(own.ne(0).any()) for own in found]
    by_id = dict(zip(map(id, paths.parameters), live[: len(paths.parameters)], strict=True))
    by_stand_in = dict(zip(paths.stand_ins, live[len(paths.parameters) :], strict=True))
    return [
        Layer(
            weight.numel(), round(paths.positions.get(id(weight), 0)), by_id[id(weight)] or by_stand_in.get(id(weight), False)
        )
        for weight in paths.parameters
    ]


class Paths(TorchFunctionMode):
    """Within, weights are positive and nothing stands between them.

    Attributes:
        positions: of each weight, by its id: outputs per channel for one example, over all of its uses.
        stand_ins: what is in a weight's place, by its id.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.parameters = list(weights(network).values())
        self.dtype = self.parameters[0].dtype
        self.watched = {id(parameter) for parameter in self.parameters}
        self.positions: dict[int, float] = {}
        self.stand_ins: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in NOTHING and args and isinstance(args[0], Tensor):
            return args[0]
        if func in LINEAR_MAPS or func in TRANSPOSED:
            return self._linear_map(func, *args, **kwargs)
        if func is F.bilinear:
            return self._bilinear(*args, **kwargs)
        if func is ATTENTION:
            with self:
                return opened(*args, **kwargs)
        if func in recurrent.LAYERS or func in recurrent.CELLS:
            for weight in recurrent.matrices(func, args):
                self._count(weight, recurrent.positions(args))
        return func(*args, **kwargs)

    def _count(self, weight: Tensor, positions: int) -> None:
        """Positions of a weight, or of a parameter that it is computed from: in the share of it that is used."""
        leaf = weight
        if id(weight) not in self.watched:
            leaves = [own for own in leaves_of(weight) if id(own) in self.watched]
            leaf = max(leaves, key=Tensor.numel, default=weight)
        if id(leaf) in self.watched:
            share = min(1.0, weight.numel() / leaf.numel())
            self.positions[id(leaf)] = self.positions.get(id(leaf), 0) + share * (positions // EXAMPLES)

    def _linear_map(
        self, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **more: Any
    ) -> Tensor:
        stands = self._stand_in(weight, weight.shape[0] if func in TRANSPOSED else weight[0].numel())
        outputs = func(input, stands, bias if stands is weight else None, *rest, **more)
        self._count(weight, input.numel() // weight.shape[0] if func in TRANSPOSED else outputs.numel() // weight.shape[0])
        return outputs

    def _bilinear(self, one: Tensor, other: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        stands = self._stand_in(weight, weight[0].numel())
        outputs = F.bilinear(one, other, stands, bias if stands is weight else None)
        self._count(weight, outputs.numel() // weight.shape[0])
        return outputs

    def _stand_in(self, weight: Tensor, fan_in: int) -> Tensor:
        """What is positive, in the place of a parameter; what is computed stays."""
        if id(weight) not in self.watched:
            return weight
        if id(weight) not in self.stand_ins:
            self.stand_ins[id(weight)] = (_positive(weight.detach()) / fan_in).requires_grad_()
        return self.stand_ins[id(weight)]


def _positive(like: Tensor) -> Tensor:
    return torch.rand_like(like) + 0.5


def leaves_of(weight: Tensor) -> list[Tensor]:
    """The parameters that a weight is computed from."""
    waiting: list[Any] = [weight.grad_fn]
    found: list[Tensor] = []
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [below for below, _ in node.next_functions]
    return found
