"""The contract of an arm: what is registered can be chosen, drawn, compared and refused, and loads nothing heavy."""

import dataclasses
import subprocess
import sys
from typing import get_args

import pytest

from pipeline.arms import ARMS, BEFORE, FIRST, Arm, unmet
from pipeline.config import Arm as Choice
from pipeline.config import CompareConfig, Config, ReaderName, UnrollConfig, from_dotted, validate
from pipeline.errors import UserError
from pipeline.results import figures

READERS = get_args(ReaderName)


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_says_what_it_is_and_names_only_what_there_is(name):
    arm = ARMS[name]
    assert arm.name == name and arm.says and not arm.says.endswith(".")
    assert arm.enn in ("", FIRST, BEFORE, *READERS)
    assert bool(arm.enn) == (arm.strengths == "instruction"), "an ENN's strength is the instruction's"
    assert set(arm.duels) <= ARMS.keys() - {name}
    assert getattr(CompareConfig(), arm.strengths or "arms"), "there is nothing to choose from"


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_can_be_chosen_and_its_needs_are_asked_for(name):
    arm, readers = ARMS[name], list(READERS)
    chosen = {"compare.arms": ["conventional", *({name} - {"conventional"})], "unroll.segments": 60, "enn.readers": readers}
    assert name in validate(from_dotted(chosen)).compare.arms
    with pytest.raises(UserError, match=f"'{name}x'"):
        from_dotted(chosen | {"compare.arms": ["conventional", f"{name}x"]})
    if arm.enn == BEFORE:
        with pytest.raises(UserError, match=rf"'{name}', the ENN before its fine-tuning"):
            validate(from_dotted(chosen | {"unroll.segments": 0}))
    if arm.enn in READERS:
        with pytest.raises(UserError, match=rf"'{name}' but enn.readers has no '{arm.enn}'"):
            validate(from_dotted(chosen | {"enn.readers": [other for other in readers if other != arm.enn]}))


def test_what_is_chosen_is_drawn_and_found_is_what_is_registered():
    assert set(get_args(Choice)) == set(ARMS) == set(figures.COLOURS)
    assert len(set(figures.COLOURS.values())) == len(ARMS), "two arms have one colour"


def test_an_arm_that_needs_nothing_is_never_in_the_way():
    plain = tuple(arm for arm in ARMS.values() if not arm.enn)
    assert len(plain) > 5 and not unmet(plain, (), 0)
    asking = dataclasses.replace(plain[0], enn="convnet")
    assert len(unmet((asking,), ("probes",), 0)) == 1


def test_names_need_no_torch():
    code = "import sys, pipeline.arms, pipeline.config, pipeline.search.reading as r; "
    code += "print([name for name in ('torch', 'numpy', 'ray', 'matplotlib') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_default_run_has_what_its_arms_need():
    config = Config(unroll=UnrollConfig(segments=0))
    assert all(isinstance(ARMS[name], Arm) for name in config.compare.arms)
    assert not unmet(tuple(ARMS[name] for name in config.compare.arms), config.enn.readers, 0)
