"""Class scores in what somebody's module returns.

Letters: K probes, C classes.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.enn.readers import Unreadable

LOGITS = "logits"
"""under which transformers, and many others, return them"""
SUM = 1e-3
"""within which probabilities sum to 1"""


def class_scores(output: Any, probes: int, classes: int) -> Float[Tensor, "K C"]:
    """The scores of the probes: logits or log-probabilities as they are, of probabilities the logarithm.

    They are the output itself, its ``logits``, or, in a tuple or a dictionary, the only tensor of the right shape.

    Raises:
        Unreadable: there are none, or several.
    """
    tensors = _tensors(output)
    found = [tensor for tensor in tensors if tensor.shape == (probes, classes) and tensor.is_floating_point()]
    if len(found) == 1:
        return _logarithm(found[0])
    shapes = ", ".join(str(tuple(tensor.shape[1:])) for tensor in tensors)
    if found:
        raise Unreadable(
            f"the model returns {len(found)} tensors that could be its scores of {classes} classes; say which by forward=, for "
            "example forward=lambda model, x: model(x)[0]."
        )
    if not tensors:
        raise Unreadable(
            f"the model returns a {type(output).__name__} without tensors; say by forward= how to get its scores of classes."
        )
    raise Unreadable(
        f"the model makes outputs of shape {shapes} and this ENN reads {classes} classes; train an ENN on such targets, or say "
        "by forward= how to get the scores."
    )


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    named = output.get(LOGITS) if isinstance(output, Mapping) else getattr(output, LOGITS, None)
    if isinstance(named, Tensor):
        return [named]
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return [part for part in parts if isinstance(part, Tensor)]


def _logarithm(scores: Float[Tensor, "K C"]) -> Float[Tensor, "K C"]:
    with torch.no_grad():
        sums = scores.float().sum(1)
        probabilities = bool(((scores >= 0).all() & ((sums - 1).abs() < SUM).all()).item())
    return scores.clamp_min(torch.finfo(scores.dtype).tiny).log() if probabilities else scores
