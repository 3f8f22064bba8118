"""Learned probes: learned inputs are pushed through the target, and the ENN reads what comes out.

What the reader sees is the function that the weights compute, so that permuting the target's hidden units changes nothing, and
targets of any width and depth can be read as long as they take the same inputs and give the same classes.

Source: probing by learned inputs, as in Parameter-Based Value Functions (Faccio et al., 2021, §4) and Herrmann et al. (2024).
Our choice is what is read: ``1 − log(1 − log p)`` of the outputs' log-softmax, and the progress beside it. Log-probabilities
themselves run to −20 and make a critic that is exploited by its own gradient; probabilities saturate and give it none.

Letters: P members, K probes, C classes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config import ENNConfig
from pipeline.enn.readers.reader import Reader, Unreadable
from pipeline.targets import MLP
from pipeline.targets.target import weights


class Probes(Reader):
    """Reads any MLP with the home target's inputs and classes."""

    settings = ("probes",)
    learned_inputs = ("probes",)
    """what the network that is read is given, no weights of this one (see pipeline.predictors.uses)"""

    def __init__(self, config: ENNConfig, home: MLP) -> None:
        super().__init__(config, home)
        inputs, classes = home.widths[0], home.widths[-1]
        self.probes = nn.Parameter(torch.rand(config.probes, inputs))
        self.features = config.probes * classes + 1

    @torch.no_grad()
    def start_from(self, inputs: Float[Tensor, "K in_"]) -> None:
        """Put the probes where the data are: ``inputs`` are K (unlabelled) training inputs."""
        self.probes.copy_(inputs)

    def check(self, target: MLP) -> None:
        names = weights(target.names, target.slots)
        for name, place, home, size in (
            (names[0], "inputs", self.home.widths[0], target.widths[0]),
            (names[-1], "classes", self.home.widths[-1], target.widths[-1]),
        ):
            if home != size:
                raise Unreadable(
                    f"{name} has {size} {place} and this ENN's probes are made for {home}; train an ENN on such targets."
                )

    def read(
        self, parameters: Sequence[Tensor], progress: Float[Tensor, " P"], activation: str | None = None
    ) -> Float[Tensor, "P features"]:
        shapes = [tuple(parameter.shape[1:]) for parameter in parameters]
        target = MLP.of_shapes(shapes, activation or self.home.activation)
        return self.read_logits(target.logits(parameters, self.probes), progress)

    def read_logits(self, logits: Float[Tensor, "P K C"], progress: Float[Tensor, " P"]) -> Float[Tensor, "P features"]:
        """Features of what any network makes of the probes."""
        return self.squashed(logits.log_softmax(dim=-1), progress)

    def squashed(self, log_p: Float[Tensor, "P K C"], progress: Float[Tensor, " P"]) -> Float[Tensor, "P features"]:
        """Features from log-probabilities."""
        return torch.cat([(1 - torch.log1p(-log_p)).flatten(1), progress[:, None]], dim=1)

    def slope_of_logits(self, slope: Float[Tensor, "P features"], log_p: Float[Tensor, "P K C"]) -> Float[Tensor, "P K C"]:
        """What a slope with respect to features is with respect to logits."""
        own = slope[:, :-1].view_as(log_p) / (1 - log_p)
        return own - log_p.exp() * own.sum(-1, keepdim=True)


READER = Probes
