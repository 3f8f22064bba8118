"""The copy of a run's folder in storage: written after the folder, fetched on another machine, and never from outside of it."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.quick import TINY
from pipeline.command_line import main
from pipeline.errors import UserError
from pipeline.results.records import Records
from pipeline.results.storage import Storage
from tests.support.tiny_run import assert_same, finish, results


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An address in a bucket of a server of S3 on this machine."""
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import boto3

    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        server = moto.ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="bucket")
        yield f"s3://bucket/{{}}?endpoint_override=http://{host}:{port}&region=us-east-1"
        server.stop()


@pytest.fixture(params=["folder", "S3"])
def address(request, tmp_path) -> str:
    """Where a copy may be: on NFS, or in a bucket."""
    if request.param == "folder":
        return str(tmp_path / "nfs" / "copies" / "run")
    return request.getfixturevalue("s3").format(tmp_path.name)


def _storage(folder: Path, uri: str) -> Storage:
    """As a new process has it, for which a warning is a failure."""
    return Storage(folder, uri, pytest.fail)


def _work(folder: Path) -> Records:
    """A folder with files of every kind that is in a run's."""
    records = Records(folder)
    records.start("run", "main", None, {}, {})
    for name in ("arms/a.json", "enn.safetensors", "mlflow.db", "mlflow-sent.json", "mlartifacts/1/x", ".lock", "arms/.a.tmp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return records


COPIED = ["arms/a.json", "enn.safetensors", "records.jsonl"]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_machine_goes_on_from_the_copy_and_the_first_one_from_there(address, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    records = _work(here)
    assert _storage(here, address).fetch() == 0, "nothing is there yet"
    first = _storage(here, address)
    first.send(last=True)
    assert _storage(there, address).fetch() == 3
    assert _files(there) == {name: (here / name).read_bytes() for name in COPIED}
    assert _storage(there, address).fetch() == 0 == _storage(here, address).fetch(), "both have come as far"

    records.end("run", "KILLED")  # the first machine goes on; the copy is behind it
    assert _storage(here, address).fetch() == 0 and Records(here).events == records.events
    first.send(last=True)
    second, later = _storage(there, address), Records(there)
    assert second.fetch() == 3
    later = Records(there)
    later.start("run", "main", None, {}, {})
    (there / "arms" / "b.json").write_text("b")
    (there / "arms" / "a.json").write_text("another")
    second.send(last=True)
    assert _storage(here, address).fetch() == 4
    assert {name: data for name, data in _files(here).items() if name in [*COPIED, "arms/b.json"]} == _files(there)


def test_a_copy_of_another_run_is_not_taken_for_this_one(address, tmp_path):
    _work(tmp_path / "one")
    _work(tmp_path / "two")
    _storage(tmp_path / "one", address).send(last=True)
    before = _files(tmp_path / "two")
    with pytest.raises(UserError, match="another run"):
        _storage(tmp_path / "two", address).fetch()
    assert _files(tmp_path / "two") == before


def test_records_are_copied_after_what_they_name(tmp_path, monkeypatch):
    _work(tmp_path / "here")
    storage = _storage(tmp_path / "here", str(tmp_path / "copy"))
    written: list[str] = []
    copy = storage._copy
    monkeypatch.setattr(storage, "_copy", lambda name: (written.append(name), copy(name)))
    storage.send(last=True)
    assert written == COPIED


def test_only_what_changed_is_copied_again(tmp_path):
    here, copy = tmp_path / "here", tmp_path / "copy"
    _work(here)
    storage = _storage(here, str(copy))
    storage.send(last=True)
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    (here / "arms" / "a.json").write_text("new")
    storage.send()
    assert (copy / "arms" / "a.json").read_text() == "arms/a.json", "not before a minute has passed"
    storage.send(last=True)
    changed = [path.name for path, at in times.items() if path.stat().st_mtime_ns != at]
    assert changed == ["a.json"] and (copy / "arms" / "a.json").read_text() == "new"


def test_without_the_storage_one_warning_and_an_error_at_the_end(tmp_path, monkeypatch):
    _work(tmp_path / "here")
    (tmp_path / "file").write_text("no folder")
    said: list[str] = []
    storage = Storage(tmp_path / "here", str(tmp_path / "file" / "copy"), said.append)
    monkeypatch.setattr("pipeline.results.storage.EVERY", 0.0)
    storage.send()
    storage.send()
    assert len(said) == 1 and "cannot be copied" in said[0]
    with pytest.raises(UserError, match=r"are whole in .*give the same command again"):
        storage.send(last=True)


BAD = ["results", "ftp://host/x", "s3://", "s3://bucket/x?colour=red", "/"]


@pytest.mark.parametrize("uri", BAD)
@pytest.mark.parametrize("command", [["train-enn"], ["search", "tiny.yaml"]], ids=["train-enn", "search"])
def test_an_address_that_is_none_is_refused_at_once(uri, command, tmp_path, monkeypatch, capfd, environment):
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parent.parent / "tune_configs" / "smoke.yaml", "tiny.yaml")
    assert main([*command, "--local", "--output", "out", "--storage-path", uri]) == 2
    error = capfd.readouterr().err
    assert error.startswith("grad-instructor: --storage-path") and len(error.splitlines()) == 1, error
    assert os.listdir() == ["tiny.yaml"]


def test_a_bucket_that_is_not_there_is_a_sentence(s3, tmp_path):
    missing = s3.replace("bucket/{}", "nowhere/run")
    with pytest.raises(UserError, match="has no 'nowhere'"):
        _storage(tmp_path, missing).fetch()


def test_a_copy_leads_out_of_no_folder(s3, tmp_path):
    """Keys of a bucket are any text."""
    _work(tmp_path / "one")
    uri = s3.format("escape")
    _storage(tmp_path / "one", uri).send(last=True)
    import boto3

    client = boto3.client("s3", endpoint_url=uri.split("endpoint_override=")[1].split("&")[0], region_name="us-east-1")
    client.put_object(Bucket="bucket", Key="escape/../../outside", Body=b"x")
    with pytest.raises(UserError, match="outside"):
        _storage(tmp_path / "two", uri).fetch()
    assert not (tmp_path / "two").exists()


@pytest.mark.slow
def test_a_run_goes_on_on_another_machine_with_the_same_numbers(s3, undisturbed, folder):
    uri = s3.format("whole")
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    finish(folder / "one", "train-enn", "--output", "run", "--storage-path", uri, *TINY)
    output = finish(folder / "two", "run", "--output", "run", "--workers", "1", "--storage-path", uri, *TINY)
    assert "files were fetched from s3://bucket/whole" in output
    trained = [json.loads(line)["kind"] for line in (folder / "two" / "run" / "records.jsonl").open()]
    assert trained.count("folder") == 1
    assert_same(results(folder / "two" / "run"), results(undisturbed))
