"""README and docs say what the results say: rendered anew they are the same; no figure is typed; links lead; tables fit."""

import ast
import copy
import importlib
import inspect
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import jinja2
import pytest

from benchmarks import pages, quick, tables
from tests.support import markdown

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
TEMPLATES = sorted(path for path in pages.TEMPLATES.rglob("*.md.j2"))
MOST_LINES = 200
WIDEST = 1000
"""pixels of a table"""


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    importlib.import_module("grad_instructor")
    return {path.as_posix(): text for path, text in pages.rendered()}


# -- stale, and unknown --------------------------------------------------------------------------------------------------


def test_no_page_is_stale(rendered) -> None:
    stale = [path for path, text in rendered.items() if not (ROOT / path).exists() or (ROOT / path).read_text() != text]
    assert not stale, "run: python -m benchmarks.pages"


def test_no_page_is_left_over(rendered) -> None:
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert there == {path for path in rendered if path.endswith(".md")} - {"README.md"}


def test_a_changed_result_changes_pages(monkeypatch) -> None:
    real = pages.read_json

    def forged(path: Path):
        found = real(path)
        if path.name == "main-digits.json":
            found = copy.deepcopy(found)
            tables.pick(found["rows"], arm="he")["accuracy"] = 0.9999
        return found

    monkeypatch.setattr(pages, "read_json", forged)
    page = next(page for page in pages.PAGES if page.name == "main-job")
    assert "99.99" in page.of("table") and "99.99" not in (ROOT / "docs/results/main-job.md").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "{{ transfer.no_such_figure }}",
        "{{ no_such_benchmark.home }}",
        "{{ setting('mnist', 'rl.gama') }}",
        "{{ setting('m', 'seed') }}",
    ],
)
def test_an_unknown_name_stops_the_rendering(text, tmp_path) -> None:
    (tmp_path / "page.md.j2").write_text(text)
    with pytest.raises(jinja2.UndefinedError):
        pages.environment(tmp_path).get_template("page.md.j2").render()


def test_the_check_tells_and_writes_nothing(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(pages, "rendered", lambda: iter([(Path("README.md"), "new")]))
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    for wanted, arguments in ((1, ["--check"]), (0, []), (0, ["--check"])):
        monkeypatch.setattr(sys, "argv", ["pages", *arguments])
        assert pages.main() == wanted
        assert (tmp_path / "README.md").exists() == (wanted == 0)
    assert "README.md is stale" in capsys.readouterr().err


def test_every_result_has_a_page_and_every_page_its_parts() -> None:
    shown = {name for page in pages.PAGES for name in page.files}
    kept = {path.stem for path in quick.RESULTS.glob("*.json")} - {"outputs"}
    assert shown == kept
    for page in pages.PAGES:
        assert page.of("table").count("| --- |") >= 1
        assert len(re.findall(r"[.!?](?= [A-Z\d]|$)", re.sub(r"`[^`]*`", "x", page.of("verdict")))) == 2
        assert all(isinstance(doubt, tables.Doubt) for doubt in page.of("doubts"))
        notes = pages.TEMPLATES / "_notes" / f"{page.name}.md.j2"
        assert notes.exists()
    named = {path.name.removesuffix(".md.j2") for path in (pages.TEMPLATES / "_notes").iterdir()}
    assert named == {page.name for page in pages.PAGES}


# -- verdicts hold whatever the numbers say --------------------------------------------------------------------------------


def test_what_is_told_follows_the_corrected_p_value() -> None:
    several = [{"difference": sign * 0.01, "p": p} for sign, p in ((1, 0.001), (-1, 0.002), (1, 0.03), (1, None))]
    tables.correct(several)
    assert [tables.told(own) for own in several] == [tables.GAIN, tables.LOSS, tables.GAIN, tables.NOTHING]
    tables.correct(many := [{"difference": 0.01, "p": 0.03} for _ in range(4)])
    assert [own["p_holm"] for own in many] == pytest.approx([0.12] * 4)
    assert {tables.told(own) for own in many} == {tables.NOTHING}, "one in thirty is no gain where many were looked at"


def test_holm_is_his() -> None:
    from pipeline.results.statistics import holm

    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.5]) == [0.5] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_turned_results_turn_the_verdict() -> None:
    """Every gain made a loss: no page may go on saying what it said, and what did hold does not."""
    for name, word in (("baselines", "In short runs yes"), ("transfer", "20 of 21")):
        page = next(page for page in pages.PAGES if page.name == name)
        found = [json.loads((quick.RESULTS / f"{file}.json").read_text()) for file in page.files]
        before = page.code.figures(*copy.deepcopy(found))
        for row in found[0]["rows"]:
            for kind in ("difference", "against_double_batch"):
                for own in row.get(kind, {}).values():
                    own["difference"] *= -1
        after = page.code.figures(*found)
        assert page.code.verdict(*found) != page.of("verdict")
        if name == "baselines":
            assert before["headline"].startswith(word) and not after["headline"].startswith(word)
        else:
            assert after["helped"].startswith("0 of") and before["helped"] != after["helped"]


def changed(found, change):
    """A result with ``change`` made of every number, by its key; but for the plan of a search."""
    if isinstance(found, dict):
        kept = {"plan": found["plan"]} if "plan" in found else {}
        return {
            key: changed(value, change) if isinstance(value, dict | list) else change(key, value)
            for key, value in found.items()
        } | kept
    return [changed(value, change) if isinstance(value, dict | list) else value for value in found]


WORLDS = {
    "all lose": lambda key, value: (
        -abs(value) if key in ("difference", "low", "high", "kendall") and value is not None else value
    ),
    "all gain": lambda key, value: (
        abs(value) if key in ("difference", "low", "high", "kendall") and value is not None else value
    ),
    "nothing is told": lambda key, value: 1.0 if key == "p" and value is not None else value,
    "nothing is saved": lambda key, value: None if key in ("runs", "steps", "share_of_steps") and value is not None else value,
}


@pytest.mark.parametrize("world", WORLDS)
def test_every_page_is_made_whatever_the_numbers_say(world) -> None:
    for page in pages.PAGES:
        found = [json.loads((quick.RESULTS / f"{file}.json").read_text()) for file in page.files]
        if world == "nothing is saved":
            for own in found:
                for values in own.get("parts", {}).get("probes", {}).get("break_even", {}).values():
                    values |= {"steps": None, "runs": None}
                for row in own.get("rows", []) if isinstance(own.get("rows"), list) else []:
                    row |= {key: dict.fromkeys(row[key]) for key in ("share_of_steps", "share_of_seconds") if key in row}
        else:
            found = [changed(own, WORLDS[world]) for own in found]
        for what in ("table", "figures", "verdict", "doubts"):
            made = str(getattr(page.code, what)(*copy.deepcopy(found)))
            assert "nan" not in re.findall(r"[a-z]+", made) and "None" not in made
        told = page.code.verdict(*found)
        if world == "nothing is told" and any(word in page.of("verdict") for word in (f"({tables.GAIN},", f"({tables.LOSS},")):
            assert f"({tables.GAIN}," not in told and f"({tables.LOSS}," not in told


# -- no figure is typed ----------------------------------------------------------------------------------------------------

ALLOWED = (
    r"\d{4}-\d\d-\d\d",  # a date
    r"arXiv \d{4}\.\d{5}",
    r"Python ≥ \d\.\d+",
    r"\d+(?:-\d+){2,}",  # an architecture: 784-100-10
    r"(?<=[A-Za-z,&] )(?:19|20)\d\d(?=\))",  # the year of a citation
    r"(?<=[A-Za-z])-?\d+\b",  # part of a name: CIFAR-10, L1, S3, float16
    r"\[0, 1\]",
    r"(?:γ|λ) = 0(?![.\d])",
    r"max 0\b",
    r"exit code \d",
    r"from 0\.\s",  # where classes begin
    r"\b1 ?[−/+](?= ?\S)",  # in a formula: 1 − γ, 1 + s/r
)
UNITS = "points?|minutes?|seconds?|hours?|ms|milliseconds?|%|times|epochs?|steps|targets|segments|GiB|MiB|GB|MB"
WORDS = "two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|hundred|thousand"


def typed(text: str) -> list[str]:
    """Figures in a template's prose: outside of code, expressions, links' addresses and the kinds of ``ALLOWED``."""
    for outside in (r"```.*?```", r"`[^`\n]*`", r"\{\{.*?\}\}", r"\{%.*?%\}", r"\]\([^)]*\)", r"<[^>]+>"):
        text = re.sub(outside, " x ", text, flags=re.DOTALL)
    text = re.sub(r"^\s*\d+\. ", " ", text, flags=re.MULTILINE)  # a list
    text = re.sub(r"\s+", " ", text)
    for kind in ALLOWED:
        text = re.sub(kind, " x ", text)
    found = [text[max(0, at.start() - 20) : at.end() + 20].strip() for at in re.finditer(r"\d+", text)]
    spelt = re.finditer(rf"\b(?:{WORDS})(?:\s+\w+)?\s+(?:{UNITS})\b", text)
    return found + [own[0] for own in spelt]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_figure_is_typed_in_a_template(path) -> None:
    assert typed(path.read_text()) == []


def test_no_figure_is_typed_in_a_verdict() -> None:
    """What benchmarks write themselves: the constant parts of the strings of their verdicts and doubts."""
    for page in pages.PAGES:
        for name in ("verdict", "doubts"):
            tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(page.code, name))))
            keys = {id(node.slice) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
            texts = [
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys
            ]
            assert [found for text in texts for found in typed(text)] == [], (page.name, name)


@pytest.mark.parametrize(
    "text",
    [
        "it gains 3.6 points",
        "in 44 steps",
        "p = 0.36",
        "τ = 0.97",
        "takes 61 s",
        "2 to 3 points without it",
        "−0.3 to +6.3",
        "it takes five minutes",
        "twice, or three times",
        "93.02 %",
        "at 784-100 wide 5",
        "in 2026 runs",
    ],
)
def test_a_typed_figure_is_noticed(text) -> None:
    assert typed(text)


@pytest.mark.parametrize(
    "text",
    [
        "784-100-50-10 on CIFAR-10, 2026-11-26, arXiv 2406.10559",
        "`--rl.gamma 0.5` gains {{ transfer.home }} points",
        "1. first\n2. second",
        "(Pearlmutter, 1994), (Loshchilov & Hutter, 2019)",
        "V in [0, 1], γ = 0, 1 − γ",
        "[page](results/x9.md)",
    ],
)
def test_what_is_no_figure_is_left_alone(text) -> None:
    assert not typed(text)


# -- shape, links, widths ----------------------------------------------------------------------------------------------------


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= MOST_LINES
    blocks = re.findall(r"```text\n(.*?)```", README, flags=re.DOTALL)
    assert blocks and all(len(block.splitlines()) <= pages.MOST_LINES for block in blocks)
    does_it_pay = README.partition("## Does it pay?")[2].partition("\n## ")[0]
    rows = [line for line in does_it_pay.splitlines() if line.startswith("|")]
    assert len(rows) - 2 <= 6 and does_it_pay.count("| --- |") == 1 and does_it_pay.count("![") == 1
    assert len(re.findall(r"^- \*\*", does_it_pay, flags=re.MULTILINE)) == 5


def broken(path: str, text: str, texts: dict[str, str]) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in markdown.links(text):
        target, _, anchor = link.partition("#")
        place = (ROOT / path).parent / target if target else ROOT / path
        if not place.exists():
            found.append(link)
        elif anchor:
            name = place.resolve().relative_to(ROOT).as_posix()
            if anchor not in markdown.anchors(texts.get(name) or place.read_text()):
                found.append(link)
    return found


def test_links_lead_somewhere(rendered) -> None:
    others = {name: (ROOT / name).read_text() for name in ("SECURITY.md", "benchmarks/LOG.md")}
    texts = {path: text for path, text in rendered.items() if path.endswith(".md")} | others
    assert not {path: found for path, text in texts.items() if (found := broken(path, text, texts))}


@pytest.mark.parametrize("link", ["docs/nothing.md", "docs/method.md#nothing", "#nothing"])
def test_a_broken_link_is_noticed(link) -> None:
    assert broken("README.md", f"[here]({link})", {"README.md": README}) == [link]
    assert not broken("README.md", "[here](docs/method.md#decoupled) [there](#does-it-pay)", {"README.md": README})


def too_wide(*texts: str) -> list[list[str]]:
    """Of each page the tables that are wider than their place or than WIDEST."""
    return [[head for head, width, room in page if width > room or width > WIDEST] for page in markdown.widths(*texts)]


@pytest.mark.browser
@pytest.mark.skipif(markdown.CHROMIUM is None, reason="there is no Chromium")
def test_tables_fit_into_the_window(rendered) -> None:
    texts = {path: text for path, text in rendered.items() if path.endswith(".md")}
    wide = "| wide |" + " a_very_long_heading_of_a_column |" * 6 + "\n|" + " --- |" * 7 + "\n|" + " a |" * 7
    *found, noticed = too_wide(*texts.values(), wide)
    assert noticed == ["wide"]
    assert not {path: own for path, own in zip(texts, found, strict=True) if own}


def test_files_that_the_readme_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_twenty_lines_run(monkeypatch) -> None:
    """The README's example of one's own loop, word for word, on digits in MNIST's shape."""
    package = pytest.importorskip("grad_instructor")
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 24
    monkeypatch.setattr(package, "load_dataset", lambda name, **_: quick.stand_in(name), raising=False)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert (names["model"](names["x"]).argmax(dim=1) == names["y"]).float().mean() > 0.5
    assert names["instructor"].step == 110


def test_the_log_and_the_readme_name_no_other_readme_program() -> None:
    found = subprocess.run(
        ["git", "grep", "-lE", r"benchmarks[./]readme"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    assert [name for name in found if name != "tests/test_pages.py"] == []
