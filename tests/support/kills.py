"""A tiny run of the program ended at random moments: half of the times by SIGTERM, half by SIGKILL, with Ray and without.

The moment of each kill is drawn by its number from all of an undisturbed run's time on the processor: no stage is chosen by
hand, and it does not matter what else the cores do. The same command given again must end well; every result is then
bit-identical to those of the undisturbed run, each record is there once, and MLflow's runs are finished. A signal that comes
when the run has ended is none: its moment is drawn again.
"""

import math
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import tables
from benchmarks.quick import TINY
from pipeline.files import read_json, write_json
from pipeline.interrupts import GOODBYE, INTERRUPTED
from tests.support.tiny_run import (
    HANGS,
    STAGES,
    Running,
    assert_mirrored,
    assert_recorded,
    assert_same,
    end_all_in,
    ended,
    finish,
    results,
    start,
)

RUN = ("run", "--output", "run", *TINY)
WAYS = {"with Ray": (*RUN, "--workers", "1"), "without": (*RUN, "--local")}
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
KINDS = [(way, number) for way in ("without",) * 4 + ("with Ray",) for number in SIGNALS]
"""which a kill is of: by its number; Ray takes longer to start than all else takes"""
BEFORE = "start"
"""the stage before any of ``STAGES``"""
WRONG = (AssertionError, subprocess.SubprocessError)


def kill_all(count: int, kept: Path, facts: dict[str, Any]) -> list[int]:
    """Kills 0 to ``count`` - 1, each in a folder of its own; those that are in ``kept`` already are not done again.

    Returns:
        The numbers of those after which something was not as it should be.
    """
    failed = []
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        for number in range(count):
            if (kept / f"{number:03d}.json").exists():
                continue
            way, _ = KINDS[number % len(KINDS)]
            like, place = kept / way.replace(" ", "-"), Path(name, str(number))
            if not (like / "seconds.json").exists():
                undisturbed(like, WAYS[way])
            place.mkdir()
            try:
                row = kill(number, place, like / "run", read_json(like / "seconds.json"))
            except WRONG as error:
                print(f"kill {number} FAILED: {error!r}", flush=True)
                failed.append(number)
                continue
            finally:
                end_all_in(place)
            shutil.rmtree(place)
            write_json(kept / f"{number:03d}.json", row | {"provenance": facts})
            print(row, flush=True)
    return failed


def undisturbed(folder: Path, arguments: tuple[str, ...]) -> None:
    """A run in ``folder/run``, and its seconds on the processor in ``folder/seconds.json``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    running = start(folder.resolve(), *arguments)
    seconds = until(running, math.inf)
    ended(running)
    write_json(folder / "seconds.json", seconds)


def until(running: Running, seconds: float) -> float:
    """Wait until the program's own process has had so many seconds of a processor, or has ended; how many it has had."""
    had = 0.0
    try:
        process = psutil.Process(running.process.pid)
        while had < seconds and running.process.poll() is None:
            had = sum(process.cpu_times()[:2])
            time.sleep(0.01)
    except psutil.Error:
        pass
    return had


def kill(number: int, folder: Path, like: Path, seconds: float) -> dict[str, Any]:
    """One of them: begun, killed, and gone on with.

    Args:
        like, seconds: an undisturbed run's folder, and what it took on the processor.

    Raises:
        AssertionError: the end was no good one; something is lost, there twice, different, or left RUNNING.
    """
    way, kind = KINDS[number % len(KINDS)]
    chance, run = np.random.default_rng(number), folder / "run"
    while True:
        moment = seconds * chance.random()
        running = start(folder, *WAYS[way])
        until(running, moment)
        stage = stage_of(run)
        running.process.send_signal(kind)
        code = running.process.wait(HANGS)
        if code != 0:
            break
        ended(running)
        shutil.rmtree(run)
    output = running.log.read_text()
    assert code in expected(kind, run), (code, output)
    if code == INTERRUPTED:
        assert output.rstrip().endswith(GOODBYE) and "Traceback" not in output, output
    finish(folder, *WAYS[way])  # at once, beside what Ray still has
    assert_same(results(run), results(like))
    assert_recorded(run, like)
    assert_mirrored(run, like)
    told = {"processor_seconds": round(moment, 2), "of": round(seconds, 2), "stage": stage, "code": code}
    return {"number": number, "way": way, "signal": kind.name, **told}


def stage_of(run: Path) -> str:
    """The last of the stages that have begun in a run's folder."""
    return ([BEFORE] + [name for name, begun in STAGES.items() if begun(run)])[-1]


def expected(kind: signal.Signals, run: Path) -> tuple[int, ...]:
    """Exit codes. Python itself, while it starts, knows no better end after SIGTERM than to be killed by it."""
    if kind == signal.SIGKILL:
        return (-signal.SIGKILL,)
    return (INTERRUPTED,) if (run / "records.jsonl").exists() else (INTERRUPTED, -signal.SIGTERM)


def gathered(kept: Path) -> dict[str, Any]:
    """All that were done, by number."""
    return {"settings": " ".join(TINY), "kills": [read_json(path) for path in sorted(kept.glob("[0-9]*.json"))]}


def table(found: dict[str, Any]) -> str:
    """How many were killed in which stage."""
    origins = tables.Origins([row["provenance"] for row in found["kills"]])
    counts = Counter((row["way"], row["signal"], row["stage"]) for row in found["kills"])
    stages, rows = [BEFORE, *STAGES], []
    for way, number in dict.fromkeys(KINDS):
        own = [counts[way, number.name, stage] for stage in stages]
        name = f"{number.name} {'with Ray actors' if way == 'with Ray' else 'in one process'}"
        rows.append([name, *map(str, own), str(sum(own))])
    caption = f"`python -m tests.support.faults --kills {len(found['kills'])}` ({tables.where(origins.facts)})."
    head = ["a tiny run ended by", *(f"in: {stage}" for stage in stages), "all"]
    others = [f"{origins.marks.count(mark)} of them {other}" for mark, other in origins.others.items()]
    return tables.blocks(tables.table(head, rows), caption, f"{'; '.join(others)}." if others else "")


def clause(found: dict[str, Any]) -> str:
    """What the sentence on faults goes on with; what ended otherwise is not among the results."""
    return f"and {len(found['kills'])} kills at moments that chance chose"
