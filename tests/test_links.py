"""What a folder that was received may hold beside files: links, pipes, devices, and databases that lead elsewhere."""

import os
import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from pipeline.command_line import main
from pipeline.config import PRESETS, to_dotted
from pipeline.errors import UserError
from pipeline.files import read_json, read_metadata, read_tensors, sha256_of, write_atomic, write_json
from pipeline.progress import warn
from pipeline.received import no_link, refuse_links
from pipeline.results.databases import journal_of, refuse_strange
from pipeline.results.mlflow import Mirror
from pipeline.results.mlflow.address import artifact_location, local_uri
from pipeline.results.mlflow.database import holds_experiment, set_aside_if_moved
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


@pytest.mark.parametrize("limit", [100, 500, 1000])
def test_an_image_that_would_fill_the_memory_is_a_sentence(limit, run, monkeypatch):
    """Pillow warns of more pixels than the limit, and refuses twice as many."""
    Image.new("1", (30, 30)).save(run / "map.png")
    Records(run).image("run", "map.png", "map", 0)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with nullcontext() if limit > 30 * 30 else pytest.raises(UserError, match=r"map\.png is no PNG image"):
        _mirror_to([], run, monkeypatch).send(Records(run))


def test_a_folder_that_cannot_be_looked_through_is_refused(run, monkeypatch):
    """What is in it could still be opened by name, through a link; and one too deep would never end."""
    (run / "arms").mkdir()
    real = os.listdir

    def listdir(path):
        if str(path).endswith("arms"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"arms cannot be looked through \(Permission denied\)"):
        patch.setattr(os, "listdir", listdir)
        refuse_links(run)
    refuse_links(run)
    here = os.open(run, os.O_RDONLY)
    for _ in range(150):
        os.mkdir("xxx", dir_fd=here)
        here, above = os.open("xxx", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    with pytest.raises(UserError, match="folders deep"):
        refuse_links(run)
    subprocess.run(["rm", "-rf", run / "xxx"], check=True)


@pytest.mark.parametrize("read", [read_json, read_tensors, read_metadata, sha256_of])
def test_a_file_is_looked_at_before_it_is_read(read, tmp_path, monkeypatch):
    """One with nothing in it may be larger than the memory; a pipe would be waited for."""
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1 << 30}))
    huge, pipe = tmp_path / "huge", tmp_path / "pipe"
    with huge.open("wb") as file:
        file.truncate(1 << 42)
    os.mkfifo(pipe)
    with pytest.raises(UserError, match=r"huge is (truncated|of 4.1e\+03 GiB)"):  # of metadata, the beginning alone is read
        read(huge)
    with pytest.raises(UserError, match="pipe is a named pipe"):
        read(pipe)


def test_records_and_artifacts_larger_than_the_memory_are_refused(run, monkeypatch):
    with (run / "huge").open("wb") as file:
        file.truncate(1 << 42)
    records = Records(run)
    records.append("artifact", run="run", path="huge", folder="", sha256="0")
    with pytest.raises(UserError, match="huge is of"):
        _mirror_to([], run, monkeypatch).send(Records(run))
    os.truncate(run / "records.jsonl", 1 << 42)
    with pytest.raises(UserError, match=r"records\.jsonl is of"):
        Records(run)


def test_names_from_elsewhere_move_no_cursor(run, capfd):
    name = "\x1b[2J\x1b]0;title\x07\u202e"
    (run / name).symlink_to("/etc/passwd")
    assert main(["report", "--output", str(run)]) == 2
    warn(f"{name} λ")
    said = "".join(capfd.readouterr())
    assert r"\x1b[2J" in said and "λ" in said and not {"\x1b", "\x07", "\u202e"} & set(said)


LEADING_AWAY = {
    "the experiment": "UPDATE experiments SET artifact_location = 'file:///elsewhere/x' WHERE name = 'e'",
    "a run": "UPDATE runs SET artifact_uri = artifact_uri || '/../../../../elsewhere'",
    "a run, encoded": "UPDATE runs SET artifact_uri = artifact_uri || '/%2e%2e/%2e%2e'",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON runs BEGIN UPDATE runs SET artifact_uri = 'file:///elsewhere'; END",
    None: "UPDATE runs SET name = 'other'",
}


def _own_database(folder: Path, location: str) -> Path:
    """With the tables that are looked at, and a run."""
    database = folder / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, creation_time INT);"
            "CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, name TEXT, artifact_uri TEXT);"
            "CREATE TABLE secrets (a TEXT);"  # as MLflow has it
            "CREATE TRIGGER own BEFORE UPDATE ON secrets BEGIN SELECT RAISE(ABORT, 'never'); END;"
        )
        connection.execute("INSERT INTO experiments VALUES (1, 'e', ?, 0)", (location,))
        connection.execute("INSERT INTO runs VALUES ('ab', 1, '', ?)", (f"{location}/ab/artifacts",))
        connection.commit()
    return database


def test_a_received_database_leads_mlflow_nowhere_else(tmp_path):
    location = artifact_location(local_uri(tmp_path))
    for change in LEADING_AWAY:
        database = _own_database(tmp_path, location)
        _changed(database, LEADING_AWAY[change])
        assert holds_experiment(database, "1", "e", 0, location, in_folder=True) == (change is None), change
        set_aside_if_moved(local_uri(tmp_path), location, "e")
        assert database.exists() == (change is None), change
        (tmp_path / "mlflow-before-move.db").unlink(missing_ok=True)


UNREADABLE = {
    "no database": lambda path: path.write_bytes(b"no database at all" * 100),
    "a page of it is damaged": lambda path: path.write_bytes(
        path.read_bytes()[:4096] + b"\xff" * 4096 + path.read_bytes()[8192:]
    ),
    "cut": lambda path: os.truncate(path, 5000),
    "a table without a column": lambda path: _changed(path, "ALTER TABLE runs DROP COLUMN artifact_uri"),
    "a model without a column": lambda path: _changed(path, "CREATE TABLE logged_models (model_id TEXT)"),
    "a column that is compared in an unknown way": lambda path: _unknown_collation(path),
    "a table in another one's place": lambda path: _changed(path, "DROP TABLE experiments; CREATE TABLE experiments (a)"),
}


def _unknown_collation(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.create_collation("theirs", lambda one, other: (one > other) - (one < other))
        connection.executescript(
            "ALTER TABLE experiments RENAME TO old;"
            "CREATE TABLE experiments"
            "(experiment_id INTEGER, name TEXT COLLATE theirs, artifact_location TEXT, creation_time INT);"
            "INSERT INTO experiments SELECT * FROM old; DROP TABLE old;"
        )


def _changed(database: Path, statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(statements)


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_received_database_that_cannot_be_looked_through_is_not_used(case, tmp_path):
    location = artifact_location(local_uri(tmp_path))
    database = _own_database(tmp_path, location)
    UNREADABLE[case](database)
    assert not holds_experiment(database, "1", "e", 0, location, in_folder=True)
    set_aside_if_moved(local_uri(tmp_path), location, "e")
    assert not database.exists() and (tmp_path / "mlflow-before-move.db").exists()


def test_a_database_that_is_locked_is_neither_used_nor_set_aside(tmp_path, monkeypatch):
    """By another program: what is in it is not known. It is looked at again when that has ended."""
    location = artifact_location(local_uri(tmp_path))
    database = _own_database(tmp_path, location)
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0.05))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="locked"):
            set_aside_if_moved(local_uri(tmp_path), location, "e")
        other.execute("ROLLBACK")
    set_aside_if_moved(local_uri(tmp_path), location, "e")
    assert holds_experiment(database, "1", "e", 0, location, in_folder=True)


def _with_a_journal(database: Path, victim: Path) -> None:
    """A database as a process leaves it that was killed, its journal naming a file of all the databases it was changed with."""
    whole, journal = database.read_bytes(), journal_of(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.executescript("PRAGMA cache_size = 1; BEGIN; CREATE TABLE big (a)")
        connection.execute("INSERT INTO big SELECT hex(zeroblob(2000)) FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8))")
        data = journal.read_bytes()
        connection.execute("ROLLBACK")
    name, page = os.fsencode(victim), (1 << 30) // 4096 + 1
    sum_of = sum(byte if byte < 128 else byte - 256 for byte in name) % 2**32
    ending = struct.pack(">I", page) + name + struct.pack(">II", len(name), sum_of) + bytes.fromhex("d9d505f920a163d7")
    database.write_bytes(whole)
    journal.write_bytes(data + ending)


def test_a_journal_that_names_a_file_elsewhere_is_not_followed(tmp_path):
    """SQLite deletes the file that it names."""
    victim, database = tmp_path / "victim", tmp_path / "run" / "mlflow.db"
    database.parent.mkdir()
    for act in ("SQLite", "MLflow", "search"):
        victim.write_bytes(PRECIOUS)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE runs (a)")
        _with_a_journal(database, victim)
        if act == "SQLite":
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("SELECT * FROM runs").fetchall()
        elif act == "search":
            with pytest.raises(UserError, match="names a file elsewhere"):
                refuse_strange(database)
        else:
            set_aside_if_moved(local_uri(database.parent), artifact_location(local_uri(database.parent)), "e")
            assert not database.exists() and not journal_of(database).exists()
        assert victim.exists() == (act != "SQLite"), act
        database.unlink(missing_ok=True)
        journal_of(database).unlink(missing_ok=True)


def test_a_study_that_runs_something_is_refused(tmp_path):
    database = tmp_path / "study.db"
    refuse_strange(database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE studies (a)")
        refuse_strange(database)
        connection.execute("CREATE TRIGGER t AFTER INSERT ON studies BEGIN DELETE FROM studies; END")
        connection.commit()
    with pytest.raises(UserError, match="holds triggers or views"):
        refuse_strange(database)


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
