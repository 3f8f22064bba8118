"""What an :class:`pipeline.instruction.Instructor` finds in the loop that calls it.

Gradients that are scaled or not, or not there; learning rates; a line search; the line that a warning points at.
"""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.instruction.modules import Readable

LARGEST = 16.0
"""times the largest gradient of a mean cross-entropy by the output bias, whose entries' sizes sum to 2: beyond it gradients are
taken for scaled ones"""
_LBFGS = inspect.getfile(torch.optim.LBFGS)
OURS = ("pipeline", "jaxtyping", "beartype")
"""packages at which no warning points: this one, and what checks its types in the tests"""


def gradient_norm(read: Readable, scale: float) -> float:
    """Of all gradients, unscaled.

    Raises:
        UserError: they are those of a loss that is scaled by more than ``scale``.
    """
    trained = [tensor.grad for tensor in read.tensors if tensor.requires_grad and tensor.grad is not None]
    trained = [grad.coalesce().values() if grad.is_sparse else grad for grad in trained]
    if not trained:
        return 0.0
    norm = float(torch.nn.utils.get_total_norm(trained)) / scale
    bias = read.output_bias
    if bias is not None and bias.requires_grad and bias.grad is not None:
        ratio = float(bias.grad.detach().float().abs().sum()) / scale / 2
        if LARGEST < ratio < float("inf"):
            raise UserError(
                f"the gradients are {ratio:.0f} times the largest that a mean cross-entropy can have; unscale them first "
                "(scaler.unscale_(optimizer), or the mean in place of the sum over a batch), or say by how much they are "
                "scaled: instruct(model, scale=…)."
            )
    return norm


def require_gradients(read: Readable) -> None:
    """By which a guard tells whether an ENN knows the way.

    Raises:
        UserError: there are none.
    """
    trained = [tensor for tensor in read.tensors if tensor.requires_grad]
    if trained and all(tensor.grad is None for tensor in trained):
        raise UserError(
            "no parameter has a gradient, by which the guard tells whether the ENN knows the way; call instruct between "
            "loss.backward() and optimizer.step(), or give guarded=False."
        )


def rates_of(tensors: Sequence[Tensor], base: float, optimizer: torch.optim.Optimizer | None) -> list[float]:
    """The learning rate of each tensor, for the trust region: the largest that its parameter group tells of, where a schedule
    begins low; ``base`` where there is none."""
    groups = [] if optimizer is None else optimizer.param_groups
    own = {id(one): _largest(group, base) for group in groups for one in group["params"]}
    return [own.get(id(tensor), base) for tensor in tensors]


def _largest(group: Mapping[str, Any], base: float) -> float:
    rates = [float(group[key]) for key in ("initial_lr", "max_lr", "lr") if group.get(key) is not None]
    return max(rates, default=base)


def refuse_line_search(decoupled: bool) -> None:
    """LBFGS calls its closure several times a step, and searches along a line on which loss and gradient must agree.

    Args:
        decoupled: the ENN moves weights and leaves gradients alone.

    Raises:
        UserError: this is called in such a closure.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == _LBFGS:
            before = "call instruct before optimizer.step(closure)"
            more = before if decoupled else "use another optimiser, or a decoupled ENN"
            raise UserError(f"instruct is called in a closure of LBFGS, which needs the gradient of the loss alone; {more}.")
        frame = frame.f_back


def callers_level() -> int:
    """Of the first caller that is not this package, for a warning that points at it."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in OURS:
        level, frame = level + 1, frame.f_back
    return level
