"""Somebody's module, called with copies of its tensors in their place, so that nothing that happens in it reaches them.

Letters: N examples, K probes, C classes.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.enn import Critic
from pipeline.enn.readers import Probes, Unreadable
from pipeline.errors import UserError, reason_of
from pipeline.instruction.scores import class_scores

Call = Callable[[nn.Module, Tensor], Any]
"""how to get the class scores of a batch of inputs from a module"""


class _Holder(nn.Module):
    """Lets ``torch.func.functional_call`` exchange a module's tensors for as long as a function of the module takes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module], Any]) -> Any:
        return function(self.model)


def with_copies(model: nn.Module, leaves: dict[str, Tensor], function: Callable[[nn.Module], Any]) -> Any:
    """What ``function`` makes of the module with ``leaves``, by name, and copies of all its other tensors."""
    own = {
        f"model.{name}": leaves[name] if name in leaves else tensor.detach().clone()
        for name, tensor in model.named_parameters()
    }
    own |= {f"model.{name}": tensor.detach().clone() for name, tensor in model.named_buffers()}
    return torch.func.functional_call(_Holder(model), own, (function,))


def probes_like(critic: Critic, like: Tensor | None) -> Float[Tensor, "K in_"]:
    """The ENN's probes, or, of one that has none, some inputs; of ``like``'s type and on its device."""
    probes = critic.reader.probes if isinstance(critic.reader, Probes) else _any_inputs(critic.reader.home.widths[0])
    probes = probes.detach().clone()
    return probes if like is None else probes.to(like.device, like.dtype)


def scores_of(model: nn.Module, forward: Call | None, inputs: Tensor, shape: tuple[int, ...], classes: int) -> Tensor:
    """What the module makes of ``inputs``, each of ``shape``: (N, C).

    Raises:
        Unreadable: its forward pass fails, or there are no scores in what it returns.
    """
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


def _any_inputs(inputs: int) -> Float[Tensor, "K in_"]:
    """Eight inputs between 0 and 1, for ENNs that have no probes of their own; no random stream is asked."""
    return (torch.arange(8 * inputs, dtype=torch.float64).view(8, inputs) * 0.618033988749895) % 1.0
