"""What predictors of architectures say of an ENN, before or after it is trained.

A predictor scores a network that tells classes apart. An ENN is made one: are the weights that it reads among the better half
of those that were recorded? Its class scores are (0, v), where V = σ(v), so that their cross entropy is that of V; the examples
are points of recorded runs, and a label says whether the return that came true is above the median of theirs.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config import Config
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.instruction.loop import returns
from pipeline.predictors import named
from pipeline.predictors.checks import Unsuited
from pipeline.seeding import numpy_stream, torch_stream
from pipeline.targets import unflatten
from rl.offline.recorded import Recorded

EXAMPLES = 128
"""recorded points that a predictor sees, at most"""


class AsClassifier(nn.Module):
    """A copy of an ENN, with class scores of weights and progress given as rows."""

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = copy.deepcopy(critic).requires_grad_(True)

    def forward(self, x: Float[Tensor, "N weights_and_progress"]) -> Float[Tensor, "N 2"]:
        critic = self.critic
        features = critic.reader.read(unflatten(x[:, :-1], critic.home.target.shapes), x[:, -1])
        v = critic.value_head(critic.hidden(features))
        return torch.cat([torch.zeros_like(v), v], 1)


def predicted(config: Config, critic: Critic, recorded: Recorded, predictors: Sequence[str]) -> dict[str, float]:
    """The score by each predictor; NaN where it is not made for such an ENN.

    Raises:
        UserError: a predictor cannot score it; the sentence names which.
    """
    network, batch = AsClassifier(critic), points(config, recorded)
    found = {}
    for name in predictors:
        try:
            found[name] = named(name).score(network, batch, torch_stream(config.seed, "predictor", name))
        except Unsuited:
            found[name] = float("nan")
        except UserError as error:
            raise UserError(f"{name} cannot score this ENN: {error}") from error
    return found


def points(config: Config, recorded: Recorded) -> tuple[Tensor, Tensor]:
    """Rows of recorded runs that are not held out, and which of them are above the median."""
    runs = ~recorded.held_out()
    realised = returns(recorded.scores(config.rl.score)[runs].astype(np.float64).T, config.rl.gamma).T[:, :-1].ravel()
    rows = recorded.observations[runs][:, :-1].reshape(len(realised), -1)
    chosen = numpy_stream(config.seed, "scored points").permutation(len(rows))[:EXAMPLES]
    labels = realised[chosen] > np.median(realised[chosen])
    return torch.from_numpy(rows[chosen].astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
