"""A point of a network at which something may be done to what goes backwards: an identity that computes nothing."""

from torch import nn


class Position(nn.Identity):
    """An implicit linear activation, σ(z) = z (Eyono, 2020): h is z, and a learning rule may put something in the place of its
    derivative, which is 1. It holds no parameters and changes no number and no name of a saved state.

    A network that has positions says with them where such a rule acts (:mod:`pipeline.learning.modules`).
    """
