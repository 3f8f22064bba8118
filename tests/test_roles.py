"""Who starts from He and who keeps which λ, against a list made by hand; and that every block holds all of them."""

import torch

from pipeline.config import LEAST_RECORDED
from rl.offline.recorded import HELD_OUT
from rl.roles import (
    BLOCK,
    all_from_he,
    collected_from_he,
    fixed_level,
    from_he,
    keeps_level,
    levels_of,
    pair_of,
    start_from,
)

MEMBERS = torch.arange(16)


def test_collected_runs_are_in_fours():
    small, he = [False, False], [True, True]
    assert collected_from_he(MEMBERS).tolist() == (small + he) * 4
    assert keeps_level(MEMBERS).tolist() == [True, False] * 8
    assert fixed_level(MEMBERS, 3).tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0] * 4
    played = levels_of(MEMBERS, 3, torch.full((16,), 9)).tolist()
    assert played == [0, 9, 0, 9, 1, 9, 1, 9, 2, 9, 2, 9, 0, 9, 0, 9]


def test_all_other_runs_are_in_pairs():
    assert [from_he(member) for member in range(6)] == all_from_he(6).tolist() == [False, True] * 3
    assert [pair_of(member) for member in range(6)] == [0, 0, 1, 1, 2, 2]


def test_a_block_holds_every_start_at_every_level_of_four():
    """What is held out of the smallest recorded population is met in what is learned from."""
    for first in range(0, LEAST_RECORDED, BLOCK):
        members = torch.arange(first, first + BLOCK)
        kept = members[keeps_level(members)]
        met = set(zip(collected_from_he(kept).tolist(), fixed_level(kept, 4).tolist(), strict=True))
        assert len(met) == 8
    assert LEAST_RECORDED >= BLOCK * HELD_OUT


def test_only_the_chosen_take_the_others_weights():
    own, other = [torch.zeros(4, 2, 3), torch.zeros(4, 2)], [torch.ones(4, 2, 3), torch.ones(4, 2)]
    start_from(own, other, all_from_he(4))
    for weights in own:
        assert not weights[[0, 2]].any() and weights[[1, 3]].all()
