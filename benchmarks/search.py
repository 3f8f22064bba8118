"""The outcome of a search, as the README shows it.

    grad-instructor search tune_configs/NAME.yaml --output FOLDER
    python -m benchmarks.search FOLDER
    python -m benchmarks.search --quick    # a tiny search of its own, on digits

Writes benchmarks/results/search-NAME.json and the figure of the front. All numbers are on validation data.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import quick
from pipeline.errors import UserError
from pipeline.files import read_json, write_atomic, write_json

TINY = """
question: Which learning rate?
kind: target
preset: digits
settings: {unroll.segments: 0, training.steps: 50, rl.period: 10, compare.curve_examples: 100}
groups:
  sgd: {space: {training.learning_rate: {float: [0.01, 2.0], log: true}}}
  adam:
    settings: {training.optimiser: adam}
    space: {training.learning_rate: {float: [0.0001, 0.03], log: true}}
objectives: {accuracy: maximise}
sampler: {name: random}
scheduler: {name: asha, reduction: 2}
budget: {candidates: 2, ahead: 2}
stages: [{name: early, targets: 2, steps: 10}, {name: whole, targets: 2}]
"""


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="of a search that has ended")
    options = parser.parse_args()
    if not options.folder and not options.quick:
        parser.error("give the folder of a search that has ended, or --quick")
    results = quick.results_folder(options.quick)
    try:
        folder = options.folder or searched(results, TINY)
        found = read_json(folder / "search.json")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    name = f"search-{found['search']}"
    write_json(results / f"{name}.json", shown(found))
    front = folder / "figures" / "front.png"
    if front.exists():
        shutil.copyfile(front, results / f"{name}.png")
    print(f"written to {results / name}.json")
    return 0


def searched(folder: Path, text: str) -> Path:
    """The folder of a search that is done in ``folder``, without actors.

    Raises:
        UserError: it failed.
    """
    plan = folder / "tiny.yaml"
    write_atomic(plan, text)
    command = [sys.executable, "-m", "pipeline.cli", "search", str(plan), "--local", "--output", str(folder / "search")]
    if subprocess.run(command, cwd=Path(__file__).resolve().parents[1]).returncode:
        raise UserError("the search failed; its own message stands above.")
    return folder / "search"


def shown(found: dict[str, Any]) -> dict[str, Any]:
    """What the table needs: the rows without what can be made again, and the command without the folder of one machine."""
    facts = found["provenance"]
    facts["command"] = re.sub(r" --output[ =]\S+", "", facts["command"])
    finished = [row for row in found["rows"] if row["outcome"] == "finished"]
    others = [
        {key: row[key] for key in ("name", "settings", "outcome", "stage")} for row in found["rows"] if row not in finished
    ]
    return found | {"rows": finished, "others": others, "provenance": facts}


if __name__ == "__main__":
    sys.exit(main())
