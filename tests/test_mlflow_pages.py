"""MLflow's own pages of what the commands record, in a browser: every arm has its curves, candidates of two searches can be
told apart, and what `ui` prints are its own lines and the addresses of those pages.

Slow, and in a browser: `make test-browser` and `make test-all` have them.
"""

import html
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from benchmarks.quick import SETTINGS
from pipeline.arms import ARMS
from pipeline.results.mlflow.view import PREFIX
from tests.support.browser import CHROMIUM, chromium
from tests.support.tiny_run import CHECKOUT, HANGS, finish
from tests.test_rule_search import SHORT

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]
COMPARED = ("conventional", "fa", "usf")
WIDE = (1700, 4000)
"""pixels: MLflow draws the charts alone that lie in the window"""
ITS_OWN = ("users/current", "status of 404", "ResizeObserver", "AG Grid", "WebGL")
"""words of what MLflow's pages complain of by themselves: an address that its server lacks, its libraries, no graphics card"""


@dataclass(frozen=True)
class Shown:
    """A server of MLflow's, as `ui` has started it."""

    said: list[str]
    """lines that it printed until it answered"""
    address: str

    @property
    def page(self) -> str:
        """Of the comparison's runs."""
        return next(word for line in self.said for word in line.split() if "/runs?" in word)

    def ask(self, what: str, words: dict) -> dict:
        """The answer of MLflow's REST interface."""
        request = Request(
            f"{self.address}/api/2.0/mlflow/{what}", json.dumps(words).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")

    def runs(self, words: str) -> dict[str, str]:
        """Names and ids of the runs that a filter finds."""
        found = self.ask("runs/search", {"experiment_ids": ["1"], "filter": words})["runs"]
        return {run["info"]["run_name"]: run["info"]["run_id"] for run in found}

    def look(self, address: str) -> tuple[str, list[str]]:
        """A page as the browser has it in the end, and what it complained of that is not MLflow's own."""
        done = chromium("--enable-logging=stderr", "--virtual-time-budget=40000", "--dump-dom", address, window=WIDE)
        said = re.findall(r":CONSOLE[^\]]*\] (.*)", done.stderr)
        return done.stdout, [line for line in said if not any(word in line for word in ITS_OWN)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Iterator[Shown]:
    """A comparison and two searches in one database, and the server that `ui` starts on it, once for all."""
    folder = tmp_path_factory.mktemp("pages")
    store = ("--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}", "--local")
    tiny = [
        f"--{name}={value}" for name, value in SETTINGS.items() if name.startswith(("target.", "training.", "compare.seeds"))
    ]
    finish(folder, "compare", "--arms", *COMPARED, *tiny, "--compare.tuning-seeds=1", "--output", "compared", *store)
    for name, sampler in (("guided", "gp, startup: 2"), ("blind", "random")):
        (folder / f"{name}.yaml").write_text(re.sub(r"sampler: .*", f"sampler: {{name: {sampler}}}", SHORT))
        finish(folder, "search", f"{name}.yaml", "--output", name, *store)
    port = _free_port()
    command = [sys.executable, "-m", "pipeline.command_line", "ui", "--output", "compared", *store[:2], "--port", str(port)]
    told = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(command, cwd=folder, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said: list[str] = []
    for line in process.stdout or ():
        said.append(line.strip())
        if "table" in line:
            break
    yield Shown(said, f"http://127.0.0.1:{port}")
    process.send_signal(signal.SIGINT)
    assert process.wait(HANGS) == 0 and "Traceback" not in (process.stdout.read() if process.stdout else "")


def _free_port() -> int:
    import socket

    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def drawn(page: str) -> dict[str, set[str]]:
    """The arms whose curves are there, by the name of the chart."""
    cards = re.split(r'data-testid="experiment-view-compare-runs-card"', page)[1:]
    found = {}
    for card in cards:
        title = re.search(r'title="([^"]+)"', card)
        lines = {
            colour.replace(" ", "") for colour in re.findall(r'js-line"[^>]*stroke: (rgb\([^)]*\)); stroke-opacity: 1;', card)
        }
        found[html.unescape(title[1]) if title else ""] = {arm for arm in COMPARED if _rgb(ARMS[arm].colour) in lines}
    return found


def _rgb(colour: str) -> str:
    return "rgb({},{},{})".format(*(int(colour[at : at + 2], 16) for at in (1, 3, 5)))


def test_the_ui_says_its_own_lines_alone(shown):
    starting, page, table = shown.said
    assert starting.startswith("starting MLflow") and "Ctrl-C ends it" in page and table.startswith("the results as a table: ")


def test_every_arm_has_its_curves(shown):
    page, complaints = shown.look(shown.page)
    assert complaints == []
    curves = drawn(page)
    assert curves["val/accuracy"] == curves["val/loss"] == set(COMPARED), curves.keys()
    assert "test/accuracy" in curves and "angle/layer2" not in curves, "a layer that gets the gradient itself has no chart"
    assert curves["angle/layer1"] == {"fa", "usf"}, "backpropagation has no angle to itself"


def test_a_view_without_a_chart_is_noticed(shown):
    """The twin, whose saved view lacks one of the charts."""
    (key,) = re.findall(r"viewStateShareKey=([^&]+)", shown.page)
    tags = {tag["key"]: tag["value"] for tag in shown.ask("experiments/search", {"max_results": 9})["experiments"][0]["tags"]}
    state = json.loads(tags[PREFIX + key])
    state["compareRunCharts"] = [
        chart | {"deleted": chart["deleted"] or chart.get("metricKey") == "val/loss"} for chart in state["compareRunCharts"]
    ]
    shown.ask("experiments/set-experiment-tag", {"experiment_id": "1", "key": f"{PREFIX}twin", "value": json.dumps(state)})
    curves = drawn(shown.look(shown.page.replace(key, "twin"))[0])
    assert "val/loss" not in curves and curves["val/accuracy"] == set(COMPARED)


def test_two_searches_lie_beside_each_other(shown):
    """By how they proposed and what they came to; their candidates, all in one list, say whose they are."""
    own = shown.runs("tags.role = 'parent' and params.kind = 'rule'")
    assert set(own) == {"search guided", "search blind"}
    beside = f"{shown.address}/#/compare-runs?runs={quote(json.dumps([*own.values()]))}&experiments={quote(json.dumps(['1']))}"
    page, complaints = shown.look(beside)
    words = html.unescape(re.sub(r"<[^>]+>", " ", page))
    assert complaints == [] and "Comparing 2 Runs" in words
    for said in (*own, "gp (startup 2", "random", "best/val/accuracy", "rule.w1, rule.b1"):
        assert said in words, said
    candidates = shown.runs("tags.role = 'candidate'")
    assert set(candidates) == {f"{number:03d} {name}" for name in ("guided", "blind") for number in range(5)}


def test_a_search_leads_to_its_best_candidate(shown):
    (own,) = shown.runs("tags.role = 'parent' and params.search = 'guided'").values()
    page, complaints = shown.look(f"{shown.address}/#/experiments/1/runs/{own}")
    (best,) = re.findall(r"Best, on validation data: <a [^>]*href=\"#/experiments/1/runs/(\w+)", page)
    assert complaints == [] and best in shown.runs("tags.role = 'candidate' and params.search = 'guided'").values()
