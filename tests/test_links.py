"""What a folder that was received may hold beside files: links, pipes, devices, and databases that lead elsewhere."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.command_line import main
from pipeline.config import PRESETS, to_dotted
from pipeline.errors import UserError
from pipeline.files import write_atomic, write_json
from pipeline.received import no_link, refuse_links
from pipeline.results.mlflow import Mirror
from pipeline.results.mlflow.files import is_ours
from pipeline.results.mlflow.ledger import lock
from pipeline.results.records import Records
from pipeline.results.storage import Storage

pytestmark = pytest.mark.usefixtures("environment")

PRECIOUS = b"precious"
PLACES = (  # their order decides which command meets which
    *(".lock", ".mlflow.lock", ".finished", "records.jsonl", "config.json", "plan.json", "mlflow-sent.json", "mlflow.db"),
    *("study.db", "report.json", "figures/a.png", "arms/he-0.json", "training/x.safetensors", "candidates/1/prediction.json"),
)
KINDS: dict[str, Callable[[Path, Path], object]] = {
    "a symbolic link": lambda path, victim: path.symlink_to(victim),
    "a hard link": lambda path, victim: os.link(victim, path),
    "a named pipe": lambda path, victim: os.mkfifo(path),
    "a symbolic link to a folder": lambda path, victim: path.symlink_to(victim.parent, target_is_directory=True),
}
COMMANDS = ["report", "explain", "instruct", "run", "sync", "ui"]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A folder in which a command has begun."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    write_json(folder / "config.json", {"preset": "digits", "settings": to_dotted(PRESETS["digits"])})
    records = Records(folder)
    records.start("run", "main", None, {}, {})
    records.end("run", "KILLED")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_no_plain_file_is_refused_by_name_and_nothing_behind_it_changes(kind, run, tmp_path, capfd):
    outside = tmp_path / "outside"
    for number, name in enumerate(PLACES):
        copy, victim = tmp_path / f"copy-{number}", outside / str(number) / "victim"
        shutil.copytree(run, copy)
        victim.parent.mkdir(parents=True)
        victim.write_bytes((copy / name).read_bytes() if name == "config.json" else PRECIOUS)
        before = victim.read_bytes()
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        KINDS[kind](path, victim)
        assert main([COMMANDS[number % len(COMMANDS)], "--output", str(copy)]) == 2, name
        said = capfd.readouterr().err
        assert f"{path} is {kind.removesuffix(' to a folder')}" in said and len(said.splitlines()) == 1, said
        assert victim.read_bytes() == before
        assert [path.name for path in outside.rglob("*") if path.is_file()] == ["victim"] * (number + 1)


def test_a_device_is_no_file_of_a_run():
    """Where nobody may make one, the one that is there is taken."""
    with pytest.raises(UserError, match=r"/dev/.* is a device"):
        refuse_links(Path("/dev"))


def test_what_is_opened_for_writing_is_looked_at_once_it_is_open(tmp_path):
    """Whoever asks: no link is followed, no pipe waited for, nothing emptied."""
    victim = tmp_path / "victim"
    victim.write_bytes(PRECIOUS)
    for number, make in enumerate(KINDS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in (".mlflow.lock", "records.jsonl"):
            make(folder / name, victim)
        with pytest.raises(OSError), lock(folder, 0.0):
            pass
        with pytest.raises(UserError, match=r"records\.jsonl (is|cannot)"):
            Records(folder).start("run", "main", None, {}, {})
        with pytest.raises(OSError):
            open(folder / "records.jsonl", "w", opener=no_link)  # noqa: SIM115
    assert victim.read_bytes() == PRECIOUS
    own = tmp_path / "own"
    own.write_bytes(PRECIOUS)
    with open(own, "w", opener=no_link):
        assert own.read_bytes() == b"", "the twin: what is one's own is emptied"


def test_a_name_that_is_written_to_first_is_no_way_through_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr("threading.get_ident", lambda: 7)
    victim, temporary = tmp_path / "victim", tmp_path / f".a.json.{os.getpid()}-7.tmp"
    victim.write_bytes(PRECIOUS)
    temporary.symlink_to(victim)
    write_atomic(tmp_path / "a.json", "mine")
    assert victim.read_bytes() == PRECIOUS and (tmp_path / "a.json").read_text() == "mine"


def test_two_names_of_a_file_within_the_folder_are_no_way_out(run):
    """As while a database gets its own name."""
    os.link(run / "records.jsonl", run / "other")
    refuse_links(run)


@pytest.mark.parametrize("name", ["figures", "."])
def test_a_folder_that_records_name_as_a_file_sends_nothing(name, run, tmp_path, monkeypatch):
    """MLflow copies a folder with all that its links lead to."""
    (run / "figures").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (run / "figures" / "a.png").symlink_to(tmp_path / "secret")
    (run / "table.md").write_text("table")
    records = Records(run)
    records.append("artifact", run="run", path="table.md", folder="", sha256="0")
    records.append("artifact", run="run", path=name, folder="", sha256="0")
    sent: list[str] = []
    with pytest.raises(UserError, match="is a link or no file, and is not sent to MLflow"):
        _mirror_to(sent, run, monkeypatch).send(Records(run))
    assert sent == [str(run / "table.md")], "the twin is sent"
    os.link(tmp_path / "secret", run / "linked")
    assert not is_ours(run, run / "linked") and is_ours(run, run / "table.md")
    (run / "inner").symlink_to(run)
    assert not is_ours(run, run / "inner" / "table.md")


def _mirror_to(sent: list[str], folder: Path, monkeypatch) -> Mirror:
    """A mirror whose server only counts files."""
    from types import SimpleNamespace as Some

    from pipeline.results.mlflow import client, mirror

    class Server:
        def search_runs(self, *_a, **_k):
            return Pages([])

        def create_run(self, *_a, **_k):
            return Some(info=Some(run_id="1"))

        def get_experiment_by_name(self, _name):
            return Some(experiment_id="1", creation_time=0)

        def log_artifact(self, _run, path, _folder):
            sent.append(path)

        def __getattr__(self, _name):
            return lambda *_a, **_k: None

    class Pages(list):
        token = None

    monkeypatch.setattr(client, "new_client", lambda uri: Server())
    monkeypatch.setattr(client, "probe", lambda uri: None)
    monkeypatch.setattr(mirror, "make_database", lambda uri: None)
    return Mirror(folder, "http://127.0.0.1:9", "e", warn=pytest.fail)


def test_an_image_that_is_none_is_a_sentence(run, monkeypatch):
    (run / "map.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    Records(run).image("run", "map.png", "map", 0)
    with pytest.raises(UserError, match=r"map\.png is no PNG image"):
        _mirror_to([], run, monkeypatch).send(Records(run))


LEADING_AWAY = {
    "the experiment": "UPDATE experiments SET artifact_location = 'file:///elsewhere/x' WHERE name = 'e'",
    "a run": "UPDATE runs SET artifact_uri = artifact_uri || '/../../../../elsewhere'",
    "a run, encoded": "UPDATE runs SET artifact_uri = artifact_uri || '/%2e%2e/%2e%2e'",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON runs BEGIN UPDATE runs SET artifact_uri = 'file:///elsewhere'; END",
    None: "UPDATE runs SET name = 'other'",
}


def test_a_received_database_leads_mlflow_nowhere_else(tmp_path):
    from pipeline.results.mlflow.address import artifact_location, local_uri
    from pipeline.results.mlflow.database import set_aside_if_moved

    location = artifact_location(local_uri(tmp_path))
    for change in LEADING_AWAY:
        database = tmp_path / "mlflow.db"
        with sqlite3.connect(database) as connection:
            connection.executescript(
                "CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT);"
                "CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, name_ TEXT, artifact_uri TEXT);"
            )
            connection.execute("INSERT INTO experiments VALUES (1, 'e', ?)", (location,))
            connection.execute("INSERT INTO runs VALUES ('ab', 1, '', ?)", (f"{location}/ab/artifacts",))
            connection.execute(LEADING_AWAY[change].replace("name = 'other'", "name_ = 'other'"))
        connection.close()
        set_aside_if_moved(local_uri(tmp_path), location, "e")
        assert database.exists() == (change is None), change
        (tmp_path / "mlflow-before-move.db").unlink(missing_ok=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_in_a_folder_is_neither_read_nor_written_through_links(kind, run, tmp_path):
    copy, victim = tmp_path / "nfs" / "copy", tmp_path / "outside" / "victim"
    victim.parent.mkdir()
    victim.write_bytes(PRECIOUS)
    Storage(run, str(copy), pytest.fail).send(last=True)
    KINDS[kind](copy / ".enn.safetensors.part", victim)
    (run / "enn.safetensors").write_bytes(b"mine")
    for act in (lambda s: s.send(last=True), lambda s: s.fetch(), lambda s: s.compared()):
        with pytest.raises(UserError, match="part is a"):
            act(Storage(run, str(copy), pytest.fail))
    assert victim.read_bytes() == PRECIOUS
