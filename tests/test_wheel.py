"""The wheel: what it holds, and that it works in place of the checkout, from another folder."""

import email
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import grad_instructor

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("grad_instructor", "pipeline", "rl")
HELD = (*PACKAGES, "tune_configs")
NEEDED = ("pyproject.toml", "README.md", "LICENSE")
OTHERS = ("tests", "benchmarks", "examples", "notebooks", "cluster", "docs")
DATA = (
    "pipeline/architectures/zoo/*.json",
    "pipeline/data/splits/*.npz",
    "pipeline/enn/shipped/*",
    "pipeline/results/page/page.*",
    "tune_configs/*.yaml",
    *(f"{name}/py.typed" for name in PACKAGES),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The wheel, built of a copy of the checkout by what is installed here, and unpacked."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in (*HELD, *OTHERS):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "runs", "*.png"))
    for name in NEEDED:
        shutil.copy(ROOT / name, source)
    backend = "import sys\nfrom setuptools import build_meta\nprint(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", backend, str(built)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "SetuptoolsDeprecationWarning" not in done.stderr, done.stderr
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(built / "site")
    return built / "site"


@pytest.fixture(scope="module")
def files(site) -> set[str]:
    return {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}


def python(site: Path, folder: Path, *arguments: str) -> str:
    """What Python prints in a folder where Grad-Instructor is what was unpacked."""
    variables = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_all_of_the_packages_and_nothing_else(files):
    info = f"grad_instructor-{grad_instructor.__version__}.dist-info"
    modules = {str(path.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    data = {str(path.relative_to(ROOT)) for pattern in DATA for path in ROOT.glob(pattern)}
    assert {name for name in files if not name.startswith(info)} == modules | data
    told = {name.removeprefix(f"{info}/") for name in files if name.startswith(info)}
    assert told == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}


def test_what_it_says_of_itself(site):
    (distribution,) = importlib.metadata.distributions(path=[str(site)])
    assert distribution.version == grad_instructor.__version__
    (command,) = distribution.entry_points
    assert (command.name, command.value) == ("grad-instructor", "grad_instructor.__main__:program")
    described = email.message_from_string((site / f"grad_instructor-{distribution.version}.dist-info" / "METADATA").read_text())
    assert described["Requires-Python"] == ">=3.11" and described["License-Expression"] == "Apache-2.0"


EVERYTHING = """
import importlib, pkgutil, sys
import grad_instructor
for name in grad_instructor.__all__:
    getattr(grad_instructor, name)
for package in {packages}:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        if found.name != "grad_instructor.__main__" and not found.name.startswith("pipeline.instruction.integrations."):
            importlib.import_module(found.name)
ours = [module for name, module in sys.modules.items() if name.split(".")[0] in {packages}]
print(sorted({{module.__file__ for module in ours if not (module.__file__ or {site!r}).startswith({site!r})}}), len(ours))
critic, data = grad_instructor.load("digits-mlp"), grad_instructor.load_dataset("digits")
print(critic.home.target.widths, data.digest, *grad_instructor.shipped())
print(grad_instructor.read_plan(__import__("pathlib").Path({site!r}) / "tune_configs" / "smoke.yaml").budget.candidates)
print(grad_instructor.read_plan("smoke").budget.candidates)
"""


def test_everything_public_works_from_another_folder(site, tmp_path, digits):
    text = EVERYTHING.format(packages=PACKAGES, site=str(site))
    elsewhere, enn, plan, by_name = python(site, tmp_path, "-c", text).splitlines()
    strangers, count = elsewhere.rsplit(" ", 1)
    assert strangers == "[]" and int(count) > 60
    assert enn == f"(64, 32, 10) {digits.digest} {' '.join(grad_instructor.shipped())}" and plan == by_name == "8"
    assert list(tmp_path.iterdir()) == []


def test_its_command_answers_from_another_folder(site, tmp_path):
    shown = python(site, tmp_path, "-m", "grad_instructor", "--help")
    assert shown.startswith("usage: grad-instructor COMMAND") and "train-enn" in shown
    assert python(site, tmp_path, "-m", "grad_instructor", "--version") == f"grad-instructor {grad_instructor.__version__}\n"


@pytest.mark.slow
def test_tests_pass_with_it_in_place_of_the_checkout(site, tmp_path):
    for name in ("conftest.py", "test_public.py", "test_enn.py", "test_config.py", "test_targets.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    hook = f"--jaxtyping-packages={','.join(PACKAGES)},beartype.beartype"
    chosen = ["-m", "not slow", "-k", "public_name or not test_public"]
    shown = python(site, tmp_path, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", hook, *chosen)
    assert " passed" in shown or "[100%]" in shown, shown
