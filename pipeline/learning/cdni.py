"""Synthetic gradients conditioned on the label (Jaderberg et al., 2017): S_i(h, y) = A_iᵀ h + a_i + C_iᵀ y.

y is one-hot and C_i (P, K, width). For the rest see :mod:`pipeline.learning.dni`.
"""

from pipeline.learning.dni import SyntheticGradients


class ConditionedSyntheticGradients(SyntheticGradients):
    """What goes back is predicted from the layer's own h and the label."""

    labels = True


SIGNAL = ConditionedSyntheticGradients
