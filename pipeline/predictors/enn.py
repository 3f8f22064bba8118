"""V, what an ENN says of the weights before any step is taken: the score that the run will reach, in [0, 1].

An ENN reads chains of linear layers with biases, as those that it has learned on; a network that it cannot read is refused,
and the message names the layer. Of the ENNs of the package the first that has learned on as many inputs and classes is asked.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.enn import Critic, load_critic
from pipeline.enn.files import shipped
from pipeline.enn.readers import Unreadable
from pipeline.errors import UserError
from pipeline.instruction.modules import Readable, as_mlp
from pipeline.predictors.predictor import Predictor


@dataclass(frozen=True)
class ENNValue(Predictor):
    """V(θ, 0)."""

    source: ClassVar[str] = "Grad-Instructor, arXiv 2406.10559"
    data: ClassVar[bool] = False
    labels: ClassVar[bool] = False
    statistics: ClassVar[str] = "none"
    layers: ClassVar[str] = "a chain of linear layers"

    enn: str = ""
    """path of an ENN, or its name in the package; none: the one of the package that fits"""

    def value(self, network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        critic = load_critic(self.enn, str(x.device)) if self.enn else _fitting(network, str(x.device))
        read = Readable.of_mlp(network, critic, check=True)
        with torch.no_grad():
            progress = torch.zeros(1, dtype=read.like.dtype, device=read.like.device)
            return float(critic.value_of(read.features(read.stacked(), progress)))


def _fitting(network: nn.Module, device: str) -> Critic:
    """Raises UserError where no ENN of the package has learned on such networks."""
    target, _ = as_mlp(network)
    for name in shipped():
        critic = load_critic(name, device)
        if (critic.home.target.widths[0], critic.home.target.widths[-1]) == (target.widths[0], target.widths[-1]):
            try:
                critic.reader.check(target)
            except Unreadable:
                continue
            return critic
    raise UserError(
        f"no ENN of the package reads networks of {target.widths[0]} inputs and {target.widths[-1]} classes "
        f"({', '.join(shipped())}); train one with `grad-instructor train-enn` and give its path as `enn`."
    )


PREDICTOR = ENNValue
