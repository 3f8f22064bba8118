"""Each example does what its docstring says, from any folder, by its own command: no warning of ours, no logged error."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
OURS = r"(grad_instructor|pipeline|rl|examples|__main__)"
WATCHED = f"""
import logging, runpy, sys, warnings
warnings.simplefilter("default")
warnings.filterwarnings("error", module=r"{OURS}(\\.|$)")
handle = logging.Logger.handle
def watched(logger, record):
    if record.levelno >= (logging.WARNING if __import__("re").match(r"{OURS}\\b", record.name) else logging.ERROR):
        print(f"LOGGED {{record.name}}: {{record.getMessage()}}", file=sys.stderr)
    handle(logger, record)
logging.Logger.handle = watched
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""runs a script as Python would; what is logged as an error, and by us as a warning, is seen on whatever handler or none"""
SHOWS = {
    "own_loop": r"seed 0: alone \d\d\.\d\d, instructed \d\d\.\d\d\n",
    "own_data": r"instructed +\d\d\.\d\d % of the test set\n",
    "search_settings": r"reaches \d\d\.\d % on validation data\n",
    "own_reader": r"round 2: \d\d\.\d % instructed",
}


def commands(path: Path) -> list[list[str]]:
    """The commands in the docstring of an example, as words."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return [shlex.split(line) for line in re.findall(r"^    (python .+)$", text, re.M)]


def perform(script: Path, folder: Path, *arguments: str, watched: bool = True) -> subprocess.CompletedProcess:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    variables |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *(("-c", WATCHED) if watched else ()), str(script), *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=900)


def faults(done: subprocess.CompletedProcess) -> list[str]:
    """What an example must not print."""
    lines = (done.stdout + done.stderr).splitlines()
    bad = re.compile(rf"LOGGED |Traceback|^warning: |(^|[/\\]){OURS}[\w/]*\.py:\d+: \w*Warning")
    return [line for line in lines if bad.search(line)] + ([f"exit code {done.returncode}"] if done.returncode else [])


def test_there_are_four_and_each_is_told_about():
    assert len(EXAMPLES) >= 4 and {path.stem for path in EXAMPLES} == set(SHOWS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_does_what_its_docstring_says(path, tmp_path):
    first, *others = commands(path)
    assert first == ["python", f"examples/{path.name}"] and all(words[:2] == first for words in others)
    done = perform(path, tmp_path)
    assert not faults(done), done.stdout + done.stderr
    assert re.search(SHOWS[path.stem], done.stdout), done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_takes_everything_from_the_public_name(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        imported |= {own.name for own in node.names} if isinstance(node, ast.Import) else set()
        imported |= {node.module} if isinstance(node, ast.ImportFrom) else set()
    assert "grad_instructor" in {name.split(".")[0] for name in imported}
    assert not {name for name in imported if name.split(".")[0] in ("pipeline", "rl", "tests", "benchmarks")}


@pytest.mark.parametrize(
    "text",
    [
        "import logging\nlogging.getLogger('ray.of.theirs').error('lost')",
        "import logging\nlogging.getLogger('pipeline.enn').warning('odd')",
        "import logging\nlogging.getLogger().addHandler(logging.NullHandler())\nlogging.getLogger('rl').error('odd')",
        "import warnings\nwarnings.warn('ours', stacklevel=1)",
        "print('warning: MLflow is away')",
        "raise SystemExit(3)",
    ],
)
def test_a_fault_in_an_example_is_noticed(text, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(text + "\nprint('done')\n")
    assert faults(perform(script, tmp_path))
    script.write_text(
        "import warnings\nwarnings.warn_explicit('theirs', UserWarning, 'theirs.py', 1, 'theirs')\nprint('done')\n"
    )
    assert not faults(perform(script, tmp_path))
