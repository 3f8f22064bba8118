"""The names that settings choose from, and the one list of each.

A name is registered by its line here and is the file of that name in the package that follows it: ``relu`` is
``pipeline/targets/activations/relu.py``. The settings, the command line's help and the tests of all entries take their lists
from here, so nothing here imports torch.
"""

import typing
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from pipeline.errors import UserError, nearest, shown

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


@dataclass(frozen=True)
class Combination:
    """Predictors whose ranks make one score (:mod:`pipeline.predictors.rank`)."""

    parts: tuple[str, ...]
    """names of predictors, or of combinations that have a name of their own"""
    by: Literal["mean", "logarithm"] = "mean"


COMBINATIONS = {
    "az_nas": Combination(("az_expressivity", "az_progressivity", "az_trainability", "flops"), "logarithm"),
}
"""by name; any others are written with a plus: ``live_params+jacob_cov``"""


def combination(name: str) -> Combination:
    """What a name stands for; a predictor is a combination of one.

    Raises:
        UserError: there is no such predictor, or one is there twice.
    """
    if isinstance(name, str) and name in COMBINATIONS:
        return COMBINATIONS[name]
    known = (*typing.get_args(PredictorName), *COMBINATIONS)
    parts = tuple(name.split("+")) if isinstance(name, str) else (name,)
    for part in parts:
        if not isinstance(part, str) or part not in known:
            raise UserError(
                f"unknown predictor {shown(part)}; did you mean {nearest(part, known)!r}? choose from {', '.join(known)}, or "
                "several with a plus between them."
            )
    if len(set(parts)) < len(parts):
        raise UserError(f"the combination {shown(name)} has a predictor twice; give each once.")
    return Combination(parts)


def parts_of(name: str) -> tuple[str, ...]:
    """The predictors that a name stands for, each once: itself, or those of a combination.

    Raises:
        UserError: there is no such name.
    """
    parts = combination(name).parts
    return tuple(dict.fromkeys(own for part in parts for own in (parts_of(part) if part in COMBINATIONS else (part,))))


ReaderName = Literal[
    "probes",
    "convnet",
    "statistics",
]
""":mod:`pipeline.enn.readers`"""

SpaceName = Literal[
    "nasbench201",
    "mlp",
    "cnn",
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
