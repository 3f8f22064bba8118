"""A batch computed as if each example were alone: BatchNorm normalises each by its own statistics, and each has its own
gradient of every weight.

Within :class:`Alone` what a network computes is watched at torch's functions rather than at its modules, so that a layer which
is called by a function, twice or under another module's name is seen as well. A convolution or linear layer whose weight is
watched hands that weight's gradients, one for each example, to a sink; BatchNorm in training mode becomes the normalisation of
each example, since over a batch of one image the two are the same (Ioffe & Szegedy, 2015, algorithm 1 with one example per
batch).

What is not seen so is not lost: where a watched weight is used in any other way, autograd gives a gradient for it, and whoever
asked knows that the examples have to be taken one by one (:mod:`pipeline.predictors.gradients`).

Convolutions are computed in the layout *channels last*, which is what oneDNN is fastest in; gradients of a weight for n
examples are those of one convolution with n times as many groups.

Letters: n examples of a pass, O outputs, I inputs, C channels.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pipeline.errors import UserError

Sink = Callable[[Tensor, Tensor], None]
"""takes a weight and its gradients, one for each example (n, *weight.shape)"""
CONVOLUTIONS = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}


class Alone(TorchFunctionMode):
    """Within, examples are alone.

    Args:
        weights: those that are watched.
        sink: what takes their gradients, in the backward pass.
        called: is told each weight when a layer is computed with it.
        laid_out: weights in the layout that they are used in, by their ids: filled here, and good for as long as they stay.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], sink: Sink, called: Callable[[Tensor], None], laid_out: dict[int, Tensor]
    ) -> None:
        super().__init__()
        self.watched, self.sink, self.called = {id(weight) for weight in weights}, sink, called
        self.laid_out = laid_out

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in CONVOLUTIONS:
            return self._convolution(func, *args, **kwargs)
        if func is F.linear:
            return self._linear(func, *args, **kwargs)
        if func is F.batch_norm:
            return self._batch_norm(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _convolution(
        self,
        func: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        dimensions = CONVOLUTIONS[func]
        padding = _padding(padding, weight, dilation, dimensions)
        if id(weight) not in self.watched or input.ndim != dimensions + 2 or padding is None:
            return func(input, weight, bias, stride, padding if padding is not None else "same", dilation, groups)
        self.called(weight)
        sizes = _each(stride, dimensions), padding, _each(dilation, dimensions)
        if _is_linear(weight, sizes, groups) and bias is None:
            return _Pointwise.apply(input, weight, self.sink)
        return _Convolution.apply(input, weight, bias, self._laid_out(weight, input), sizes, groups, self.sink)

    def _laid_out(self, weight: Tensor, input: Tensor) -> Tensor:
        """The weight in the input's layout; changed once, not in every pass."""
        if input.ndim != 4 or not input.is_contiguous(memory_format=torch.channels_last):
            return weight.detach()
        if id(weight) not in self.laid_out:
            self.laid_out[id(weight)] = weight.detach().contiguous(memory_format=torch.channels_last)
        return self.laid_out[id(weight)]

    def _linear(self, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if id(weight) not in self.watched or input.ndim < 2:
            return func(input, weight, bias)
        self.called(weight)
        return _Linear.apply(input, weight, bias, self.sink)

    def _batch_norm(
        self,
        func: Any,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return func(input, running_mean, running_var, weight, bias, training, momentum, eps)
        if input.ndim < 3 or input.shape[2:].numel() == 1:
            raise UserError(ONE_VALUE)
        normal = _Normal.apply(input, eps)
        shape = (1, -1, *[1] * (input.ndim - 2))
        normal = normal if weight is None else normal * weight.view(shape)
        return normal if bias is None else normal + bias.view(shape)


ONE_VALUE = (
    "a BatchNorm of this network sees one value per channel of each example, so that an example alone has no statistics; use "
    "GroupNorm or LayerNorm there, larger images, or a predictor that takes the batch's statistics."
)


def _each(size: int | Sequence[int], dimensions: int) -> list[int]:
    return [size] * dimensions if isinstance(size, int) else list(size)


def _padding(padding: Any, weight: Tensor, dilation: Any, dimensions: int) -> list[int] | None:
    """Of each dimension; None where it is not the same on both sides."""
    if padding == "valid":
        return [0] * dimensions
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(_each(dilation, dimensions), weight.shape[2:], strict=True)]
        return [size // 2 for size in whole] if not any(size % 2 for size in whole) else None
    return _each(padding, dimensions)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        laid_out: Tensor,
        sizes: tuple[list[int], list[int], list[int]],
        groups: int,
        sink: Sink,
    ) -> Tensor:
        ctx.save_for_backward(input, laid_out)
        ctx.weight, ctx.sizes, ctx.groups, ctx.sink = weight, sizes, groups, sink
        stride, padding, dilation = sizes
        own = None if bias is None else bias.detach()
        return torch.convolution(input, laid_out, own, stride, padding, dilation, False, [0] * len(stride), groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, laid_out = ctx.saved_tensors
        stride, padding, dilation = ctx.sizes
        none = [0] * len(stride)
        ctx.sink(ctx.weight, _convolution_weights(input, gradient, laid_out, ctx.sizes, ctx.groups))
        below = None
        if ctx.needs_input_grad[0]:
            below, _, _ = torch.ops.aten.convolution_backward(
                gradient, input, laid_out, None, stride, padding, dilation, False, none, ctx.groups, [True, False, False]
            )
        return below, None, None, None, None, None, None


def _convolution_weights(
    input: Tensor, gradient: Tensor, weight: Tensor, sizes: tuple[list[int], list[int], list[int]], groups: int
) -> Tensor:
    """(n, O, I / groups, …): the gradients of the weight, by one convolution in which each example is a group."""
    stride, padding, dilation = sizes
    n, dimensions = len(input), len(stride)
    wide = [own.contiguous().view(1, n * own.shape[1], *own.shape[2:]) for own in (gradient, input)]
    like = weight.new_empty(1).expand(n * weight.shape[0], *weight.shape[1:])
    _, found, _ = torch.ops.aten.convolution_backward(
        *wide, like, None, stride, padding, dilation, False, [0] * dimensions, n * groups, [False, True, False]
    )
    return found.view(n, *weight.shape)


def _is_linear(weight: Tensor, sizes: tuple[list[int], list[int], list[int]], groups: int) -> bool:
    """Whether a convolution is the same linear layer at every position."""
    stride, padding, _ = sizes
    return weight.shape[2:].numel() == 1 and groups == 1 and not any(padding) and set(stride) == {1}


class _Pointwise(torch.autograd.Function):
    """A convolution of 1 × 1 as a linear layer."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, sink: Sink) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(input)
        ctx.weight, ctx.sink = weight, sink
        return _image(F.linear(_positions(input), weight.detach().view(len(weight), -1)), input)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (input,) = ctx.saved_tensors
        weight, own = ctx.weight.detach(), _positions(gradient)
        ctx.sink(ctx.weight, torch.bmm(own.transpose(1, 2), _positions(input)).view(len(input), *weight.shape))
        below = _image(own @ weight.view(len(weight), -1), gradient) if ctx.needs_input_grad[0] else None
        return below, None, None


def _positions(image: Tensor) -> Tensor:
    """(n, positions, C); no copy where channels are last."""
    return image.movedim(1, -1).reshape(image.shape[0], -1, image.shape[1])


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, sink: Sink) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(input)
        ctx.weight, ctx.sink = weight, sink
        return F.linear(input, weight.detach(), None if bias is None else bias.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (input,) = ctx.saved_tensors
        n = len(input)
        outputs, inputs = gradient.reshape(n, -1, gradient.shape[-1]), input.reshape(n, -1, input.shape[-1])
        ctx.sink(ctx.weight, torch.bmm(outputs.transpose(1, 2), inputs))
        return gradient @ ctx.weight.detach() if ctx.needs_input_grad[0] else None, None, None, None


class _Normal(torch.autograd.Function):
    """(x − mean) / √(variance + ε) of each channel of each example."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, eps: float) -> Tensor:  # type: ignore[override]
        values = _positions(input)
        normal = values - _mean(values)
        scale = (_mean(normal * normal) + eps).rsqrt_()
        normal *= scale
        ctx.save_for_backward(normal, scale)
        return _image(normal, input)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:  # type: ignore[override]
        normal, scale = ctx.saved_tensors
        own = _positions(gradient)
        along = _mean(own * normal)
        below = (own - _mean(own)).addcmul_(normal, along, value=-1).mul_(scale)
        return _image(below, gradient), None


def _mean(values: Tensor) -> Tensor:
    """(n, 1, C) of (n, positions, C): a product with a row of 1 / positions, which is the fastest sum where channels are last;
    in 32 parts, for rounding errors as small as those of torch's own BatchNorm."""
    n, positions, channels = values.shape
    parts = math.gcd(positions, 32)
    row = _row(positions // parts, 1 / positions, values.dtype, values.device).expand(n, -1, -1)
    return torch.bmm(row, values.reshape(n, positions // parts, parts * channels)).view(n, parts, channels).sum(1, keepdim=True)


@functools.lru_cache(maxsize=32)
def _row(length: int, value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((1, 1, length), value, dtype=dtype, device=device)


def _image(values: Tensor, like: Tensor) -> Tensor:
    return values.view(values.shape[0], *like.shape[2:], values.shape[-1]).movedim(-1, 1)
