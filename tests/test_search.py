"""The search: its files read strictly, its order independent of timing, resumed without a trial lost or repeated."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pipeline.cluster import Placement
from pipeline.command_line import main
from pipeline.command_line.beginning import settings_of
from pipeline.config import Config, from_dotted, identity, to_dotted, validate
from pipeline.errors import UserError
from pipeline.search.candidates import Search
from pipeline.search.drive import drive
from pipeline.search.forecast import MEASURED, features, forecast
from pipeline.search.kinds import KINDS
from pipeline.search.ladder import Ladder, Task
from pipeline.search.outcome import _edge, edge_lines, importances, pareto, rows_of
from pipeline.search.propose import Proposals
from pipeline.search.reading import read_plan
from pipeline.search.together import check_together
from pipeline.search.values import Budget, Dimension, Sampler
from pipeline.search.yaml_text import load_yaml
from pipeline.seeding import stream
from pipeline.setting import selection_data, target_of
from pipeline.targets import Batches, Population, unflatten
from tests.support.tiny_run import HANGS

CHECKOUT = Path(__file__).parent.parent
FILES = sorted((CHECKOUT / "tune_configs").glob("*.yaml"))
SMOKE = (CHECKOUT / "tune_configs" / "smoke.yaml").read_text()
TIMES = {"ms_per_instruction", "seconds", "training_seconds"}
"""results that no two measurements agree on"""


def _plan(folder: Path, text: str = SMOKE, **replaced: Any):
    path = folder / "smoke.yaml"
    path.write_text(text)
    return dataclasses.replace(read_plan(path), **replaced)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_says_what_it_asks_and_how_to_run_it(file):
    plan = read_plan(file)
    comment = [line for line in file.read_text().splitlines() if line.startswith("#")]
    assert comment[0].startswith("# Question:") and comment[2].startswith("# Budget:")
    assert f"grad-instructor search tune_configs/{file.name}" in comment[1]
    assert plan.question


BAD: dict[str, tuple[str, str, str]] = {
    "key at the top": ("sampler:", "sampller:", "'sampler'"),
    "setting": ("unroll.steps: 25", "unrol.steps: 25", "'unroll.steps'"),
    "setting in the space": ("enn.probes: {integer", "enn.probez: {integer", "'enn.probes'"),
    "form of a dimension": ("rl.gamma: {float:", "rl.gamma: {flot:", "'float'"),
    "objective": ("{gain: max", "{gian: max", "'gain'"),
    "direction": ("gain: maximise", "gain: maximize", "'maximise'"),
    "sampler": ("name: tpe", "name: tpee", "'tpe'"),
    "part of the budget": ("ahead: 2", "ahed: 2", "'ahead'"),
    "stage": ("updates: 10}", "update: 10}", "'updates'"),
    "type of a setting": ("training.steps: 50", "training.steps: fifty", "training.steps"),
    "type of a choice": ("choice: [0.3, 0.6]", "choice: [0.3, small]", "enn.resolution"),
    "range of a choice": ("choice: [0.3, 0.6]", "choice: [0.3, 1.6]", "at most 1"),
    "range upside down": ("float: [0.0, 0.9]", "float: [0.9, 0.0]", "low end"),
    "range without end": ("float: [0.0, 0.9]", "float: [0.0, .inf]", "finite"),
    "impossible discount": ("float: [0.0, 0.9]", "float: [0.0, 1.5]", "below 1"),
    "logarithm of nothing": ("[0.003, 0.03], log", "[0.0, 0.03], log", "above 0"),
    "half a probe": ("integer: [4, 16]", "integer: [4.5, 16]", "enn.probes"),
    "setting of the recordings": ("rl.gamma: {float", "rl.period: {float", "'settings'"),
    "key twice": ("budget:", "stages: []\nbudget:", "twice"),
    "a folder": ("  target.hidden: [8]", "  data.dataset: ../../secret.npz", "names a data set"),
    "a folder in a name": ("name: few,", "name: ../few,", "no name"),
    "an object": ("preset: digits", "preset: !!python/object/apply:os.getcwd []", "YAML"),
    "no YAML": ("preset: digits", "preset: [digits", "line"),
    "a tag": ("question: Does", "question: !!binary Does", "tags"),
    "depth that crashes libyaml": ("hidden: [8]", f"hidden: {'[' * 9000}{']' * 9000}", "deep"),
    "a number that Python does not write out": ("training.steps: 50", f"training.steps: 0x{'f' * 9000}", "smaller"),
    "a number as a key": ("preset:", "1:", "no name"),
    "condition that is no mapping": ("when: {enn.readers: [probes]}", "when: probes", "mapping"),
    "condition without a value": ("when: {enn.readers: [probes]}", "when: {rl.tau: []}", "at least one"),
    "an alias": ("question: Does the search work here?", "question: &a hm\nkind: *a", "aliases"),
    "condition on what comes later": ("when: {enn.readers: [probes]}", "when: {rl.gamma: 0.5}", "comes later"),
    "reduction without end": ("reduction: 2", "reduction: .inf", "above 1"),
    "no targets at the end": ("segments: 4, targets: 8", "segments: 4, targets: 1", "targets"),
    "fewer than before": ("segments: 4,", "segments: 1,", "cannot fall"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_at_once(case, tmp_path, capfd, environment, monkeypatch):
    good, bad, named = BAD[case]
    monkeypatch.chdir(tmp_path)
    assert SMOKE.count(good) >= 1
    Path("bad.yaml").write_text(SMOKE.replace(good, bad, 1))
    assert main(["search", "bad.yaml", "--local"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("grad-instructor: bad.yaml: ") and len(error.splitlines()) == 1 and named in error, error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml"]


def test_depth_is_refused_in_our_words_whatever_the_parser_does(monkeypatch):
    deep = {"flow": f"a: {'[' * 21}{']' * 21}", "blocks": "- " * 21 + "x", "both": "- " * 15 + "[" * 6 + "]" * 6}
    for text in deep.values():
        with pytest.raises(UserError, match="more than 20 deep"):
            load_yaml(text)
    assert load_yaml(f"a: [{', '.join(['[1]'] * 50)}]") == {"a": [[1]] * 50}, "beside each other is not deep"

    def refuse(*_, **__):
        raise yaml.YAMLError("words of another version")

    monkeypatch.setattr(yaml, "parse", refuse)
    with pytest.raises(UserError, match="more than 20 deep"):
        load_yaml(deep["flow"])
    with pytest.raises(UserError, match="not YAML that can be read"):
        load_yaml("a: 1")


@pytest.mark.parametrize("arguments", [["missing.yaml"], ["."], [], ["bytes.yaml"], ["smoke.yaml", "--worker", "2"]])
def test_a_bad_command_is_refused_at_once(arguments, tmp_path, capfd, environment, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bytes.yaml").write_bytes(b"\xff\xfe\x00")
    Path("smoke.yaml").write_text(SMOKE)
    assert main(["search", *arguments]) == 2
    error = capfd.readouterr().err
    assert error.startswith("grad-instructor: ") and len(error.splitlines()) == 1, error
    assert len(list(tmp_path.iterdir())) == 2


def test_numbers_without_a_point_are_numbers(tmp_path):
    plan = _plan(tmp_path, SMOKE.replace("[0.003, 0.03]", "[3e-3, 3e-2]"))
    assert next(d for d in plan.groups[0].space if d.key == "unroll.learning_rate").ends == (0.003, 0.03)


@pytest.mark.parametrize("text", ["rl.gama: 0.5", "settings: {rl.gamma: high}", "- 1", "rl.gamma: [", "preset: moon"])
def test_bad_settings_are_refused(text, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="settings"):
        settings_of(path)


# -- what goes together ------------------------------------------------------------------------------------------------


def _space(*lines: str) -> str:
    """The smoke search with more in its space."""
    return SMOKE.replace(
        "  rl.gamma: {float: [0.0, 0.9]}\n", "".join(f"  {line}\n" for line in lines) + "  rl.gamma: {float: [0.0, 0.9]}\n"
    )


REFRESH, STEPS = "instruction.refresh: {choice: [5, 25]}", "unroll.steps: {choice: [15, 25]}"
APART = {
    "two choices": ((REFRESH, STEPS), ("instruction.refresh 25 and unroll.steps 15",)),
    "a choice and a range": (
        ("instruction.refresh: {choice: [1, 5]}", "unroll.steps: {integer: [20, 40]}"),
        ("instruction.refresh 5 and unroll.steps 2",),
    ),
    "every value of one": (("instruction.refresh: {choice: [4, 7]}",), ("space.instruction.refresh", "multiple")),
    "every value of one with every one of another": (
        ("instruction.refresh: {choice: [4, 7]}", "unroll.steps: {choice: [15, 25]}"),
        ("space.instruction.refresh", "multiple"),
    ),
    "inside of a range": (("enn.kernel: {integer: [3, 5], when: {enn.readers: [convnet]}}",), ("enn.kernel is 4", "odd")),
    "where another matters": (
        (REFRESH, "unroll.steps: {choice: [15, 25], when: {enn.readers: [statistics]}}"),
        ("instruction.refresh 25 and unroll.steps 15",),
    ),
}


@pytest.mark.parametrize("case", APART)
def test_values_that_cannot_go_together_are_refused_before_any_work(case, tmp_path, capfd, environment, monkeypatch):
    lines, named = APART[case]
    monkeypatch.chdir(tmp_path)
    Path("apart.yaml").write_text(_space(*lines))
    assert main(["search", "apart.yaml", "--local"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("grad-instructor: apart.yaml: space") and len(error.splitlines()) == 1, error
    assert all(name in error for name in named), error
    assert [path.name for path in tmp_path.iterdir()] == ["apart.yaml"]


def test_a_value_in_the_middle_of_many_choices_is_looked_at_with_every_other_one():
    base = to_dotted(Config()) | {"unroll.segments": 2}
    steps = [60, 120, 180, 240, 312, 300, 360, 420, 480, 540]
    refresh = Dimension("instruction.refresh", choice=(1, 2, 3, 4, 5, 6, 12))
    check_together([refresh, Dimension("unroll.steps", choice=tuple(step for step in steps if step != 312))], base)
    with pytest.raises(UserError, match=r"instruction\.refresh 5 and unroll\.steps 312"):
        check_together([refresh, Dimension("unroll.steps", choice=tuple(steps))], base)


TOGETHER = {
    "all combinations": (REFRESH, "unroll.steps: {choice: [25, 50]}"),
    "what the settings of the group do not go with": ("instruction.refresh: {choice: [7]}", "unroll.steps: {choice: [14, 21]}"),
    "kept apart by a condition": (
        "instruction.refresh: {choice: [5, 25]}",
        "unroll.steps: {choice: [15, 25], when: {instruction.refresh: [5]}}",
    ),
    "kept apart by two conditions": (
        "instruction.refresh: {choice: [5, 25], when: {enn.readers: [probes]}}",
        "unroll.steps: {choice: [15, 25], when: {enn.readers: [statistics]}}",
    ),
}


@pytest.mark.parametrize("case", [*TOGETHER, *FILES], ids=str)
def test_no_candidate_of_a_file_that_is_read_has_settings_that_are_refused(case, tmp_path):
    """Whoever proposes: thirty random candidates of every group."""
    text = case.read_text() if isinstance(case, Path) else _space(*TOGETHER[case])
    plan = _plan(tmp_path, text, sampler=Sampler("random"), budget=Budget(30))
    for group in plan.groups:
        own, folder = KINDS[plan.kind].proposals, tmp_path / group.name
        proposals = own(plan, group, folder, None) if own else Proposals(plan, group, folder)
        chosen = [proposals.propose(number) for number in range(proposals.total)]
        configs = [plan.config(group, own) for own in chosen]  # raises where they are refused
        assert len({identity(config) for config in configs}) == len({json.dumps(own) for own in chosen}) > 1


def test_settings_that_do_not_go_together_are_no_failed_candidate(tmp_path):
    """Were a file ever read that allows them: the search stops with a sentence."""
    plan = _plan(tmp_path, _space("unroll.steps: {choice: [15, 25]}"))
    (group,) = plan.groups
    wrong = dataclasses.replace(plan, groups=(dataclasses.replace(group, space=(Dimension("unroll.steps", choice=(7,)),)),))
    with pytest.raises(UserError, match=r"do not go together .*multiple"):
        Search(wrong, tmp_path / "out").next()
    assert not list((tmp_path / "out").rglob("candidate.json"))


# -- order -------------------------------------------------------------------------------------------------------------


def _found(task: Task) -> dict[str, Any]:
    """What a judge might find out: by the settings and the stage alone, with a few candidates that fail."""
    draws = np.random.default_rng([task.number, task.stage, round(1e6 * dict(task.chosen)["rl.gamma"])])
    if draws.random() < 0.05:
        return {"failed": "for a test"}
    names = [*MEASURED, "gain", "operations_per_instruction"]
    return dict(zip(names, draws.random(len(names)).tolist(), strict=True))


def _play(search: Search, workers: int, seed: int, until: int = 10**9) -> list[Task]:
    """Judge with so many workers that take random times; the tasks in the order in which they were begun."""
    draws, running, begun = np.random.default_rng(seed), [], []
    while len(begun) < until:
        while len(running) < workers and isinstance(task := search.next(), Task):
            running.append(task)
            begun.append(task)
        if not running:
            assert search.next() == "finished"
            break
        task = running.pop(int(draws.integers(len(running))))
        search.done(task, _found(task))
    return begun


SLOW = pytest.mark.slow  # their samplers take seconds to propose


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("nsga2", marks=SLOW), pytest.param("gp", marks=SLOW), "random"])
def test_the_outcome_does_not_depend_on_workers_or_timing(sampler, tmp_path):
    text = SMOKE.replace("name: tpe", f"name: {sampler}, population: 4").replace(
        "candidates: 8, ahead: 2", "candidates: 16, ahead: 4"
    )
    plan = _plan(tmp_path, text + "predict: {after: 5}\n")
    outcomes = []
    for workers, seed in ((1, 0), (3, 1), (9, 2)):
        search = Search(plan, tmp_path / f"{workers}")
        begun = _play(search, workers, seed)
        assert len({(task.number, task.stage) for task in begun}) == len(begun)
        outcomes.append(rows_of(search))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert {row["outcome"] for row in outcomes[0]} >= {"finished", "stopped"}
    assert len({json.dumps(row["settings"]) for row in outcomes[0]}) == len(outcomes[0])


def test_another_seed_proposes_others(tmp_path):
    one, other = (
        rows_of(_played(_plan(tmp_path, SMOKE.replace("rl.period", f"seed: {seed}\n  rl.period")), tmp_path / str(seed)))
        for seed in (0, 1)
    )
    assert all(a["settings"] != b["settings"] for a, b in zip(one, other, strict=True))
    assert rows_of(_played(_plan(tmp_path), tmp_path / "again")) == one


def _played(plan, folder: Path) -> Search:
    search = Search(plan, folder)
    _play(search, 2, 0)
    return search


@pytest.mark.parametrize("stopped_after", [1, 7, 13])
def test_a_search_that_was_killed_goes_on_where_it_was(stopped_after, tmp_path):
    plan = _plan(tmp_path, SMOKE.replace("candidates: 8", "candidates: 16"))
    straight = Search(plan, tmp_path / "straight")
    every = _play(straight, 1, 0)
    before = _play(Search(plan, tmp_path / "parts"), 3, 1, until=stopped_after)
    finished = len(list((tmp_path / "parts").glob("candidates/*/*.json"))) - len({task.candidate for task in before})
    resumed = Search(plan, tmp_path / "parts")
    after = _play(resumed, 2, 2)
    assert len(after) == len(every) - finished, "a task was lost or repeated"
    assert rows_of(resumed) == rows_of(straight)
    assert pareto(plan, rows_of(resumed)) == pareto(plan, rows_of(straight))


def test_a_study_that_was_lost_is_made_again(tmp_path):
    plan = _plan(tmp_path)
    _play(Search(plan, tmp_path / "a"), 1, 0, until=9)
    (tmp_path / "a" / "studies" / "all" / "study.db").unlink()
    resumed = Search(plan, tmp_path / "a")
    _play(resumed, 1, 0)
    assert rows_of(resumed) == rows_of(_played(plan, tmp_path / "b"))


def test_the_ladder_lets_the_best_third_go_on(tmp_path):
    plan = _plan(tmp_path, SMOKE.replace("reduction: 2", "reduction: 3"))
    order = np.random.default_rng(0).permutation(90)
    ladder = Ladder(plan, "", 90, lambda number: {}, lambda *_: None)
    while isinstance(task := ladder.next(), Task):
        ladder.done(task.number, task.stage, {"rank_correlation": float(order[task.number]), "gain": float(order[task.number])})
    ends = [ladder.outcome(number) for number in range(90)]
    assert None not in ends
    went_on = [number for number in range(90) if ends[number][0] >= 1]
    assert 22 <= len(went_on) <= 40
    assert np.mean(order[went_on]) > 60
    assert ends[int(np.argmax(order))] == (2, "finished")


def test_the_front_is_what_nothing_beats(tmp_path):
    plan = _plan(tmp_path)
    points = [(1.0, 1.0), (2.0, 2.0), (1.5, 2.5), (3.0, 9.0), (3.0, 8.0)]
    rows = [
        {"name": str(n), "outcome": "finished", "result": {"gain": gain, "ms_per_instruction": ms}}
        for n, (gain, ms) in enumerate(points)
    ]
    assert [row["name"] for row in pareto(plan, rows)] == ["4", "1", "0"]


def test_what_is_best_at_an_end_of_what_was_searched_is_said(tmp_path):
    plan = _plan(tmp_path, SMOKE.replace("[0.3, 0.6]", "[0.3, 0.5, 0.6]"))
    inside = {"enn.readers": ["convnet"], "enn.resolution": 0.5, "rl.gamma": 0.5, "unroll.learning_rate": 0.01}
    for changed, edge in (
        ({}, ""),
        ({"unroll.learning_rate": 0.0298}, "unroll.learning_rate, 0.0298, is the largest"),
        ({"unroll.learning_rate": 0.003}, "unroll.learning_rate, 0.003, is the smallest"),
        ({"enn.resolution": 0.3}, "enn.resolution, 0.3, is the smallest"),
        ({"enn.readers": ["probes"], "enn.probes": 16}, "enn.probes, 16, is the largest"),
    ):
        row = {"name": "007", "number": 7, "group": "", "outcome": "finished", "settings": inside | changed}
        (found,) = edge_lines(plan, [row | {"result": {"gain": 1.0, "ms_per_instruction": 1.0}}]) or [""]
        assert edge in found and bool(edge) == bool(found), (changed, found)
    assert _edge(Dimension("training.weight_decay", low=0.0, high=0.1), 0.0) is None, "it is to do without"
    assert _edge(Dimension("training.weight_decay", low=0.0, high=0.1), 0.1) == "largest"


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_importances_of_every_file_find_the_setting_that_decides(file):
    """Also where a setting's default has no logarithm (a weight decay of 0), or where it is only at times a setting."""
    plan, draws = read_plan(file), np.random.default_rng(0)
    for group in plan.groups:
        ranges = [dimension for dimension in group.space if not dimension.choice and not dimension.when]
        if not ranges:
            continue
        rows = []
        for _ in range(40):
            values = {d.key: d.low + (d.high - d.low) * draws.uniform() for d in ranges}
            values = {d.key: round(values[d.key]) if d.whole else values[d.key] for d in ranges}
            rows.append({"settings": values, "result": {plan.objectives[0][0]: values[ranges[0].key]}})
        found = importances(plan, group, rows)
        assert max(found, key=lambda key: found[key]) == ranges[0].key


def test_a_forecast_finds_what_can_be_found():
    draws = np.random.default_rng(0)
    known = [dict(zip(MEASURED, draws.uniform(0.1, 1, len(MEASURED)), strict=True)) for _ in range(60)]
    gains = [3 * row["cosine"] - np.log10(row["parameters"]) for row in known]
    assert features(known).shape == (60, len(MEASURED))
    assert features([row | {"gain": 1.0} for row in known]).shape == (60, len(MEASURED) + 1)
    predicted = forecast(known[:40], gains[:40], known[40:])
    assert np.corrcoef(predicted, gains[40:])[0, 1] > 0.95


# -- the whole ---------------------------------------------------------------------------------------------------------


SHORT = SMOKE.replace("candidates: 8", "candidates: 4")


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows = json.loads((folder / "search.json").read_text())["rows"]
    for row in rows:
        row["result"] = {name: value for name, value in row["result"].items() if name not in TIMES}
        del row["seconds"]
    return rows


def _runs(folder: Path) -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()], max_results=1000)
    runs = {run.data.tags["grad_instructor.run"]: run for run in found}
    assert len(runs) == len(found), "a run is there twice"
    return runs


def test_stages_give_what_one_straight_judgement_gives(tmp_path, digits):
    from rl.offline import judge, record

    plan = _plan(tmp_path)
    config = plan.config(None, {"enn.readers": ["probes"], "enn.probes": 5})
    recorded = record(config, digits, tmp_path / "recordings", 1, 8, 0)
    again = record(config, digits, tmp_path / "recordings", 1, 8, 0)
    assert np.array_equal(recorded.observations, again.observations) and np.array_equal(recorded.costates, again.costates)
    for number in (0, 1, 2, 0, 2):  # a stage that is judged again, from a state that is ahead of it, gives the same as well
        staged = judge(config, plan.stages[: number + 1], tmp_path / "candidate", dataset=digits, recorded=recorded)
    straight = judge(config, plan.stages, None, dataset=digits, recorded=recorded)
    assert {k: v for k, v in staged.items() if k not in TIMES} == {k: v for k, v in straight.items() if k not in TIMES}
    assert staged["gain"] != 0 and -1 <= staged["cosine"] <= 1


def test_costates_say_what_a_push_does_to_the_end_of_a_run(tmp_path, digits):
    """Against the runs themselves: pushed a little along its costate, each must end as much worse as that says."""
    from rl.offline.recorded import points_of
    from rl.offline.recording import costates_of, record

    config = _plan(tmp_path).config()
    config = dataclasses.replace(config, unroll=dataclasses.replace(config.unroll, largest_costate=1e6))
    recorded = record(config, digits, tmp_path, 1, 2, 0)
    assert np.array_equal(recorded.costates, costates_of(config, digits, recorded).numpy())
    target, training, (x, y) = target_of(config, digits), config.training, selection_data(config, digits)
    flat, progress = points_of(recorded)[0]
    batches = Batches(*digits.tensors("train"), training.batch_size, [stream(config.seed, "costates", 0)], True)

    def ends(start: torch.Tensor) -> np.ndarray:
        losses = []
        for own, age in zip(start, (progress * training.steps).round().int().tolist(), strict=True):
            population = Population(target, unflatten(own[None], target.shapes), "sgd", training.learning_rate)
            for step in range(training.steps - age):
                population.apply(population.grads(*batches(step)))
            losses.append(population.evaluate(x, y).loss.log().item())
        return np.array(losses)

    costates = torch.from_numpy(recorded.costates[: len(flat)])
    push = 1e-2 * costates / costates.norm(dim=1, keepdim=True)
    measured = (ends(flat + push) - ends(flat - push)) / 2
    assert measured == pytest.approx((costates * push).sum(1).numpy(), rel=0.1)


def test_nothing_is_learned_from_runs_that_are_held_out(tmp_path, digits):
    from rl.critics import fresh_critic
    from rl.offline import Learning, record

    config = _plan(tmp_path).config()
    recorded = record(config, digits, tmp_path, 1, 2, 0)
    held = recorded.held_out()
    assert 0 < held.sum() <= len(held) / 3
    learning = Learning(config, fresh_critic(config, digits), recorded, ~held)
    (kept,) = learning.buffer.recordings
    seen = {run.tobytes() for run in kept.observations}
    assert seen and not seen & {run.tobytes() for run in recorded.observations[held]}
    scores = np.exp(-recorded.loss)
    last = recorded.recording(config, held).rewards[:, -1]
    assert np.allclose(last, scores[held][:, -1], atol=1e-6)  # (1 − γ) s + γ s = s


def test_a_search_from_the_command_line(tmp_path, monkeypatch, capfd, environment):
    """Done, and done again: the same table, one MLflow run per candidate, true statuses, and settings that can be used."""
    monkeypatch.chdir(tmp_path)
    Path("short.yaml").write_text(SHORT)
    assert main(["search", "short.yaml", "--local", "--output", "out"]) == 0
    rows, runs = _rows(Path("out")), _runs(Path("out"))
    assert [row["name"] for row in rows] == ["000", "001", "002", "003"]
    assert {row["outcome"] for row in rows} <= {"finished", "stopped"} and "finished" in {row["outcome"] for row in rows}
    parent = runs.pop("search")
    assert parent.info.status == "FINISHED" and [item.dataset.name for item in parent.inputs.dataset_inputs] == ["digits"]
    assert sorted(runs) == [f"search/{row['name']}" for row in rows]
    for row in rows:
        run = runs[f"search/{row['name']}"]
        assert run.info.status == "FINISHED" and run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["result.outcome"] == row["outcome"] and run.data.tags["result.stage"] == row["stage"]
        assert run.data.params.keys() == {"search", "data.dataset", *row["settings"]}
        assert (
            run.info.run_name == f"{row['name']} short" and run.data.params["search"] == parent.data.params["search"] == "short"
        )
        assert "rank_correlation" in run.data.metrics and len(run.data.metrics) <= 12
        assert ("gain" in run.data.metrics) == (row["stage"] != "prediction")
    for file in ("search.md", "best.json", "figures/front.png"):
        assert (Path("out") / file).stat().st_size > 100
    assert not (Path("out") / ".tune").exists() and not list(Path("out").rglob("*.pkl"))

    preset, config = settings_of(Path("out/best.json"))
    best = next(row for row in rows if row["name"] == json.loads(Path("out/best.json").read_text())["found"]["candidate"])
    assert preset == "digits" and validate(config) == config
    page = f"#/experiments/{parent.info.experiment_id}/runs/{runs['search/' + best['name']].info.run_id}"
    assert f"[{best['name']}]({page})" in parent.data.tags["mlflow.note.content"]
    assert best["settings"].items() <= to_dotted(config).items()
    assert main(["train-enn", "--config", "out/best.json", "--help-all"]) == 0
    assert f"default: {best['settings']['rl.gamma']}" in re.sub(r"[\s│]+", " ", capfd.readouterr().out)

    written = {path: path.stat().st_mtime_ns for path in Path("out").glob("candidates/*/*.safetensors")}
    assert main(["search", "short.yaml", "--local", "--output", "out"]) == 0
    assert _rows(Path("out")) == rows and _runs(Path("out")).keys() == {"search", *runs}
    assert {path: path.stat().st_mtime_ns for path in written} == written
    Path("short.yaml").write_text(SHORT.replace("updates: 10", "updates: 11"))
    assert main(["search", "short.yaml", "--local", "--output", "out"]) == 2
    assert "another file" in capfd.readouterr().err


def test_a_search_over_targets(tmp_path, digits):
    from pipeline.search.kinds.target import judge

    text = (CHECKOUT / "tune_configs" / "baselines.yaml").read_text().replace("preset: mnist", "preset: digits")
    text = text.replace("training.steps: 600", "training.steps: 30\n  rl.period: 10").replace("steps: 150", "steps: 10")
    plan = _plan(tmp_path, text.replace("candidates: 16", "candidates: 3"))
    search = Search(plan, tmp_path / "out")
    drive(search, judge, {"dataset": digits}, Placement(local=True), lambda task: None, lambda task, result: None)
    rows = rows_of(search)
    assert [row["group"] for row in rows] == [group.name for group in plan.groups for _ in range(3)], "unequal budgets"
    assert {row["outcome"] for row in rows} <= {"finished", "stopped"}
    assert all(5 < row["result"]["accuracy"] <= 100 for row in rows)
    for group in plan.groups:
        config = plan.config(group, next(row["settings"] for row in rows if row["group"] == group.name))
        assert validate(from_dotted(to_dotted(config))) == config


def test_a_task_whose_worker_dies_is_handed_out_again_and_not_for_ever(tmp_path):
    from ray.tune.search import Searcher

    from pipeline.search.tuning import ATTEMPTS, Tasks

    search = Search(_plan(tmp_path), tmp_path / "out")
    done: list[Task] = []

    def on_done(task: Task, result: dict[str, Any]) -> None:
        done.append(task)
        search.done(task, result)

    tasks = Tasks(search, lambda task: None, on_done)
    first, second = tasks.suggest("a"), tasks.suggest("b")
    tasks.on_trial_complete("a", error=True)
    assert tasks.suggest("c") == first and first != second
    tasks.on_trial_complete("c", {"judged": json.dumps({"rank_correlation": 0.5})})
    assert [(task.number, task.stage) for task in done] == [(first["number"], first["stage"])]
    for attempt in range(ATTEMPTS - 1):
        tasks.on_trial_complete("b", error=True)
        assert tasks.suggest("b") == second, attempt
    tasks.on_trial_complete("b", error=True)
    assert tasks.suggest("d") == Searcher.FINISHED and len(tasks.dead) == 1
    tasks.close()
    resumed = Search(search.plan, search.folder)  # by the same command, which tries it once more
    begun = [task for task in (resumed.next(), resumed.next()) if isinstance(task, Task)]
    assert (second["number"], second["stage"]) in [(task.number, task.stage) for task in begun]


def _start(folder: Path, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipeline.command_line", "search", "smoke.yaml", "--output", "out", *arguments]
    with (folder / f"log-{time.monotonic_ns()}").open("w") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def _wait(process: subprocess.Popen, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANGS
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_with_tune_interrupted_and_killed_it_ends_as_one_straight_search(tmp_path):
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    for folder in (straight, parts):
        folder.mkdir()
        (folder / "smoke.yaml").write_text(SMOKE)
    assert _start(straight, "--local").wait(HANGS) == 0
    process = _start(parts, "--workers", "2")
    _wait(process, lambda: len(list(parts.glob("out/candidates/*/prediction.json"))) >= 1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(HANGS) == 130
    assert "RUNNING" not in {run.info.status for run in _runs(parts / "out").values()}
    process = _start(parts, "--workers", "2")
    _wait(process, lambda: len(list(parts.glob("out/candidates/*/prediction.json"))) >= 4)
    process.kill()
    process.wait(HANGS)
    assert _start(parts, "--workers", "2").wait(HANGS) == 0
    assert _rows(parts / "out") == _rows(straight / "out")
    assert (parts / "out" / "best.json").read_bytes() == (straight / "out" / "best.json").read_bytes()
    runs = _runs(parts / "out")
    assert {run.info.status for run in runs.values()} == {"FINISHED"} and len(runs) == 9


@pytest.mark.slow
def test_an_enn_can_be_trained_with_the_best_settings(tmp_path, monkeypatch, environment):
    monkeypatch.chdir(tmp_path)
    Path("short.yaml").write_text(SHORT)
    assert main(["search", "short.yaml", "--local", "--output", "out"]) == 0
    less = ["--rl.rounds", "2", "--rl.updates", "3", "--unroll.segments", "2"]
    assert main(["train-enn", "--config", "out/best.json", "--output", "enn", *less]) == 0
    assert Path("enn/enn.safetensors").exists()
