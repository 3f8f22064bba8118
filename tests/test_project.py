"""What the files at the top say is so: one version, a citation that can be read, commands that exist."""

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

import grad_instructor
import pipeline

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


def versions() -> dict[str, Any]:
    """Where a version is said: which."""
    (source,) = PROJECT["tool"]["setuptools"]["dynamic"].values()
    released = re.findall(r"^## \[(\d[^]]*)\] - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    return {
        "grad_instructor": grad_instructor.__version__,
        source["attr"]: pipeline.__version__,
        "CITATION.cff": CITATION["version"],
        "CHANGELOG.md": released[0][0],
        "what is installed": metadata.version("grad-instructor"),
        "Dockerfile": re.search(r"grad-instructor:(\S+)", (ROOT / "cluster" / "Dockerfile").read_text())[1],  # type: ignore[index]
    }


def test_there_is_one_version():
    assert set(versions().values()) == {pipeline.__version__}, versions()
    assert PROJECT["project"]["dynamic"] == ["version"] and "version" not in PROJECT["project"]
    assert "pipeline.__version__" in versions()


def test_the_changelog_is_kept():
    """Keep a Changelog: Unreleased first, then releases from the newest, under the six headings."""
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[0] == "[Unreleased]" and all(
        re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", own) for own in headings[1:]
    )
    dates = [own[-10:] for own in headings[1:]]
    assert dates == sorted(dates, reverse=True) and str(CITATION["date-released"]) == dates[0]
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_can_be_read():
    """What the schema of version 1.2.0 asks for, and that its types are the schema's."""
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software" and CITATION["message"]
    assert isinstance(CITATION["version"], str) and isinstance(CITATION["date-released"], str)
    assert CITATION["license"] == PROJECT["project"]["license"]
    assert CITATION["authors"] == [{"name": "The Grad-Instructor developers"}]
    known = {
        "abstract",
        "authors",
        "cff-version",
        "date-released",
        "keywords",
        "license",
        "message",
        "title",
        "type",
        "version",
    }
    assert set(CITATION) == known


@pytest.mark.parametrize("word", sorted({*re.findall(r"make ([\w./-]+)", (ROOT / "CONTRIBUTING.md").read_text())}))
def test_a_command_for_contributors_exists(word):
    targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*):", MAKEFILE, re.M))
    assert word in {name for names in targets for name in names.split()} | {".venv/.ready"}


def test_lint_covers_examples_and_the_public_name():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    assert lint and "ruff check ." in lint[1] and "ruff format --check ." in lint[1] and lint[1].strip().endswith("pyright")
    assert set(PROJECT["tool"]["pyright"]["include"]) >= {"grad_instructor", "pipeline", "rl", "examples"}


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_pages_at_the_top_lead_somewhere(name):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]
