"""Malformed files of every kind that users exchange, and what must never be read from them (see tests/support/fuzz.py)."""

import ast
import io
import json
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.npz import load_npz
from pipeline.enn import load_critic
from pipeline.enn.files import SHIPPED
from pipeline.errors import UserError
from pipeline.results.records import Records
from tests.support.fuzz import EXAMPLES, KINDS, fuzz, limited_memory
from tests.support.tiny_run import HANGS

CHECKOUT = Path(__file__).parent.parent


FEWER = {"images": 40, "a run's folder": 60}
"""of the kinds whose examples are several files each"""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_malformed_files_are_read_or_refused_in_one_sentence(kind, tmp_path):
    tally = fuzz(kind, FEWER.get(kind.name, 200), tmp_path)
    assert tally.refused > 20, "nothing was malformed"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_ten_thousand_malformed_files(kind, tmp_path):
    tally = fuzz(kind, EXAMPLES, tmp_path)
    assert tally.read and tally.refused


def test_an_archive_that_unpacks_to_more_than_there_is_memory_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x_train.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_2_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1 << 26,)})
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    whole = path.read_bytes()
    place = whole.rfind(b"PK\x01\x02") + 24  # the directory says how large a member is when unpacked
    path.write_bytes(whole[:place] + (2**32 - 2).to_bytes(4, "little") + whole[place + 4 :])
    import psutil

    with pytest.MonkeyPatch.context() as patch, limited_memory():
        patch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1 << 30}))
        with pytest.raises(UserError, match=r"unpacks to 4\.0 GiB and 1\.0 GiB of memory are free"):
            load_npz(path)


def test_an_array_that_claims_to_be_larger_than_its_file_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_2_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 4)})
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x_train.npy", buffer.getvalue())
    with limited_memory(), pytest.raises(UserError, match="truncated or corrupt"):
        load_npz(tmp_path / "data.npz")


@pytest.mark.parametrize("path", ["../outside.png", "/etc/passwd", "a/../../b", "a\0b"])
@pytest.mark.parametrize("name", ["path", "folder"])
def test_records_that_name_files_outside_of_their_folder_are_refused(tmp_path, name, path):
    """`grad-instructor sync` sends the files that records name."""
    records = Records(tmp_path)
    records.start("run", "main", None, {}, {})
    (tmp_path / "table.md").write_text("table")
    records.artifact("run", "table.md", "tables")
    assert len(Records(tmp_path).events) == 3
    lines = records.path.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {name: path})
    records.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="line 3 of"):
        Records(tmp_path)


def test_a_link_out_of_the_folder_is_not_sent(tmp_path):
    from pipeline.results.mlflow.files import is_ours

    folder, secret = tmp_path / "run", tmp_path / "secret"
    (folder / "figures").mkdir(parents=True)
    secret.write_text("secret")
    (folder / "figures" / "a.png").symlink_to(secret)
    (folder / "figures" / "b.png").write_text("mine")
    assert [is_ours(folder, folder / "figures" / f"{name}.png") for name in "abc"] == [False, True, False]


def test_a_name_is_never_a_way_to_the_shipped_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("../shipped/digits-mlp", "shipped/digits-mlp", f"../../../../../..{SHIPPED}/digits-mlp", "digits-mlp\0"):
        with pytest.raises((UserError, ValueError)):
            load_critic(name)
    assert load_critic("digits-mlp").reader_name == "probes"


FORBIDDEN = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
PLAIN_PICKLES = CHECKOUT / "pipeline" / "architectures" / "table.py"


def test_nothing_of_ours_unpickles():
    """The only pickles that are read are CIFAR-10's own, by torchvision, and the table's of NAS-Bench-201, by a reader that
    refuses every class (tests/test_architectures.py); both after their checksums."""
    for path in [*(CHECKOUT / "pipeline").rglob("*.py"), *(CHECKOUT / "rl").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            forbidden = FORBIDDEN - ({"pickle"} if path == PLAIN_PICKLES else set())
            assert not forbidden & {name.split(".")[0] for name in names}, (path, names)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                call = ast.unparse(node.func)
                assert call not in (
                    "pickle.load",
                    "pickle.loads",
                    "torch.load",
                    "yaml.load",
                    "yaml.unsafe_load",
                    "yaml.full_load",
                    "eval",
                    "exec",
                ), (
                    path,
                    call,
                )
                keywords = {keyword.arg: keyword.value for keyword in node.keywords}
                if call in ("np.load", "numpy.load"):
                    assert ast.unparse(keywords["allow_pickle"]) == "False", path


LISTENING = """
import json, psutil
from pipeline.cluster import Placement, prepare_environment, start
prepare_environment()
start(Placement(workers=1), 0)
me = psutil.Process()
mine = {process.pid for process in me.children(recursive=True)} | {me.pid}
print(json.dumps([c.laddr.ip for c in psutil.net_connections("inet") if c.pid in mine and c.status == "LISTEN"]))
"""


def test_a_ray_of_our_own_listens_on_this_machine_only(monkeypatch):
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    done = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True, timeout=HANGS, check=True)
    addresses = json.loads(done.stdout.splitlines()[-1])
    assert len(addresses) >= 3 and {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def test_the_mlflow_ui_listens_on_this_machine_unless_told_otherwise(tmp_path):
    from pipeline.command_line.options import UiCommand
    from pipeline.results.mlflow import ui_command

    (tmp_path / "mlflow.db").touch()
    command = ui_command(tmp_path)
    assert command[command.index("--host") + 1] == UiCommand().host == "127.0.0.1" == socket.gethostbyname("localhost")


def test_a_password_of_a_tracking_server_is_written_nowhere(monkeypatch, environment):
    from pipeline.command_line import main, run, search

    lines = []
    monkeypatch.setattr(run, "command", lambda _command, line: lines.append(line) or 0)
    assert main(["run", "--tracking-uri", "http://me:secret@host:5000"]) == 0
    assert lines == ["grad-instructor run --tracking-uri http://host:5000"]
    monkeypatch.setattr(search, "command", lambda _command, line: lines.append(line) or 0)
    assert main(["search", "a.yaml", "--tracking-uri", "http://me:secret@host:5000"]) == 0
    assert lines[1:] == ["grad-instructor search a.yaml --tracking-uri http://host:5000"]
