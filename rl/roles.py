"""Who starts from He, and who keeps which λ: a member's place in its population decides it, and nothing else does.

Both kinds of start, because small weights and He's are two regimes and the ENN is to know both. While runs are collected, half
of the members keep one λ for a whole run, so that whole returns are seen at every level; the others follow the policy:

    collected runs     0 small, keeps λ · 1 small, policy · 2 He, keeps λ · 3 He, policy, and so on in fours
    all other runs     0 small · 1 He, and so on in pairs

A block of :data:`BLOCK` collected runs therefore holds every start at four levels of λ.

Letters: P members.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

STARTS = ("small", "he")
"""small: as the settings have it; in the order of the places of a pair"""
BLOCK = 16
"""collected runs that are held out or learned from together"""


# -- collected runs ----------------------------------------------------------------------------------------------------


def collected_from_he(members: Int[Tensor, " P"]) -> Bool[Tensor, " P"]:
    """Which members of a collected population start from He."""
    return members % 4 >= 2


def keeps_level(members: Int[Tensor, " P"]) -> Bool[Tensor, " P"]:
    """Which members keep one λ for the whole run while collecting."""
    return members % 2 == 0


def fixed_level(member: Int[Tensor, " P"], levels: int) -> Int[Tensor, " P"]:
    """The level of λ, of so many, that a member that keeps one keeps: both starts meet every level."""
    return torch.div(member, 4, rounding_mode="floor") % levels


def levels_of(members: Int[Tensor, " P"], levels: int, policy: Int[Tensor, " P"]) -> Int[Tensor, " P"]:
    """The levels that are played: the fixed ones of the members that keep theirs, ``policy``'s of the others."""
    return torch.where(keeps_level(members), fixed_level(members, levels), policy)


# -- all other runs ----------------------------------------------------------------------------------------------------


def from_he(member: int) -> bool:
    """Whether a member starts from He: every other one does."""
    return member % 2 == 1


def all_from_he(members: int, device: torch.device | str = "cpu") -> Bool[Tensor, " P"]:
    """Which of so many members start from He."""
    return torch.arange(members, device=device) % 2 == 1


def pair_of(member: int) -> int:
    """The number of the pair, one of either start, that a member or a run belongs to."""
    return member // 2


# -- making them -------------------------------------------------------------------------------------------------------


def start_from(own: Sequence[Tensor], other: Sequence[Tensor], chosen: Bool[Tensor, " P"]) -> None:
    """Give the ``chosen`` members of one population, tensors (P, …), the weights of another one, in place."""
    for weights, others in zip(own, other, strict=True):
        weights[chosen] = others[chosen]
