"""Keep what a command printed, for README.md to show the end of it: it is given what the command prints.

    make run 2>&1 | python -m benchmarks.outputs "make run"
    make test 2>&1 | python -m benchmarks.outputs "make test"
    python -m benchmarks.outputs --quick    # nothing is read; into a temporary folder

Writes benchmarks/results/outputs.json, with commit, date and hardware.
"""

import re
import sys
from pathlib import Path

from benchmarks import quick
from pipeline.files import read_json, write_json
from pipeline.results.provenance import provenance


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("name", nargs="?", default="make run", help="the command")
    options = parser.parse_args()
    file = quick.results_folder(options.quick) / "outputs.json"
    lines = ["nothing"] if options.quick else [plain(line) for line in sys.stdin]
    found = read_json(file) if file.exists() else {}
    write_json(file, found | {options.name: {"lines": [line for line in lines if line], **provenance(options.name, 0)}})
    return 0


def plain(line: str) -> str:
    """A line as it ends up in a terminal, without colours and without the folder of the checkout."""
    line = line.replace(f"{Path.cwd()}/", "")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip("\n").rpartition("\r")[2].rstrip()


if __name__ == "__main__":
    sys.exit(main())
