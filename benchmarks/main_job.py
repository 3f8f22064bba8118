"""What does the main job show, and what does it take: seconds, peak memory over all its processes? And the table at its end.

    python -m benchmarks.main_job                    # digits, about a minute
    python -m benchmarks.main_job --preset mnist     # MNIST, needs GRAD_INSTRUCTOR_DATA
    python -m benchmarks.main_job --quick            # tiny, without actors

Writes benchmarks/results/main-PRESET.json and main-PRESET.png (accuracy against steps and seconds).
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import edges, quick, tables
from benchmarks.commands import without_folder
from benchmarks.quick import TINY
from pipeline import children
from pipeline.config import PRESETS, identity
from pipeline.files import read_json, write_json
from pipeline.results.tables import NONE, as_cell, head_to_head_line, prediction_line

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
    command = [
        sys.executable,
        "-m",
        "pipeline.command_line",
        "run",
        "--preset",
        options.preset,
        "--output",
        str(folder),
        *added,
    ]
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
        **curves_of(folder),
    }
    write_json(results / f"main-{options.preset}.json", measured)
    redraw(measured, results)
    print(f"{seconds:.0f} s, {peak / 2**20:.0f} MiB at most; written to {results / f'main-{options.preset}.json'}")
    if not options.output:
        shutil.rmtree(temporary)
    return 0


def curves_of(folder: Path) -> dict[str, Any]:
    """What the picture shows: each arm's accuracy on validation data by target, and what the ENN's training took."""
    from pipeline.compare import collect
    from pipeline.compare.report import curves, enn_seconds
    from pipeline.config import from_dotted

    config = from_dotted(read_json(folder / "config.json")["settings"])
    found = {arm: curves(values, "accuracy") for arm, values in collect(config, folder).items()}
    for own in found.values():
        own["accuracy"] = np.round(own["accuracy"], 6).tolist()
    return {"data": config.data.dataset, "curves": found, "enn_seconds": enn_seconds(folder)}


def redraw(results: dict[str, Any], folder: Path) -> None:
    """The picture once more, from what the results hold."""
    from pipeline.results import figures

    path = folder / f"main-{results['preset']}.png"
    figures.accuracy(results["curves"], path, data=results["data"], enn=results["enn_seconds"])


def watched(command: list[str]) -> tuple[float, int, int]:
    """Seconds, peak resident bytes summed over the process and its descendants, exit code."""
    started, peak = time.monotonic(), 0
    process = children.start(command, cwd=ROOT)
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


# -- its page ------------------------------------------------------------------------------------------------------------


def correct(results: dict[str, Any]) -> None:
    """The p-values of the table, and those of the lines below it, as ``grad-instructor report`` corrects them."""
    tables.correct(results["rows"])
    tables.correct(results["head_to_head"])


def table(results: dict[str, Any]) -> str:
    """One row per arm; below it what is set against what, what was predicted, and what the run cost."""
    correct(results)
    rows, origins = results["rows"], tables.Origins([row["provenance"] for row in results["rows"]])
    cells = [
        [
            row["arm"] + mark,
            tables.interval(row, "accuracy", ".2f", 100),
            tables.interval(row, "difference", "+.2f", 100) if row["p"] is not None else NONE,
            tables.p_cell(row),
            tables.interval(row, "gap", ".3f", 1),
            as_cell(row["ms_per_step"], ".2f"),
            edges.marked(row["strength"] or NONE, edges.of_arm(row["arm"], results["candidates"].get(row["arm"]))),
            str(row["diverged"]),
        ]
        for row, mark in zip(rows, origins.marks, strict=True)
    ]
    head = [
        "arm",
        "test accuracy %",
        "paired difference, points",
        tables.P,
        "test − train loss, nats",
        "ms per step",
        "strength",
        "diverged",
    ]
    duels = [head_to_head_line(duel | {"p": duel["p_holm"]}) for duel in results["head_to_head"]]
    predicted = [
        f"prediction by {name}, on runs never trained on: {prediction_line(point)}"
        for name, point in results["prediction"].items()
    ]
    facts = origins.facts
    caption = (
        f"`{tables.command(facts)}`: n = {rows[0]['n']} fresh targets per arm, paired by seed; {results['seconds']:.0f} s "
        "and at "
        f"most {results['peak_resident_MiB']:,} MiB resident over all processes ({facts['hardware']['cores']} cores; "
        f"{tables.where(facts)}; seed {facts['seed']}). {tables.CORRECTED_P}; so are those below it, among themselves."
    )
    shown = tables.blocks(tables.table(head, cells), tables.bullets([*duels, *predicted]), caption, origins.notes)
    return edges.noted(shown)


def figures(results: dict[str, Any]) -> dict[str, Any]:
    correct(results)
    arms = {row["arm"]: row for row in results["rows"]}
    duels = {(duel["arm"], duel["against"]): duel for duel in results["head_to_head"]}
    return {
        "seconds": f"{results['seconds']:.0f}",
        "cores": str(results["rows"][0]["provenance"]["hardware"]["cores"]),
        "targets": str(arms["conventional"]["n"]),
        "conventional": tables.percent(arms["conventional"]["accuracy"]),
        "growth": tables.outcome(arms["growth"]),
        "small": tables.outcome(arms["instructed"]),
        "against_growth": tables.outcome(duels["instructed", "growth"]),
        "he": tables.outcome(duels["instructed-he", "he"]),
        "gap_without": tables.spread((arms[name]["gap"] for name in ("conventional", "growth", "he")), ".3f"),
        "gap_with": tables.spread((arms[name]["gap"] for name in ("instructed", "instructed-he")), ".3f"),
        "beyond_growth": tables.told(duels["instructed", "growth"]) == tables.GAIN,
        "beyond_he": tables.told(duels["instructed-he", "he"]) == tables.GAIN,
        "strength_he": arms["instructed-he"]["strength"],
        "edge_he": edges.of_arm("instructed-he", results["candidates"].get("instructed-he")),
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"From small weights an ENN gives handwritten-digit networks {own['small']}; against growth, a control that only "
        "scales "
        f"the weights up, {own['against_growth']}. From He initialisation it gives {own['he']}."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "On digits an ENN gives more than growth, which only scales the weights up.",
            own["against_growth"],
            own["beyond_growth"],
        ),
        tables.Doubt("On digits an ENN adds to He initialisation.", own["he"], own["beyond_he"]),
    ]


if __name__ == "__main__":
    sys.exit(main())
