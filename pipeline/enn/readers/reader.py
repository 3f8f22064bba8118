"""What every reader promises."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config import ENNConfig
from pipeline.errors import UserError
from pipeline.targets import MLP


class Unreadable(UserError):
    """A reader cannot read this target."""


class Reader(nn.Module):
    """A body that reads parameters.

    Built from the ENN's configuration and its *home* target (the one that it learns on); may read other targets too where
    its class says so.
    """

    features: int
    """how many features :meth:`read` gives"""
    settings: tuple[str, ...] = ()
    """those of the ENN's settings (``enn.…``) that make a reader of this kind what it is"""

    def __init__(self, config: ENNConfig, home: MLP) -> None:
        super().__init__()
        self.config, self.home = config, home

    def check(self, target: MLP) -> None:
        """Nothing, if this reader can read ``target``.

        Raises:
            Unreadable: names the layer that stands in the way.
        """
        raise NotImplementedError

    def read(
        self, parameters: Sequence[Tensor], progress: Float[Tensor, " P"], activation: str | None = None
    ) -> Float[Tensor, "P features"]:
        """Features of P targets, differentiable in ``parameters``.

        Args:
            parameters: the target's tensors in the order of its slots, each with a leading axis P.
            progress: t / T of each member's training run, in [0, 1].
            activation: of the targets, where it is not the home target's.
        """
        raise NotImplementedError


def check_depth(reader: str, home: MLP, target: MLP) -> None:
    """Raises Unreadable unless ``target`` has as many layers as ``home``."""
    if target.depth != home.depth:
        raise Unreadable(
            f"the {reader} reader learned on {home.depth} layers and this target has {target.depth}: "
            f"it cannot place layer {min(home.depth, target.depth) + 1}; use a target of the same depth or an "
            "ENN with the probes reader."
        )
