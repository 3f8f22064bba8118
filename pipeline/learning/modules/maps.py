"""The linear maps of a module's layers, as a learning rule uses them: what pulls down through them, with any weights, and what
their weights' gradient is.

Letters: B examples, P = 1 members.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

Linear = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
"""layers that rules serve"""
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def pull(
    layer: Linear, weights: Tensor, delta: Float[Tensor, "B *outputs"], received: Float[Tensor, "B *inputs"]
) -> Float[Tensor, "B ..."]:
    """What the layer would send to its inputs by backpropagation if it had these weights: Wᵀ δ, or a transposed convolution.

    Args:
        weights: in the place of the layer's own, with as many inputs; or a matrix (out, mid), which pulls δ to ``mid`` values
            at each place where δ has ``out``.
        received: what the layer received, for its shape.
    """
    weights = weights.to(delta)
    if isinstance(layer, nn.Linear):
        return delta @ weights
    if weights.dim() == 2:
        return torch.movedim(torch.movedim(delta, channels_of(layer), -1) @ weights, -1, channels_of(layer))
    if _is_plain(layer):
        like = received if received.dtype == delta.dtype else torch.empty_like(received, dtype=delta.dtype)
        return _backward(layer, delta, like, weights, (True, False, False))
    with torch.enable_grad():
        leaf = received.detach().to(delta.dtype).requires_grad_()
        return torch.autograd.grad(layer._conv_forward(leaf, weights, None), leaf, delta)[0]  # pyright: ignore[reportArgumentType]


def outer(layer: Linear, delta: Tensor, received: Tensor) -> Tensor:
    """The gradient with respect to weights in the layer's place, where δ goes back to what they make and the layer received
    ``received``: δ hᵀ over the batch."""
    received = received.to(delta.dtype)
    if isinstance(layer, nn.Linear):
        return delta.flatten(0, -2).t() @ received.flatten(0, -2)
    shape = (delta.shape[channels_of(layer)], *layer.weight.shape[1:])
    if _is_plain(layer):
        return _backward(layer, delta, received, delta.new_empty(1).expand(shape), (False, True, False))
    with torch.enable_grad():
        leaf = delta.new_zeros(shape).requires_grad_()
        return torch.autograd.grad(layer._conv_forward(received.detach(), leaf, None), leaf, delta)[0]  # pyright: ignore[reportArgumentType]


def channels_of(layer: Linear) -> int:
    """Where a layer's channels are: the axis that its weights act on."""
    return -1 if isinstance(layer, nn.Linear) else -1 - len(layer.kernel_size)


def batched(layer: Linear) -> int:
    """How many axes the least batch of a layer's inputs has."""
    return 2 if isinstance(layer, nn.Linear) else 2 + len(layer.kernel_size)


def _is_plain(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    """Whether the padding is zeros, as many on both sides; else autograd says what goes backwards."""
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _backward(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, delta: Tensor, received: Tensor, weights: Tensor, wanted: tuple[bool, bool, bool]
) -> Tensor:
    batched = delta.dim() == len(layer.kernel_size) + 2
    delta, received = (delta, received) if batched else (delta[None], received[None])
    found = torch.ops.aten.convolution_backward(
        delta,
        received,
        weights,
        None,
        layer.stride,
        layer.padding,
        layer.dilation,
        False,
        [0] * len(layer.kernel_size),
        layer.groups,
        wanted,
    )[0 if wanted[0] else 1]
    return found if batched or not wanted[0] else found[0]
