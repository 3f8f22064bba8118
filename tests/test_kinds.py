"""The contract of a search kind: what is registered reads a file, refuses what it decides, and says what is better."""

import json
from pathlib import Path

import pytest

from pipeline.config import PRESETS, to_dotted
from pipeline.errors import UserError
from pipeline.search.kinds import KINDS, Kind
from pipeline.search.plan import Plan, deciding
from pipeline.search.reading import read_plan
from pipeline.search.values import Record, Stage

BASE = to_dotted(PRESETS["digits"])


def _varied(kind: Kind, stage: Stage) -> str:
    """A setting that may vary."""
    base = BASE | kind.decide(BASE, stage, Record())
    return next(key for key in BASE if kind.varies(key) and not kind.without_effect(key, base))


def _read(folder: Path, kind: Kind, **others) -> Plan:
    stage = Stage("only", targets=max(2, kind.least_targets))
    values = {
        "kind": kind.name,
        "space": {_varied(kind, stage): {"choice": [BASE[_varied(kind, stage)]]}},
        "objectives": {kind.objectives[0]: "minimise" if kind.objectives[0] in kind.smaller else "maximise"},
        "stages": [{"name": stage.name, "targets": stage.targets}],
    }
    file = folder / "made_up.yaml"
    file.write_text(json.dumps(values | others))
    return read_plan(file)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_reads_a_file_and_says_what_is_better(name, tmp_path):
    kind = KINDS[name]
    plan = _read(tmp_path, kind)
    assert kind.name == plan.kind == name and plan.rank_by(0)[0] == kind.objectives[0]
    assert {*kind.smaller, *kind.stands_for} <= set(kind.objectives)
    assert bool(plan.recordings()) == kind.records
    for time, other in kind.stands_for.items():
        assert deciding({time: 1.0, other: 2.0}, time) == 2.0, "a measured time decides"
    assert plan.config(plan.groups[0], {plan.groups[0].space[0].key: plan.groups[0].space[0].choice[0]}) == plan.config()


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_refuses_what_it_does_not_vary(name, tmp_path):
    kind = KINDS[name]
    for key in [key for key in BASE if not kind.varies(key)]:
        with pytest.raises(UserError, match="cannot be searched here") as caught:
            _read(tmp_path, kind, space={key: {"choice": [BASE[key]]}})
        assert str(caught.value).endswith(kind.foreign(key) or kind.reason(key))
    for key in [key for key in BASE if kind.decided and key.startswith(kind.decided)]:
        with pytest.raises(UserError, match=f"no effect in a search over {kind.over}"):
            _read(tmp_path, kind, settings={key: BASE[key]})


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_refuses_the_parts_of_others_and_too_few_targets(name, tmp_path):
    kind = KINDS[name]
    for part in {part for other in KINDS.values() for part in other.parts} - set(kind.parts):
        with pytest.raises(UserError, match=f"'{part}' is for searches over"):
            _read(tmp_path, kind, **{part: {}})
    with pytest.raises(UserError, match=f"at least {kind.least_targets}"):
        _read(tmp_path, kind, stages=[{"name": "only", "targets": kind.least_targets - 1}])
