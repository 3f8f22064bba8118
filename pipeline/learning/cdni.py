"""Synthetic gradients conditioned on the label (Jaderberg et al., 2017): a synthesiser sees y beside h.

    S_i(h, y) = A_iᵀ h + C_iᵀ y + a_i + V_iᵀ q_i(h, y),        q_i(h, y) = √H softmax(U_iᵀ h + D_iᵀ y + u_i)

y is one-hot, C_i (P, K, width) and D_i (P, K, H). For the rest see :mod:`pipeline.learning.dni`.
"""

from pipeline.learning.dni import SyntheticGradients


class ConditionedSyntheticGradients(SyntheticGradients):
    """What goes back is predicted from the layer's own h and the label."""

    labels = True


SIGNAL = ConditionedSyntheticGradients
