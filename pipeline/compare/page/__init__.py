"""What the page of a comparison says: what was asked, what came out, and how to make it again."""

from pipeline.compare.drawings import Reported
from pipeline.compare.page.asked import asked
from pipeline.compare.page.found import answer, sections
from pipeline.compare.page.made import made
from pipeline.config import Config
from pipeline.results.page import Page

__all__ = ["page_of"]


def page_of(found: Reported, preset: str, beginning: Config) -> Page:
    """The page of a comparison.

    Args:
        preset: name of the settings that it started from.
        beginning: those settings.
    """
    what = "Ways of training compared" if found.without_enn else "Training with and without the instruction of an ENN"
    return Page(
        f"{what}: {found.dataset.name}", answer(found), (*asked(found), *sections(found), made(found, preset, beginning))
    )
