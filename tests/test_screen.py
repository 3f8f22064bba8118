"""What a terminal shows: tables on narrow screens, results alone, nothing at all, help that is short."""

import io
import re

import pytest
from rich.console import Console

from pipeline import progress
from pipeline.command_line import main
from pipeline.results import tables
from pipeline.results.fitted import Fitted

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


def test_a_warning_is_heard_also_where_nothing_else_is_said(capfd):
    with progress.saying(quiet=True):
        progress.console.print("so far")
        progress.warn("the disk is nearly full")
    progress.warn("again")
    out, err = capfd.readouterr()
    assert err == "warning: the disk is nearly full\n" and out == "warning: again\n"


def test_help_is_short_or_whole_and_has_its_own_word(capfd):
    def said(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return re.sub(r"\x1b\[[0-9;]*m", "", capfd.readouterr().out)

    short, whole = said("run", "--help"), said("run", "--help-all")
    assert "--rl.gamma" not in short and "--rl.*" in short and "--workers" in short and "--help-all" in short
    assert "--rl.gamma" in whole and "--workers" in whole and len(whole) > 4 * len(short)
    assert said("help") == said("--help") == said("-h") and said("help", "run") == short == said("run", "-h")
    assert "--json" in said("report", "--help") and "--json" not in short
    assert said("version") == said("--version")


def test_a_search_that_comes_with_the_package_goes_by_its_name(tmp_path, monkeypatch):
    from pathlib import Path

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
