"""The contract of a sampler: a function of the seed, the number and what was told; what it does not read it refuses."""

import dataclasses
import json
import math
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline import names
from pipeline.errors import UserError
from pipeline.search.candidates import Search
from pipeline.search.outcome import rows_of
from pipeline.search.propose import Proposals
from pipeline.search.reading import read_plan
from pipeline.search.samplers import SAMPLERS
from pipeline.search.samplers.acquisition import ACQUISITIONS
from pipeline.search.samplers.encoding import Encoding
from pipeline.search.values import Sampler
from tests.support.studies import keep_in_memory

CHECKOUT = Path(__file__).parent.parent
PBLF = (CHECKOUT / "tune_configs" / "pblf.yaml").read_text()
SPACE = """
  rule.w1: {float: [-1.0, 1.0]}
  training.learning_rate: {float: [0.001, 1.0], log: true}
  training.batch_size: {integer: [8, 64], log: true}
  rule.modes: {bits: 2}
"""
WAYS: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in SAMPLERS if name not in ("grid", "botorch")},
    **{f"gp {name}": {"name": "gp", "acquisition": name, "trade_off": 0.5} for name in ACQUISITIONS},
    "gp ei, some at random": {"name": "gp", "acquisition": "ei", "random_every": 2},
}
SECONDS = ("gp", "gp pi", "gp ei")
"""ways that take seconds, or share all but a function with another one"""
LEARN = [name for name in WAYS if name not in ("random", "grid")]


@pytest.fixture(autouse=True)
def in_memory(monkeypatch):
    keep_in_memory(monkeypatch)


def _plan(folder: Path, way: str, **others: Any):
    rest = "objectives: {accuracy: maximise}\nbudget: {candidates: 40}\nscheduler: {name: none}\n"
    (folder / "made.yaml").write_text(f"{PBLF[: PBLF.index('space:')]}space:{SPACE}{rest}stages: [{{name: a, targets: 1}}]\n")
    plan = read_plan(folder / "made.yaml")
    options: dict[str, Any] = {"startup": 4, "population": 4} | WAYS[way] | others
    return dataclasses.replace(plan, sampler=Sampler(**options))


def _value(chosen: dict[str, Any]) -> float:
    rate = abs(math.log10(chosen["training.learning_rate"]) + 1.5)
    return 50 - 20 * (chosen["rule.w1"] - 0.3) ** 2 - rate + chosen["rule.modes"][0]


def _proposed(proposals: Proposals, numbers: range, sign: float = 1.0, fails: int = 5) -> list[dict[str, Any]]:
    """One after the other, each told all but the last two before it; one in ``fails`` fails."""
    found = []
    for number in numbers:
        found.append(proposals.propose(number))
        if (told := number - 2) >= 0:
            failed = told % fails == fails - 1
            proposals.tell(told, None if failed else {"accuracy": sign * _value(proposals.propose(told))}, failed)
    return found


@pytest.mark.parametrize("way", [pytest.param(way, marks=[pytest.mark.slow] if way in SECONDS else []) for way in WAYS])
def test_proposals_follow_from_seed_number_and_what_was_told(way, tmp_path):
    plan = _plan(tmp_path, way)
    (group,) = plan.groups

    def fresh(name: str) -> Proposals:
        return Proposals(plan, group, tmp_path / name)

    straight = _proposed(fresh("straight"), range(11))
    first = _proposed(fresh("parts"), range(8))
    assert first + _proposed(fresh("parts"), range(8, 11)) == straight, "a search that was killed goes on otherwise"
    for chosen in straight:
        assert -1 <= chosen["rule.w1"] <= 1 and 0.001 <= chosen["training.learning_rate"] <= 1
        assert 8 <= chosen["training.batch_size"] <= 64 and type(chosen["training.batch_size"]) is int
        assert chosen["rule.modes"] in [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert len({json.dumps(chosen) for chosen in straight}) == len(straight), "one is proposed twice"
    other = _proposed(fresh("other"), range(11), -1.0)
    assert (other != straight) == (way in LEARN), "what was told counts for a sampler that learns, and for no other"
    assert other[:4] == straight[:4], "the first are random"


def test_a_grid_that_was_killed_before_it_asked_for_what_it_laid_down_goes_on(tmp_path):
    """The study held a candidate that waits, which the next one then got in its own candidate's place."""
    plan = dataclasses.replace(_plan(tmp_path, "random"), sampler=Sampler(name="grid"))
    bits = next(own for own in plan.groups[0].space if own.choice)
    group = dataclasses.replace(plan.groups[0], space=(bits,))
    whole, cut = (Proposals(plan, group, tmp_path / name) for name in ("whole", "cut"))
    straight = [whole.propose(number) for number in range(4)]
    assert cut.propose(0) == straight[0]
    cut.study.ask = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        cut.propose(1)
    del cut.study.ask  # kept in memory, the next one has the same study
    again = Proposals(plan, group, tmp_path / "cut")
    assert [again.propose(number) for number in range(4)] == straight and len({json.dumps(own) for own in straight}) == 4


def test_every_name_is_a_sampler_and_every_acquisition_a_function():
    assert list(SAMPLERS) == list(typing.get_args(names.SamplerName))
    assert ["", *ACQUISITIONS] == list(typing.get_args(names.Acquisition))
    fields = {field.name for field in dataclasses.fields(Sampler)} - {"name"}
    assert {option for form in SAMPLERS.values() for option in form.takes} == fields, "an option that nobody reads"


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_an_acquisition_is_the_expectation_that_its_name_says(name):
    """Against the mean over draws of what a candidate may turn out to be."""
    mean, deviation, best, trade_off = np.array([-0.5, 0.0, 0.7, 2.0]), np.array([0.3, 1.0, 0.5, 0.01]), 0.4, 0.25
    drawn = mean + deviation * np.random.default_rng(0).standard_normal((400_000, 4))
    better = drawn - best - trade_off
    expected = {
        "pi": (better > 0).mean(0),
        "ei": np.maximum(better, 0).mean(0),
        "ucb": drawn.mean(0) + trade_off * drawn.std(0),
    }[name]
    assert ACQUISITIONS[name](mean, deviation, best, trade_off) == pytest.approx(expected, abs=5e-3)
    assert ACQUISITIONS[name](mean, deviation, best, 2.0) != pytest.approx(expected, abs=5e-3), "the trade-off counts"


def test_points_tell_bits_apart_by_how_many_differ():
    space = {
        "bits": CategoricalDistribution(["[0, 0]", "[0, 1]", "[1, 0]", "[1, 1]"]),
        "name": CategoricalDistribution(["[1]", "[1, 2]", "x"]),
        "rate": FloatDistribution(1e-3, 1.0, log=True),
        "count": IntDistribution(0, 10),
    }
    encoding, draws = Encoding(space), np.random.default_rng(0)
    marks = encoding.marks([{"bits": "[0, 1]", "name": "x", "rate": 0.1, "count": 5}, {"bits": "[1, 1]"}])
    points = encoding.points(marks)
    assert points.tolist()[0] == pytest.approx([0, 1, 0, 0, 1, 2 / 3, 0.5]) and points.tolist()[1] == [1, 1, *[0.5] * 5]
    assert encoding.values(marks[0]) == {"bits": "[0, 1]", "name": "x", "rate": pytest.approx(0.1), "count": 5}
    drawn = encoding.draw(200, draws)
    everyone = np.concatenate([drawn, *(encoding.near(own, 0.7, 2, draws) for own in (*drawn[:50], marks[1]))])
    assert len({tuple(own) for own in everyone.tolist()}) == len(everyone)
    for own in map(encoding.values, everyone):
        assert 1e-3 <= own["rate"] <= 1 and 0 <= own["count"] <= 10 and own["bits"] in space["bits"].choices
    assert {own["bits"] for own in map(encoding.values, everyone)} == set(space["bits"].choices)
    assert np.abs(encoding.near(drawn[0], 0.01, 50, draws)[:, 2] - drawn[0, 2]).max() < 0.06


@pytest.mark.slow
def test_a_process_finds_what_a_random_search_misses(tmp_path):
    """The twin of the contract: a sampler that ignored what it was told would pass all of it but this."""
    best = {}
    for way in ("gp ucb", "random"):
        plan = _plan(tmp_path, way, trade_off=1.0 if way == "gp ucb" else None)
        (group,) = plan.groups
        best[way] = 0.0
        for seed in range(3):
            own = dataclasses.replace(group, settings=group.settings | {"seed": seed})
            proposals = Proposals(plan, own, tmp_path / f"{way} {seed}")
            best[way] += max(_value(chosen) for chosen in _proposed(proposals, range(22), fails=99)) / 3
    assert best["gp ucb"] > best["random"], best


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("{name: gpp}", "did you mean 'gp'"),
        ("{name: gp, acquisition: ucbb}", "did you mean 'ucb'"),
        ("{name: tpe, acquisition: ei}", "tpe has no 'acquisition'; leave it out, or choose gp."),
        ("{name: random, random_every: 3}", "random has no 'random_every'"),
        ("{name: gp, mutation: 0.1}", "gp has no 'mutation'; leave it out, or choose genetic."),
        ("{name: tpe, trade_off: 0.1}", "tpe has no 'trade_off'"),
        ("{name: gp, trade_off: 0.1}", "pi, ei and ucb"),
        ("{name: gp, acquisition: ei, trade_off: -1}", "at least 0"),
        ("{name: gp, acquisition: ei, trade_off: .inf}", "at least 0"),
        ("{name: gp, acquisition: ei, trade_off: much}", "sampler.trade_off"),
        ("{name: gp, acquisition: ei, trade_of: 1}", "'trade_off'"),
        ("{name: genetic, mutation: 1.5}", "probability"),
        ("{name: gp, acquisition: pi}", "one objective"),
        ("{name: genetic}", "one objective"),
    ],
)
def test_options_that_a_sampler_has_not_are_refused(options, named, tmp_path):
    text = PBLF.replace(next(line for line in PBLF.splitlines() if line.startswith("sampler:")), f"sampler: {options}")
    if named == "one objective":
        text = text.replace("{accuracy: maximise}", "{accuracy: maximise, loss: minimise}")
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        read_plan(tmp_path / "bad.yaml")
    assert named in str(caught.value) and "\n" not in str(caught.value)


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_batch_sees_what_came_before_it_and_any_number_of_workers_finds_the_same(tmp_path):
    plan = _plan(tmp_path, "gp ucb")
    plan = dataclasses.replace(plan, budget=dataclasses.replace(plan.budget, candidates=9, batch=4))
    outcomes = []
    for most, until in ((1, 99), (4, 99), (2, 3), (3, 99)):  # the third is killed, and the fourth goes on from it
        search = Search(plan, tmp_path / ("parts" if until == 3 or most == 3 else str(most)))
        judged = 0
        while judged < until and isinstance(tasks := search.take(most), list):
            assert 1 <= len(tasks) <= most and len({task.number // 4 for task in tasks}) == 1
            for task in tasks:
                judged += 1
                if judged <= until:
                    search.done(task, {"accuracy": _value(dict(task.chosen))})
        outcomes += [rows_of(search)] if until == 99 else []
    assert outcomes[0] == outcomes[1] == outcomes[2] and len(outcomes[0]) == 9
    assert len({json.dumps(row["settings"]) for row in outcomes[0]}) == 9, "one of a batch is another one of it"
    search = Search(plan, tmp_path / "waits")
    assert len(search.take(4)) == 4 and search.take(4) == "wait", "a batch waits for the one before"


def test_tasks_of_another_stage_are_no_part_of_a_batch(tmp_path):
    """Nor does a later stage begin before all of its population are known."""
    plan = _plan(tmp_path, "random")
    stages = (dataclasses.replace(plan.stages[0], name="a", steps=44), dataclasses.replace(plan.stages[0], name="b", steps=88))
    budget = dataclasses.replace(plan.budget, candidates=6, batch=3)
    search = Search(dataclasses.replace(plan, stages=stages, budget=budget), tmp_path / "out")
    parcels, waiting = [], []
    while isinstance(tasks := search.take(2), list) or waiting:
        if isinstance(tasks, list):
            waiting.append(tasks)
        else:  # one result of the population that was begun last
            search.done(task := waiting[-1].pop(), {"accuracy": float(task.number)})
            waiting = [tasks for tasks in waiting if tasks]
            continue
        parcels.append([(task.number, task.stage) for task in tasks])
    assert tasks == "finished" and sorted(parcels) == sorted(
        [(number, stage) for number in numbers] for stage in (0, 1) for numbers in ((0, 1), (2,), (3, 4), (5,))
    )
    assert {row["stage"] for row in rows_of(search)} == {"b"}
