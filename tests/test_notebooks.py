"""The notebooks are kept with their outputs: run again from the first cell to the last, they give the same."""

import ast
import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks import METADATA, NOTEBOOKS, executed

NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[+-]?\d+)?")
"""one with a fraction; counts are compared as words are"""
CLOSE = 0.02
"""of a number: the last digits of a sum depend on the processor"""
PATH = re.compile(r"(?<![\w:/.])/[\w.-]+/[\w.-]+")


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def joined(text: Any) -> str:
    return text if isinstance(text, str) else "".join(text)


def said(cell: Any) -> list[str]:
    """What a cell's outputs say in words, and of which kind each of the others is."""
    words = []
    for output in cell["outputs"]:
        kinds = output.get("data", {"text/plain": output.get("text", output.get("evalue", ""))})
        images = sorted(kind for kind in kinds if kind.startswith("image/"))
        words.append(
            f"{output['output_type']} {' '.join(images)} {'' if images else joined(kinds.get('text/plain', ''))}".strip()
        )
    return words


def faults(notebook: Any) -> list[str]:
    """What a notebook must not be kept with."""
    found = []
    for number, cell in enumerate(code(notebook), 1):
        if cell["execution_count"] != number:
            found.append(f"cell {number} was executed as number {cell['execution_count']}")
        for output in cell["outputs"]:
            if output["output_type"] in ("error", "stream"):
                words = joined(output.get("text", output.get("evalue", "")))
                found.append(f"cell {number} ends with an error or prints what may differ: {words}")
        if PATH.search("\n".join(said(cell))):
            found.append(f"cell {number} shows a path of the machine that it was run on")
    if not any(said(cell) for cell in code(notebook)):
        found.append("there are no outputs")
    return found


def differences(kept: Any, new: Any) -> list[str]:
    """Where two runs of a notebook say something else."""
    found = []
    for number, (one, other) in enumerate(zip(code(kept), code(new), strict=True), 1):
        words, again = "\n".join(said(one)), "\n".join(said(other))
        numbers = zip(NUMBER.findall(words), NUMBER.findall(again), strict=False)
        if NUMBER.sub("#", words) != NUMBER.sub("#", again):
            found.append(f"cell {number}: {words!r} is {again!r} now")
        elif any(abs(float(a) - float(b)) > CLOSE * max(1.0, abs(float(a))) for a, b in numbers):
            found.append(f"cell {number}: {words!r} has other numbers now, {again!r}")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_what_it_is_kept_with(path, tmp_path):
    kept, new = read(path), executed(path, tmp_path)
    assert not faults(kept), "run: make notebooks"
    assert not faults(new)
    assert not differences(kept, new), "run: make notebooks"
    if path.stem == "01_instruct_your_own":
        results = [joined(out["data"]["text/plain"]) for cell in code(new) for out in cell["outputs"]]
        ends = next(ast.literal_eval(text) for text in results if text.startswith("{'conventional'"))
        assert ends["instructed"] > ends["conventional"] + 0.5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_numbered_shows_pictures_and_holds_no_logic(path):
    notebook = read(path)
    assert re.fullmatch(r"\d\d_[a-z_]+", path.stem) and notebook["metadata"] == METADATA
    assert any("image/png" in word for cell in code(notebook) for word in said(cell))
    for cell in code(notebook):
        tree = ast.parse(joined(cell["source"]).removeprefix("%%capture\n"))
        kinds = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.AsyncFunctionDef)
        assert not [node for node in ast.walk(tree) if isinstance(node, kinds)], "logic belongs to the library"
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules += [own.name for node in ast.walk(tree) if isinstance(node, ast.Import) for own in node.names]
        assert not {module.split(".")[0] for module in modules} & {"pipeline", "rl"}, "import from grad_instructor"


def test_there_are_notebooks_with_numbers_from_one():
    assert [int(path.stem[:2]) for path in NOTEBOOKS] == list(range(1, 1 + len(NOTEBOOKS))) and NOTEBOOKS


SPOILT = {
    "without outputs": lambda cells: [cell.update(outputs=[]) for cell in cells],
    "never executed": lambda cells: cells[-1].update(execution_count=None),
    "out of order": lambda cells: cells[0].update(execution_count=7),
    "with a path": lambda cells: cells[-1]["outputs"][0]["data"].update({"text/plain": ["PosixPath('/home/me/enn.json')"]}),
    "with an error": lambda cells: cells[0]["outputs"].append({"output_type": "error", "ename": "E", "evalue": "e"}),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_notebook_that_is_kept_otherwise_is_refused(how):
    notebook = read(NOTEBOOKS[0])
    SPOILT[how](code(notebook))
    assert faults(notebook) and not faults(read(NOTEBOOKS[0]))


@pytest.mark.parametrize(
    ("old", "new"), [("'instructed': 94", "'instructed': 91"), ("probes", "convnet"), ("600)", "601)"), ("(1079", "(1080")]
)
def test_another_output_is_noticed(old, new):
    kept = read(NOTEBOOKS[0])
    changed = json.loads(json.dumps(kept).replace(old, new))
    assert differences(kept, changed) and changed != kept
    assert not differences(kept, copy.deepcopy(kept))
    picture = copy.deepcopy(kept)
    next(out for cell in code(picture) for out in cell["outputs"] if "image/png" in out.get("data", {}))["data"].pop(
        "image/png"
    )
    assert differences(kept, picture)
