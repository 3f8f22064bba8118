"""The mirror against real MLflow: a SQLite store and a real server that is killed and comes back. Every record once."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import psutil
import pytest

from pipeline.command_line import main, ui
from pipeline.errors import UserError
from pipeline.results.mlflow import Mirror, client, health, ui_command, ui_environment
from pipeline.results.mlflow import mirror as sending
from pipeline.results.mlflow.events import link_to_run, linked
from pipeline.results.mlflow.server import Said, check_port
from pipeline.results.mlflow.view import state_of
from pipeline.results.records import Records
from tests.support.tiny_run import HANGS, heed_hangup


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """A database for all tests of this file (making one takes seconds); each has an experiment of its own."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    _mirror(tmp_path_factory.mktemp("folder"), uri, "first").prepare()
    return uri


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The mirror sets MLflow's time limits for its process; the next test is a new one."""
    before = os.environ.copy()
    yield
    os.environ.clear()
    os.environ.update(before)


def _mirror(folder: Path, uri: str | None, experiment: str = "e") -> Mirror:
    """A mirror as a new process has it, for which a warning is a failure."""
    return Mirror(folder, uri, experiment, warn=pytest.fail)


def _tell(records: Records, end: bool = True) -> None:
    """A run with everything in it."""
    from PIL import Image

    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(6, 10)).save(records.folder / "map.png")
    records.start("run", "main", None, {f"p.{n}": n for n in range(130)} | {"long": "x" * 7000}, {"commit": "abc", "x": [1]})
    records.dataset("run", "digits", "d" * 64, {"train": 10})
    records.start("run/train", "train ENN", "run", {"rate": 0.1}, {})
    for step in range(4):
        records.metrics("run/train", step, {"loss": 1 / (step + 1), "λ chosen": float("nan")})
    records.series("run/train", "curve", list(range(1200)), [n / 7 for n in range(1200)])
    records.series("run/train", "val/accuracy", [0, 10, 20], [0.1, 0.5, 0.6], TIMES)
    (records.folder / "enn.safetensors").write_bytes(b"an ENN")
    (records.folder / "enn.json").write_text("{}")
    records.model("run/train", "enn", "enn.safetensors", {"reader": "probes"})
    records.tags("run", {"mlflow.note.content": "| arm | n |"})
    records.image("run/train", "map.png", "gradcam/map", 3)
    records.artifact("run", "map.png", "figures")
    records.result("run/train", {"accuracy": 0.9, "arm": "l1", "provenance": {"seed": 3, "commit": "abc"}, "list": [1]})
    if end:
        records.end("run/train", "FAILED")
        records.end("run", "KILLED")


TIMES = [1_700_000_000_000, 1_700_000_000_500, 1_700_000_001_700]


def _client(uri: str):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _runs(uri: str, experiment: str = "e") -> dict:
    """All that MLflow knows of an experiment's runs, by name; ids replaced by names."""
    client = _client(uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs), "a run is there twice"
    names = {run.info.run_id: run.info.run_name for run in runs}
    return {run.info.run_name: _run(client, run, names) for run in runs}


def _run(client, run, names: dict[str, str]) -> dict:
    histories = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    artifacts = [
        file
        for folder in client.list_artifacts(run.info.run_id)
        for file in client.list_artifacts(run.info.run_id, folder.path)
    ]
    hidden = ("mlflow.user", "mlflow.parentRunId")
    return {
        "status": run.info.status,
        "times": (run.info.start_time, run.info.end_time),
        "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if key not in hidden},
        "metrics": {key: sorted((m.step, repr(m.value), m.timestamp) for m in points) for key, points in histories.items()},
        "artifacts": sorted((file.path, file.file_size) for file in artifacts),
        "models": [_model(client, output.model_id) for output in (run.outputs.model_outputs if run.outputs else [])],
        "datasets": [
            (item.dataset.name, item.dataset.digest, [tag.value for tag in item.tags]) for item in run.inputs.dataset_inputs
        ],
    }


def _model(client, model_id: str) -> tuple:
    """What MLflow knows of a logged model, and the files that it has."""
    model = client.get_logged_model(model_id)
    files = Path(model.artifact_location.removeprefix("file://")).iterdir()
    return model.name, str(model.status), model.params, sorted(file.name for file in files)


def test_mlflow_holds_what_was_recorded(store, tmp_path):
    records = Records(tmp_path)
    _tell(records)
    _mirror(tmp_path, store).send(records)
    runs = _runs(store)
    main, child = runs["main"], runs["train ENN"]
    assert (main["status"], main["parent"], child["status"], child["parent"]) == ("KILLED", None, "FAILED", "main")
    assert main["params"] == {**{f"p.{n}": str(n) for n in range(130)}, "long": "x" * 6000}
    assert main["tags"]["commit"] == main["tags"]["mlflow.source.git.commit"] == "abc" and main["tags"]["x"] == "[1]"
    assert main["datasets"] == [("digits", "d" * 36, ["training"])]
    assert [path for path, _ in main["artifacts"]] == ["figures/map.png"]
    told = [event for event in records.events if event["kind"] == "metrics"]
    assert child["metrics"]["loss"] == [(e["step"], repr(e["values"]["loss"]), e["time"]) for e in told]
    assert [value for _, value, _ in child["metrics"]["λ chosen"]] == ["nan"] * 4
    assert [(step, value) for step, value, _ in child["metrics"]["curve"]] == [(n, repr(n / 7)) for n in range(1200)]
    assert [value for _, value, _ in child["metrics"]["accuracy"]] == ["0.9"]
    assert child["tags"]["result.arm"] == "l1" and child["tags"]["result.provenance.commit"] == "abc"
    assert child["times"] == (records.events[3]["time"], records.events[-2]["time"])
    assert [at for *_, at in child["metrics"]["val/accuracy"]] == TIMES, "each point when it was reached"
    assert child["models"] == [("enn", "READY", {"reader": "probes"}, ["enn.json", "enn.safetensors"])]
    assert main["tags"]["mlflow.note.content"] == "| arm | n |"


def test_images_are_named_as_mlflow_names_them(store, tmp_path):
    records = Records(tmp_path)
    _tell(records)
    _mirror(tmp_path, store, "images").send(records)
    mine = _runs(store, "images")["train ENN"]
    client = _client(store)
    run = client.create_run(client.get_experiment_by_name("images").experiment_id, run_name="by MLflow")
    client.log_image(run.info.run_id, np.zeros((6, 10, 3), np.uint8), key="gradcam/map", step=3, timestamp=_time_of(mine))
    theirs = _runs(store, "images")["by MLflow"]
    assert [_no_uuid(path) for path, _ in mine["artifacts"]] == [_no_uuid(path) for path, _ in theirs["artifacts"]]
    assert mine["tags"]["mlflow.loggedImages"] == theirs["tags"]["mlflow.loggedImages"]


def _time_of(run: dict) -> int:
    return int(run["artifacts"][0][0].split("+timestamp+")[1].split("+")[0])


def _no_uuid(path: str) -> str:
    start, rest = path.split("+timestamp+")
    return start + rest[:13] + rest[14 + 36 :]


class _Killed(BaseException):
    """As when the process is killed: nothing of ours handles it."""


class _Dying:
    """A client whose process dies right after a given call, when MLflow has the data and we have not noted it.

    Calls count from the first one of ``since`` on.
    """

    def __init__(self, client, calls: int, since: str = "") -> None:
        self._client, self.calls, self.since = client, calls, since

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            self.since = "" if name == self.since else self.since
            self.calls -= not self.since
            if self.calls == 0:
                raise _Killed
            return result

        return call


def test_killed_after_any_call_and_sent_again_each_record_is_there_once(store, tmp_path, monkeypatch):
    records = Records(tmp_path)
    _tell(records)
    _mirror(tmp_path, store, "whole").send(records)
    whole, new_client = _runs(store, "whole"), client.new_client
    deaths = 0
    while True:
        experiment = f"killed {deaths + 1}"
        with monkeypatch.context() as patch:
            patch.setattr(client, "new_client", lambda uri, n=deaths + 1: _Dying(new_client(uri), n))
            try:
                _mirror(tmp_path, store, experiment).send(records)
                break
            except _Killed:
                deaths += 1
        again = _mirror(tmp_path, store, experiment)
        again.send(records)
        again.send(records)
        assert _runs(store, experiment) == whole, f"killed after call {deaths}"
    assert deaths >= 15


def test_a_run_that_goes_on_is_the_same_run(store, tmp_path):
    records = Records(tmp_path)
    records.start("run", "main", None, {"seed": 0, "workers": 1}, {})
    records.metrics("run", 0, {"loss": 1.0})
    records.end("run", "KILLED")
    _mirror(tmp_path, store, "resumed").send(records)
    assert _runs(store, "resumed")["main"]["status"] == "KILLED"
    resumed = Records(tmp_path)
    resumed.start("run", "main", None, {"seed": 0, "workers": 2, "more": 1}, {})
    resumed.metrics("run", 0, {"loss": 1.0})
    resumed.metrics("run", 1, {"loss": 0.5})
    mirror = _mirror(tmp_path, store, "resumed")
    mirror.send(resumed)
    assert _runs(store, "resumed")["main"]["status"] == "RUNNING"
    resumed.end("run", "FINISHED")
    mirror.send(resumed)
    run = _runs(store, "resumed")["main"]
    assert run["status"] == "FINISHED" and [value for _, value, _ in run["metrics"]["loss"]] == ["1.0", "0.5"]
    assert run["params"] == {"seed": "0", "workers": "1", "more": "1"} and run["tags"]["workers"] == "2"
    assert run["times"] == (records.events[1]["time"], resumed.events[-1]["time"])


def _everything(uri: str, experiment: str) -> dict:
    """All that MLflow has of an experiment, with the ids of runs and models, and when each artifact was written."""
    client = _client(uri)
    number = client.get_experiment_by_name(experiment).experiment_id
    place = Path(client.get_experiment(number).artifact_location.removeprefix("file://"))
    runs = client.search_runs([number])
    names = {run.info.run_id: run.info.run_name for run in runs}
    files = {path for run in names for path in (place / run).rglob("*")}
    models = client.search_logged_models([number])
    files |= {path for model in models for path in (place / "models" / model.model_id).rglob("*")}
    return {
        "runs": {run.info.run_id: _run(client, run, names) for run in runs},
        "models": [(model.model_id, model.last_updated_timestamp) for model in models],
        "files": {str(path): path.stat().st_mtime_ns for path in files},
    }


def test_what_is_sent_again_changes_nothing_and_what_goes_on_only_what_is_new(store, tmp_path):
    records = Records(tmp_path)
    _tell(records)
    records.start("run", "main", None, {}, {})
    records.end("run", "FINISHED")
    _mirror(tmp_path, store, "again").send(records)
    whole = _everything(store, "again")
    assert len(whole["files"]) > 5 and whole["models"]
    again = Records(tmp_path)
    again.start("run", "main", None, {"p.1": 2}, {"stage": "another"}, lazily=True)
    again.end("run", "FINISHED")
    assert again.path.read_bytes() == records.path.read_bytes(), "nothing was new"
    (tmp_path / "mlflow-sent.json").unlink()  # as in a copy of the folder, or after a kill
    _mirror(tmp_path, store, "again").send(again)
    assert _everything(store, "again") == whole
    again.start("run", "main", None, {}, {"stage": "another"}, lazily=True)
    (tmp_path / "map.png").write_bytes((tmp_path / "map.png").read_bytes() + b"more")
    again.artifact("run", "map.png", "figures")  # the log is written anew: all of it is sent again
    again.end("run", "FINISHED")
    _mirror(tmp_path, store, "again").send(again)
    later = _everything(store, "again")
    own = next(run for run, known in whole["runs"].items() if known["parent"] is None)
    assert later["runs"][own]["tags"]["stage"] == "another"
    assert {run for run, known in later["runs"].items() if known != whole["runs"][run]} == {own}
    changed = {path for path, at in later["files"].items() if whole["files"].get(path) != at}
    assert {Path(path).name for path in changed} <= {"map.png", "figures"} and later["models"] == whole["models"]


def test_two_that_send_from_one_folder_lose_nothing(store, tmp_path):
    """As a run that goes on and a ``sync`` beside it: each sends runs that the other one has made."""
    records = Records(tmp_path)
    records.start("run", "main", None, {}, {})
    one, two = (_mirror(tmp_path, store, "two senders") for _ in range(2))
    one.send(records)
    records.start("run/a", "a", "run", {}, {})
    two.send(records)
    records.metrics("run/a", 0, {"loss": 1.0})
    one.send(records)
    assert _runs(store, "two senders")["a"]["metrics"].keys() == {"loss"}


def test_a_run_deleted_in_mlflow_stays_deleted_and_stops_nothing(store, tmp_path):
    records = Records(tmp_path)
    _tell(records, end=False)
    _mirror(tmp_path, store, "deleted").send(records)
    client = _client(store)
    for run in client.search_runs([client.get_experiment_by_name("deleted").experiment_id]):
        if run.info.run_name == "train ENN":
            client.delete_run(run.info.run_id)
    records.end("run/train", "FINISHED")
    records.start("run/train", "train ENN", "run", {}, {})
    records.end("run", "FINISHED")
    _mirror(tmp_path, store, "deleted").send(records)
    runs = _runs(store, "deleted")
    assert list(runs) == ["main"] and runs["main"]["status"] == "FINISHED"


def test_interrupted_says_killed_at_once_and_the_rest_follows(store, tmp_path):
    records = Records(tmp_path)
    _tell(records, end=False)
    mirror = _mirror(tmp_path, store, "interrupted")
    mirror.send(records)
    for step in range(5):
        records.metrics("run", step, {"late": 1.0})
    for run in records.running():
        records.end(run, "KILLED")
    mirror.interrupted(records, seconds=0.0)
    runs = _runs(store, "interrupted")
    assert {run["status"] for run in runs.values()} == {"KILLED"} and "late" not in runs["main"]["metrics"]
    _mirror(tmp_path, store, "interrupted").send(Records(tmp_path))
    runs = _runs(store, "interrupted")
    assert {run["status"] for run in runs.values()} == {"KILLED"} and len(runs["main"]["metrics"]["late"]) == 5


def test_two_threads_that_open_a_database_both_close_its_file(tmp_path):
    """What MLflow is told in the environment is one thread's until it has heard it."""
    entered, left, seen = threading.Event(), threading.Event(), []

    def other():
        with client._closing_files(f"sqlite:///{tmp_path / 'b.db'}"):
            entered.set()
            left.wait()
            seen.append(os.environ.get(client.POOL))

    thread = threading.Thread(target=other)
    with client._closing_files(f"sqlite:///{tmp_path / 'a.db'}"):
        thread.start()
        entered.wait(0.2)  # it may not come in meanwhile
    left.set()
    thread.join()
    assert seen == ["NullPool"] and client.POOL not in os.environ


def test_the_database_in_the_folder_may_be_moved_or_deleted(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    old, new = tmp_path / "old", tmp_path / "new"
    records = Records(old)
    old.mkdir()
    _tell(records)
    _mirror(old, None).send(records)
    whole = _runs(f"sqlite:///{old / 'mlflow.db'}")
    assert (old / "mlartifacts").is_dir() and os.listdir() == [], "nothing is written where the command was given"
    old.rename(new)
    ui._bring_up_to_date(new, _mirror(new, None))
    uri = f"sqlite:///{new / 'mlflow.db'}"
    assert _runs(uri) == whole and not old.exists() and (new / "mlflow-before-move.db").exists()
    assert Path(_client(uri).get_experiment_by_name("e").artifact_location.removeprefix("file://")) == new / "mlartifacts"
    assert ui_command(new, 5001)[-2:] == ["--artifacts-destination", str(new / "mlartifacts")]
    assert ui_environment(new)["MLFLOW_BACKEND_STORE_URI"] == uri
    shutil.rmtree(new)  # as in a notebook, whose process has used both the folder and its database
    again = Records(new)
    again.start("run", "main", None, {}, {})
    _mirror(new, None).send(again)
    assert _runs(uri).keys() == {"main"} and (new / "mlflow.db").stat().st_size > 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_without_a_server_one_warning_and_the_records_are_sent_later(store, tmp_path, silent, monkeypatch):
    records, asked, probe = Records(tmp_path), [], client.probe
    monkeypatch.setattr(client, "probe", lambda uri: (asked.append(uri), probe(uri)))
    monkeypatch.setattr(sending, "AGAIN", 3600.0)
    monkeypatch.setattr(client, "WITHIN", (2.0, 0.5))
    _tell(records)
    said: list[str] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        uri = f"http://me:secret@127.0.0.1:{listener.getsockname()[1]}"
        mirror = Mirror(tmp_path, uri, f"later {silent}", warn=said.append)
        mirror.prepare()
        for _ in range(3):
            mirror.send(records)
        mirror.interrupted(records)
        assert asked == [uri] and not mirror.reachable, "it waits for an answer once, and then for a while"
        assert len(said) == 1 and "grad-instructor sync" in said[0] and "secret" not in said[0]
        assert "cannot be reached" in health(uri, None) and "secret" not in health(uri, None)
    _mirror(tmp_path, store, f"later {silent}").send(records)
    assert _runs(store, f"later {silent}")["main"]["status"] == "KILLED"


def test_a_broken_database_is_one_warning(tmp_path):
    records = Records(tmp_path)
    records.start("run", "main", None, {}, {})
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    said: list[str] = []
    Mirror(tmp_path, None, "e", warn=said.append).send(records)
    assert len(said) == 1 and "mlflow.db" in said[0]


def test_a_database_that_was_half_made_is_made_again(tmp_path, monkeypatch):
    """A kill or a full disk in the seconds that MLflow takes for its schema."""
    new_client, said = client.new_client, []

    def full(uri):
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    records = Records(tmp_path)
    records.start("run", "main", None, {}, {})
    mirror = Mirror(tmp_path, None, "e", warn=said.append)
    monkeypatch.setattr(client, "new_client", full)
    mirror.send(records)
    assert len(said) == 1 and not list(tmp_path.glob("*mlflow.db*"))
    monkeypatch.setattr(client, "new_client", new_client)
    mirror.send(records)
    assert not (tmp_path / "mlflow.db").exists(), "it waits a while before it tries again"
    mirror.send(records, last=True)
    assert _runs(f"sqlite:///{tmp_path / 'mlflow.db'}")["main"]["status"] == "RUNNING" and len(said) == 1
    assert [path.name for path in tmp_path.glob("*mlflow.db*")] == ["mlflow.db"]


def test_records_that_were_cut_and_went_on_are_sent_without_doubles(store, tmp_path):
    records = Records(tmp_path)
    _tell(records)
    _mirror(tmp_path, store, "cut").send(records)
    whole, lines = _runs(store, "cut"), records.path.read_bytes().splitlines(keepends=True)
    records.path.write_bytes(b"".join(lines[: len(lines) // 2]) + lines[len(lines) // 2][:-9])
    while time.time_ns() // 1_000_000 == records.events[-1]["time"]:
        continue  # so that what is told again has other times
    _tell(Records(tmp_path))
    mended = Records(tmp_path)
    assert mended.events != records.events and len(mended.events) >= len(records.events)
    _mirror(tmp_path, store, "cut").send(mended)
    runs = _runs(store, "cut")
    for name, run in whole.items():
        told = {key: [point[:2] for point in points] for key, points in run["metrics"].items()}
        assert {key: [point[:2] for point in points] for key, points in runs[name]["metrics"].items()} == told
        for key in ("status", "parent", "params", "artifacts", "datasets"):
            assert runs[name][key] == run[key], (name, key)


@pytest.mark.parametrize("calls", [0, 1, 2, 5])
def test_what_is_done_again_replaces_its_run_in_mlflow(calls, store, tmp_path, monkeypatch):
    """Also when the sending dies, so many calls from where the old run is dropped."""
    records, new_client, experiment = Records(tmp_path), client.new_client, f"anew {calls}"
    _tell(records)
    _mirror(tmp_path, store, experiment).send(records)
    (tmp_path / "map.png").write_bytes(b"")
    records.artifact("run", "map.png", "figures")
    records.anew("run/train")
    _tell(records)
    curve = next(event for event in records.events if event["kind"] == "series")
    curve["values"][0] = 7.0  # as the clock of the second training says
    with monkeypatch.context() as patch:
        patch.setattr(client, "new_client", lambda uri: _Dying(new_client(uri), calls, "delete_run"))
        with suppress(_Killed):
            _mirror(tmp_path, store, experiment).send(records)
            assert not calls
    _mirror(tmp_path, store, experiment).send(records)
    told = _everything(store, experiment)
    (tmp_path / "mlflow-sent.json").unlink()
    _mirror(tmp_path, store, experiment).send(records)
    assert _everything(store, experiment) == told, "what was told anew is not dropped once more"
    runs = _runs(store, experiment)
    assert runs["train ENN"]["metrics"]["curve"][0][1] == "7.0"
    assert all(len({step for step, *_ in points}) == len(points) for points in runs["train ENN"]["metrics"].values())
    assert [(len(runs[name]["artifacts"]), runs[name]["status"]) for name in ("main", "train ENN")] == [
        (1, "KILLED"),
        (2, "FAILED"),
    ]


def test_addresses_that_are_none():
    for uri in ("ftp://x", "http://", "/some/folder", "file:///x"):
        with pytest.raises(UserError, match="tracking URI"):
            Mirror(Path("x"), uri, "e")
    with pytest.raises(UserError, match="no MLflow database"):
        ui_command(Path("/nonexistent"), 5000)
    with pytest.raises(UserError, match="its own UI"):
        ui_command(Path("x"), 5000, "http://127.0.0.1:5000")


def test_importing_the_mirror_imports_no_mlflow():
    code = "import sys, pipeline.results.mlflow; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(sending.__file__).parents[3]).returncode == 0


def _wait_for(uri: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + HANGS
    while time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            with urlopen(f"{uri}/health", timeout=HANGS):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail(f"the server did not start: {log.read_text()}")


def test_a_port_that_is_taken_is_refused_in_a_sentence(tmp_path, capsys, store):
    Records(tmp_path).start("run", "main", None, {}, {})
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        words = ["ui", "--output", str(tmp_path), "--tracking-uri", store, "--port"]
        assert main([*words, str(port)]) == 2
        said = capsys.readouterr().err
        taken, free = map(int, re.findall(r"port (\d+)", said))
        check_port("127.0.0.1", free)
        assert taken == port != free and len(said.strip().splitlines()) == 1
    check_port("127.0.0.1", port)
    assert main([*words, "70000"]) == 2 and "give one from 1 to 65535" in capsys.readouterr().err


def _told(role: str, name: str = "x", step: int = 0, **tags: str) -> dict:
    """A run as MLflow's REST interface gives it."""
    every = [{"key": key, "value": value} for key, value in ({"role": role} | tags).items()]
    return {"info": {"run_id": role}, "data": {"metrics": [{"key": name, "step": step}], "tags": every}}


def test_a_view_has_a_chart_of_each_kind_and_only_runs_that_are_compared():
    runs = [_told("parent", "test/accuracy/he"), _told("arm", "val/accuracy", 50), _told("arm", "test/accuracy")]
    runs += [_told("arm", "test/accuracy_low"), _told("arm", "ms_per_step", **{"mlflow.loggedImages": "True"})]
    state = state_of(runs, "f" * 32)
    assert state["searchFilter"] == f"tags.role != 'parent' and tags.`grad_instructor.folder` = '{'f' * 32}'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`test/accuracy`", False)
    shown = [(c["type"], c.get("metricKey") or c["imageKeys"]) for c in state["compareRunCharts"] if not c["deleted"]]
    assert shown == [("LINE", "val/accuracy"), ("BAR", "test/accuracy"), ("IMAGE", ["weights", "gradcam"])]
    hidden = [c.get("metricKey") or c["imageKeys"] for c in state["compareRunCharts"] if c["deleted"]]
    assert hidden == ["ms_per_step", "test/accuracy/he", "test/accuracy_low", ["weights"], ["gradcam"]]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert sections == {c["metricSectionId"] for c in state["compareRunCharts"] if not c["deleted"]}
    searched = state_of([_told("candidate", "val/accuracy", 1)], "")
    assert searched["compareRunCharts"][0]["type"] == "BAR", "a candidate's stages are no curve"
    assert state_of([_told("", "loss")], "")["searchFilter"] == "tags.role != 'parent'"
    before = [{"info": {}, "data": {"metrics": [{"key": "val/loss", "step": 1}], "tags": []}}]
    assert state_of(before, "")["compareRunCharts"][0]["metricKey"] == "val/loss", "an earlier version's runs have no role"


def test_a_search_is_seen_by_the_settings_in_which_its_candidates_differ():
    def candidate(accuracy: float, **params: str) -> dict:
        told = _told("candidate")
        told["data"]["metrics"] = [{"key": "val/accuracy", "value": accuracy, "step": 0}]
        return told | {"data": told["data"] | {"params": [{"key": key, "value": value} for key, value in params.items()]}}

    runs = [
        candidate(0.5, search="a", w="0.1", reader="probes"),
        candidate(0.6, search="a", w="0.2", reader="image", rho="0.3"),
    ]
    state = state_of([_told("parent", "best/val/accuracy"), *runs], "")
    (lines,) = (chart for chart in state["compareRunCharts"] if chart["type"] == "PARALLEL")
    assert (lines["selectedParams"], lines["selectedMetrics"]) == (["w", "reader"], ["val/accuracy"]), "rho is one's alone"
    columns = ["metrics.`val/accuracy`", "params.`w`", "params.`reader`", "params.`rho`", "attributes.`Models`"]
    assert state["selectedColumns"] == columns
    shown = [chart.get("metricKey") for chart in state["compareRunCharts"] if not chart["deleted"]]
    assert "best/val/accuracy" not in shown, "the folder's own run is not among those that are compared"
    angles = [_told("arm") for _ in range(2)]
    for told, (first, last) in zip(angles, ((30.0, 0.0), (40.0, 0.001)), strict=True):
        told["data"]["metrics"] = [{"key": "angle/layer1", "value": first}, {"key": "angle/layer2", "value": last}]
    still = {chart["metricKey"]: chart["deleted"] for chart in state_of(angles, "")["compareRunCharts"] if "metricKey" in chart}
    assert still == {"angle/layer1": False, "angle/layer2": True}


def test_a_description_leads_to_runs_and_to_nothing_that_is_not_there():
    told = f"Best: {link_to_run('007', 'search/007')}, {link_to_run('008', 'search/008')}; [a page](https://x.org)"
    pages = {"search/007": "#/experiments/1/runs/abc"}
    assert linked(told, pages.get) == "Best: [007](#/experiments/1/runs/abc), 008; [a page](https://x.org)"


def test_what_a_server_says_while_it_starts_is_kept_unless_it_is_an_error(capfd):
    def said(code: str, started: bool) -> str:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        own = Said(process)
        process.wait(HANGS)
        own._thread.join(HANGS)
        own.from_now_on() if started else own.all()
        return capfd.readouterr().err

    quiet, loud = "print('using a database')", "print('using a database'); print('2026 ERROR mlflow: no disk'); print('why')"
    assert said(quiet, started=True) == "" and said(quiet, started=False) == "using a database\n"
    assert said(loud, started=True) == "using a database\n2026 ERROR mlflow: no disk\nwhy\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_the_ui_ends_without_a_traceback_and_leaves_nothing_behind(number, store, tmp_path):
    port, log = _free_port(), tmp_path / "log"
    records = Records(tmp_path)
    records.start("run", "main", None, {}, {"role": "parent"})
    _mirror(tmp_path, store, f"ui {number}").send(records)
    command = [
        sys.executable,
        "-m",
        "pipeline.command_line",
        "ui",
        "--output",
        str(tmp_path),
        "--tracking-uri",
        store,
        "--port",
        str(port),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, preexec_fn=heed_hangup)
    family: list[psutil.Process] = []
    try:
        _wait_for(f"http://127.0.0.1:{port}", process, log)
        deadline = time.monotonic() + HANGS
        while "Ctrl-C ends it" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, number)  # as a terminal does: to the whole foreground group
        assert process.wait(HANGS) == (-number if number == signal.SIGKILL else 0)
        assert family and not psutil.wait_procs(family, timeout=HANGS)[1]
        said, own = log.read_text(), _client(store).get_experiment_by_name(f"ui {number}")
        key = f"grad-instructor-{records.folder_id[:8]}"
        page = f"http://127.0.0.1:{port}/#/experiments/{own.experiment_id}/runs?viewStateShareKey={key}&compareRunsMode=CHART"
        assert page in said and "Traceback" not in said and "GET /" not in said
        assert json.loads(own.tags[f"mlflow.sharedViewState.{key}"])["compareRunCharts"] is not None
    finally:
        for left in [*family, process]:
            with suppress(psutil.NoSuchProcess):
                left.kill()


class _Server:
    """`mlflow server`, as `grad-instructor ui` starts it."""

    def __init__(self, folder: Path, store: str) -> None:
        self.port = _free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command, self.log = ui_command(folder, self.port, store), folder / "server.log"
        self.variables = os.environ | ui_environment(folder, store)
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.variables, stdout=log, stderr=log, start_new_session=True, cwd=self.log.parent
            )
        _wait_for(self.uri, self.process, self.log)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(store, tmp_path) -> Iterator[_Server]:
    server = _Server(tmp_path, store)
    yield server
    if server.process.poll() is None:
        server.kill()


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back(server, tmp_path, monkeypatch):
    assert "answers" in health(server.uri, None)
    records = Records(tmp_path / "run")
    (tmp_path / "run").mkdir()
    _tell(records, end=False)
    new_client = client.new_client
    with monkeypatch.context() as patch:
        patch.setattr(client, "new_client", lambda uri: _Dying(new_client(uri), 14))
        with pytest.raises(_Killed):
            _mirror(tmp_path / "run", server.uri, "server").send(records)
    said: list[str] = []
    mirror = Mirror(tmp_path / "run", server.uri, "server", warn=said.append)
    mirror.send(records)
    assert not said and _runs(server.uri, "server")["main"]["status"] == "RUNNING"
    stopped = Mirror(tmp_path / "run", server.uri, "server", warn=lambda _: None)
    stopped.prepare()
    os.killpg(server.process.pid, signal.SIGSTOP)  # worse than gone: it takes the call and never answers
    records.metrics("run", 9, {"late": 1.0})
    records.end("run/train", "FAILED")
    records.end("run", "KILLED")
    for _ in range(3):
        mirror.send(records)
    assert len(said) == 1
    stopped.interrupted(records)
    assert not stopped.reachable
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name)
    server.kill()
    server.start()
    for _ in range(2):
        _mirror(tmp_path / "run", server.uri, "server").send(Records(tmp_path / "run"))
    through_server = _runs(server.uri, "server")
    _mirror(tmp_path / "run", f"sqlite:///{tmp_path / 'other.db'}", "server").send(records)
    assert through_server == _runs(f"sqlite:///{tmp_path / 'other.db'}", "server")
