"""What a run remembers: results go with the data, settings and ENNs that they were made from, and with no others.

Each case has its twin: the folder as it was goes on.
"""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.command_line import main
from pipeline.data import load
from pipeline.enn import Critic, load_critic, save_critic
from pipeline.files import read_json, read_metadata, read_tensors, write_json, write_tensors
from pipeline.results.seal import sealed
from pipeline.setting import home_of, target_of

SETTINGS = ["--target.hidden", "8", "--training.steps", "20", "--rl.period", "10", "--instruction.refresh", "10"]
SETTINGS += ["--rl.rounds", "0", "--enn.readers", "probes", "--enn.probes", "4", "--enn.hidden", "8"]
SETTINGS += ["--unroll.start", "start.safetensors", "--unroll.segments", "2", "--unroll.steps", "10", "--unroll.members", "2"]
SETTINGS += ["--compare.seeds", "4", "--compare.group", "2", "--compare.tuning-seeds", "2", "--compare.l2", "0.001", "0.1"]
SETTINGS += ["--compare.instruction", "-1", "10", "--compare.arms", "conventional", "l2", "instructed"]
NO_SERVER = ["--local", "--tracking-uri", "http://127.0.0.1:9"]
RUN = ["--output", "run", *NO_SERVER]

pytestmark = pytest.mark.usefixtures("environment")


def _data(path: Path, seed: int = 0, permuted: bool = False) -> None:
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, (300, 64), dtype=np.uint8)
    y = x[:, :10].argmax(1)
    y = (y + permuted) % 10
    np.savez(path, x_train=x[:240], y_train=y[:240], x_test=x[240:], y_test=y[240:])


def _enn(path: Path, tiny: Any, seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    dataset = load("digits")
    enn = dataclasses.replace(tiny.enn, readers=("probes",), probes=4, hidden=8, resolution=0.3, width=16, depth=3)
    save_critic(Critic("probes", enn, home_of(tiny, target_of(tiny, dataset))), path, {})


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory) -> Iterator[Path]:
    """A folder with data, an ENN to start from, and two runs, of seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("finished")
    _data(folder / "d.npz")
    _enn(folder / "start.safetensors", tiny, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed, output in enumerate(("run", "other")):
            options = ["--dataset", "d.npz", "--output", output, "--seed", str(seed), *NO_SERVER]
            assert main(["run", *options, *SETTINGS]) == 0
    yield folder


@pytest.fixture
def here(finished, tmp_path, monkeypatch) -> Path:
    """A copy of all that, to be changed."""
    folder = tmp_path / "here"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(here, capfd) -> Callable[..., str]:
    """Call the program on what does not fit; its one sentence. Nothing in the folder has changed afterwards."""

    def call(*arguments: str) -> str:
        before = _contents(here)
        code, (_, err) = main(list(arguments)), capfd.readouterr()
        assert code == 2 and len(err.splitlines()) == 1, err
        assert _contents(here) == before
        return err

    return call


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def _set(folder: Path, **changes: Any) -> None:
    """Edit config.json by hand."""
    config = read_json(folder / "config.json")
    values = {key.replace("__", "."): value for key, value in changes.items()}
    write_json(folder / "config.json", config | {"settings": config["settings"] | values})


def _unfinished(run: Path) -> None:
    """As if killed in the midst of the comparison."""
    for name in ("report.json", "arms/conventional-1.json", "arms/instructed-0.json"):
        (run / name).unlink()


# -- the data ----------------------------------------------------------------------------------------------------------

OTHER_DATA = {"other rows": {"seed": 1}, "permuted classes": {"permuted": True}}


@pytest.mark.parametrize("kind", OTHER_DATA)
@pytest.mark.parametrize("command", ["train-enn", "instruct", "explain", "report", "run"])
def test_other_data_under_the_same_name_are_refused(kind, command, here, refused):
    _data(here / "d.npz", **OTHER_DATA[kind])
    digests = [load("d.npz").digest, read_json(here / "run" / "config.json")["data"]["digest"]]
    sentence = refused(command, *RUN)
    assert f"{here}/run holds work on other data" in sentence and all(digest in sentence for digest in digests)
    _unfinished(here / "run")
    assert "other data" in refused(command, *RUN)


def test_other_data_are_refused_though_nobody_noted_them_in_the_settings(here, refused):
    """By what each result says itself, and in a folder of an earlier version by its records."""
    config = read_json(here / "run" / "config.json")
    write_json(here / "run" / "config.json", {name: config[name] for name in ("preset", "settings")})
    _data(here / "d.npz", seed=1)
    assert "holds work on other data" in refused("report", *RUN)
    (here / "run" / "records.jsonl").unlink()
    assert re.search(
        r"enn\.safetensors was made with the data 'd' of digest .* and this run has 'd' of", refused("report", *RUN)
    )


def test_the_same_data_in_another_file_go_on(here, refused):
    os.rename(here / "d.npz", here / "renamed.npz")
    assert main(["run", "--dataset", "renamed.npz", *RUN]) == 0 and main(["report", *RUN]) == 0
    _data(here / "other.npz", seed=1)
    assert "holds work on other data" in refused("run", "--dataset", "other.npz", *RUN)


def test_a_copy_of_other_data_or_settings_is_not_fetched(here, refused):
    store = ["--storage-path", str(here / "store")]
    assert main(["report", *RUN, *store]) == 0
    _data(here / "other.npz", seed=1)
    new = ["run", "--output", "new", *NO_SERVER, *SETTINGS, *store]
    assert f"{here}/store holds work on other data" in refused(*new, "--dataset", "other.npz")
    sentence = refused(*new, "--dataset", "d.npz", "--training.learning-rate", "0.2")
    assert f"{here}/store holds a run with other settings (training.learning_rate is 0.1 there and 0.2" in sentence
    assert [path.name for path in (here / "new").iterdir()] == [".lock"]
    assert main([*new, "--dataset", "d.npz"]) == 0 and (here / "new" / "report.json").exists()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("kind", ["x", "y"])
def test_the_digest_is_of_all_that_is_in_the_data(kind, split, digits):
    array = getattr(digits, f"{kind}_{split}").copy()
    array[-1] = array[-1] + 1 if kind == "x" else (array[-1] + 1) % 10
    changed = dataclasses.replace(digits, **{f"{kind}_{split}": array})
    assert changed.digest != digits.digest == dataclasses.replace(digits, name="other").digest
    assert dataclasses.replace(digits, classes=11).digest != digits.digest


def test_the_digest_is_of_the_image_shape_where_the_features_do_not_say_it(digits):
    """Convolutions see another image then. The digests of the known data stand in what was published."""
    shapes = [(1, 8, 8), (1, 4, 16), (1, 16, 4), (4, 4, 4), (16, 2, 2), (1, 1, 64)]
    found = [dataclasses.replace(digits, image_shape=shape).digest for shape in shapes]
    assert len(set(found)) == len(shapes)
    assert found[0] == dataclasses.replace(digits, image_shape=(64,)).digest == "66a65aa18d791e38"


def test_the_unchanged_folder_goes_on(here, finished, capfd):
    assert main(["run", *RUN]) == 0
    output = capfd.readouterr().out
    assert "earlier version" not in output and "reported by" not in output
    _unfinished(here / "run")
    assert main(["instruct", *RUN]) == 0 and main(["report", *RUN]) == 0
    for name in ("arms/conventional-1.safetensors", "arms/instructed-0.safetensors", "enn.safetensors"):
        assert (here / "run" / name).read_bytes() == (finished / "run" / name).read_bytes()


def test_a_search_goes_on_with_its_own_data_alone(here, refused, capfd):
    """A search has named data, of which another folder may hold others; with its own it finds everything done."""
    (here / "s.yaml").write_text(
        "question: which rate\nkind: target\n"
        "settings: {target.hidden: [8], training.steps: 20, rl.period: 10, instruction.refresh: 10, unroll.segments: 0}\n"
        "space: {training.learning_rate: {choice: [0.1, 0.2]}}\nstages: [{name: whole, targets: 2}]\n"
        "budget: {candidates: 2}\nobjectives: {accuracy: maximise}\n"
    )
    search = ["search", "s.yaml", "--output", "search", *NO_SERVER]
    assert main(search) == 0, capfd.readouterr().err
    plan = read_json(here / "search" / "plan.json")
    write_json(here / "search" / "plan.json", plan | {"data": plan["data"] | {"digest": "0" * 16}})
    assert "search holds work on other data" in refused(*search)
    write_json(here / "search" / "plan.json", plan)
    assert main(search) == 0
    del plan["data"]
    write_json(here / "search" / "plan.json", plan)
    assert main(search) == 0, "an earlier version noted no data"
    found = read_json(here / "search" / "search.json")
    assert found["judged_by"][0]["command"].startswith("grad-instructor search")
    assert all(row["commits"] == [found["provenance"]["commit"]] and "origin" not in row["result"] for row in found["rows"])
    stages = [here / "search" / "candidates" / number / "whole.json" for number in ("000", "001")]
    kept = [path.read_bytes() for path in stages]
    stages[0].write_bytes(kept[1])
    assert re.search(r"000/whole\.json was made with training\.learning_rate 0\.\d and this run has 0\.\d", refused(*search))
    result = json.loads(kept[0])
    result["origin"]["data"]["digest"] = "0" * 16
    del result["checksum"]
    write_json(stages[0], sealed(result))
    assert re.search(r"000/whole\.json was made with the data 'digits' of digest '0+' and this run has", refused(*search))
    stages[0].write_bytes(kept[0])
    (here / "search" / "plan.json").unlink()
    records = here / "search" / "records.jsonl"
    records.write_text(records.read_text().replace(load("digits").digest, "0" * 16))
    assert "search holds work on other data" in refused(*search), "by its records"


# -- ENNs and populations ----------------------------------------------------------------------------------------------


def _swap(here: Path, *names: str) -> None:
    for name in names:
        shutil.copy(here / "other" / name, here / "run" / name)


REPLACED = {
    "the ENN": (lambda here: _swap(here, "enn.safetensors", "enn.json"), r"enn\.safetensors was made with seed 1 .* has 0"),
    "the ENN's weights": (lambda here: _swap(here, "enn.safetensors"), r"enn\.safetensors is damaged or does not belong"),
    "the ENN's card": (lambda here: _swap(here, "enn.json"), r"enn\.safetensors is damaged or does not belong"),
    "the ENN before": (lambda here: _swap(here, "enn-before.safetensors", "enn-before.json"), r"enn-before\.saf.* with seed 1"),
    "a population": (
        lambda here: _swap(here, "arms/conventional-0.json", "arms/conventional-0.safetensors"),
        r"conventional-0\.json was made with seed 1 and this run has 0",
    ),
    "a population's curves": (lambda here: _swap(here, "arms/l2-1.json"), r"l2-1\.json was made with seed 1"),
    "a population's weights": (
        lambda here: _swap(here, "arms/l2-1.safetensors"),
        r"l2-1\.safetensors does not hold the weights that l2-1\.json",
    ),
    "lost weights": (
        lambda here: (here / "run/arms/l2-1.safetensors").unlink(),
        r"l2-1\.safetensors does not hold the weights",
    ),
    "a search for a strength": (lambda here: _swap(here, "arms/tune-l2.json"), r"tune-l2\.json was made with seed 1"),
    "another population of the run": (
        lambda here: [
            shutil.copy(here / f"run/arms/conventional-0.{end}", here / f"run/arms/conventional-1.{end}")
            for end in ("json", "safetensors")
        ],
        r"conventional-1\.json was made with seeds .* and this run has",
    ),
    "the report": (lambda here: _swap(here, "report.json"), r"report\.json was made with seed 1"),
    "the history": (
        lambda here: _swap(here, "training/unrolled.json"),
        r"unrolled\.json was made with data, settings and ENN of",
    ),
    "a checkpoint": (
        lambda here: _swap(here, "training/unrolled-000002.safetensors"),
        r"unrolled-000002\.safetensors was made with seed 1",
    ),
    "the ENN to start from": (
        lambda here: [shutil.copy(here / f"other.{end}", here / f"start.{end}") for end in ("json", "safetensors")],
        r"enn-before\.safetensors was made with the ENN 'start' of digest .* one of digest",
    ),
}


@pytest.mark.parametrize("case", REPLACED)
def test_a_file_of_another_run_is_refused(case, here, refused, tiny):
    _enn(here / "other.safetensors", tiny, 1)
    replace, expected = REPLACED[case]
    replace(here)
    for command in ("report", "run"):
        assert re.search(expected, refused(command, *RUN)), case


EDITED = {
    "a population": ("arms/conventional-0.json", lambda result: result["accuracy"][-1].__setitem__(0, 0.99)),
    "a search for a strength": ("arms/tune-l2.json", lambda result: result["accuracy"][0].__setitem__(0, 0.99)),
    "the report": ("report.json", lambda result: result["rows"][0].__setitem__("test_accuracy", 0.99)),
    "who made it": ("arms/l2-0.json", lambda result: result.__setitem__("provenance", 5)),
}


@pytest.mark.parametrize("case", EDITED)
def test_a_result_edited_by_hand_is_refused(case, here, refused):
    name, edit = EDITED[case]
    result = read_json(here / "run" / name)
    edit(result)
    write_json(here / "run" / name, result)
    assert f"{name} was changed after it was written" in refused("run", *RUN)
    write_json(here / "run" / name, {key: value for key, value in result.items() if key != "checksum"})
    if case == "who made it":  # in somebody's file, without a checksum
        (here / "run" / "report.json").unlink()
        assert main(["run", *RUN]) == 0


def test_a_report_of_populations_that_were_trained_anew_is_made_anew(here, monkeypatch, refused):
    """A population was lost, and another machine does not train it to the bit."""
    import pipeline.compare.run

    run, plain = here / "run", pipeline.compare.train_task
    before = read_json(run / "report.json")["populations"]

    def elsewhere(task: Any, **shared: Any) -> Any:
        output = plain(task, **shared)
        return output | {"weights": {name: tensor + 1e-6 for name, tensor in output["weights"].items()}}

    monkeypatch.setattr(pipeline.compare.run, "train_task", elsewhere)
    (run / "arms" / "conventional-0.json").unlink()
    assert main(["instruct", *RUN]) == 0
    assert re.search(r"report\.json was made with the population conventional-0 .* delete the report", refused("report", *RUN))
    (run / "arms" / "conventional-0.json").unlink()
    assert main(["run", *RUN]) == 0 and main(["report", *RUN]) == 0
    after = read_json(run / "report.json")["populations"]
    assert [name for name in before if before[name] != after[name]] == ["conventional-0"]


def test_an_enn_whose_training_is_gone_is_not_made_anew(here, finished):
    """On another machine it would be another one, and no population would know it."""
    shutil.rmtree(here / "run" / "training")
    assert main(["run", *RUN]) == 0
    assert (here / "run" / "enn.safetensors").read_bytes() == (finished / "run" / "enn.safetensors").read_bytes()
    assert not (here / "run" / "training" / "unrolled.json").exists()


def test_an_enn_that_nobody_made_here_is_refused(here, refused, tiny):
    """It does not say what it was made from; and one that says the same was not the one that the populations know."""
    run, other = here / "run", here / "other"
    card = read_json(run / "enn.json")["card"]
    _enn(run / "enn.safetensors", tiny, 1)
    assert "enn.safetensors does not say what it was made from" in refused("report", *RUN)
    save_critic(load_critic(other / "enn.safetensors"), run / "enn.safetensors", card)
    assert re.search(r"tune-l2\.json was made with the ENN 'probes' of digest", refused("report", *RUN))


@pytest.mark.parametrize("kind", ["finished", "unfinished"])
def test_a_setting_edited_by_hand_is_refused_by_name(kind, here, refused):
    if kind == "unfinished":
        _unfinished(here / "run")
    _set(here / "run", training__learning_rate=0.9)
    for command in ("train-enn", "instruct", "report", "run"):
        assert re.search(r"made with training\.learning_rate 0\.1 and this run has 0\.9", refused(command, *RUN))
    _set(here / "run", training__learning_rate=0.1, training__steps=40)
    assert re.search(r"made with training\.steps 20 and this run has 40", refused("run", *RUN))


def test_another_enn_to_start_from_is_refused_also_where_it_cannot_read_the_targets(here, refused):
    _set(here / "run", unroll__start="mnist-mlp")
    assert re.search(r"enn-before\.safetensors was made with the ENN 'start' of digest", refused("run", *RUN))
    _set(here / "run", unroll__start="start.safetensors")
    (here / "start.safetensors").unlink()
    assert main(["run", *RUN]) == 0, "it was taken over long ago"


def test_what_an_enn_does_not_depend_on_does_not_invalidate_it(here):
    """More targets: the ENN and the populations that are the same stay as they are."""
    run = here / "run"
    _unfinished(run)
    _set(run, compare__seeds=6)
    kept = {
        name: (run / name).stat().st_mtime_ns for name in ("enn.safetensors", "arms/conventional-0.json", "arms/tune-l2.json")
    }
    assert main(["instruct", *RUN]) == 0
    assert {name: (run / name).stat().st_mtime_ns for name in kept} == kept
    assert (run / "arms" / "conventional-2.json").exists()


def test_a_setting_that_is_new_changes_nothing(here):
    """A result that was made before there was a setting fits while it is at its default, and does not otherwise."""
    from pipeline.config import from_dotted
    from pipeline.results.origin import TRAINING, Origin

    config, dataset = from_dotted(read_json(here / "run" / "config.json")["settings"]), load("d.npz")
    origin = Origin.of(config, dataset, TRAINING)
    older = origin.as_json()
    del older["settings"]["training.momentum"]
    assert origin.difference(older) is None
    faster = dataclasses.replace(config, training=dataclasses.replace(config.training, momentum=0.5))
    assert Origin.of(faster, dataset, TRAINING).difference(older) == ("training.momentum 0.0", "0.5")
    assert Origin.of(faster, dataset, TRAINING).digest != origin.digest == dataclasses.replace(origin).digest


def test_a_training_is_resumed_with_its_own_data_alone(here, refused):
    """Killed in the midst of fine-tuning; then the data, the settings or the ENN are others."""
    run = here / "run"
    for name in ("enn.safetensors", "enn.json", "report.json"):
        (run / name).unlink()
    shutil.rmtree(run / "arms")
    kept = (run / "config.json").read_text()
    _set(run, unroll__learning_rate=0.5)
    assert re.search(
        r"unrolled-000002\.safetensors was made with unroll\.learning_rate 0\.01 .* 0\.5", refused("train-enn", *RUN)
    )
    (run / "config.json").write_text(kept)
    _swap(here, "training/unrolled-000002.safetensors")
    assert "was made with seed 1" in refused("train-enn", *RUN)


RECORDED = ["--rl.updates", "4", "--rl.members", "64", "--recorded.rounds", "2", "--recorded.updates", "2"]
RECORDED += ["--unroll.start", "", "--unroll.segments", "0"]


def test_recorded_populations_go_with_what_they_were_recorded_from(here, refused):
    """Killed when the populations were recorded and no ENN was there yet."""
    options = ["train-enn", "--output", "recorded", *NO_SERVER]
    assert main([*options, "--dataset", "d.npz", *SETTINGS, *RECORDED]) == 0
    run = here / "recorded"
    rounds = run / "training" / "recorded"
    trained, recorded = (run / "enn.safetensors").read_bytes(), (rounds / "round-001.safetensors").read_bytes()
    for path in (run / "enn.safetensors", run / "enn.json", rounds / "state-probes.safetensors", run / "records.jsonl"):
        path.unlink()
    kept = (run / "config.json").read_text()
    _set(run, training__learning_rate=0.9)
    assert re.search(r"round-000\.safetensors was made with training\.learning_rate 0\.1 .* has 0\.9", refused(*options))
    (run / "config.json").write_text(kept)
    shutil.copy(rounds / "round-000.safetensors", rounds / "round-001.safetensors")
    assert re.search(r"round-001\.safetensors was made with the name 'round-000", refused(*options))
    (rounds / "round-001.safetensors").write_bytes(recorded)
    (run / "config.json").unlink()
    _data(here / "other.npz", seed=1)
    sentence = refused(*options, "--dataset", "other.npz", *SETTINGS, *RECORDED)
    assert re.search(r"round-000\.safetensors was made with the data 'd' of digest .* and this run has 'other'", sentence)
    assert main([*options, "--dataset", "d.npz", *SETTINGS, *RECORDED]) == 0
    assert (run / "enn.safetensors").read_bytes() == trained


# -- RL ----------------------------------------------------------------------------------------------------------------


def _retell(path: Path, **changes: Any) -> None:
    """A checkpoint with something else in what it says of itself."""
    said = json.loads(read_metadata(path)["origin"])
    write_tensors(path, read_tensors(path), {"origin": json.dumps(said | changes)})


RL = {
    "a round": lambda training: _retell(training / "round-001.safetensors", data={"name": "digits", "digest": "0" * 16}),
    "the checkpoint": lambda training: _retell(training / "state-002.safetensors", settings={"rl.gamma": 0.1}),
    "one round for the other": lambda training: shutil.copy(
        training / "round-000.safetensors", training / "round-001.safetensors"
    ),
    "the history": lambda training: write_json(
        training / "history.json", [row | {"origin": "0" * 16} for row in read_json(training / "history.json")]
    ),
}


@pytest.mark.parametrize("case", RL)
@pytest.mark.parametrize("trained", [True, False], ids=["trained", "resumed"])
def test_the_files_of_another_training_are_refused(case, trained, undisturbed, tmp_path, capfd):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run, ignore=shutil.ignore_patterns("mlflow*", "mlartifacts"))
    if not trained:
        for path in [*run.glob("enn*"), *run.glob("report*")]:
            path.unlink()
        shutil.rmtree(run / "arms")
    RL[case](run / "training")
    assert main(["train-enn", "--output", str(run), *NO_SERVER]) == 2
    assert re.search(r"training/\S+ was made with .* and this run has .*; put back", capfd.readouterr().err)


# -- earlier versions --------------------------------------------------------------------------------------------------


def _as_earlier(run: Path) -> None:
    """What an earlier version would have written."""
    config = read_json(run / "config.json")
    write_json(run / "config.json", {name: config[name] for name in ("preset", "settings")})
    for path in run.glob("enn*.json"):
        description = read_json(path)
        card = {name: value for name, value in description["card"].items() if name not in ("origin", "provenance")}
        write_json(path, description | {"card": card})
    for path in [*run.glob("arms/*.json"), run / "report.json"]:
        result = read_json(path)
        later = ("origin", "provenance", "weights", "populations", "checksum")
        write_json(path, {name: result[name] for name in result if name not in later})
    for path in run.glob("training/*.safetensors"):
        write_tensors(path, read_tensors(path))
    for path in run.glob("training/*.json"):
        rows = [{name: row[name] for name in row if name not in ("origin", "provenance")} for row in read_json(path)]
        write_json(path, rows)


def test_a_folder_of_an_earlier_version_goes_on_with_a_warning(here, finished, refused, capfd):
    run = here / "run"
    _as_earlier(run)
    kept = _contents(run)
    (run / "report.json").unlink()
    assert main(["report", *RUN]) == 0
    output = capfd.readouterr().out
    assert output.count("was made by an earlier version") == 1 and "an earlier version, which did not note its commit" in output
    assert read_json(run / "report.json")["seeds"] == read_json(finished / "run" / "report.json")["seeds"]
    assert "data" not in read_json(run / "config.json")
    _set(run, training__learning_rate=0.9)
    assert "training.learning_rate 0.1 and this run has 0.9" in refused("report", *RUN)
    (run / "config.json").write_bytes(kept[str(run / "config.json")])
    _data(here / "d.npz", seed=1)
    assert "other data" in refused("report", *RUN)


# -- commits -----------------------------------------------------------------------------------------------------------


def test_rows_name_the_commit_that_trained_them_and_the_report_says_where_it_differs(here, monkeypatch, capfd):
    import pipeline.command_line.work

    run, plain = here / "run", pipeline.command_line.work.provenance
    own = read_json(run / "report.json")["rows"][0]["provenance"]
    assert own["reported"] == own["trained"][0] and "commits" not in own
    monkeypatch.setattr(pipeline.command_line.work, "provenance", lambda line, seed: plain(line, seed) | {"commit": "f" * 40})
    for name in ("report.json", "arms/instructed-1.json"):
        (run / name).unlink()
    assert main(["instruct", *RUN]) == 0 and main(["report", *RUN]) == 0
    output, rows = capfd.readouterr().out, {row["arm"]: row["provenance"] for row in read_json(run / "report.json")["rows"]}
    assert rows["conventional"]["commit"] == own["commit"] and rows["conventional"]["command"] == own["command"]
    assert rows["conventional"]["reported"]["command"].startswith("grad-instructor report")
    assert {one["commit"] for one in rows["instructed"]["trained"]} == {own["commit"], "f" * 40}
    assert [one["commit"] for one in rows["instructed"]["enn"]] == [own["commit"]] and rows["l2"]["enn"] == []
    for text in (output, (run / "report.md").read_text()):
        assert re.search(
            rf"conventional, l2: trained by commit {own['commit'][:10]}\S* on \S+; reported by commit ffffffffff", text
        )
        assert re.search(r"instructed: trained by commit .* and commit f{10} on .*, its ENN by commit", text)
    results = [json.loads(line) for line in (run / "records.jsonl").open()]
    told = {event["run"]: event["row"] for event in results if event["kind"] == "result"}
    assert told["run/l2"]["commits"].startswith("trained by")
    _unfinished(run)
    assert main(["run", *RUN]) == 0, "another commit of the code goes on"


def test_every_result_says_what_made_it(here):
    run = here / "run"
    for path in [*run.glob("arms/*-?.json"), *run.glob("arms/tune-*.json")]:
        result = read_json(path)
        assert {"digest", "data", "settings", "enn"} <= result["origin"].keys()
        assert {"command", "commit", "date"} <= result["provenance"].keys()
    for path in run.glob("enn*.json"):
        card = read_json(path)["card"]
        assert card["origin"]["data"]["digest"] == load("d.npz").digest and card["provenance"][0]["commit"]
    for path in run.glob("training/*.safetensors"):
        assert "digest" in json.loads(read_metadata(path)["origin"])
    assert all(row["origin"] and row["provenance"]["commit"] for row in read_json(run / "training" / "unrolled.json"))
    assert os.path.exists(run / "report.json") and read_json(run / "report.json")["origin"]["data"]["name"] == "d"


# -- links -------------------------------------------------------------------------------------------------------------

LINKED = [
    ".lock",
    "records.jsonl",
    "config.json",
    "enn.safetensors",
    "report.md",
    "report.html",
    "arms/l2-0.json",
    "arms",
    "training",
    "figures",
]


@pytest.mark.parametrize("name", LINKED)
def test_a_link_in_a_runs_folder_is_not_followed(name, here, refused):
    """Neither what it leads to nor the folder is touched; the folder itself may be reached by one."""
    path, victim = here / "run" / name, here / "victim"
    if path.is_dir():
        shutil.move(path, victim)
    else:
        victim.write_bytes(path.read_bytes() if name == "config.json" else b"precious")
        path.unlink()
    path.symlink_to(victim)
    for command in ("report", "run", "instruct"):
        assert f"{path} is a symbolic link" in refused(command, *RUN)
    assert f"{path} is a symbolic link" in refused("sync", "--output", "run")


def test_a_folder_reached_by_a_link_is_a_folder(here):
    (here / "linked").symlink_to(here / "run")
    assert main(["report", "--output", "linked", *NO_SERVER]) == 0
