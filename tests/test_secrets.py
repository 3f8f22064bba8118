"""Passwords and tokens in addresses: nothing that is shown, recorded or passed on has them, whatever the form."""

import logging
import os
import sys
import threading
import warnings
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline import addresses
from pipeline.addresses import keep_secret, shown_address, without_secrets
from pipeline.command_line import discretion
from pipeline.command_line.dispatch import line_of
from pipeline.errors import UserError
from pipeline.results.mlflow.address import checked
from pipeline.results.mlflow.ledger import Ledger

FORMS = [
    "http://user:{}@host.example:5000",
    "https://{}@host.example/mlflow",
    "HTTP://user:{}@host.example",
    "http:user:{}@host.example",
    "http:/user:{}@host.example",
    "http://host.example:5000/?password={}",
    "http://host.example/?a=1&TOKEN={}",
    "http://host.example/?sig={}&x=2",
    "http://host.example/#access_token={}",
    "postgresql+psycopg2://user:{}@host.example/db",
    "postgresql://host.example/db?user=me;password={}",
    "mysql+pymysql://user:{}@host.example/db?charset=utf8",
    "mssql+pyodbc://user:{}@host.example:1433/db?driver=ODBC",
    "databricks://token:{}@host.example?http_path=/sql",
    "ftp://user:{}@host.example/x",
    "s3://key:{}@host.example/runs?region=eu",
    "sqlite:////host.example/x.db?key={}",
]
PASSWORDS = [
    "pa55word",
    "pa/55word",
    "pa@55word",
    "pa%2F55",
    "pa:55@w/rd",
    "pa?55word",
    "pa#55word",
    "p&a=55",
    "100%sure",
    "λόγος",
]
ENCODED = [str, lambda text: quote(text, safe=""), lambda text: quote(quote(text, safe=""), safe="")]


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(addresses, "_secrets", set())


def _told(address: str) -> list[str]:
    """All that is made of an address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "_secrets", set())
        lines = [shown_address(address), line_of(["run", "--tracking-uri", address]), line_of([f"--storage-path={address}"])]
        try:
            checked(address)
        except UserError as error:
            lines.append(str(error))
        keep_secret(address)
        return [*lines, without_secrets(f"could not open {address!r} ({address})")]


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_an_address_tells_its_password(form):
    for password in PASSWORDS:
        for encode in ENCODED:
            if "?" in form and set(password) & set("&#") and encode is str:
                continue  # it ends there, by the rules of addresses
            for line in _told(form.format(encode(password))):
                assert not [part for part in (password, encode(password), "55word", "sure") if part in line], line
                assert "host.example" in line, "where it leads is still said"


@pytest.mark.parametrize("option", ["--tracking_uri", "--tracking-uri", "--storage_path"])
def test_an_option_with_underscores_is_the_same_option(option):
    for address in ("user:pa55word@host.example", r"http:\\user:pa55word@host.example"):
        for words in ([option, address], [f"{option}={address}"]):
            assert "pa55word" not in line_of(["run", *words]) and "host.example" in line_of(["run", *words])


def test_what_is_given_in_the_wrong_place_or_in_the_environment_is_kept_as_well(monkeypatch, capfd):
    from pipeline.command_line import main

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken-of-mine")
    for words in (["search", "http://me:pa55word@host"], ["run", "--config", "http://me:pa55word@host/t0ken-of-mine"]):
        assert main(words) == 2  # a path has one slash where the address had two
    said = capfd.readouterr().err
    assert "pa55" not in said and "t0ken" not in said and said.count("host") == 2


@example("mysql+pymysql://user:{}@host.example/db?charset=utf8", "mysq")
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([form for form in FORMS if "@" in form]), st.text(st.characters(exclude_categories=["Cs"]), min_size=4))
def test_whatever_characters_it_has(form, password):
    assume(not [line for line in _told(form.format("another")) if password in line])  # "mysq": it is said in any case
    for line in _told(form.format(password)):
        assert password not in line.replace(form.partition("{}")[0], "").replace(form.partition("{}")[2], ""), line


def test_what_is_no_secret_is_said():
    for address in (
        *("http://127.0.0.1:5000", "sqlite:////home/me@work/a#b/mlflow.db", "/nfs/me@work/runs", "databricks://profile"),
        *(
            "s3://bucket/a@b/run?endpoint_override=http://10.0.0.1:9000&region=us-east-1",
            "postgresql://host/db?sslmode=require",
        ),
    ):
        keep_secret(address)
        assert shown_address(address) == without_secrets(address) == address
    typed = ["run", "--output", "what?x=1", "--dataset", "mine.npz"]
    assert line_of(typed) == " ".join(["grad-instructor", *typed])


def test_two_servers_that_differ_in_a_password_share_a_page_and_other_servers_do_not(tmp_path):
    """An address without its password names the server in ``mlflow-sent.json``."""
    Ledger(tmp_path, "http://me:old-word@host:5000").write({"next": 3})
    assert Ledger(tmp_path, "http://me:new-word@host:5000").read() == {"next": 3}
    assert Ledger(tmp_path, "http://me:old-word@host:5001").read() == {}
    assert b"word" not in (tmp_path / "mlflow-sent.json").read_bytes()


def test_neither_tracebacks_nor_warnings_nor_logs_tell_it(monkeypatch, capfd):
    for module, name in ((sys, "excepthook"), (threading, "excepthook"), (warnings, "formatwarning")):
        monkeypatch.setattr(module, name, getattr(module, name))
    factory = logging.getLogRecordFactory()
    address = "postgresql://me:pa55 word@host/db"
    keep_secret(address)
    discretion.install()
    try:
        raised = ValueError(f"no {address}, nor pa55 word, nor pa55%20word")
        sys.excepthook(ValueError, raised, None)
        thread = threading.Thread(target=lambda: int(address))
        thread.start()
        thread.join()
        print(warnings.formatwarning(f"retrying {address}", UserWarning, "x.py", 1), file=sys.stderr)
        logger = logging.Logger("of some library")
        logger.addHandler(logging.StreamHandler())
        logger.warning("retrying %s", address)
        try:
            raise raised
        except ValueError:
            logger.exception("it failed")
        logger.warning("%d words that do not fit", "two")
    finally:
        logging.setLogRecordFactory(factory)
    said = capfd.readouterr().err
    assert "pa55" not in said and said.count("ValueError") >= 3 and said.count("retrying") >= 2, said


def test_the_environments_address_is_the_one_where_none_is_given(tmp_path, monkeypatch, capfd):
    from pipeline.command_line import main
    from pipeline.results.mlflow import Mirror, given, health
    from pipeline.results.mlflow.address import local_uri

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Mirror(tmp_path, None, "e").uri == local_uri(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pa55word@127.0.0.1:9")
    assert Mirror(tmp_path, None, "e").uri == given(None) == os.environ["MLFLOW_TRACKING_URI"]
    assert Mirror(tmp_path, "http://other:5000", "e").uri == "http://other:5000"
    assert health(None, tmp_path).startswith("http://127.0.0.1:9: cannot be reached")
    (tmp_path / "records.jsonl").touch()
    assert main(["ui", "--output", str(tmp_path)]) == 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(UserError, match=r"'\./mlruns' of MLFLOW_TRACKING_URI is none that MLflow can use"):
        Mirror(tmp_path, None, "e")
    said = capfd.readouterr()
    assert "its own UI; open http://127.0.0.1:9 in" in said.err and "pa55word" not in said.err + said.out


def test_the_ui_passes_no_address_in_its_arguments(tmp_path):
    from pipeline.results.mlflow import ui_command, ui_environment

    store = f"sqlite:///{tmp_path}/x.db?key=pa55word"
    (tmp_path / "x.db").touch()
    assert not [word for word in ui_command(tmp_path, 5000, store) if "pa55word" in word or "x.db" in word]
    assert ui_environment(tmp_path, store)["MLFLOW_BACKEND_STORE_URI"] == store
