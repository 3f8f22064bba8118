"""The weights of a network: those of its convolutions and linear layers, by what the modules are."""

from torch import nn

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """By name, in the network's order; no biases, no normalisation, each once however often it is used.

    The projections of ``nn.MultiheadAttention`` are linear layers too. A weight that is computed from parameters (by a
    parametrisation) counts by the parameters with more than one dimension that it is computed from.
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
    if isinstance(module, nn.MultiheadAttention):
        named = [(name, getattr(module, name, None)) for name in ATTENTION]
        return [(name, parameter) for name, parameter in named if isinstance(parameter, nn.Parameter)]
    if not isinstance(module, LAYERS):
        return []
    weight = module._parameters.get("weight")
    if weight is not None:
        return [("weight", weight)]
    return [(name, parameter) for name, parameter in module.named_parameters() if "weight" in name and parameter.ndim > 1]
