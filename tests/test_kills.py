"""Kills at random moments (see tests/support/kills.py): what is expected of each, and that they are counted as they were."""

import signal

import pytest

from pipeline.files import write_json
from tests.support import kills

FACTS = {"commit": "a" * 40, "date": "2026-01-01T00:00:00", "hardware": {"cpu": "some"}}


def test_no_end_is_expected_but_that_of_its_signal(tmp_path):
    assert kills.expected(signal.SIGKILL, tmp_path) == (-signal.SIGKILL,)
    assert kills.expected(signal.SIGTERM, tmp_path) == (130, -signal.SIGTERM), "Python itself is not there yet"
    (tmp_path / "records.jsonl").touch()
    assert kills.expected(signal.SIGTERM, tmp_path) == (130,)


def test_they_are_counted_by_signal_and_stage(tmp_path):
    rows = [("without", "SIGTERM", "ENN"), ("without", "SIGTERM", "ENN"), ("with Ray", "SIGKILL", "start")]
    for number, (way, name, stage) in enumerate(rows):
        write_json(tmp_path / f"{number:03d}.json", {"way": way, "signal": name, "stage": stage, "provenance": FACTS})
    write_json(tmp_path / "without" / "seconds.json", 3.0)
    lines = kills.table(kills.gathered(tmp_path)).splitlines()
    assert "| SIGTERM in one process | 0 | 2 | 0 | 0 | 0 | 2 |" in lines
    assert "| SIGKILL with Ray actors | 1 | 0 | 0 | 0 | 0 | 1 |" in lines
    assert "--kills 3`" in lines[-1]


@pytest.mark.slow
def test_a_kill_is_gone_on_with_to_the_same_bits_and_is_not_done_again(tmp_path, monkeypatch):
    assert kills.kill_all(2, tmp_path, FACTS) == []
    assert [row["signal"] for row in kills.gathered(tmp_path)["kills"]] == ["SIGTERM", "SIGKILL"]
    monkeypatch.setattr(kills, "kill", pytest.fail)
    assert kills.kill_all(2, tmp_path, FACTS) == []
