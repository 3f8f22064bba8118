"""The script of mutations: its list does not rot, and it tells what is noticed from what is not."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests import mutants
from tests.mutants import MUTATIONS, ROOT, Mutation

AREAS = (
    "pipeline/targets/",
    "pipeline/enn/",
    "pipeline/instruction/",
    "rl/",
    "pipeline/results/statistics.py",
    "pipeline/search/",
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_can_be_made_and_its_tests_are_there(mutation):
    text = mutants.mutated(mutation, ROOT)
    assert text != (ROOT / mutation.file).read_text()
    ast.parse(text)
    assert mutation.tests
    for file, name in map(mutants.parts, mutation.tests):
        functions = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{file} has no {name}"


def test_there_are_enough_of_them_everywhere():
    assert len(MUTATIONS) >= 30 and max(Counter(mutation.name for mutation in MUTATIONS).values()) == 1
    for area in AREAS:
        assert sum(mutation.file.startswith(area) for mutation in MUTATIONS) >= 4, area


@pytest.fixture
def tree(tmp_path) -> Path:
    """A tree of one function and two tests, of which one notices little."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["slow"]\n')
    (tmp_path / "pipeline" / "add.py").write_text("def add(a, b):\n    return a + b\n")
    head = "from pipeline.add import add\n\n\ndef test_it():\n    assert "
    (tmp_path / "tests" / "test_close.py").write_text(f"{head}add(2, 3) == 5\n")
    (tmp_path / "tests" / "test_blind.py").write_text(f"{head}add(2, 0) == 2\n")
    return tmp_path


def mistake(test, new="a - b", old="a + b"):
    return Mutation(f"{new} for {old}", "pipeline/add.py", old, new, "sums would be wrong", (f"tests/{test}.py::test_it",))


@pytest.mark.parametrize(
    ("mutations", "code", "says"),
    [
        ([mistake("test_close")], 0, "survivors: none"),
        ([mistake("test_close"), mistake("test_blind")], 1, "not noticed by tests/test_blind.py::test_it"),
        ([mistake("test_close", "a +")], 2, "leaves nothing that pytest can run"),
        ([mistake("test_close", old="a * b")], 2, "occurs 0 times in pipeline/add.py"),
        ([mistake("test_close", old="a")], 2, "occurs 3 times"),
        ([mistake("test_absent")], 2, "fail without any mutation"),
    ],
    ids=["noticed", "not noticed", "no Python", "text absent", "text twice", "test absent"],
)
def test_what_is_noticed_is_told_from_what_is_not(tree, capfd, mutations, code, says):
    before = (tree / "pipeline" / "add.py").read_text()
    assert mutants.main(["--jobs", "2"], mutations, tree) == code
    told = capfd.readouterr()
    assert says in told.out + told.err
    assert (tree / "pipeline" / "add.py").read_text() == before, "the tree itself was changed"


def test_only_some_can_be_asked_for(tree, capfd):
    mutations = [mistake("test_close"), mistake("test_blind", "b + b")]
    assert mutants.main(["--only", "a - b for"], mutations, tree) == 0
    assert "1 mutations: 1 killed" in capfd.readouterr().out
    assert mutants.main(["--only", "nothing like it"], mutations, tree) == 2
