"""V, what an ENN says of a network before any step is taken: the score that its run will reach, in [0, 1].

An ENN reads chains of linear layers by their weights, and, if it reads by probes, any network of as many inputs and classes by
what it makes of the probes (:class:`pipeline.instruction.Instructor`); a network that it cannot read is refused, and the
message says why. Of the ENNs of the package the first is asked that has learned on as many inputs and classes and can read the
network.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.enn import Critic, load_critic
from pipeline.enn.files import shipped
from pipeline.enn.readers import Probes, Unreadable
from pipeline.errors import UserError
from pipeline.instruction import Instructor
from pipeline.predictors import checks
from pipeline.predictors.predictor import Predictor


@dataclass(frozen=True)
class ENNValue(Predictor):
    """V(θ, 0)."""

    source: ClassVar[str] = "Grad-Instructor, arXiv 2406.10559"
    data: ClassVar[bool] = False
    labels: ClassVar[bool] = False
    statistics: ClassVar[str] = "none"
    layers: ClassVar[str] = "what the ENN reads"

    enn: str = ""
    """path of an ENN, or its name in the package; none: the one of the package that fits"""

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        if self.enn:
            return _read(load_critic(self.enn, str(x.device)), network, x)
        inputs, classes = math.prod(x.shape[1:]), checks.class_scores(network, torch.zeros_like(x[:1]))
        refused: Unreadable | None = None
        for name in shipped():
            critic = load_critic(name, str(x.device))
            if (critic.home.target.widths[0], critic.home.target.widths[-1]) == (inputs, classes):
                try:
                    return _read(critic, network, x)
                except Unreadable as error:
                    refused = error
        raise refused or UserError(
            f"no ENN of the package reads networks of {inputs} inputs and {classes} classes ({', '.join(shipped())}); train "
            "one with `grad-instructor train-enn` and give its path as `enn`."
        )


def _read(critic: Critic, network: nn.Module, x: Tensor) -> float:
    """As a chain of linear layers, or else by what the network computes."""
    try:
        return Instructor(critic, guarded=False).predict(network)
    except Unreadable:
        if not isinstance(critic.reader, Probes):
            raise
        return Instructor(critic, input_shape=tuple(x.shape[1:]), guarded=False).predict(network)


PREDICTOR = ENNValue
