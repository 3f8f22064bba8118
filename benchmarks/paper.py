"""Table 1: the paper's claim, in both protocols (paper-shallow and paper-deep), and what the controls say about it.

    python -m benchmarks.paper                          # both protocols: make benchmark-paper
    python -m benchmarks.paper --protocol paper-deep    # one of them
    python -m benchmarks.paper --collect                # only write the results of the runs that are there
    python -m benchmarks.paper --quick                  # one tiny run on digits, half a minute

Each protocol is several runs of ``grad-instructor run``, two at a time (86 minutes for both protocols on two cores): an
ENN by probes, and fine-tuned, beside all that needs no ENN; by the weight image, and fine-tuned; the paper's kind, by the
weight image with γ = 0; in paper-deep also the ENN that comes with the package, that of paper-shallow, as it is and fine-tuned.
All train the same fresh targets (same seeds, same order of the data), so that their arms are paired. A run that was stopped is
continued by the same command.

Writes benchmarks/results/PROTOCOL.json, PROTOCOL-accuracy.png and PROTOCOL-instruction.png. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import quick
from benchmarks.quick import TINY
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.results.statistics import paired
from pipeline.results.tables import report_rows

PROTOCOLS = ("paper-shallow", "paper-deep")
BOTH = ("conventional", "conventional-all", "l1", "l2", "growth", "random-push", "he", "he-all")
OURS = ("instructed-rl", "instructed-rl-he", "instructed", "instructed-he")
GROWTH = ("growth-tuned", "growth-tuned-he")
INSTRUCTED = ("instructed", "instructed-he", "--compare.baseline", "instructed")
IMAGE = ("--enn.readers", "convnet", "--unroll.segments")
SHIPPED = ("--enn.readers", "probes", "--rl.rounds", "0", "--unroll.start", "mnist-mlp", "--unroll.segments")
VARIANTS: dict[str, tuple[str, ...]] = {
    "probes": ("--compare.arms", *BOTH, *OURS, *GROWTH),
    "image": (*IMAGE, "200", "--compare.arms", "instructed-rl", *INSTRUCTED),
    "image-gamma-0": (*IMAGE, "0", "--rl.gamma", "0", "--compare.arms", "instructed", "--compare.baseline", "instructed"),
    "as-it-is": (*SHIPPED, "0", "--compare.arms", *INSTRUCTED),
    "transferred": (*SHIPPED, "200", "--compare.arms", *INSTRUCTED),
}
"""what each run adds to its protocol's preset"""
ALL = ("--local", "--compare.tuning-seeds", "4")
"""what all runs add"""
LONGEST_FIRST = ("probes", "image", "transferred", "image-gamma-0", "as-it-is")
NAMES = {
    ("probes", "instructed-rl"): "ENN by probes, RL",
    ("probes", "instructed-rl-he"): "ENN by probes, RL, from He",
    ("probes", "instructed"): "ENN by probes, fine-tuned",
    ("probes", "instructed-he"): "ENN by probes, fine-tuned, from He",
    ("image", "instructed-rl"): "ENN by weight image, RL",
    ("image", "instructed"): "ENN by weight image, fine-tuned",
    ("image", "instructed-he"): "ENN by weight image, fine-tuned, from He",
    ("image-gamma-0", "instructed"): "ENN by weight image, RL, γ = 0 (the paper's)",
    ("as-it-is", "instructed"): "the package's ENN, as it is",
    ("as-it-is", "instructed-he"): "the package's ENN, as it is, from He",
    ("transferred", "instructed"): "the package's ENN, fine-tuned here",
    ("transferred", "instructed-he"): "the package's ENN, fine-tuned here, from He",
}
DUELS = (
    ("ENN by probes, fine-tuned", "he"),
    ("ENN by probes, fine-tuned", "he-all"),
    ("ENN by probes, fine-tuned", "growth"),
    ("ENN by probes, fine-tuned", "ENN by probes, RL"),
    ("ENN by probes, fine-tuned, from He", "he"),
    ("ENN by probes, fine-tuned, from He", "he-all"),
    ("ENN by probes, RL", "growth"),
    ("ENN by probes, fine-tuned", "growth-tuned"),
    ("ENN by probes, fine-tuned, from He", "growth-tuned-he"),
    ("ENN by weight image, fine-tuned", "ENN by weight image, RL"),
    ("ENN by weight image, fine-tuned", "he"),
    ("ENN by weight image, fine-tuned, from He", "he"),
    ("ENN by weight image, fine-tuned", "growth"),
    ("ENN by weight image, fine-tuned", "growth-tuned"),
    ("ENN by weight image, fine-tuned, from He", "growth-tuned-he"),
    ("the package's ENN, as it is", "growth-tuned"),
    ("the package's ENN, fine-tuned here", "he"),
    ("the package's ENN, fine-tuned here", "growth-tuned"),
    ("the package's ENN, fine-tuned here, from He", "he"),
    ("the package's ENN, fine-tuned here, from He", "growth-tuned-he"),
    ("ENN by weight image, RL", "growth"),
    ("ENN by weight image, RL, γ = 0 (the paper's)", "growth"),
    ("ENN by weight image, RL, γ = 0 (the paper's)", "random-push"),
)


SHOWN = ("conventional", "growth", "he", "instructed-rl", "instructed", "instructed-he")
"""in the figures"""
QUICK: dict[str, Any] = {
    "PROTOCOLS": PROTOCOLS[:1],
    "VARIANTS": {"probes": ("--compare.arms", *SHOWN)},
    "LONGEST_FIRST": ("probes",),
    "ALL": ("--local", "--dataset", "digits", "--enn.coarsening", "1", "--instruction.refresh", "5", *TINY),
}


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--protocol", choices=PROTOCOLS, action="append", help="default: both")
    parser.add_argument("--output", type=Path, help="folder of the runs (default: runs/paper)")
    parser.add_argument("--collect", action="store_true", help="run nothing")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    output = options.output or (results / "runs" if options.quick else Path("runs/paper"))
    protocols = options.protocol or PROTOCOLS
    if not options.collect:
        # the long ones first, so that both cores end at about the same time
        jobs = [(protocol, variant) for variant in LONGEST_FIRST for protocol in protocols if is_asked(protocol, variant)]
        with ThreadPoolExecutor(max_workers=2) as pool:
            failed = [status for status in pool.map(lambda job: run(*job, output), jobs) if status]
        if failed:
            return failed[0]
    try:
        for protocol in protocols:
            collect(protocol, output, results)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def is_asked(protocol: str, variant: str) -> bool:
    """In paper-shallow the package's ENN is at home: it is the one by probes."""
    return protocol != "paper-shallow" or variant not in ("as-it-is", "transferred")


def run(protocol: str, variant: str, output: Path) -> int:
    """One run in a process of its own, its output in a log beside its folder; the exit status."""
    folder = output / protocol / variant
    folder.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["run", "--preset", protocol, *VARIANTS[variant], *ALL]
    command = [sys.executable, "-m", "pipeline.cli", *arguments, "--output", str(folder)]
    log = folder.parent / f"{variant}.log"
    print(f"{time.strftime('%H:%M:%S')} {protocol} {variant}: begins; progress in {log}", flush=True)
    with log.open("a") as file:
        status = subprocess.run(command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode
    last = log.read_text().strip().splitlines()[-1:] if status else [""]
    print(
        f"{time.strftime('%H:%M:%S')} {protocol} {variant}: {'done' if not status else f'exit code {status}: {last[0]}'}",
        flush=True,
    )
    return status


def collect(protocol: str, output: Path, results: Path) -> None:
    """One table of all runs of a protocol, paired by seed; a run that is not there keeps what an earlier call found of it."""
    file = results / f"{protocol}.json"
    earlier = read_json(file, math.nan)["parts"] if file.exists() else {}
    found = [variant for variant in VARIANTS if (output / protocol / variant / "report.json").exists()]
    parts = {name: part(protocol, name, output / protocol / name) if name in found else earlier.get(name) for name in VARIANTS}
    parts = {name: own for name, own in parts.items() if own}
    if "probes" not in parts:
        raise UserError(f"{output / protocol / 'probes'} holds no finished run; run this without --collect.")
    arms = {arm: values for own in parts.values() for arm, values in own["arms"].items()}
    rows = report_rows(arms)  # which sees to it that all have the same seeds
    seconds = {arm: own["training_seconds"] for own in parts.values() for arm in own["arms"]}
    for row in rows:
        spent, own = seconds[row["arm"]], row["arm"] in NAMES.values()
        row["enn_seconds"] = own * (spent["rl"] + ("fine-tuned" in row["arm"]) * spent["fine_tuning"])
    accuracy = {arm: values["test_accuracy"] for arm, values in arms.items()}
    pairs = [pair for pair in DUELS if set(pair) <= set(accuracy)]
    duels = [{"arm": one, "against": other, **paired(accuracy[one], accuracy[other])} for one, other in pairs]
    missing = sorted(variant for variant in VARIANTS if variant not in parts and is_asked(protocol, variant))
    write_json(file, {"protocol": protocol, "rows": rows, "duels": duels, "not_run": missing, "parts": parts})
    if "probes" in found:
        draw(output / protocol / "probes", protocol, results)
    print(f"{protocol}: written to {file}")


def part(protocol: str, variant: str, folder: Path) -> dict[str, Any]:
    """What one run found."""
    report, seconds = read_json(folder / "report.json", math.nan), training_seconds(folder)
    return {
        "arms": {NAMES.get((variant, arm), arm): values for arm, values in report["seeds"].items()},
        "training_seconds": seconds,
        "candidates": report["candidates"],
        "prediction": read_json(folder / "prediction.json"),
        "break_even": break_even(folder, seconds) if variant == "probes" else {},
        "provenance": report["rows"][0]["provenance"] | {"command": f"python -m benchmarks.paper --protocol {protocol}"},
    }


def draw(folder: Path, protocol: str, results: Path) -> None:
    """Accuracy against steps and seconds; λ and the sizes of both gradients by progress."""
    from pipeline.compare import collect as collect_arms
    from pipeline.config import from_dotted
    from pipeline.report import curves
    from pipeline.results import figures

    arms = collect_arms(from_dotted(read_json(folder / "config.json")["settings"]), folder)
    figures.accuracy({arm: curves(arms[arm], "accuracy") for arm in SHOWN}, results / f"{protocol}-accuracy.png")
    instructed = {arm: curves(arms[arm], "instruction") for arm in ("instructed", "instructed-he")}
    figures.instruction(instructed, results / f"{protocol}-instruction.png")


def training_seconds(folder: Path) -> dict[str, float]:
    """Seconds that the ENNs of a run took to train: by RL, and by fine-tuning."""
    rl = sum(row["seconds"] for row in read_json(folder / "training" / "history.json"))
    unrolled = folder / "training" / "unrolled.json"
    return {"rl": rl, "fine_tuning": sum(row["seconds"] for row in read_json(unrolled)) if unrolled.exists() else 0.0}


def break_even(folder: Path, seconds: dict[str, float]) -> dict[str, Any]:
    """After how many instructed runs the ENN has paid for itself.

    Per baseline: the first step at which the instructed targets' mean validation accuracy is the baseline's last, the share of
    the baseline's steps and seconds that is saved, and the ENN's training seconds over the seconds saved per run (None: never).
    """
    from pipeline.compare import collect as collect_arms
    from pipeline.config import from_dotted

    arms = collect_arms(from_dotted(read_json(folder / "config.json")["settings"]), folder)
    results = {}
    for arm, other in (("instructed", "conventional"), ("instructed", "he"), ("instructed-he", "he")):
        mine, wanted = np.mean(arms[arm]["accuracy"], axis=0), np.mean(arms[other]["accuracy"], axis=0)[-1]
        reached = np.flatnonzero(mine >= wanted)
        total, result = arms[other]["seconds"][-1], {"steps": None, "share_of_steps": None, "seconds_saved": None, "runs": None}
        if len(reached):
            at = int(reached[0])
            saved = total - arms[arm]["seconds"][at]
            result |= {"steps": arms[arm]["steps"][at], "share_of_steps": arms[arm]["steps"][at] / arms[arm]["steps"][-1]}
            result |= {"seconds_saved": saved, "seconds_of_a_run": total}
            result["runs"] = sum(seconds.values()) / saved if saved > 0 else None
        results[f"{arm} to {other}"] = result
    return results


if __name__ == "__main__":
    sys.exit(main())
