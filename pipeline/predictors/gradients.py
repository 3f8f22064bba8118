"""The gradients of each example's cross entropy, one example at a time or many in one pass.

One at a time is the definition, and works for every network. One pass for many is several times faster
(:mod:`pipeline.predictors.alone`), and is believed for a network only after examples of the first pass have been computed both
ways: a network that mixes its examples, or an input whose first axis does not count examples, shows there. A network for which
they differ is computed one example at a time throughout. (A ReLU whose input rounding pushes across 0 makes a single example
differ too, in a third of them; a mistake makes all differ. So one that agrees is enough, and up to three are tried.)

Letters: N examples, n of a pass, K classes.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.errors import UserError
from pipeline.predictors.alone import ONE_VALUE, Alone
from pipeline.predictors.weights import weights

Taken = Callable[[int, Tensor], None]
"""takes the number of a weight and its gradients for some examples (n, *weight.shape), 0 where it has none"""
CLOSE = {torch.float64: 1e-8, torch.float32: 1e-3}
"""of both ways for one example: the largest distance, in lengths of the gradient"""
TRIED = 3
"""examples, at most, that are computed both ways"""
PASS = 8
"""examples of a pass on a CPU, whose cache they have to fit; a GPU takes all at once"""


def each_gradient(network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"], take: Taken, size: int = 0) -> bool:
    """Hand the gradients of every example to ``take``, weight by weight, pass by pass; a network in training mode.

    Args:
        size: examples of a pass; 0: as suits the device.

    Returns:
        Whether passes of several examples could be believed.

    Raises:
        UserError: a BatchNorm has no statistics of one example.
    """
    parameters = list(weights(network).values())
    size = size or (PASS if x.device.type == "cpu" else len(x))
    if size > 1 and len(x) > 1 and _believable(network, parameters, x[:size], y[:size]):
        for xs, ys in zip(x.split(size), y.split(size), strict=True):
            assert _together(network, parameters, xs, ys, take)
        return True
    one_by_one(network, parameters, x, y, take)
    return False


def one_by_one(
    network: nn.Module, parameters: Sequence[Tensor], x: Float[Tensor, "N ..."], y: Int[Tensor, " N"], take: Taken
) -> None:
    """The definition: each example is a batch."""
    for own, label in zip(x.split(1), y.split(1), strict=True):
        try:
            loss = cross_entropy(network(own), label)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                raise UserError(ONE_VALUE) from error
            raise
        for number, gradient in enumerate(_gradients(loss, parameters)):
            if gradient is not None:
                take(number, gradient[None])


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not loss.requires_grad:  # no path leads from a weight to the outputs
        return [None] * len(parameters)
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def _together(network: nn.Module, parameters: Sequence[nn.Parameter], x: Tensor, y: Tensor, take: Taken) -> bool:
    """One pass for all examples given; False where a weight is used in a way that the pass does not see."""
    numbers = {id(parameter): number for number, parameter in enumerate(parameters)}
    uses = [0] * len(parameters)
    waiting: dict[int, Tensor] = {}

    def called(weight: Tensor) -> None:
        uses[numbers[id(weight)]] += 1

    def sink(weight: Tensor, gradients: Tensor) -> None:
        number = numbers[id(weight)]
        uses[number] -= 1
        gradients = gradients if number not in waiting else waiting.pop(number) + gradients
        if uses[number]:  # a layer that is used again: its gradient is the sum over its uses
            waiting[number] = gradients
        else:
            take(number, gradients)

    with Alone(parameters, sink, called):
        loss = cross_entropy(network(_laid_out(x)), y, reduction="sum")
    seen = all(gradient is None for gradient in _gradients(loss, parameters))
    for number, gradients in waiting.items():  # of uses that no path leads to the outputs from
        take(number, gradients)
    return seen


def _laid_out(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and x.device.type == "cpu" else x


def _believable(network: nn.Module, parameters: Sequence[nn.Parameter], x: Tensor, y: Tensor) -> bool:
    """Whether an example within a pass has the gradients that it has alone."""
    tried = sorted(range(len(x)), key=lambda place: abs(place - len(x) // 2))[:TRIED]  # the first may not see the others
    among = [parameter.new_zeros(len(tried), *parameter.shape) for parameter in parameters]

    def keep(number: int, gradients: Tensor) -> None:
        if len(gradients) == len(x):
            among[number] += gradients[tried]
        else:  # of an axis that does not count examples
            among[number] += torch.inf

    if not _together(network, parameters, x, y, keep):
        return False
    return any(
        _same(parameters, [own[at] for own in among], network, x[place : place + 1], y[place : place + 1])
        for at, place in enumerate(tried)
    )


def _same(parameters: Sequence[nn.Parameter], among: Sequence[Tensor], network: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Whether one example alone has these gradients."""
    alone = [torch.zeros_like(parameter) for parameter in parameters]
    one_by_one(network, parameters, x, y, lambda number, own: alone[number].copy_(own[0]))
    lengths = torch.stack([own.norm() for own in alone])
    distances = torch.stack([(one - other).norm() for one, other in zip(among, alone, strict=True)])
    close = CLOSE.get(x.dtype, CLOSE[torch.float32])
    return bool((distances <= close * (lengths + close * lengths.norm())).all())
