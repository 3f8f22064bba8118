"""What a module computes: its linear and convolutional layers, and in autograd's graph what lies between them."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from pipeline.errors import UserError
from pipeline.learning.modules.maps import KINDS

UNSERVED = (
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.Bilinear,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
"""layers that multiply by weights of their own in other ways"""
ACTIVATIONS = {
    "ReluBackward0": "relu",
    "TanhBackward0": "tanh",
    "SigmoidBackward0": "sigmoid",
    "GeluBackward0": "gelu",
    "SiluBackward0": "silu",
}
"""autograd's nodes of what :data:`pipeline.targets.ACTIVATIONS` compute, whether by a function or by a module"""
PRODUCTS = (
    "AddbmmBackward",
    "AddmmBackward",
    "AddmvBackward",
    "MmBackward",
    "BmmBackward",
    "BaddbmmBackward",
    "DotBackward",
    "MvBackward",
    "TrilinearBackward",
    "LinearBackward",
    "ConvolutionBackward",
)
LAYOUTS = (
    "ViewBackward",
    "UnsafeViewBackward",
    "ReshapeAliasBackward",
    "SqueezeBackward",
    "UnsqueezeBackward",
    "AliasBackward",
)
"""which change no number"""
TRANSPOSED = ("TBackward", "TransposeBackward", "PermuteBackward", "ExpandBackward", "ToCopyBackward")
LOOKUPS = ("Embedding", "Index", "Gather", "TakeBackward")
"""which make data of a parameter's rows"""


def layers_of(model: nn.Module) -> dict[nn.Module, str]:
    """The names of the layers that rules serve, by the layer.

    Raises:
        UserError: there are none, or a layer multiplies by weights in another way.
    """
    found: dict[nn.Module, str] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, UNSERVED):
            raise UserError(f"layer {name!r} is of the kind {_kind(layer)}, which no learning rule serves; {SERVED}.")
        if isinstance(layer, KINDS):
            _check(name, layer)
            found[layer] = name
    if not found:
        raise UserError(f"the model, of the kind {_kind(model)}, has no layer that a learning rule serves; {SERVED}.")
    return found


SERVED = "they serve nn.Linear and nn.Conv1d, 2d and 3d"


def _kind(layer: nn.Module) -> str:
    return type(layer).__name__


def _check(name: str, layer: nn.Module) -> None:
    if parametrize.is_parametrized(layer):
        raise UserError(
            f"layer {name!r} makes its weight of other parameters, as weight normalisation does; no learning rule serves it."
        )
    plain = next(kind for kind in KINDS if isinstance(layer, kind))
    methods = ("forward", "_conv_forward")
    if any(getattr(type(layer), own, None) is not getattr(plain, own, None) or own in vars(layer) for own in methods):
        raise UserError(
            f"layer {name!r} computes its outputs in a way of its own, not as an {plain.__name__}; no learning rule serves it."
        )


def upwards(starts: Iterable[Any], stop: Callable[[Any], bool] = lambda node: False) -> Iterator[Any]:
    """The nodes of autograd's graph from ``starts`` towards the inputs, each once, and none beyond those that ``stop`` holds
    of."""
    stack, seen = [node for node in starts if node is not None], set()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            yield node
            if not stop(node):
                stack += [below for below, _ in node.next_functions if below is not None]


def activation_of(node: Any) -> str | None:
    """The activation that a node is, if it is one."""
    name = ACTIVATIONS.get(node.name())
    return None if name == "gelu" and node._saved_approximate != "none" else name


def said(node: Any) -> str:
    """What a node of autograd's does, in a word or two."""
    name = node.name().removesuffix("0").removesuffix("Backward")
    if name == "Gelu":
        return f"gelu ({node._saved_approximate})"
    return "a backward hook" if name == "BackwardHookFunction" else name


def activations_of(starts: Iterable[Any]) -> list[str]:
    """The activations before ``starts``, each once."""
    return sorted({name for node in upwards(starts) if (name := activation_of(node)) is not None})


def check_products(starts: Iterable[Any], layers: set[Any], model: nn.Module) -> None:
    """Nothing, if the model multiplies by no parameter outside of its layers.

    Args:
        layers: nodes of what the layers gave.

    Raises:
        UserError: it does.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for node in upwards(starts, layers.__contains__):
        if node.name().startswith(PRODUCTS):
            for leaf in filter(names.__contains__, [*_leaves(node), *_computed(node, layers)]):
                raise UserError(
                    f"the model multiplies by its parameter {names[leaf]!r} outside of its layers, where no learning rule can "
                    f"serve it; {SERVED}."
                )


def check_seen(starts: Iterable[Any]) -> None:
    """Nothing, if autograd's graph shows each operation.

    Raises:
        UserError: a part of the model is compiled.
    """
    if any(node.name().startswith("CompiledFunction") for node in upwards(starts)):
        raise UserError(
            "a compiled model hides what lies between its layers from a learning rule; call the model itself once after its "
            "rule is replaced, and what is compiled from then on."
        )


def _leaves(node: Any) -> Iterator[Tensor]:
    """Parameters that come to a product as they are, or in another layout."""
    for below, _ in node.next_functions:
        while below is not None and below.name().startswith((*LAYOUTS, *TRANSPOSED)):
            below = below.next_functions[0][0]
        if below is not None and hasattr(below, "variable"):
            yield below.variable


def _computed(node: Any, layers: set[Any]) -> Iterator[Tensor]:
    """Matrices from which, and from nothing else that autograd knows, a factor of a product is computed that is no larger: a
    weight that is scaled, masked, normalised, or a part of a parameter."""
    for below, number in node.next_functions:
        if below is None or hasattr(below, "variable"):
            continue
        above = list(upwards([below], layers.__contains__))
        if any(own in layers or own.name().startswith(LOOKUPS) for own in above):
            continue
        size = math.prod(below._input_metadata[number].shape)
        leaves = [own.variable for own in above if hasattr(own, "variable")]
        yield from (leaf for leaf in leaves if leaf.dim() > 1 and leaf.numel() >= size)


def tensors_of(output: Any, depth: int = 4) -> Iterator[Tensor]:
    """The tensors in what a module returns, in containers and objects within each other to a depth."""
    held = vars(output) if not isinstance(output, list | tuple | dict) and hasattr(output, "__dict__") else output
    if isinstance(output, Tensor):
        yield output
    elif isinstance(held, list | tuple | dict) and depth:
        for own in held.values() if isinstance(held, dict) else held:
            yield from tensors_of(own, depth - 1)
