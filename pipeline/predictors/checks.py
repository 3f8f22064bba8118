"""What no predictor can use, said in a sentence before anything is computed."""

import torch
from torch import Tensor, nn

from pipeline.errors import UserError, reason_of, shown
from pipeline.predictors.weights import weights


def network(network: nn.Module) -> None:
    """Raises UserError unless it is a module with a convolution or a linear layer."""
    if not isinstance(network, nn.Module):
        raise UserError(f"a predictor scores a torch.nn.Module and got {shown(network)}; give a network.")
    if not weights(network):
        raise UserError(
            f"the network ({type(network).__name__}) has no weights: no convolution and no linear layer; give one that has."
        )


def batch(
    network: nn.Module, batch: tuple[Tensor, Tensor], examples: int, least: int, data: bool, labels: bool
) -> tuple[Tensor, Tensor]:
    """The examples that a predictor looks at, where the network's parameters are and of their type.

    Args:
        examples: how many; 0: all.
        least: how many it needs.
        data, labels: whether it looks at them; what it does not look at may be anything of the right shape.

    Raises:
        UserError: they are none.
    """
    x, y = pair(batch)
    count = examples or len(x)
    if type(count) is not int or count < max(1, least):
        raise UserError(
            f"this predictor needs at least {max(1, least)} examples and {shown(count)} were asked for; ask for more."
        )
    if len(x) < count:
        raise UserError(f"the batch has {len(x)} examples and {count} were asked for; give a larger batch or ask for fewer.")
    x, y = x[:count], y[:count]
    like = next(iter(weights(network).values()))
    x, y = (own.clone() if own.is_inference() else own for own in (x, y))
    if data and not bool(torch.isfinite(x).all()):
        raise UserError("the images hold numbers that are not finite; give others, or scale them first.")
    x, y = x.to(like.device, like.dtype) if x.is_floating_point() else x.to(like.device), y.to(like.device).long()
    if data:
        outputs = class_scores(network, x[:1])
        if labels and not bool(((y >= 0) & (y < outputs)).all()):
            raise UserError(
                f"labels run from {int(y.min())} to {int(y.max())} and the network has {outputs} classes, 0 to {outputs - 1}; "
                "give labels or a network that fit."
            )
    return x, y


def pair(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
        raise UserError(f"a batch is a pair of tensors, images (N, …) and labels (N,); got {shown(batch)}.")
    x, y = batch
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not len(x) or y.is_floating_point() or y.is_complex():
        raise UserError(
            f"a batch is images (N, …) and whole numbers as labels (N,), N at least 1; got shapes {tuple(x.shape)} and "
            f"{tuple(y.shape)} of types {x.dtype} and {y.dtype}."
        )
    return x, y


def class_scores(network: nn.Module, x: Tensor) -> int:
    """K, the number of classes, from one example, in evaluation mode and without a trace.

    Raises:
        UserError: the network does not take the example, or makes no class scores of it.
    """
    modes = {module: module.training for module in network.modules()}
    try:
        for module in modes:
            module.training = False
        with torch.no_grad(), torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            outputs = network(x)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # of somebody's network, at somebody's images
        raise UserError(
            f"the network does not take examples of shape {tuple(x.shape[1:])}: {reason_of(error)}; give a batch that fits it."
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(x) or not outputs.is_floating_point():
        said = f"outputs of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise UserError(f"the network makes {said} of one example, which are no class scores (1, classes); give one that does.")
    return outputs.shape[1]
