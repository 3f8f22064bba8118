"""Where a command runs, and what it is pointed at: names, addresses, slow servers, full disks, Ray's processes, homes."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.addresses import sqlite_uri
from pipeline.command_line import main
from pipeline.errors import UserError
from pipeline.results.mlflow import Mirror, client
from pipeline.results.mlflow.address import checked, database_of
from pipeline.results.records import Records
from tests.support.tiny_run import HANGS

CHECKOUT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("environment")


# -- names and addresses -----------------------------------------------------------------------------------------------

NAMES = [
    "what?x=1",
    "a%41b",
    "a%2Fb",
    "a#b",
    "a b",
    "a\nb",
    "a'b\"c",
    "λ",
    ":memory:",
    "mode=memory",
    "sqlite:",
    "-x",
    "x" * 200,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_database_in_a_folder_of_any_name_is_in_that_folder(name, tmp_path):
    from sqlalchemy import create_engine, text

    folder = tmp_path / name
    folder.mkdir()
    uri = Mirror(folder, None, "e").uri
    assert database_of(uri) == folder / "mlflow.db"
    with create_engine(uri).connect() as connection:
        connection.execute(text("CREATE TABLE a (b INTEGER)"))
    assert os.listdir(tmp_path) == [name] and os.listdir(folder) == ["mlflow.db"]


def test_the_study_of_a_search_is_in_a_folder_of_any_name(tmp_path):
    import optuna

    for name in NAMES:
        (tmp_path / name).mkdir()
    for name in ("what?x=1", "a%41b"):  # making one takes a second
        optuna.storages.RDBStorage(sqlite_uri(tmp_path / name / "study.db"))
        assert (tmp_path / name / "study.db").exists()
    assert len(os.listdir(tmp_path)) == len(NAMES)
    assert "sqlite_uri(" in (CHECKOUT / "pipeline" / "search" / "propose.py").read_text()


@pytest.mark.parametrize("command", ["run", "report", "sync", "ui"])
def test_a_name_that_is_no_text_is_refused(command, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"\xff\xfe")
    assert main([command, "--output", name]) == 2
    said = capfd.readouterr().err
    assert r"\xff\xfe is not UTF-8; choose another --output." in said and len(said.splitlines()) == 1
    assert os.listdir() == []
    os.mkdir(name)
    os.chdir(name)
    assert main(["train-enn", "--local"]) == 2 and "is not UTF-8" in capfd.readouterr().err


BAD = {
    "postgresql+nodriver://u:pa55word@h/db": "is malformed",
    "postgresql://u:pa55word@h:port/db": "is malformed",
    "mysql+pymysqll://h/db": "is malformed",
    "mssql+pyodbc://u:pa55word@h/db": "needs a driver that is not installed .*; install it with pip",
    "sqlite://host/x.db": "is malformed",
    "sqlite:/x.db": "is malformed",
    "sqlite:///:memory:": "is a database in memory",
    "sqlite:///%3Amemory%3A": "is a database in memory",
    "sqlite:///file:x?mode=memory&uri=true": "is a database in memory",
    "sqlite:///file::memory:?uri=true": "is a database in memory",
    "sqlite:": "is a database in memory",
    "http://h:99999": "is none that MLflow can use",
    "http://[::1": "is none that MLflow can use",
    "http://:5000": "is none that MLflow can use",
    "http://h\n": "is none that MLflow can use",
    "oracle://h": "is none that MLflow can use",
    "": None,
}


@pytest.mark.parametrize("uri", [uri for uri in BAD if uri])
def test_an_address_that_can_never_work_is_refused_before_any_work(uri, tmp_path):
    if "pyodbc" in uri:
        with suppress(ImportError):
            import pyodbc  # noqa: F401  # pyright: ignore[reportMissingImports]

            pytest.skip("the driver is installed")
    with pytest.raises(UserError, match=BAD[uri]) as caught:
        Mirror(tmp_path, uri, "e")
    sentence = str(caught.value)
    assert sentence.endswith(".") and sentence.isprintable() and "pa55word" not in sentence
    for sound in ("sqlite:////x/y.db", "sqlite+pysqlite:////x/y%20z.db", "http://h:5000/x", "databricks://profile"):
        assert checked(sound) == sound, "the twin"


@pytest.mark.parametrize("place", ["/proc/nothing/x.db", "/dev/null", "a folder", "no database"])
def test_a_database_that_cannot_be_opened_is_one_sentence_and_nothing_is_tried_again(place, tmp_path, monkeypatch):
    """MLflow would try for minutes."""
    database = Path(place) if place.startswith("/") else tmp_path / place
    if place == "a folder":
        database.mkdir()
    if place == "no database":
        database.write_bytes(b"no database" * 1000)
    records, said = Records(tmp_path / "run"), []
    records.start("run", "main", None, {}, {})
    monkeypatch.setattr(client, "new_client", lambda uri: pytest.fail("MLflow was asked"))
    Mirror(tmp_path / "run", f"sqlite:///{database}", "e", warn=said.append).send(records)
    assert len(said) == 1 and "cannot be used" in said[0] and "grad-instructor sync" in said[0]


# -- servers that are slow ---------------------------------------------------------------------------------------------


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a server whose answer comes in single bytes, without end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                    while not ended.wait(0.05):
                        connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        thread.join(HANGS)


def test_a_server_that_drips_is_given_up(dripping, tmp_path, monkeypatch):
    """No read takes long, and the answer never ends."""
    monkeypatch.setattr(client, "ANSWER", 0.5)
    records, said = Records(tmp_path), []
    records.start("run", "main", None, {}, {})
    Mirror(tmp_path, dripping, "e", warn=said.append).send(records)
    assert len(said) == 1 and "no answer within" in said[0]


def test_each_call_of_a_client_is_bounded_and_gives_what_it_gave(monkeypatch):
    class Slow:
        def __init__(self) -> None:
            self.heard = threading.Event()

        def create_run(self, *words, **names):
            self.heard.wait(HANGS)

        def get_run(self, *words, **names):
            return words, names

        def log_batch(self):
            raise KeyError("of the library")

    monkeypatch.setattr(client, "CALL", 0.2)
    slow = Slow()
    bounded = client.Bounded(slow)
    with pytest.raises(OSError, match="no answer"):
        bounded.create_run("1")
    slow.heard.set()
    assert bounded.get_run(1, a=2) == ((1,), {"a": 2})
    with pytest.raises(KeyError):
        bounded.log_batch()


# -- what is printed, and where ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["--version"], ["run", "--help"]], ids=" ".join)
def test_a_full_disk_under_the_output_is_one_sentence(words, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    for unbuffered in ("", "1"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "pipeline.command_line", *words],
                cwd=tmp_path,
                env=environment | {"PYTHONUNBUFFERED": unbuffered},
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=HANGS,
            )
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("grad-instructor: what is printed cannot be written (No space left on device)")


WITHOUT = """
import os, sys
sys.path.insert(0, {path!r})
for number in {closed}:
    os.close(number)
for name in {names}:
    setattr(sys, name, None)
sys.argv = ["grad-instructor", *{words}]
from pipeline.command_line.program import program
program()
"""
TRAINS = ["compare", "--output", "run", "--local", "--arms", "backprop", "--target.hidden", "8", "--training.steps", "20"]
TRAINS += ["--rl.period", "10", "--compare.seeds", "2", "--compare.tuning-seeds", "1", "--tracking-uri", "http://127.0.0.1:9"]


@pytest.mark.parametrize(("closed", "names"), [((1,), ("stdout",)), ((0, 1, 2), ("stdin", "stdout", "stderr"))], ids=str)
def test_a_service_without_a_screen_does_the_same_and_writes_nothing_into_its_files(closed, names, tmp_path):
    """Whoever writes to 1 or 2, a library or Python itself, must not find a file of ours there."""
    code = WITHOUT.format(path=str(CHECKOUT), closed=closed, names=names, words=TRAINS)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDEVMODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    assert len(json.loads((tmp_path / "run" / "report.json").read_text())["rows"]) == 1
    assert all(json.loads(line)["n"] >= 0 for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines())


def test_a_folder_that_is_gone_is_one_sentence(tmp_path, monkeypatch, capfd):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (["compare", "--arms", "backprop", "--output", str(tmp_path / "run")], ["report"], ["doctor"]):
        assert main(words) == 2
        out, err = capfd.readouterr()
        assert not out and err == (
            "grad-instructor: the folder that this is started in is no more; go to another one (cd), and give the same command "
            "again.\n"
        )
    assert main(["version"]) == 0 and not list(tmp_path.iterdir())


def test_the_ui_warns_where_others_can_reach_it(tmp_path, monkeypatch, capfd):
    from pipeline.command_line import ui

    class Process(subprocess.Popen):
        def __init__(self, command, env, **_keywords):
            assert "MLFLOW_BACKEND_STORE_URI" in env and command[-1].endswith("mlartifacts")
            self.returncode, self.stdout = 0, None

        def wait(self, timeout=None):
            return 0

        def poll(self):
            return 0

        def __del__(self, **_keywords):
            """There is no process to wait for."""

    monkeypatch.setattr(ui.subprocess, "Popen", Process)
    monkeypatch.setattr(ui, "check_port", lambda host, port: None)  # this machine has not all of these addresses
    monkeypatch.setattr(ui, "wait_for", lambda address, ended: True)
    Records(tmp_path).start("run", "main", None, {}, {})
    (tmp_path / "mlflow.db").touch()
    for host, warns in {
        "0.0.0.0": True,
        "::": True,
        "10.0.0.3": True,
        "127.0.0.1": False,
        "::1": False,
        "localhost": False,
    }.items():
        assert main(["ui", "--output", str(tmp_path), "--host", host]) == 0
        assert ("can be reached from other machines" in capfd.readouterr().out) is warns, host


# -- Ray -----------------------------------------------------------------------------------------------------------------

LOSING = """
import subprocess, sys, time
import psutil
from pipeline import interrupts
from pipeline.cluster import watch
interrupts.install()
process = subprocess.Popen([sys.argv[1], "3600"])
watch.watch([psutil.Process(process.pid)])
if sys.argv[2] == "let go":
    watch.let_go()
process.kill()
process.wait() if sys.argv[2] == "let go" else time.sleep(float(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("name", "how", "code"), [("raylet", "watched", 1), ("gcs_server", "watched", 1), ("raylet", "let go", 0)]
)
def test_a_process_of_ray_that_is_killed_is_one_sentence(name, how, code, tmp_path):
    shutil.copy(shutil.which("sleep") or "", tmp_path / name)
    command = [sys.executable, "-c", LOSING, str(tmp_path / name), how, str(HANGS)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("was killed, and Ray ends with it") == code and done.stderr.count("same command again") == code
