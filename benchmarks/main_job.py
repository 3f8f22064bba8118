"""The main job, measured: seconds, peak memory over all its processes, and the table that it ends with.

    python -m benchmarks.main_job                    # digits, about two minutes
    python -m benchmarks.main_job --preset mnist     # MNIST, needs GRAD_INSTRUCTOR_DATA
    python -m benchmarks.main_job --quick            # tiny, without actors

Writes benchmarks/results/main-PRESET.json and main-PRESET.png (accuracy against steps and seconds).
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import quick
from benchmarks.commands import without_folder
from benchmarks.quick import TINY
from pipeline.config import PRESETS, identity
from pipeline.files import read_json, write_atomic, write_json

ROOT = Path(__file__).resolve().parents[1]
INTERVAL = 0.2
"""seconds between two looks at the memory"""


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--preset", default="digits", choices=list(PRESETS))
    parser.add_argument("--output", type=Path, help="folder of the run (default: a temporary one)")
    options = parser.parse_args()
    results, added = quick.results_folder(options.quick), ["--local", *TINY] if options.quick else []
    temporary = tempfile.mkdtemp(prefix="grad-instructor-")
    folder = options.output or Path(temporary) / "run"
    command = [sys.executable, "-m", "pipeline.cli", "run", "--preset", options.preset, "--output", str(folder), *added]
    seconds, peak, status = watched(command)
    if status:
        return status
    report, prediction = read_json(folder / "report.json"), read_json(folder / "prediction.json")
    report = without_folder(report)
    measured = {
        "preset": options.preset,
        "settings": identity(PRESETS[options.preset]),
        "seconds": round(seconds, 1),
        "peak_resident_MiB": round(peak / 2**20),
        "rows": report["rows"],
        "head_to_head": report["head_to_head"],
        "candidates": report["candidates"],
        "prediction": prediction,
        "training": read_json(folder / "training" / "history.json"),
    }
    write_json(results / f"main-{options.preset}.json", measured)
    write_atomic(results / f"main-{options.preset}.png", (folder / "figures" / "accuracy.png").read_bytes())
    print(f"{seconds:.0f} s, {peak / 2**20:.0f} MiB at most; written to {results / f'main-{options.preset}.json'}")
    if not options.output:
        shutil.rmtree(temporary)
    return 0


def watched(command: list[str]) -> tuple[float, int, int]:
    """Seconds, peak resident bytes summed over the process and its descendants, exit code."""
    started, peak = time.monotonic(), 0
    process = subprocess.Popen(command, cwd=ROOT)
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(INTERVAL)
    return time.monotonic() - started, peak, process.returncode


def resident(pid: int) -> int:
    """Bytes resident in a process and its descendants; memory that they share counts once for each."""
    total = 0
    try:
        root = psutil.Process(pid)
        family: list[Any] = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
