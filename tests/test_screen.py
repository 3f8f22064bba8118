"""What a terminal shows: tables on narrow screens, results alone, nothing at all, help that is short."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import progress
from pipeline.command_line import dispatch, main
from pipeline.results import measures, tables
from pipeline.results.fitted import Fitted
from pipeline.results.mlflow import events
from pipeline.search.kinds import KINDS
from pipeline.search.plan import ranked_by

pytestmark = pytest.mark.usefixtures("environment")
WIDTHS = (200, 100, 80, 60, 40)


def _rows() -> list[dict]:
    """As wide as they come."""
    base = [0.80, 0.90, 0.95]
    named = {"seeds": [0, 1, 2], "test_loss": [0.5] * 3, "train_loss": [0.21, 0.2, 0.22], "ms_per_step": [10.25] * 3}
    named |= {"strength": "policy 0–300", "diverged": 2}
    arms = {"conventional": named | {"test_accuracy": base}}
    arms |= {name: named | {"test_accuracy": [b + 0.011 for b in base]} for name in ("he", "instructed-image")}
    return tables.report_rows(arms)


def _shown(what: object, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True, highlight=False)
    console.print(what)
    return console.export_text()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_is_lost_on_a_narrow_screen(width):
    rows = _rows()
    numbers = re.findall(r"[−+]?\d+\.\d+", tables.markdown(rows))
    text = _shown(tables.rich_table(rows), width)
    assert sorted(re.findall(r"[−+]?\d+\.\d+", text)) == sorted(numbers) and len(numbers) > 25
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    for heading in ("accuracy %", "difference", "strength", "verged", "(Holm)"):
        assert heading in text
    assert text.count("conventional") == text.count("instructed-image"), "every block says whose numbers these are"


def test_as_few_blocks_as_there_must_be():
    rows = _rows()
    blocks = [_shown(tables.rich_table(rows), width).count("instructed-image") for width in WIDTHS]
    assert blocks[:2] == [1, 1] and blocks == sorted(blocks) and blocks[3] > 1
    one = _shown(Fitted(["a"], [["b"]]), 80)
    assert "a" in one and "b" in one


def test_what_fits_no_screen_goes_on_in_the_next_line():
    text = _shown(Fitted(["name", "value"], [["x" * 50, "1.23456789" * 9]]), 40)
    assert "".join(re.findall(r"[\d.]", text)) == "1.23456789" * 9 and "…" not in text


@pytest.mark.parametrize("width", [120, 60])
def test_the_table_of_a_search_and_of_predictors(width):
    from pipeline.command_line.search import _rich_table

    head = ["candidate", *(f"enn.setting_{n}" for n in range(9))]
    rows = [[f"c{row}", *(f"{row}.{n}55" for n in range(9))] for row in range(3)]
    text = _shown(_rich_table("\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * 10, *rows])), width)
    assert all(cell in text for row in rows for cell in row) and "setting_8" in text and "…" not in text


def test_settings_of_one_last_name_keep_their_whole_names():
    from pipeline.command_line.search import _rich_table

    head, rule, row = ("candidate", "rl.learning_rate", "unroll.learning_rate", "rl.gamma"), ("-",) * 4, "0123"
    found = _rich_table("\n".join("| " + " | ".join(line) + " |" for line in (head, rule, row)))
    assert found.columns == ["candidate", "rl.learning_rate", "unroll.learning_rate", "gamma"]


def test_a_number_is_written_by_its_shortest_form():
    found = {"rate": 0.1 * 3, "λ": [10.0, 1e-6], "nested": {"seed": 2**63, "on": True, "none": None, "word": "0.10"}}
    assert events.text(found) == (
        '{"rate": 0.3, "λ": [10, 1e-06], "nested": {"seed": 9223372036854775808, "on": true, "none": null, "word": "0.10"}}'
    )
    assert events.text(0.1 + 1e-9) == "0.100000001", "the twin: what somebody may have written stays"
    cells = [tables.as_cell(value, ".3g") for value in (3014.2, -0.00123, 1234567.0, 0.0, None, float("nan"))]
    assert cells == ["3,010", "−0.00123", "1.23e+06", "0", "–", "–"]


def test_a_measure_has_its_unit_wherever_it_is_shown():
    """In a table's head, on the screen and in a figure; one without a unit has none."""
    assert [measures.with_unit(name) for name in ("accuracy", "gain", "cosine")] == ["accuracy (%)", "gain (points)", "cosine"]
    assert measures.with_unit("simulated seconds") == measures.with_unit("simulated_seconds") != "simulated seconds"
    assert measures.quantity("accuracy", "93.1") == "93.1 %" and measures.quantity("seconds", "2") == "2"
    named = {name for kind in KINDS.values() for name in kind.objectives}
    bare = {name for name in named if measures.with_unit(name) == name.replace("_", " ")}
    assert bare == {"rank_correlation", "calibration_error", "cosine", "look_ahead", "ms_per_instruction", "parameters"}


def test_what_times_are_replaced_by_is_said():
    assert "ms per instruction" in ranked_by(["gain", "ms_per_instruction"]) and ranked_by(["gain", "parameters"]) == ""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_number_keeps_its_sign_in_every_encoding(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    dispatch._print_what_can_be_printed()
    print("−35.1 [−40, +2] λ \udcff", end="", flush=True)
    said = stream.buffer.getvalue().decode(encoding)  # pyright: ignore[reportAttributeAccessIssue]
    assert said == ("−35.1 [−40, +2] λ ?" if encoding == "utf-8" else "-35.1 [-40, +2] ? ?")


def test_no_time_is_foretold_before_a_round_of_what_is_done_at_once_is_over(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])

    def told(at_once: int) -> list[float | None]:
        """What is left after each of six parts, of which three end together every 30 s."""
        clock[0], found = 0.0, []
        bar = progress.Bar("search", 9, None, at_once)
        for part in range(6):
            clock[0] += 30.0 if part % 3 == 0 else 0.0
            bar.advance()
            found.append(bar.left())
        return found

    assert told(3) == [None, None, 60.0, 30.0, 30.0, 30.0] and told(0) == [None] * 6
    assert told(1)[0] == 240.0, "the twin: as if it were the first of nine such parts"
    bar = progress.Bar("search", 9, None, 3)
    for _ in range(3):
        clock[0] += 1.0
        bar.advance()
    clock[0] += 1000.0
    assert bar.left() is None, "it has taken longer than was foretold: nothing is"


@pytest.mark.parametrize("variable", ["TERM=dumb", "NO_COLOR=1", "FORCE_COLOR=1"])
def test_a_file_gets_lines_and_no_control_characters(variable):
    code = "from pipeline.progress import console, stage\nwith stage('a', 3) as bar:\n [bar.advance('b') for _ in range(3)]"
    name, _, value = variable.partition("=")
    told = os.environ | {name: value}
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0 and b"3/3" in done.stdout and not re.search(rb"[\x00-\x09\x0b-\x1f]", done.stdout + done.stderr)


def test_the_newest_folder_is_that_of_any_command_that_records(tmp_path):
    from pipeline.command_line.folders import newest_folder

    for at, (name, file) in enumerate({"a-run": "config.json", "a-search": "plan.json"}.items()):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
        (tmp_path / name / "records.jsonl").write_text("")
        os.utime(tmp_path / name / "records.jsonl", (at, at))
    assert newest_folder(tmp_path).name == "a-search"
    os.utime(tmp_path / "a-run" / "records.jsonl", (9, 9))
    assert newest_folder(tmp_path).name == "a-run"


def test_a_warning_is_heard_also_where_nothing_else_is_said(capfd):
    with progress.saying(quiet=True):
        progress.console.print("so far")
        progress.warn("the disk is nearly full")
    progress.warn("again")
    out, err = capfd.readouterr()
    assert err == "warning: the disk is nearly full\n" and out == "warning: again\n"


def test_help_is_short_or_whole_and_has_its_own_word(capfd, monkeypatch):
    def said(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return re.sub(r"\x1b\[[0-9;]*m", "", capfd.readouterr().out)

    short, whole = said("run", "--help"), said("run", "--help-all")
    assert "--rl.gamma" not in short and "--rl.*" in short and "--workers" in short and "--help-all" in short
    assert "--rl.gamma" in whole and "--workers" in whole and len(whole) > 4 * len(short)
    assert said("help") == said("--help") == said("-h") and said("help", "run") == short == said("run", "-h")
    assert said("version") == said("--version")
    monkeypatch.setenv("COLUMNS", "60")
    narrow = said("report", "--help")
    assert max(map(len, (narrow + said("help").partition("Start with:")[0]).splitlines())) <= 60, "as wide as the screen"
    assert "None" not in narrow.partition("--workers")[0], "an option says itself what it is without a value"
    assert "--json" in narrow and "--json" not in short


def test_a_search_that_comes_with_the_package_goes_by_its_name(tmp_path, monkeypatch):
    from pipeline.errors import UserError
    from pipeline.search.reading import SHIPPED, read_plan

    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").mkdir()  # a folder is no file of that name
    assert "smoke" in SHIPPED and read_plan(Path("smoke")).name == "smoke"
    with pytest.raises(UserError, match=r"did you mean 'smoke'"):
        read_plan(Path("smok"))
    (tmp_path / "baselines").write_text("not: a search")
    with pytest.raises(UserError, match=r"^baselines: "):
        read_plan(Path("baselines"))
