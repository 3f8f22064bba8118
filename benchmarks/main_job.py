"""The main job, measured: seconds, peak memory over all its processes, and the table that it ends with.

    python benchmarks/main_job.py                    # digits, about two minutes
    python benchmarks/main_job.py --preset mnist     # MNIST, needs GRAD_INSTRUCTOR_DATA

Writes benchmarks/results/main-PRESET.json and main-PRESET.png (accuracy against steps and seconds).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from pipeline.config import PRESETS, identity
from pipeline.files import read_json, write_atomic, write_json

RESULTS = Path(__file__).resolve().parent / "results"
INTERVAL = 0.2
"""seconds between two looks at the memory"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--preset", default="digits", choices=list(PRESETS))
    parser.add_argument("--output", type=Path, help="folder of the run (default: a temporary one)")
    options = parser.parse_args()
    temporary = tempfile.mkdtemp(prefix="grad-instructor-")
    folder = options.output or Path(temporary) / "run"
    command = [sys.executable, "-m", "pipeline.cli", "run", "--preset", options.preset, "--output", str(folder)]
    seconds, peak, status = watched(command)
    if status:
        return status
    report, prediction = read_json(folder / "report.json"), read_json(folder / "prediction.json")
    for row in report["rows"]:
        row["provenance"]["command"] = f"grad-instructor run --preset {options.preset}"
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
    write_json(RESULTS / f"main-{options.preset}.json", measured)
    write_atomic(RESULTS / f"main-{options.preset}.png", (folder / "figures" / "accuracy.png").read_bytes())
    print(f"{seconds:.0f} s, {peak / 2**20:.0f} MiB at most; written to {RESULTS / f'main-{options.preset}.json'}")
    if not options.output:
        shutil.rmtree(temporary)
    return 0


def watched(command: list[str]) -> tuple[float, int, int]:
    """Seconds, peak resident bytes summed over the process and its descendants, exit code."""
    started, peak = time.monotonic(), 0
    process = subprocess.Popen(command, cwd=RESULTS.parents[1])
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
