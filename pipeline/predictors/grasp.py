"""GraSP (Wang, Zhang & Grosse, ICLR 2020, eq. 8; summed over the network as Abdelfattah et al., 2021, do):

    score = − Σ_k θ_k (H g)_k,        g = ∂loss/∂θ,  H = ∂²loss/∂θ²

over the weights of convolutions and linear layers, of one batch: how much the flow of gradients would lose if weights went. The
product H g is exact (Pearlmutter, 1994), and a network that torch cannot differentiate twice is refused. *Departure*: the paper
divides class scores by a temperature; it is 1 here, as in Abdelfattah et al.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from pipeline.errors import reason_of
from pipeline.predictors.batch import batch_gradients, or_zeros
from pipeline.predictors.checks import Unsuited
from pipeline.predictors.predictor import Predictor
from pipeline.predictors.weights import weights


@dataclass(frozen=True)
class Grasp(Predictor):
    """− θ · H g."""

    source: ClassVar[str] = (
        "Wang, Zhang & Grosse, Picking Winning Tickets Before Training by Preserving Gradient Flow, ICLR 2020"
    )

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        parameters: list[Tensor] = list(weights(network).values())
        with sdpa_kernel(SDPBackend.MATH), TwiceDifferentiable():  # the others cannot be differentiated twice
            gradients = batch_gradients(network, x, y, graph=True)
            along = torch.stack([(gradient.detach() * gradient).sum() for gradient in gradients]).sum()
            products = _of(along, parameters)
        return -sum(float((own.detach() * product).sum()) for own, product in zip(parameters, products, strict=True))


class TwiceDifferentiable(TorchFunctionMode):
    """Within, weights are normalised by plain operations: torch's function for it has a wrong second derivative on a CPU."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is not torch._weight_norm:  # pyright: ignore[reportPrivateImportUsage]
            return func(*args, **(kwargs or {}))
        direction, length, *dim = args
        along = dim[0] if dim else 0
        others = [axis for axis in range(direction.ndim) if axis != along]  # all of them where there is no such axis
        return direction * (length / torch.linalg.vector_norm(direction, dim=others, keepdim=True))


def _of(along: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    try:
        return or_zeros(along, parameters)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise Unsuited(f"the network cannot be differentiated twice ({reason_of(error)}); choose another predictor.") from error


PREDICTOR = Grasp
