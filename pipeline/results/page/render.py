"""A page as HTML: one file, which holds its style and its figures. It asks no host for anything, and runs nothing.

Whatever is put into it is text: names of classes, data sets, arms and folders may be somebody else's, and ``<script>`` in one
is shown. A policy within the page forbids scripts and requests besides.
"""

from functools import cache, partial
from pathlib import Path

import jinja2

from pipeline.files import write_atomic
from pipeline.results.figures import alone
from pipeline.results.page.parts import Chart, Page
from pipeline.results.page.svg import svg

FILE = "report.html"
"""name of the page in the output folder"""


def write(page: Page, folder: Path) -> Path:
    """Write the page into a folder, whole or not at all; nothing where it is there already, to the bit.

    A link of that name is replaced, and not followed.
    """
    path, text = folder / FILE, rendered(page).encode()
    if path.is_symlink() or not path.is_file() or path.read_bytes() != text:
        write_atomic(path, text)
    return path


def rendered(page: Page) -> str:
    """The HTML of a page."""
    return _world().get_template("page.html.j2").render(page=page, panels=partial(_panels))


@cache
def _world() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _panels(chart: Chart) -> list[str]:
    says = chart.drawing.title
    figures = [alone(panel) for panel in chart.drawing.panels]
    return [
        svg(figure, f"{chart.name}-{number}", f"{says}: {figure.axes[0].get_title()}".replace("\n", ", "))
        for number, figure in enumerate(figures, 1)
    ]
