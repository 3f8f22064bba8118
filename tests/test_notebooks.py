"""The notebooks run from their first cell to their last, and end with what their text says."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
    nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()
    results = [out["data"]["text/plain"] for cell in notebook.cells for out in cell.get("outputs", ()) if "data" in out]
    if path.stem == "instruct_your_own":
        ends = next(ast.literal_eval(text) for text in results if text.startswith("{'conventional'"))
        assert ends["instructed"] > ends["conventional"] + 0.5


def test_there_are_notebooks():
    assert NOTEBOOKS
