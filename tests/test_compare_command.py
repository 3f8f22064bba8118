"""``grad-instructor compare``: learning rates chosen alike for every arm, angles to the gradient, no ENN."""

import dataclasses
import json
import math
import os
import re
import shutil
import signal

import numpy as np
import pytest
import torch

from pipeline.arms import ARMS, signals
from pipeline.cluster import Placement
from pipeline.command_line import comparing, described, main
from pipeline.command_line.parsing import expand_aliases
from pipeline.compare import Task, choose, compare, final_tasks, train_task, tuning_task
from pipeline.compare.report import evaluate_on_test, mean_angles
from pipeline.compare.train import Making
from pipeline.config import PRESETS, Config, identity, to_dotted, validate
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.instruction.angles import angles, between
from pipeline.instruction.loop import advance
from pipeline.learning import Training, bound, named
from pipeline.results import rule_tables
from pipeline.results.tables import edge_lines, report_rows
from pipeline.setting import new_population, target_of
from pipeline.targets import MLP, Batches, Population, initialise
from tests.support.tiny_run import assert_same, finish, mlflow_runs, results, start, wait

LOCAL = Placement(local=True)
ARMS_HERE, RATES = ("conventional", "fa", "brsf", "frozen", "pfa"), (0.3, 1.0, 3.0)
OPTIONS = ["--arms", "backprop", "fa", "frozen", "--training.steps", "40", "--rl.period", "10", "--target.hidden", "8"]
OPTIONS += ["--compare.seeds", "4", "--compare.group", "2", "--compare.tuning-seeds", "2", "--compare.rates", "0.3", "3"]


@pytest.fixture(scope="module")
def config(tiny):
    settings = {"arms": ARMS_HERE, "rates": RATES, "seeds": 4, "group": 2, "tuning_seeds": 2}
    return dataclasses.replace(tiny, compare=dataclasses.replace(tiny.compare, **settings))


@pytest.fixture(scope="module")
def compared(config, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    return folder, compare(config, digits, {}, folder, LOCAL)


# -- learning rates ----------------------------------------------------------------------------------------------------


def test_every_arm_has_the_same_number_of_candidates_on_the_same_targets(config):
    tasks = [tuning_task(config, arm) for arm in ARMS_HERE]
    assert {(task.seeds, task.strengths) for task in tasks} == {(tasks[0].seeds, tasks[0].strengths)}
    assert sorted(set(tasks[0].strengths)) == list(RATES) and len(tasks[0].seeds) == len(RATES) * 2
    assert not set(tasks[0].seeds) & set(final_tasks(config, ["fa"], {})[0].seeds), (
        "chosen on other targets than those compared"
    )


@pytest.mark.parametrize(
    ("arm", "optimiser"),
    [
        ("conventional", "sgd"),
        ("conventional", "adam"),
        ("conventional", "adamw"),
        ("pfa", "sgd"),
        ("pfa", "adam"),
        ("cdni", "adam"),
    ],
)
def test_a_candidate_is_trained_as_it_would_be_alone(config, digits, arm, optimiser):
    """To the bit, also of a neighbour that diverges; the twin: another rate gives other weights."""
    training = dataclasses.replace(config.training, optimiser=optimiser, weight_decay=0.01, schedule="cosine")
    config = dataclasses.replace(config, training=dataclasses.replace(training, steps=20))
    task = tuning_task(config, arm)
    wild = dataclasses.replace(task, strengths=(1e30, *task.strengths[1:]), keep=True)
    together = train_task(wild, config, digits, {}, "cpu")
    for member in (2, 5):
        alone = dataclasses.replace(wild, seeds=wild.seeds[member : member + 1], strengths=wild.strengths[member : member + 1])
        rates = torch.tensor([config.training.learning_rate * alone.strengths[0]])
        found = trained_alone(config, digits, arm, alone.seeds, rates)
        assert torch.equal(final(together)[member], found[0])
        assert not torch.equal(final(together)[member], trained_alone(config, digits, arm, alone.seeds, 2 * rates)[0])


def trained_alone(config, digits, arm, seeds, rates):
    x, y = digits.tensors("train")
    population = new_population(config, target_of(config, digits), seeds, x, learning_rate=rates)

    class Alone(Making):
        learning_rate = property(lambda _: rates)

    rule = ARMS[arm].rule(Alone(ARMS[arm], Task("alone", arm, seeds, (1.0,), keep=False), config, population, {}))
    advance(population, rule, rule.init(population), Batches(x, y, config.training.batch_size, seeds, False), 20)
    return population.flat()


def final(output):
    tensors = [tensor for name, tensor in sorted(output["weights"].items()) if name.startswith("final/")]
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def test_the_best_on_validation_data_is_chosen_and_an_edge_is_said(config):
    def of(*by_candidate):
        return {"accuracy": [[0.0] * 6, [value for value in by_candidate for _ in range(2)]]}

    assert choose(config, "fa", of(0.2, 0.9, 0.3)) == {"strength": 1.0, "validation_accuracy": {"0.3": 0.2, "1": 0.9, "3": 0.3}}
    assert choose(config, "fa", of(0.2, 0.3, 0.9))["edge"] == "largest"
    assert choose(config, "conventional", of(0.9, 0.3, 0.2))["edge"] == "smallest"
    assert "edge" not in choose(config, "conventional", of(0.9, 0.9, 0.2)), "one inside is as good"
    assert choose(config, "conventional", of(0.9, 0.9, 0.2))["strength"] == 0.3, "the first of equal ones, as before"
    assert choose(config, "conventional", of(0.9, 0.2, 0.9))["edge"] == "smallest", "none inside is"
    unsorted = dataclasses.replace(config, compare=dataclasses.replace(config.compare, rates=(1.0, 0.3, 3.0)))
    near = dataclasses.replace(config, compare=dataclasses.replace(config.compare, rates=(1.0, 1.00000001, 2.0)))
    assert list(choose(near, "fa", of(0.9, 0.3, 0.2))["validation_accuracy"].values()) == [0.9, 0.3, 0.2], "each has a name"
    assert "edge" not in choose(unsorted, "fa", of(0.9, 0.3, 0.2)), "the first listed is not the smallest"
    row = {"arm": "fa", "learning_rate": 0.3, "edge": "largest"}
    assert edge_lines([row])[0].startswith("* fa: its learning rate 0.3 is the largest that was tried")
    assert not edge_lines([{"arm": "fa", "learning_rate": 0.3}])
    row = {"arm": "instructed", "strength": "100", "edge": "largest", "edge_of": "instruction"}
    assert re.search("strength 100 is the largest .*compare.instruction", edge_lines([row])[0])


EDGES = {  # by arm: the accuracies of its candidates, and the end at which the best lies
    "instructed": [
        ({"instruction": (-1.0, 1.0, 3.0, 10.0)}, (0.1, 0.2, 0.3, 0.9), "largest"),
        ({"instruction": (-1.0, 1.0, 3.0, 10.0)}, (0.1, 0.9, 0.3, 0.2), "smallest"),
        ({"instruction": (-1.0, 1.0, 3.0, 10.0)}, (0.9, 0.2, 0.3, 0.9), None),  # the ENN's own choice is as good
        ({"instruction": (-1.0, 10.0)}, (0.1, 0.9), None),  # alone on its scale
    ],
    "growth-tuned": [({"growth": (4.0, 1.0, 2.0)}, (0.9, 0.1, 0.2), "largest")],
    "l2": [({"l2": (0.0, 1e-3)}, (0.9, 0.1), None), ({"l2": (0.0, 1e-3)}, (0.1, 0.9), "largest")],
    "he-l2": [({"l2": (1e-3, 1e-2)}, (0.9, 0.1), "smallest")],
}


@pytest.mark.parametrize("arm", EDGES)
def test_a_strength_at_an_edge_of_its_candidates_is_said(arm, config):
    for candidates, accuracies, edge in EDGES[arm]:
        own = dataclasses.replace(config, compare=dataclasses.replace(config.compare, rates=(), **candidates))
        result = {"accuracy": [[value for value in accuracies for _ in range(own.compare.tuning_seeds)]]}
        assert choose(own, arm, result).get("edge") == edge, candidates


def test_what_was_chosen_is_what_is_trained_and_shown(config, digits, compared):
    folder, arms = compared
    chosen = {arm: choice["strength"] for arm, choice in read_json(folder / "arms" / "strengths.json").items()}
    assert chosen.keys() == set(ARMS_HERE) and {arm: values["chosen_strength"] for arm, values in arms.items()} == chosen
    for row in report_rows(evaluate_on_test(config, digits, folder, arms)):
        assert row["learning_rate"] == pytest.approx(config.training.learning_rate * chosen[row["arm"]])
        assert ("edge" in row) == (chosen[row["arm"]] != 1.0)
    again = compare(config, digits, {}, folder, LOCAL)
    assert json.dumps(again) == json.dumps(arms)


def test_no_rates_leave_everything_as_it_was(config, digits, tmp_path):
    """A run of before has its name, and its populations their bits; with the rate 1 they are the same weights."""
    assert identity(Config()) == identity(
        dataclasses.replace(Config(), compare=dataclasses.replace(Config().compare, rates=()))
    )
    assert identity(Config()) != identity(
        dataclasses.replace(Config(), compare=dataclasses.replace(Config().compare, rates=(1.0,)))
    )
    for rates, name in (((), "without"), ((1.0,), "with")):
        one = dataclasses.replace(config, compare=dataclasses.replace(config.compare, rates=rates, arms=("conventional", "fa")))
        compare(one, digits, {}, tmp_path / name, LOCAL)
    assert not list((tmp_path / "without" / "arms").glob("tune-*"))
    for file in ("conventional-0", "fa-1"):
        without, there = (tmp_path / name / "arms" / f"{file}.safetensors" for name in ("without", "with"))
        assert without.read_bytes() == there.read_bytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rates": (1.0, 0.0)}, "give factors above 0, each once"),
        ({"rates": (1.0, 1.0)}, "give factors above 0, each once"),
        ({"rates": (math.nan,)}, "compare.rates"),
        ({"rates": (1.0,), "arms": ("conventional", "l1")}, "compare.l1 a strength for 'l1'"),
    ],
)
def test_rates_that_make_no_sense(config, settings, said):
    with pytest.raises(UserError, match=said):
        validate(dataclasses.replace(config, compare=dataclasses.replace(config.compare, **settings)))


@pytest.mark.parametrize("arm", ["dni", "cdni"])
def test_synthesisers_follow_the_targets_schedule(config, digits, arm):
    """By the end they learn nothing any more; the twin: under a constant schedule they do."""
    for schedule, last in (("cosine", 0.0), ("constant", 1.0)):
        training = dataclasses.replace(config.training, schedule=schedule)
        one = dataclasses.replace(config, training=training)
        population = new_population(one, target_of(one, digits), [3], digits.tensors("train")[0])
        task = Task("one", arm, (3,), (1.0,), keep=False)
        rule = ARMS[arm].rule(Making(ARMS[arm], task, one, population, {})).signal.synthesisers
        assert rule._settings(torch.zeros(1), training.steps).learning_rate == pytest.approx(last * signals.SYNTHESISERS)
    with pytest.raises(UserError, match="say how many steps there are"):
        Training(1e-3, schedule="cosine")
    with pytest.raises(UserError, match="hidden units are -1; give at least 0"):
        named("dni", hidden=-1)


# -- angles ------------------------------------------------------------------------------------------------------------

TARGET, SEEDS = MLP((6, 7, 5, 3), "tanh"), (5, 6)


def population():
    return Population(TARGET, initialise(TARGET, "he", SEEDS, dtype=torch.float64), seeds=SEEDS)


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 9, 6, generator=generator, dtype=torch.float64), torch.randint(3, (2, 9), generator=generator)


def test_angles_are_those_of_a_slow_reference():
    """Feedback alignment and the gradient by autograd, one member after the other; arccos of the cosine."""
    own, (x, y) = population(), batch()
    feedback = [torch.randn(5, 7, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)]
    found = angles(own, x, y, bound(named("fa", feedback=feedback), own))
    for member in range(2):
        module = TARGET.module([parameter[member] for parameter in own.parameters])
        loss = torch.nn.functional.cross_entropy(module(x[member]), y[member])
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        w1, b1, w2, b2, w3, b3 = (parameter.detach() for parameter in module.parameters())
        h1 = torch.tanh(x[member] @ w1.T + b1)
        h2 = torch.tanh(h1 @ w2.T + b2)
        s3 = (torch.softmax(h2 @ w3.T + b3, 1) - torch.nn.functional.one_hot(y[member], 3)) / 9
        s2 = s3 @ feedback[1] * (1 - h2**2)
        s1 = s2 @ feedback[0] * (1 - h1**2)
        for layer, (s, h) in enumerate(((s1, x[member]), (s2, h1), (s3, h2))):
            given = torch.cat([(s.T @ h).flatten(), s.sum(0)]).numpy()
            true = torch.cat([gradients[2 * layer].flatten(), gradients[2 * layer + 1]]).numpy()
            cosine = given @ true / math.sqrt(given @ given * (true @ true))
            expected = math.degrees(math.acos(min(1.0, cosine)))
            assert found[member, layer].item() == pytest.approx(expected, abs=1e-5), (member, layer)
        assert found[member, 0] > 20 and found[member, 1] > 20, "the twin: this feedback is not backpropagation"


def test_backpropagation_has_no_angle_and_a_frozen_layer_none_at_all():
    own = population()
    assert angles(own, *batch(), bound(named("backprop"), own)).abs().max() < 1e-5
    found = angles(own, *batch(), bound(named("frozen"), own))
    assert found[:, :2].isnan().all() and found[:, 2].abs().max() < 1e-5
    up = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1e-40, 0.0, 0.0]], dtype=torch.float64)
    right = torch.tensor([[-2.0, 0.0, 0.0], [0.0, 0.0, 3.0], [1e40, 1e40, 0.0]], dtype=torch.float64)
    assert between(up, right).tolist() == pytest.approx([180.0, 90.0, 45.0])


@pytest.mark.parametrize("rule", ["brsf", "cdni", "dtp", "pfa"])
def test_looking_at_angles_changes_nothing(rule):
    """Of what a rule has learned or draws next; to the bit."""
    seen, unseen = population(), population()
    x, y = batch()
    for number, own in enumerate((seen, unseen)):
        signal = bound(named(rule), own)
        for _ in range(4):
            if number == 0:
                angles(own, x, y, signal)
            own.apply(own.grads(x, y, signal))
    assert torch.equal(seen.flat(), unseen.flat())


def test_a_comparison_keeps_the_angles(compared):
    folder, arms = compared
    assert "angles" not in arms["conventional"], "the gradient goes back: there is nothing to measure"
    assert "angles" not in read_json(folder / "arms" / "conventional-0.json")
    assert np.shape(arms["fa"]["angles"]) == (4, 6, 2)
    of_group = read_json(folder / "arms" / "fa-1.json", math.nan)["angles"]
    assert arms["fa"]["angles"][3] == [of_point[1] for of_point in of_group]
    frozen = np.array(arms["frozen"]["angles"])
    assert np.isnan(frozen[:, :, 0]).all() and (frozen[:, :, 1] == 0).all()
    assert "NaN" not in (folder / "arms" / "frozen-0.json").read_text()


def test_the_table_says_what_the_angles_are():
    fa = [[[80.0, 0.0], [50.0, 0.0], [40.0, 0.0]], [[80.0, 0.0], [30.0, 0.0], [20.0, 0.0]]]
    nothing = [[[math.nan, 0.0]] * 3, [[math.nan, 0.0], [math.nan, 0.0], [math.nan, math.nan]]]
    found = mean_angles(fa)
    assert found["layer1"]["mean"] == pytest.approx(35.0) and found["layer1"]["low"] < 35 < found["layer1"]["high"]
    of_frozen = mean_angles(nothing)
    assert math.isnan(of_frozen["layer1"]["mean"]) and of_frozen["layer2"]["mean"] == 0.0
    common = {
        "test_loss": [0.1] * 2,
        "train_loss": [0.1] * 2,
        "ms_per_step": [1.0],
        "strength": "–",
        "diverged": 0,
        "seeds": [1, 2],
    }
    arms = {
        "conventional": common | {"test_accuracy": [0.9, 0.8], "learning_rate": 0.1},
        "fa": common | {"test_accuracy": [0.8, 0.7], "learning_rate": 0.3, "edge": "largest", "angles": found},
        "frozen": common | {"test_accuracy": [0.5, 0.4], "learning_rate": 0.1, "angles": of_frozen},
    }
    lines = rule_tables.markdown(report_rows(arms)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[0] for row in cells] == list(arms) and cells[0][2].startswith("15.00") and cells[1][2].startswith("25.00")
    assert cells[1][3].startswith("+10.00"), "more errors than backpropagation"
    assert [row[5] for row in cells] == ["0", "35 [25, 45], 0", "–, 0"] and [row[6] for row in cells] == ["0.1", "0.3*", "0.1"]


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_words_of_the_command():
    words = ["--seed", "3", "--arms", "backprop", "fa", "--local", "--compare.baseline=backprop"]
    expected = ["--seed", "3", "--compare.arms", "conventional", "fa", "--local", "--compare.baseline=conventional"]
    assert expand_aliases(words, "compare") == expected
    assert expand_aliases(words, "run") == words, "a short form of this command alone"
    with pytest.raises(UserError, match="unknown arm 'dfaa'; did you mean 'dfa'"):
        expand_aliases(["--arms", "backprop", "dfaa"], "compare")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arms", "backprop", "fax"], "unknown arm 'fax'; did you mean 'fa'"),
        (["--arms", "backprop", "instructed"], "'instructed' needs an ENN.*grad-instructor run"),
        (["--arms", "backprop", "fa", "fa"], "has 'fa' twice"),
        (["--arms", "backprop", "conventional"], "has 'conventional' twice"),
        (["--arms", "fa", "dfa"], "compare.arms lacks 'conventional'"),
        (["--arms", "backprop", "l2"], "an empty compare.rates"),
        (["--arms", "backprop", "fa", "--adapt", "mnist-mlp"], "leave out --adapt"),
        (["--arms"], "compare.arms"),
    ],
)
def test_what_the_command_refuses(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and len(error.strip().splitlines()) == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_compared_on(preset):
    assert validate(comparing.of_preset(PRESETS[preset])).compare.arms[0] == "conventional"
    shorter = dataclasses.replace(PRESETS[preset].training, steps=PRESETS[preset].rl.period)
    validate(dataclasses.replace(comparing.of_preset(PRESETS[preset]), training=shorter))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command") / "run"
    assert main(["compare", "--output", str(folder), "--local", *OPTIONS]) == 0
    return folder


def test_the_command_writes_its_table(finished):
    folder, report = finished, read_json(finished / "report.json")
    assert [row["arm"] for row in report["rows"]] == ["conventional", "fa", "frozen"]
    assert all(f"| {row['arm']} | 4 |" in (folder / "report.md").read_text() for row in report["rows"])
    assert {path.name for path in (folder / "figures").iterdir()} == {"accuracy.png", "angles.png"}
    assert read_json(folder / "config.json")["work"] == "compare" and not list(folder.glob("enn*"))
    told = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert {event["name"] for event in told if event["kind"] == "series" and event["run"] == "compare/fa"} >= {
        "angle/layer1",
        "angle/layer2",
        "val/accuracy",
    }
    assert not any(event.get("name") == "angle/layer1" and "frozen" in event["run"] for event in told)


def test_given_again_it_only_shows(finished, capsys, monkeypatch):
    folder = finished
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.chdir(folder.parent)
    assert main(["compare", "--output", "run"]) == 0
    again = capsys.readouterr().out
    assert again.startswith("finished; nothing to do") and "test error on digits" in again
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_report_reports_on_a_comparison_too(finished, capfd, tmp_path):
    """Finished it only shows; with something lost it makes that again, and nothing else; as JSON it is the file."""
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert main(["report", "--output", str(finished), "--json"]) == 0
    told = capfd.readouterr()
    assert told.out == (finished / "report.json").read_text() and "finished; nothing to do" in told.err
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    copy = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("mlflow*", "mlartifacts"))
    (copy / "report.md").unlink()
    again = ["report", "--output", str(copy), "--local", "--tracking-uri", "http://127.0.0.1:9"]
    assert main(again) == 0
    told = capfd.readouterr().out
    assert "test error on digits" in told and "finished" not in told
    names = ("report.md", "report.json", "config.json", "figures/accuracy.png")
    assert all(before[finished / name] == (copy / name).read_bytes() for name in names)
    (copy / "arms" / "fa-1.json").unlink()
    assert main(again) == 2
    assert "lacks trained targets (fa-1); train them first with `grad-instructor compare`" in capfd.readouterr().err


def _in_mlflow(folder):
    """By their names in the records: MLflow's runs, and the histories of their metrics."""
    from mlflow import MlflowClient

    client, runs = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}"), mlflow_runs(folder)
    points = {r.info.run_id: {key: client.get_metric_history(r.info.run_id, key) for key in r.data.metrics} for r in runs}
    return {r.data.tags["grad_instructor.run"]: (r, points[r.info.run_id]) for r in runs}, client


def test_mlflow_has_a_run_for_each_arm_as_it_really_is_and_the_answer_in_its_parent(finished):
    runs, client = _in_mlflow(finished)
    report = {row["arm"]: row for row in read_json(finished / "report.json")["rows"]}
    parent, answer = runs.pop("compare")
    assert set(runs) == {f"compare/{arm}" for arm in report} and parent.data.tags["role"] == "parent"
    assert parent.data.metrics == {f"test/accuracy/{arm}": row["accuracy"] for arm, row in report.items()}
    assert "| fa | 4 |" in parent.data.tags["mlflow.note.content"] and answer
    assert {"config.json", "report.json", "report.md"} <= {file.path for file in client.list_artifacts(parent.info.run_id)}
    columns = {name for run, _ in [(parent, 0), *runs.values()] for name in run.data.params}
    assert len(columns) <= 30
    for run, points in runs.values():
        arm, tags = run.data.params["arm"], run.data.tags
        assert (tags["role"], tags["arm"], tags["mlflow.parentRunId"]) == ("arm", arm, parent.info.run_id)
        assert tags["commit"] and tags["stage"] == "instruct" and run.inputs.dataset_inputs[0].dataset.name == "digits"
        assert run.data.metrics["test/accuracy"] == report[arm]["accuracy"] and "accuracy" not in run.data.metrics
        assert run.data.params["rule.name"] == {"conventional": "backprop"}.get(arm, arm)
        assert run.data.params["training.learning_rate"] == f"{report[arm]['learning_rate']:g}", "as people write it"
        curve = sorted((point.step, point.timestamp) for point in points["val/accuracy"])
        times = [at for _, at in curve]
        assert [step for step, _ in curve] == [0, 10, 20, 30, 40] and times == sorted(times) and len(set(times)) > 1
        spans = [read_json(finished / "arms" / f"{arm}-{number}.json")["provenance"]["times"] for number in range(2)]
        assert times == np.max([span["points"] for span in spans], axis=0).tolist(), "when the last target was there"
        tried = read_json(finished / "arms" / f"tune-{arm}.json")["provenance"]["times"]["began"]
        assert (run.info.start_time, run.info.end_time) == (min(tried, *(span["began"] for span in spans)), times[-1])
        assert parent.info.start_time <= run.info.start_time and run.info.end_time <= parent.info.end_time


def test_looked_through_once_more_nothing_changes_in_mlflow(finished, monkeypatch):
    """Where it is not noted that all is done, as after a new version."""
    monkeypatch.chdir(finished.parent)
    before = {path: path.stat().st_mtime_ns for path in (finished / "mlartifacts").rglob("*")}
    files, (runs, _) = [finished / name for name in ("records.jsonl", "mlflow.db")], _in_mlflow(finished)
    told = [file.read_bytes() for file in files]
    (finished / ".finished").unlink()
    assert main(["compare", "--output", "run", "--local"]) == 0
    assert [file.read_bytes() for file in files] == told
    assert {path: path.stat().st_mtime_ns for path in (finished / "mlartifacts").rglob("*")} == before and len(runs) == 4
    (finished / "arms" / "fa-0.json").unlink()  # and one that is trained again is told anew, alone
    assert main(["compare", "--output", "run", "--local"]) == 0
    again, _ = _in_mlflow(finished)
    ids = {name: run.info.run_id for name, (run, _) in runs.items()}
    assert [name for name, (run, _) in again.items() if run.info.run_id != ids[name]] == ["compare/fa"]
    assert [name for name, (run, _) in again.items() if run.info.end_time != runs[name][0].info.end_time] in (
        ["compare/fa", "compare"],
        ["compare", "compare/fa"],
    )
    assert {run.info.status for run, _ in again.values()} == {"FINISHED"}


def test_what_an_arm_is_said_to_be_is_what_is_trained():
    config = dataclasses.replace(Config(), rule=dataclasses.replace(Config().rule, scale=0.5))
    told = {arm: described.of_arm(config, arm, 0.5, False) for arm in ARMS}
    assert [arm for arm in told if told[arm]["target.initialisation"] == "he"] == [a for a in ARMS if ARMS[a].start == "he"]
    assert {arm for arm, own in told.items() if own["trained_on"] != "training"} == {"conventional-all", "he-all"}
    assert told["l2"]["strength"] == 0.5 == told["instructed"]["lambda"] and "lambda" not in told["l2"]
    assert described.of_arm(config, "instructed-he", -1.0, False)["lambda"] == "by policy"
    assert described.of_arm(config, "fa", 3.0, True)["training.learning_rate"] == 3 * config.training.learning_rate
    assert described.of_arm(config, "usf", None, False)["rule.name"] == "usf (scale 0.5)"
    assert "enn.readers" not in told["l2"] and told["instructed-image"]["enn.readers"] == "convnet"
    assert told["instructed-rl"]["enn.readers"].endswith("before fine-tuning")
    for preset in PRESETS:
        alone = described.of_work(comparing.of_preset(PRESETS[preset]), preset, True)
        assert not [name for name in alone if name.startswith(("enn.", "rl.", "unroll.", "instruction."))], (
            "no ENN, no settings"
        )
        own = described.of_work(dataclasses.replace(PRESETS[preset], seed=7), preset, False)
        assert len({*own, *(name for arm in told.values() for name in arm), *described.of_enn(config)}) <= described.MOST


@pytest.mark.parametrize("command", ["run", "train-enn", "instruct", "explain"])
def test_a_folder_holds_one_kind_of_work(command, finished, capsys, tmp_path):
    assert main([command, "--output", str(finished), "--local"]) == 2
    assert "holds a comparison without an ENN" in capsys.readouterr().err
    other = tmp_path / "run"
    other.mkdir()
    settings = {"preset": "digits", "settings": to_dotted(comparing.of_preset(Config()))}
    (other / "config.json").write_text(json.dumps(settings))
    assert main(["compare", "--output", str(other), "--local"]) == 2
    assert "holds a run with an ENN" in capsys.readouterr().err


def test_other_settings_and_changed_results_are_refused(finished, capsys, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "run")
    assert main(["compare", "--output", str(copy), "--local", "--arms", "backprop", "dfa"]) == 2
    assert "holds a run with other settings (compare.arms" in capsys.readouterr().err
    population = read_json(copy / "arms" / "fa-0.json")
    (copy / "arms" / "fa-0.json").write_text(json.dumps(population | {"diverged_at": [3, 3]}))
    assert main(["compare", "--output", str(copy), "--local"]) == 2
    assert "was changed after it was written" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_it_goes_on_to_the_same_bits(number, finished, folder):
    running = start(folder, "compare", "--output", "run", "--local", *OPTIONS)
    wait(running, lambda: (folder / "run" / "arms" / "tune-fa.json").exists())
    os.killpg(running.process.pid, number)
    assert running.process.wait() == (130 if number == signal.SIGINT else -number)
    finish(folder, "compare", "--output", "run", "--local", *OPTIONS)
    assert_same(results(folder / "run"), results(finished))
