"""Run the notebooks and keep their outputs, as ``make notebooks`` does; tests/test_notebooks.py compares with these."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""without versions, which would change with whoever runs it last"""


def executed(path: Path, folder: Path) -> Any:
    """The notebook, run from its first cell to its last in an empty folder."""
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=None, record_timing=False, resources={"metadata": {"path": str(folder)}}, kernel_name="python3"
    )
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    notebook.metadata = METADATA
    return notebook


def main() -> int:
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)
        print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
