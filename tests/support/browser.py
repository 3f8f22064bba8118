"""Pages in a headless Chromium: what it measures of them, and what it complains of."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
WINDOW, HANGS = (1280, 800), 900
"""pixels; seconds after which a browser is taken to hang"""
MEASURE = """
<script>
const outside = (one, other) => {
  const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
  return a.left < b.left - 3 || a.right > b.right + 3 || a.top < b.top - 3 || a.bottom > b.bottom + 3;
};
const measured = frame => {
  const page = frame.contentDocument, room = page.documentElement.clientWidth;
  const boxes = [...page.body.querySelectorAll("*")].map(one => [one, one.getBoundingClientRect()]);
  return {
    room, width: page.documentElement.scrollWidth,
    wide: boxes.filter(([one, box]) => !one.closest("svg svg, svg *") && (box.right > room + 1 || box.left < -1))
      .map(([one]) => one.outerHTML.slice(0, 80)),
    cut: [...page.querySelectorAll("svg[role=img] text")].filter(one => outside(one, one.closest("svg[role=img]")))
      .map(one => one.textContent),
    lines: boxes.filter(([one, box]) => one.id.includes("line-") && box.width > 0).map(([one]) => one.id),
    unnamed: [...page.querySelectorAll("img, svg")].filter(
      one => !one.getAttribute("alt") && !one.getAttribute("aria-label") && !one.getAttribute("aria-hidden")).length,
    headings: [...page.querySelectorAll("h1, h2, h3")].map(one => one.tagName + " " + one.textContent),
    unscoped: page.querySelectorAll("th:not([scope])").length,
    twice: boxes.map(([one]) => one.id).filter((id, at, all) => id && all.indexOf(id) !== at),
    asked: frame.contentWindow.performance.getEntriesByType("resource").map(one => one.name),
    ran: frame.contentWindow.ran === true, text: page.body.innerText,
    back: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
  };
};
addEventListener("load", () => {
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(measured));
  document.body.append(found);
});
</script>
"""


@dataclass(frozen=True)
class Seen:
    """What the browser made of several pages."""

    pages: list[dict[str, Any]]
    """of each: its width, what is too wide, which curves are visible, …"""
    console: list[str]
    """what it complained of"""

    def wrong(self, number: int) -> list[str]:
        """What is wrong with the layout of a page, in words."""
        own = self.pages[number]
        found = [f"too wide: {what}" for what in own["wide"]] + [f"cut off: {what}" for what in own["cut"]]
        found += [f"asked for {what}" for what in own["asked"]] + [f"the id {what} is there twice" for what in own["twice"]]
        found += ["the page is wider than its window"] if own["width"] > own["room"] else []
        found += ["a picture without words"] if own["unnamed"] else []
        found += ["a heading of a table that says not of what"] if own["unscoped"] else []
        levels = [int(text[1]) for text in own["headings"]]
        return found + (["headings leave a level out"] if levels[:1] != [1] or 1 in levels[1:] or max(levels) > 2 else [])


def chromium(*arguments: str, window: tuple[int, int] = WINDOW) -> subprocess.CompletedProcess[str]:
    """Run it, with a profile of its own."""
    with tempfile.TemporaryDirectory() as profile:
        command = [CHROMIUM or "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", f"--window-size={window[0]},{window[1]}", "--virtual-time-budget=5000"]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=HANGS)


def look(pages: Sequence[tuple[str, int]], *arguments: str) -> Seen:
    """Load pages, each in a window of its width in pixels."""
    frames = "".join(
        f'<iframe srcdoc="{html.escape(page)}" style="border: 0; width: {width}px; height: 900px"></iframe>'
        for page, width in pages
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pages.html"
        file.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin: 0">{frames}{MEASURE}')
        done = chromium("--enable-logging=stderr", "--dump-dom", *arguments, file.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return Seen(json.loads(html.unescape(found[1])), re.findall(r":CONSOLE[^\]]*\] (.*)", done.stderr))
