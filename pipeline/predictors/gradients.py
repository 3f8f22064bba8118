"""The gradients of each example's cross entropy, one example at a time or many in one pass.

One at a time is the definition, and works for every network. One pass for many is several times faster
(:mod:`pipeline.predictors.alone`), and is believed for a network only after examples of a small pass have been computed both
ways: a network that mixes its examples shows in their class scores, an input whose first axis does not count examples in their
gradients. A network for which they differ is computed one example at a time throughout. (In single precision gradients may
differ by some percent: rounding pushes inputs of ReLUs across 0. A mistake makes them differ altogether.)

Letters: N examples, n of a pass, K classes.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.errors import UserError
from pipeline.predictors.alone import ONE_VALUE, Alone
from pipeline.predictors.checks import defined
from pipeline.predictors.weights import weights

Taken = Callable[[int, Tensor], None]
"""takes the number of a weight and its gradients for some examples (n, *weight.shape), 0 where it has none"""
CLOSE = {torch.float64: (1e-8, 1e-8), torch.float32: (1e-3, 0.2)}
"""of both ways for one example: the largest distance of its class scores and of its gradients, in lengths of them"""
TOGETHER = 3
"""examples of the pass that is compared; the one in the middle is computed alone as well, for the first or last may not see
others"""
PASS = 16
"""examples of a pass on a CPU, whose cache they have to fit; a GPU takes all at once"""
LARGE = 31 << 20
"""bytes; see :func:`_keep_memory`"""


def each_gradient(network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"], take: Taken, size: int = 0) -> bool:
    """Hand the gradients of every example to ``take``, weight by weight, pass by pass; a network in training mode.

    Args:
        size: examples of a pass; 0: as suits the device.

    Returns:
        Whether passes of several examples could be believed.

    Raises:
        UserError: a BatchNorm has no statistics of one example.
        Undefined: class scores or gradients are not finite.
    """
    parameters = list(weights(network).values())
    size = min(size or (PASS if x.device.type == "cpu" else len(x)), len(x))
    _keep_memory(x)
    laid_out: dict[int, Tensor] = {}
    if size > 1 and len(x) > 1 and _believable(network, parameters, x[:TOGETHER], y[:TOGETHER], laid_out):
        for xs, ys in zip(x.split(size), y.split(size), strict=True):
            _together(network, parameters, xs, ys, take, laid_out)
        return True
    one_by_one(network, parameters, x, y, take)
    return False


def _keep_memory(x: Tensor) -> None:
    """Have glibc keep what a pass frees for the next one: it learns to from one large block that comes and goes, and would give
    back (and fault in again) each tensor of more than some 100 KB otherwise, which costs a quarter of the time."""
    if x.device.type == "cpu":
        torch.empty(LARGE, dtype=torch.uint8)


def one_by_one(
    network: nn.Module, parameters: Sequence[Tensor], x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"], take: Taken
) -> list[Tensor]:
    """The definition: each example is a batch. Returns their class scores."""
    found = []
    for own, label in zip(x.split(1), y.split(1), strict=True):
        try:
            scores = network(own.clone())
            defined(scores.detach())
            loss = cross_entropy(scores, label)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                raise UserError(ONE_VALUE) from error
            raise
        for number, gradient in enumerate(_gradients(loss, parameters)):
            if gradient is not None:
                if number == 0:  # on its way back what is not a number comes to the first layer
                    defined(gradient)
                take(number, gradient[None])
        found.append(scores.detach()[0])
    return found


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not loss.requires_grad:  # no path leads from a weight to the outputs
        return [None] * len(parameters)
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def _together(
    network: nn.Module,
    parameters: Sequence[nn.Parameter],
    x: Tensor,
    y: Tensor,
    take: Taken,
    laid_out: dict[int, Tensor],
) -> Tensor | None:
    """One pass for all examples given, and their class scores; None where a weight is used in a way that it does not see."""
    numbers = {id(parameter): number for number, parameter in enumerate(parameters)}
    uses = [0] * len(parameters)
    waiting: dict[int, Tensor] = {}

    def called(weight: Tensor) -> None:
        uses[numbers[id(weight)]] += 1

    def sink(weight: Tensor, gradients: Tensor) -> None:
        number = numbers[id(weight)]
        uses[number] -= 1
        gradients = gradients if number not in waiting else waiting.pop(number) + gradients
        if number == 0:
            defined(gradients)
        if uses[number]:  # a layer that is used again: its gradient is the sum over its uses
            waiting[number] = gradients
        else:
            take(number, gradients)

    with Alone(parameters, sink, called, laid_out):
        scores = network(_laid_out(x))
        defined(scores.detach())
        loss = cross_entropy(scores, y, reduction="sum")
    seen = all(gradient is None for gradient in _gradients(loss, parameters))
    for number, gradients in waiting.items():  # of uses that no path leads to the outputs from
        take(number, gradients)
    return scores.detach() if seen else None


def _laid_out(x: Tensor) -> Tensor:
    """A copy, for a network may write into its input."""
    return x.clone(memory_format=torch.channels_last if x.ndim == 4 and x.device.type == "cpu" else torch.preserve_format)


def _believable(
    network: nn.Module, parameters: Sequence[nn.Parameter], x: Tensor, y: Tensor, laid_out: dict[int, Tensor]
) -> bool:
    """Whether an example within a pass has the class scores and the gradients that it has alone."""
    middle = len(x) // 2
    among, alone = ([torch.zeros_like(parameter) for parameter in parameters] for _ in range(2))

    def keep(number: int, gradients: Tensor) -> None:
        among[number] += gradients[middle] if len(gradients) == len(x) else torch.inf  # or its axis does not count examples

    scores = _together(network, parameters, x, y, keep, laid_out)
    if scores is None:
        return False
    own, label = x[middle : middle + 1], y[middle : middle + 1]
    (wanted,) = one_by_one(network, parameters, own, label, lambda number, gradient: alone.__setitem__(number, gradient[0]))
    lengths = torch.stack([gradient.norm() for gradient in alone])
    distances = torch.stack([(one - other).norm() for one, other in zip(among, alone, strict=True)])
    near, close = CLOSE.get(x.dtype, CLOSE[torch.float32])
    agree = (scores[middle] - wanted).norm() <= near * wanted.norm()
    return bool(agree and (distances <= close * (lengths + close * lengths.norm())).all())
