"""What a network multiplies its examples by, watched at torch's functions.

A predictor of weights knows those of the layers that :func:`pipeline.predictors.weights.weights` finds. A network may multiply
by parameters of its own as well (``F.linear(x, self.w)``, ``x @ self.w``, ``torch.einsum``, the table of an embedding that is
used once more at the output): left out in silence they would make it look smaller than it is, so such a network is refused.

What is added (positions, tokens), looked up (embeddings) or scales channels by itself (normalisations) is no weight of a linear
map, and counts for no predictor of weights. Nor do inputs that are learned, as an ENN's probes, which are multiplied by the
weights that it reads: a module names them in ``learned_inputs``.
"""

import inspect
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pipeline.predictors import recurrent
from pipeline.predictors.attention import ATTENTION
from pipeline.predictors.checks import Unsuited
from pipeline.predictors.weights import weights

READ = {"linear": 2, "bilinear": 3} | {f"conv{kind}{d}d": 2 for kind in ("", "_transpose") for d in (1, 2, 3)}
"""linear maps that add a bias: how many arguments come before it"""
ADDED = ("addmm", "addmv", "addbmm", "baddbmm")
"""products that are added to their first argument"""
PRODUCTS = (
    *("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot", "inner", "vdot", "vecdot"),
    *("einsum", "tensordot", "multi_dot", "chain_matmul"),
)
ELEMENTWISE = ("mul", "__mul__", "__rmul__", "multiply")
SIGNATURE = inspect.signature(ATTENTION)


class Uses(TorchFunctionMode):
    """Within, every tensor is followed: whether examples went into it, or which parameters alone.

    Attributes:
        found: names of the parameters by which something that examples went into was multiplied.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.parameters = {id(own): frozenset([name]) for name, own in network.named_parameters()}
        self.examples: set[int] = set()
        self.kept: list[Tensor] = []
        """all that was made, so that no id stands for two tensors"""

    def follow(self, x: Tensor) -> "Uses":
        """These are the examples."""
        self.examples.add(id(x))
        self.kept.append(x)
        return self

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        given, made = list(_tensors((args, kwargs))), list(_tensors(outputs))
        if any(id(own) in self.examples for own in given):
            for own in self._factors(func, name, args, kwargs, made):
                self.found |= self.parameters.get(id(own), frozenset())
            made += given[:1] if name == "__setitem__" else []
            self.examples |= {id(own) for own in made}
        else:
            of = frozenset[str]().union(*(self.parameters.get(id(own), frozenset()) for own in given))
            self.parameters |= {id(own): of for own in made}
        self.kept += made
        return outputs

    def _factors(self, func: Any, name: str, args: tuple, kwargs: dict[str, Any], made: list[Tensor]) -> list[Tensor]:
        """What a function multiplies; no biases."""
        if func in recurrent.LAYERS or func in recurrent.CELLS:
            return recurrent.matrices(func, args)
        if func is ATTENTION:  # what it attends to may be learned, and is no weight
            given = SIGNATURE.bind(*args, **kwargs).arguments
            return list(_tensors([own for key, own in given.items() if key.endswith("weight")]))
        if name in READ:
            return list(_tensors((args[: READ[name]], kwargs.get("weight"))))
        if name in ADDED:
            return list(_tensors((args[1:], kwargs)))
        both = list(_tensors((args, kwargs)))
        if name in ELEMENTWISE:  # a linear layer by hand repeats what it multiplies, for each of its outputs; a scale does not
            largest = max(own.numel() for own in both if id(own) in self.examples)
            return both if made[0].numel() > largest else []
        return both if name in PRODUCTS else []


def refuse_others(network: nn.Module, found: set[str]) -> None:
    """Raises Unsuited where the network multiplies by a parameter that is no weight of a layer known here.

    Args:
        found: the names of all parameters that it multiplies by.
    """
    parameters, known = dict(network.named_parameters()), {id(own) for own in weights(network).values()}
    known |= {id(getattr(module, name)) for module in network.modules() for name in getattr(module, "learned_inputs", ())}
    unknown = sorted(name for name in found if id(parameters[name]) not in known)
    if unknown:
        owner = type(network.get_submodule(unknown[0].rpartition(".")[0])).__name__
        raise Unsuited(
            f"the network multiplies by its parameter {unknown[0]!r} (of {owner}), which is the weight of no layer that "
            "predictors know and would be left out; make it that of an nn.Linear or a convolution, or choose another predictor."
        )


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
