"""``report.html``: one file that says all of it, to the bit the same each time; harmless whatever the names in it are; and in a
browser, where it is seen that it is whole, asks nobody for anything, and fits a small screen.
"""

import dataclasses
import re
import shutil
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.arms import ARMS
from pipeline.command_line import main
from pipeline.compare import checkpoints_of, collect
from pipeline.compare.drawings import Reported, explained, instructions
from pipeline.compare.folder import load_enns
from pipeline.compare.page import page_of
from pipeline.compare.report import bound, enn_seconds, prediction_points
from pipeline.config import PRESETS, from_dotted
from pipeline.errors import UserError
from pipeline.files import read_json, read_tensors, write_json, write_tensors
from pipeline.results import figures
from pipeline.results.page import FILE, Chart, Code, Facts, Folded, Page, Section, Table, Words, rendered, write
from pipeline.results.seal import read_report
from tests.support.browser import CHROMIUM, look

NO_SERVER = ("--tracking-uri", "http://127.0.0.1:9")
EVIL = (
    "</title></style></script><script>window.ran = true</script><img src='http://127.0.0.1:9/x.png' onerror='window.ran = 1'>"
)
browser = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]


@pytest.fixture(scope="module")
def found(undisturbed, digits) -> Reported:
    """What is in the folder of a finished run."""
    config = from_dotted(read_json(undisturbed / "config.json")["settings"])
    arms, critics = collect(config, undisturbed), load_enns(undisturbed, config, digits)
    written = read_report(undisturbed / "report.json")
    return Reported(undisturbed, config, digits, written, arms, critics, prediction_points(config, arms))


@pytest.fixture(scope="module")
def html(undisturbed) -> str:
    return (undisturbed / FILE).read_text()


def everything(text: str) -> Page:
    """A page of every part, each of them with a text in all of its places."""
    curve = {"steps": [0, 1], "seconds": [0.0, 1.0], "accuracy": [[0.2, 0.5], [0.1, 0.6]]}
    drawing = figures.accuracy({text: curve, "conventional": curve}, data=text, enn={text: 1.0})
    parts = (Words([text]), Words([text], listed=True), Code(text), Facts([(text, text)]), Chart("one", drawing))
    table = Table(text, (text, text), [(text, text)], (ARMS["fa"].colour,), (1,))
    return Page(text, [text], [Section("all", text, [*parts, table, Folded(text, [*parts[:4], table])])])


# -- what it says ----------------------------------------------------------------------------------------------------------


def test_it_says_what_the_report_says(html, undisturbed, found):
    """Every number of the table; each arm in a sentence; where all of it comes from."""
    table = (undisturbed / "report.md").read_text().partition("\n\n-")[0]
    cells = {cell.strip() for line in table.splitlines()[2:] for cell in line.strip("|").split("|")}
    shown = set(re.findall(r">([^<>]+)</t[dh]>", html))
    assert cells - {""} <= {text.replace("&lt;", "<") for text in shown} and len(cells) > 30
    for arm in found.config.compare.arms:
        says = ARMS[arm].says
        assert f"{says[:1].upper()}{says[1:]}." in html.replace("&#39;", "'")
    provenance = found.written["rows"][0]["provenance"]
    for fact in (provenance["commit"], provenance["date"], provenance["torch"], provenance["command"], found.dataset.digest):
        assert str(fact) in html
    assert (
        "training.steps" in html and found.written["checksum"] in html and "grad-instructor run --config settings.json" in html
    )
    assert "instructed against he" in html and "not to be told from it" in html


def test_the_settings_in_it_make_it_again(html, found, tmp_path):
    from html import unescape

    from pipeline.command_line.beginning import settings_of

    (text,) = re.findall(r"settings.json</summary>\s*<pre[^>]*>(.*?)</pre>", html, flags=re.DOTALL)
    (tmp_path / "settings.json").write_text(unescape(text))
    preset, config = settings_of(tmp_path / "settings.json")
    assert config == found.config and PRESETS[preset] != config


def test_an_answer_is_told_by_the_corrected_p(found):
    def said(**changed: Any) -> str:
        rows = [row | (changed if row["arm"] == "growth" else {}) for row in found.written["rows"]]
        written = dict(found.written) | {"rows": rows}
        return " ".join(page_of(dataclasses.replace(found, written=written), "digits", found.config).lead)

    assert "more accurate: growth (+3.00)" in said(p_holm=0.04, difference=0.03)
    assert "less accurate: growth (−3.00)" in said(p_holm=0.04, difference=-0.03)
    for unsure in ({"p_holm": 0.06, "difference": 0.3}, {"p_holm": None, "difference": None}):
        assert re.search(r"not to be told from it: [^;]*growth", said(**unsure))


def test_the_largest_strength_there_is(found):
    config, critics = found.config, found.critics
    assert bound(config, "instructed", 3.0, critics) == max(config.compare.instruction), "a candidate was chosen"
    tuned, home = critics["probes"], critics["probes"].home
    assert home.by_head and bound(config, "instructed", -1.0, critics) == pytest.approx(home.scale * np.exp(4.0))
    features = torch.zeros(1, tuned.reader.features)
    assert tuned.strengths_of(features)[0] < bound(config, "instructed", -1.0, critics)
    by_ladder = {"probes": tuned.with_strength(-1.0)}
    by_ladder["probes"].home = dataclasses.replace(home, scale=0.0)
    assert bound(config, "instructed", -1.0, by_ladder) == max(home.ladder)
    assert bound(config, "instructed", -1.0, {"probes": tuned.with_strength(5.0)}) is None, "nothing is chosen"
    assert {curve["bound"] for curve in instructions(found).values()} != {None}


def test_what_training_an_enn_took(found, html, tmp_path):
    spent = enn_seconds(found.folder)
    history = read_json(found.folder / "training" / "history.json")
    assert spent["ENN: RL"] == pytest.approx(sum(row["seconds"] for row in history)) and spent["ENN: fine-tuning"] > 0
    assert enn_seconds(tmp_path) == {} and "ENN: RL" in html and "ENN: fine-tuning" in html
    write_json(tmp_path / "training" / "history.json", [*history, {"seconds": None}])
    assert enn_seconds(tmp_path) == {}, "not a part of it"


def test_grad_cam_is_that_of_the_file_with_its_value(found, tmp_path):
    looked = explained(found)
    assert list(looked) == ["conventional", "instructed"]
    places = checkpoints_of(found.config)
    for arm, drawing in looked.items():
        tensors = read_tensors(found.folder / "explain" / f"gradcam-{arm}.safetensors")
        for number, step in enumerate(places.values()):
            panel = figures.alone(drawing.panels[2 * number + 1]).axes[0]
            assert np.array_equal(panel.images[0].get_array(), tensors[f"{number}/map"].numpy().astype(float))
            value = found.arms[arm]["predicted"]["convnet"][0][step // found.config.rl.period]
            assert f"step {step} (V = {value:.2f})" in panel.get_title()
    shutil.copytree(found.folder / "explain", tmp_path / "explain")
    path = tmp_path / "explain" / "gradcam-instructed.safetensors"
    for damaged in ({"0/map": torch.zeros(3)}, {"2/image": torch.zeros(0, 4)}):
        write_tensors(path, read_tensors(found.folder / "explain" / path.name) | damaged)
        with pytest.raises(UserError, match="holds no maps of this run"):
            explained(dataclasses.replace(found, folder=tmp_path))
    path.unlink()
    assert list(explained(dataclasses.replace(found, folder=tmp_path))) == ["conventional"]


# -- the file --------------------------------------------------------------------------------------------------------------


def test_made_again_it_is_the_same_to_the_bit(html, undisturbed, tmp_path):
    """By another command, in another folder; and where the plots were lost, so are they."""
    copy = shutil.copytree(undisturbed, tmp_path / "run", ignore=shutil.ignore_patterns("mlflow*", "mlartifacts"))
    (copy / FILE).unlink(), (copy / "figures" / "accuracy.png").unlink()
    assert main(["report", "--output", str(copy), *NO_SERVER]) == 0
    assert (copy / FILE).read_text() == html
    names = ("report.json", "report.md", "prediction.json", "figures/accuracy.png", "figures/prediction.png")
    assert [name for name in names if (copy / name).read_bytes() != (undisturbed / name).read_bytes()] == []


def test_what_lies_behind_a_link_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / FILE).symlink_to(tmp_path / "precious")
    write(everything("one"), tmp_path)
    assert (tmp_path / "precious").read_text() == "precious" and not (tmp_path / FILE).is_symlink()
    first = (tmp_path / FILE).stat().st_ino
    write(everything("one"), tmp_path)
    assert (tmp_path / FILE).stat().st_ino == first, "nothing is written where nothing is new"
    write(everything("other"), tmp_path)
    assert (tmp_path / FILE).stat().st_ino != first


def test_names_are_text(found, tmp_path):
    """Of data sets, arms, readers, commands, machines: what they hold is shown, and is no part of the page."""
    html = rendered(everything(EVIL))
    assert "<script" not in html and "<img" not in html and html.count("&lt;script&gt;") > 10
    rows = [row | {"provenance": evil(row["provenance"]), "strength": EVIL} for row in found.written["rows"]]
    duels = [duel | {"test": EVIL} for duel in found.written["head_to_head"]]
    other = dataclasses.replace(
        found,
        folder=tmp_path,  # without maps, which take a second to draw
        dataset=dataclasses.replace(found.dataset, name=EVIL),
        written=dict(found.written) | {"rows": rows, "head_to_head": duels, "checksum": EVIL},
        points={EVIL: found.points["probes"]},
    )
    html = rendered(page_of(other, EVIL, found.config))
    assert "<script" not in html and "<img" not in html and html.count("&lt;script&gt;") > 10


def evil(value: Any) -> Any:
    """All texts in it are."""
    if isinstance(value, dict):
        return {key: evil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [evil(item) for item in value]
    return EVIL if isinstance(value, str) else value


# -- in a browser ----------------------------------------------------------------------------------------------------------


class TestInABrowser:
    pytestmark = browser

    def test_a_run_is_whole_quiet_and_narrow(self, html, found):
        """At 400 and 1280 pixels."""
        seen = look([(html, 400), (html, 1280)])
        for number in (0, 1):
            assert seen.wrong(number) == []
            lines = {f"accuracy-{panel}-line-{arm}" for arm in found.config.compare.arms for panel in (1, 2)}
            assert lines <= set(seen.pages[number]["lines"]), "a curve is not visible"
        assert seen.console == []

    def test_what_is_wrong_is_noticed(self):
        """Twins of a page, with one thing wrong each; and a curve that is hidden."""
        page, end = rendered(everything("one")), "</main>"
        twins = {
            "too wide": page.replace(end, f'<p style="width: 700px">wide</p>{end}'),
            "is there twice": page.replace(end, f'<p id="all">again</p>{end}'),
            "a picture without words": page.replace('role="img" aria-label', 'role="img" data-label'),
            "says not of what": page.replace('scope="row"', ""),
            "cut off": page.replace("optimiser steps</text>", f"{'optimiser steps ' * 20}</text>"),
            "asked for": page.replace(end, f'<img alt="one" src="http://127.0.0.1:9/x.png">{end}'),
            "leave a level out": page.replace("<h2", "<h3").replace("</h2", "</h3"),
        }
        hidden = page.replace('<g id="one-1-line-conventional"', '<g id="one-1-line-conventional" style="display: none"')
        seen = look([(one, 400) for one in (page, hidden, *twins.values())])
        assert seen.wrong(0) == seen.wrong(1) == []
        assert [f"one-{panel}-line-conventional" in seen.pages[number]["lines"] for number in (0, 1) for panel in (1, 2)] == [
            *(True, True),
            *(False, True),
        ]
        for number, what in enumerate(twins, 2):
            assert any(what in own for own in seen.wrong(number)), what
        assert len(seen.console) == 1 and "x.png" in seen.console[0], "only the twin that asks for something"

    def test_nothing_in_a_name_runs_and_a_dark_screen_has_a_dark_page(self):
        """Nor would it, were it no text; the twin, where both fences are down, runs."""
        page = rendered(everything(EVIL))
        inside = page.replace("</main>", "<script>window.ran = true</script></main>")
        open_ = inside.replace("Content-Security-Policy", "Nothing")
        seen = look([(page, 400), (inside, 400), (open_, 400)], "--force-dark-mode")
        assert [own["ran"] for own in seen.pages] == [False, False, True]
        assert "<script>" in seen.pages[0]["text"] and not seen.pages[0]["asked"]
        assert seen.pages[0]["back"] == "rgb(21, 24, 28)"
