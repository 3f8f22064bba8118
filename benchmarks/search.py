"""The outcome of a search, as the README shows it.

    grad-instructor search tune_configs/NAME.yaml --output FOLDER
    python benchmarks/search.py FOLDER

Writes benchmarks/results/search-NAME.json and the figure of the front. All numbers are on validation data.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.errors import UserError
from pipeline.files import read_json, write_json

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="of a search that has ended")
    options = parser.parse_args()
    try:
        found = read_json(options.folder / "search.json")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    name = f"search-{found['search']}"
    write_json(RESULTS / f"{name}.json", shown(found))
    front = options.folder / "figures" / "front.png"
    if front.exists():
        shutil.copyfile(front, RESULTS / f"{name}.png")
    print(f"written to {RESULTS / name}.json")
    return 0


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
