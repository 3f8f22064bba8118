"""constraints.txt: one version of everything that is installed, inside the ranges, and used wherever we install."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parent.parent
LINES = (CHECKOUT / "constraints.txt").read_text().splitlines()
PINS = {canonicalize_name(name): version for name, version in (line.split("==") for line in LINES[1:])}
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
NAMED = [*PROJECT["project"]["dependencies"], *(line for lines in EXTRAS.values() for line in lines), "uv>=0.9,<1"]
NAMED += PROJECT["build-system"]["requires"]


def unmet(requirement: Requirement, extras: frozenset[str] = frozenset()) -> bool:
    """Whether it applies here and constraints.txt has no version for it, or one outside its range."""
    if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
        return False
    pin = PINS.get(canonicalize_name(requirement.name))
    return pin is None or not requirement.specifier.contains(pin, prereleases=True)


def test_it_holds_names_and_versions_alone():
    assert LINES[0].startswith("#")
    assert [line for line in LINES[1:] if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line)] == []
    assert len(PINS) == len(LINES) - 1


@pytest.mark.parametrize("line", NAMED)
def test_what_pyproject_names_is_there_inside_its_range(line):
    assert not unmet(Requirement(line)), "run: make constraints"


def test_a_version_outside_the_range_and_one_that_is_missing_are_noticed():
    assert unmet(Requirement("torch<2.11")) and unmet(Requirement("no-such-package"))


def test_its_versions_fit_each_other():
    """By what the packages that are installed here in these versions say that they need."""
    extras, gaps = {canonicalize_name(Requirement(line).name): Requirement(line).extras for line in NAMED}, []
    for distribution in metadata.distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        if PINS.get(name) == distribution.version:
            needs = [Requirement(line) for line in distribution.requires or ()]
            gaps += [(name, str(need)) for need in needs if unmet(need, frozenset(extras.get(name, ())))]
    assert gaps == []


def test_torch_and_torchvision_are_a_pair():
    """Where they are not, torchvision's own operators are missing, whatever versions it says that it needs."""
    if any(metadata.version(name) != PINS[name] for name in ("torch", "torchvision")):
        pytest.skip("other versions are installed here")
    from torchvision.ops import nms

    assert nms(torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]]), torch.tensor([1.0, 0.5]), 0.5).tolist() == [0]


def test_every_installation_uses_it():
    """But the two that try the ends of the ranges."""
    makefile = (CHECKOUT / "Makefile").read_text().replace("\\\n", " ")
    (install,) = [line for line in makefile.splitlines() if "--editable" in line and "$(RESOLUTION)" not in line]
    by_uv, by_pip = install.split("||")
    assert "$(UV)" in by_uv and "$(PIP)" in by_pip
    assert all("--constraint constraints.txt" in command for command in (by_uv, by_pip))
    assert re.search(r"^\$\(READY\): .*constraints\.txt", makefile, re.M), "another version is installed when it changes"
    docker = (CHECKOUT / "cluster" / "Dockerfile").read_text()
    assert re.search(r"^COPY .*constraints\.txt", docker, re.M)
    for path in (CHECKOUT / "cluster").iterdir():
        for line in path.read_text().splitlines():
            if "pip install" in line:
                assert re.search(r"--constraint \S*constraints\.txt ", line), (path.name, line)
