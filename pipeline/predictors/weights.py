"""The weights of a network: those of its convolutions and linear layers, by what the modules are."""

from torch import nn

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
WITHIN = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Bilinear)
"""modules that multiply by matrices of their own within one function"""


def weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """By name, in the network's order; no biases, no normalisation, no embedding, each once however often it is used.

    The projections of ``nn.MultiheadAttention`` and the matrices of recurrent and bilinear layers are those of linear layers
    too. A weight that is computed from parameters (by a parametrisation) counts by the parameters with more than one dimension
    that it is computed from. What else a network multiplies by is refused (:mod:`pipeline.predictors.uses`).
    """
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for name, module in network.named_modules():
        for own, parameter in _of_layer(module):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found[f"{name}.{own}" if name else own] = parameter
    return found


def _of_layer(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    if isinstance(module, WITHIN):  # attention's out_proj is a linear layer, and comes by itself
        return [(name, own) for name, own in _matrices(module) if not name.startswith("out_proj.")]
    if not isinstance(module, LAYERS):
        return []
    weight = module._parameters.get("weight")
    return _matrices(module) if weight is None else [("weight", weight)]


def _matrices(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in module.named_parameters() if "weight" in name and parameter.ndim > 1]
