"""A Markdown page as GitHub shows it, near enough to measure: HTML by markdown-it, measured and drawn by Chromium.

python -m tests.support.markdown README.md docs/method.md --output /tmp/pages
python -m tests.support.markdown --quick    # one made-up page, into a temporary folder
"""

import html
import json
import re
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

from benchmarks import quick
from tests.support.browser import CHROMIUM, WINDOW, chromium

__all__ = ["CHROMIUM", "anchors", "draw", "links", "rendered", "widths"]
ROOT = Path(__file__).resolve().parents[2]
STYLE = """
body { margin: 0; font: 16px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; color: #1f2328 }
article { max-width: 1012px; margin: 0 auto; padding: 32px; box-sizing: border-box }
table { display: block; width: max-content; max-width: 100%; overflow: auto; border-collapse: collapse; margin-bottom: 16px }
th, td { padding: 6px 13px; border: 1px solid #d1d9e0 } tr:nth-child(2n) { background: #f6f8fa }
code { font: 85% ui-monospace, "Liberation Mono", monospace; background: #eff1f3; padding: .2em .4em; border-radius: 6px }
pre { background: #f6f8fa; padding: 16px; overflow: auto } pre code { background: none; padding: 0 } img { max-width: 100% }
h1, h2 { border-bottom: 1px solid #d1d9e0; padding-bottom: .3em } a { color: #0969da; text-decoration: none }
"""
MEASURE = """
<script>addEventListener("load", () => { document.title = JSON.stringify([...document.querySelectorAll("article")].map(
  page => [...page.querySelectorAll("table")].map(
    table => [table.querySelector("th").textContent, table.scrollWidth, table.clientWidth]))) })</script>
"""


def rendered(*texts: str, place: Path = ROOT) -> str:
    """HTML of pages, one below the other, that lie in ``place``, where their pictures are looked for."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    return (
        f'<!doctype html><meta charset="utf-8"><base href="{place.resolve().as_uri()}/"><style>{STYLE}</style>'
        + "".join(f"<article>{parser.render(text)}</article>" for text in texts)
        + MEASURE
    )


def anchors(text: str) -> set[str]:
    """Where links into a page may point: its headings as GitHub names them, and what has an id."""
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    named = [
        re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", outside, flags=re.MULTILINE)
    ]
    return {*named, *re.findall(r'id="([^"]+)"', text)}


def links(text: str) -> list[str]:
    """Of a page's links and pictures, those into the repository."""
    outside = re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", outside) if not re.match(r"\w+:", link)]


def widths(*texts: str) -> list[list[tuple[str, int, int]]]:
    """Of every table of every page: its first heading, its width, and the room that it is given, in pixels."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(rendered(*texts))
        shown = chromium("--dump-dom", file.as_uri()).stdout
    title = re.search(r"<title>(.*?)</title>", shown, flags=re.DOTALL)
    assert title, shown[:2000]
    return [[tuple(table) for table in page] for page in json.loads(html.unescape(title[1]))]


def draw(text: str, place: Path, output: Path, height: int = WINDOW[1]) -> None:
    """A picture of a page."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(rendered(text, place=place))
        chromium(f"--screenshot={output}", file.as_uri(), window=(WINDOW[0], height))


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--output", type=Path, help="folder of the pictures (default: a temporary one)")
    parser.add_argument("--height", type=int, default=WINDOW[1], help="of a picture")
    options = parser.parse_args()
    folder = quick.results_folder(True) if options.quick else options.output or Path(tempfile.mkdtemp(prefix="pages-"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.quick:
        (folder / "page.html").write_text(rendered("| a |\n| --- |\n| b |\n"))
        return 0
    for page in options.pages:
        output = folder.resolve() / f"{'-'.join(page.with_suffix('').parts)}.png"
        draw(page.read_text(), page.parent, output, options.height)
        print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
