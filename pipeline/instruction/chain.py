"""Somebody's module as a chain of linear layers: by what it consists of, and whether it computes that.

Letters: K probes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import ParametrizationList

from pipeline.enn.readers import Unreadable
from pipeline.targets import ACTIVATIONS, MLP

KNOWN = {activation.module: name for name, activation in ACTIVATIONS.items()}
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-5}
"""relative differences that are none, by type"""
ROUGH = 2e-2
"""of all other types"""


class Unfit(Unreadable):
    """Layers do not fit in the order in which they are registered."""


def as_mlp(model: nn.Module) -> tuple[MLP, list[Tensor]]:
    """The target that ``model`` consists of, and its parameters in the order of the target's slots.

    Raises:
        Unreadable: a layer holds parameters or is an activation and is none that a reader knows, or layers do not fit.
    """
    tensors: list[Tensor] = []
    widths: list[int] = []
    activations: set[str] = set()
    for name, layer in _layers(model):
        if isinstance(layer, nn.Linear):
            if layer.bias is None:
                raise Unreadable(f"layer {name!r} has no bias, which this reader expects; build it with bias=True.")
            if widths and layer.in_features != widths[-1]:
                raise Unfit(
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


def linears(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Its linear layers in the order in which they are registered."""
    return [(name, layer) for name, layer in _layers(model) if isinstance(layer, nn.Linear)]


def computed(model: nn.Module) -> str:
    """Why its weights are not what is trained; empty where they are."""
    trained = [id(parameter) for parameter in model.parameters()]
    read = []
    for name, layer in linears(model):
        for part in ("weight", "bias"):
            if (own := layer._parameters.get(part)) is None:
                return f"layer {name!r} computes its {part} (pruning, a norm or a parametrisation)"
            if id(own) in read:
                return f"layer {name!r} shares its {part} with another layer"
            read.append(id(own))
    return "" if sorted(read) == sorted(trained) else "the model has parameters outside of its linear layers"


def foreign(model: nn.Module, home: MLP) -> str:
    """What of ``model`` is of a kind that no ENN of this home has learned on, in words; empty where nothing is: a layer with
    trained parameters of its own that is not linear, or more than one layer more than at home."""
    for name, layer in _layers(model):
        own = any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
        if own and not isinstance(layer, nn.Linear):
            return f"layer {name!r} is a {type(layer).__name__}"
    depth = len(linears(model))
    return f"the model has {depth} linear layers" if depth > home.depth + 1 else ""


@torch.no_grad()
def departure(model: nn.Module, target: MLP, run: Callable[[], Tensor], probes: Float[Tensor, "K in_"]) -> str:
    """Where what ``model`` computes is not the chain that it consists of, in words that name the layer; empty where it is.

    Every linear layer is watched: it must be called once, in order, receive what the chain gives it, and give ``W a + b``; and
    the module must return what the last layer gives.

    Args:
        run: the module's scores of the probes; called where hooks leave no trace.
        probes: as the chain receives them.
    """
    seen: list[tuple[str, nn.Linear, Tensor, Tensor]] = []
    chain = linears(model)
    for name, layer in chain:

        def watch(
            module: nn.Module, received: tuple[Any, ...], given: Tensor, name: str = name, layer: nn.Linear = layer
        ) -> None:
            seen.append((name, layer, received[0].detach(), given.detach()))

        layer.register_forward_hook(watch)
    scores = run().detach()
    if names := _out_of_order([name for name, _ in chain], [name for name, *_ in seen]):
        return names
    expected, rounding = probes.to(scores), ROUNDING.get(scores.dtype, ROUGH)
    for place, (name, layer, received, given) in enumerate(seen):
        if not _agree(received.flatten(1), expected, rounding):
            before = f"{target.activation} of what layer {seen[place - 1][0]!r} gives" if place else "the inputs as they are"
            return f"layer {name!r} does not receive {before}"
        if not _agree(given, F.linear(received, layer.weight, layer.bias), rounding):
            return f"layer {name!r}, a {type(layer).__name__}, does not give its weight times what it receives, plus its bias"
        expected = target.nonlinearity.function(given)
    last, name = seen[-1][3], seen[-1][0]
    same = _agree(scores, last, rounding) or _agree(_centred(scores), _centred(last), 10 * rounding)
    return "" if same else f"the model does not return what its last layer {name!r} gives"


def _out_of_order(registered: Sequence[str], called: Sequence[str]) -> str:
    for name in registered:
        if called.count(name) != 1:
            return f"layer {name!r} is called {called.count(name)} times in a forward pass"
    first = next((own for own, other in zip(called, registered, strict=True) if own != other), None)
    return "" if first is None else f"layer {first!r} is not called in the order in which layers are registered"


def _agree(one: Tensor, other: Tensor, rounding: float) -> bool:
    if one.shape != other.shape:
        return False
    difference, size = torch.linalg.vector_norm((one - other).double()), torch.linalg.vector_norm(other.double())
    return bool(difference <= rounding * size) or not bool(size.isfinite())


def _centred(scores: Tensor) -> Tensor:
    log_p = scores.log_softmax(-1)
    return log_p - log_p.mean(-1, keepdim=True)


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """All of them but those that make the weights of others."""
    hidden = {id(part) for own in model.modules() if isinstance(own, ParametrizationList) for part in own.modules()}
    return [(name, layer) for name, layer in model.named_modules() if id(layer) not in hidden]


def _is_silent(layer: nn.Module) -> bool:
    """Whether a layer that is neither linear nor a known activation may be overlooked: a container, Dropout, Softmax."""
    activation = type(layer).__module__ == nn.ReLU.__module__ and not isinstance(layer, nn.Softmax | nn.LogSoftmax)
    return not activation and not any(True for _ in layer.parameters(recurse=False))
