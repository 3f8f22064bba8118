"""``report.html``: one page of its own, without a request to anywhere, whatever the names in it are."""

from pipeline.results.page.parts import Chart, Code, Facts, Folded, Page, Part, Section, Table, Words
from pipeline.results.page.render import FILE, rendered, write

__all__ = ["FILE", "Chart", "Code", "Facts", "Folded", "Page", "Part", "Section", "Table", "Words", "rendered", "write"]
