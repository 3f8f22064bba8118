"""The names that settings choose from, and the one list of each.

A name is registered by its line here and is the file of that name in the package that follows it: ``relu`` is
``pipeline/targets/activations/relu.py``. The settings, the command line's help and the tests of all entries take their lists
from here, so nothing here imports torch.
"""

import typing
from importlib import import_module
from typing import Any, Literal

DataSetName = Literal[
    "digits",
    "mnist",
    "fashion",
    "cifar10",
]
""":mod:`pipeline.data.sets`"""

Activation = Literal[
    "relu",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
]
""":mod:`pipeline.targets.activations`"""

Initialisation = Literal[
    "normal",
    "glorot",
    "he",
    "lsuv",
]
""":mod:`pipeline.targets.initialise`"""

Optimiser = Literal[
    "sgd",
    "adam",
    "adamw",
]
""":mod:`pipeline.targets.optimisers`"""

Schedule = Literal[
    "constant",
    "cosine",
]
""":mod:`pipeline.targets.schedules`"""

Signal = Literal[
    "backprop",
    "fa",
    "dfa",
    "ifa",
    "usf",
    "brsf",
    "frsf",
    "frozen",
    "tp",
    "dtp",
    "dni",
    "cdni",
    "pblf",
    "pfa",
    "expression",
]
""":mod:`pipeline.learning`"""

PredictorName = Literal[
    "gradsign",
    "gradsign_mean",
    "gradsign_live",
    "params",
    "flops",
    "live_params",
    "live_flops",
    "grad_norm",
    "snip",
    "grasp",
    "synflow",
    "fisher",
    "jacob_cov",
    "naswot",
    "zico",
    "zen",
    "swap",
    "az_expressivity",
    "az_progressivity",
    "az_trainability",
    "enn",
]
""":mod:`pipeline.predictors`"""

ReaderName = Literal[
    "probes",
    "convnet",
    "statistics",
]
""":mod:`pipeline.enn.readers`"""

SpaceName = Literal[
    "nasbench201",
    "mlp",
]
""":mod:`pipeline.architectures.spaces`"""

ArchitectureSearch = Literal[
    "random",
    "evolution",
    "reinforce",
    "bohb",
]
""":mod:`pipeline.architectures.searches`"""

SamplerName = Literal[
    "tpe",
    "nsga2",
    "gp",
    "botorch",
    "genetic",
    "random",
    "grid",
]
""":mod:`pipeline.search.samplers`"""

Acquisition = Literal[
    "",
    "pi",
    "ei",
    "ucb",
]
""":mod:`pipeline.search.samplers.acquisition`; nothing: the sampler's own"""


def registered(names: Any, package: str, attribute: str) -> dict[str, Any]:
    """What each of ``names`` (a list above, or a tuple) stands for: ``attribute`` of the module of that name in ``package``."""
    return {name: getattr(import_module(f"{package}.{name}"), attribute) for name in typing.get_args(names) or names}
