"""Does the paper's claim hold, in both protocols (paper-shallow and paper-deep), and what do the controls say about it?

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
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import edges, quick, tables
from benchmarks.quick import TINY
from pipeline import children
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.results.statistics import paired
from pipeline.results.tables import NONE, as_cell, report_rows

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
    command = [sys.executable, "-m", "pipeline.command_line", *arguments, "--output", str(folder)]
    log = folder.parent / f"{variant}.log"
    _say(protocol, variant, f"begins; progress in {log}")
    with log.open("a") as file:
        status = children.start(command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"}).wait()
    last = log.read_text().strip().splitlines()[-1:] if status else [""]
    _say(protocol, variant, f"exit code {status}: {last[0]}" if status else "done")
    return status


def _say(protocol: str, variant: str, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {protocol} {variant}: {text}\n", end="", flush=True)  # whole, also from two threads


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
    from pipeline.compare.report import curves, enn_seconds
    from pipeline.config import from_dotted
    from pipeline.results import figures

    config = from_dotted(read_json(folder / "config.json")["settings"])
    arms = collect_arms(config, folder)
    data = f"{config.data.dataset} in {protocol}"
    shown = {arm: curves(arms[arm], "accuracy") for arm in SHOWN}
    figures.accuracy(shown, results / f"{protocol}-accuracy.png", data=data, enn=enn_seconds(folder))
    instructed = {arm: curves(arms[arm], "instruction") for arm in ("instructed", "instructed-he")}
    figures.instruction(instructed, results / f"{protocol}-instruction.png", data=data)


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


# -- its page ------------------------------------------------------------------------------------------------------------

CLAIM = {"conventional": 0.902, "instructed": 0.9302}
"""the paper's test accuracies (arXiv 2406.10559)"""


def compared(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What its p-values are of."""
    return [row for row in results["rows"] if row["p"] is not None] + results["duels"]


def table(*protocols: dict[str, Any]) -> str:
    """One table per protocol."""
    return edges.noted(
        tables.blocks(*(part for results in protocols for part in (f"### {results['protocol']}", _table(results))))
    )


def _table(results: dict[str, Any]) -> str:
    """One row per arm, what it reached and what it cost; what is set against what, and when an ENN has paid for itself."""
    tables.correct(compared(results))
    parts, whence = results["parts"], {arm: part for part in results["parts"].values() for arm in part["arms"]}
    rows, edge = results["rows"], _edges(parts)
    origins = tables.Origins([whence[row["arm"]]["provenance"] for row in rows])
    names, facts = [row["arm"] + mark for row, mark in zip(rows, origins.marks, strict=True)], origins.facts
    reached = [
        [
            name,
            tables.interval(row, "accuracy", ".2f", 100),
            tables.interval(row, "difference", "+.2f", 100) if row["difference"] is not None else NONE,
            tables.p_cell(row),
        ]
        for name, row in zip(names, rows, strict=True)
    ]
    cost = [
        [
            name,
            as_cell(row["gap"], ".3f"),
            f"{row['ms_per_step']:.2f}",
            edges.marked(row["strength"], row["arm"] in edge),
            f"{row['enn_seconds']:.0f}" if row["enn_seconds"] else NONE,
        ]
        for name, row in zip(names, rows, strict=True)
    ]
    duels = [[duel["arm"], duel["against"], tables.signed(duel), tables.p_cell(duel)] for duel in results["duels"]]
    paid = [f"{name}: {_break_even(values)}" for name, values in parts["probes"]["break_even"].items()]
    caption = (
        f"`{tables.command(facts)}`: n = {rows[0]['n']} fresh targets per arm, paired by seed, one ENN per row "
        f"({facts['hardware']['cores']} cores, two runs at a time; {tables.where(facts)}; seed {facts['seed']}). "
        f"{tables.CORRECTED_P}."
    )
    if results["not_run"]:
        caption += f" Not run: {', '.join(results['not_run'])}."
    return tables.blocks(
        tables.table(["arm", "test accuracy %", "paired difference, points", tables.P], reached),
        "What each is set against beside conventional training:",
        tables.table(["arm", "against", "paired difference, points", tables.P], duels, left=2),
        "What it costs:",
        tables.table(["arm", "test − train loss", "ms per step", "λ", "ENN's training, s"], cost),
        "To the last validation accuracy of the second:",
        tables.bullets(paid),
        caption,
        origins.notes,
    )


def _edges(parts: dict[str, Any]) -> set[str]:
    """The rows whose strength lies at the edge of its candidates."""
    chosen = ((variant, arm, found) for variant, part in parts.items() for arm, found in part["candidates"].items())
    return {NAMES.get((variant, arm), arm) for variant, arm, found in chosen if edges.of_arm(arm, found)}


def _break_even(values: dict[str, Any]) -> str:
    if values["steps"] is None:
        return "never reached"
    share = f"{100 * values['share_of_steps']:.0f} % of the steps"
    if values["runs"] is None:
        return f"{share}; no seconds saved"
    return f"{share}; the ENN's training is repaid after {values['runs']:,.0f} runs of {values['seconds_of_a_run']:.2f} s"


def figures(*protocols: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {f"claimed_{name}": tables.percent(value, ".4g") for name, value in CLAIM.items()}
    for results in protocols:
        tables.correct(compared(results))
        name = results["protocol"].removeprefix("paper-")
        rows = {row["arm"]: row for row in results["rows"]}
        duels = {(duel["arm"], duel["against"]): duel for duel in results["duels"]}
        enns = [row for row in results["rows"] if row["enn_seconds"] or row["arm"].startswith("the package's")]
        beat = [row for row in enns if row["accuracy"] >= CLAIM["instructed"]]
        tuned = max(rows[arm]["accuracy"] for arm in GROWTH)
        best = max(enns, key=lambda row: row["accuracy"])
        small = [row for row in enns if not row["arm"].endswith("from He")]
        image, starved = "ENN by weight image, fine-tuned", "ENN by weight image, RL, γ = 0 (the paper's)"
        own |= {
            f"{name}_{key}": value
            for key, value in {
                "reached": tables.counted(beat, enns),
                "best": tables.percent(best["accuracy"]),
                "best_arm": best["arm"],
                "tuned": tables.percent(tuned),
                "above_tuned": tables.counted([row for row in enns if row["accuracy"] > tuned], enns),
                "any_above_tuned": any(row["accuracy"] > tuned for row in enns),
                "small_above_growth": tables.counted([r for r in small if r["accuracy"] > rows["growth"]["accuracy"]], small),
                "below_he": all(row["accuracy"] < rows["he"]["accuracy"] for row in small),
                "claim_by_rl": rows[starved]["accuracy"] >= CLAIM["instructed"],
                "claim": rows[image]["accuracy"] >= CLAIM["instructed"],
                "image": tables.percent(rows[image]["accuracy"]),
                "image_he": tables.percent(rows[image + ", from He"]["accuracy"]),
                "image_over_he": tables.outcome(duels[image + ", from He", "he"]),
                "probes": tables.percent(rows["ENN by probes, fine-tuned"]["accuracy"]),
                "starved": tables.percent(rows[starved]["accuracy"]),
                "starved_gain": tables.gained(rows[starved]),
                "starved_against_push": tables.outcome(duels[starved, "random-push"]),
                "starved_against_growth": tables.outcome(duels[starved, "growth"]),
                "conventional": tables.percent(rows["conventional"]["accuracy"]),
                "growth": tables.percent(rows["growth"]["accuracy"]),
                "he": tables.percent(rows["he"]["accuracy"]),
                "probes_against_growth": tables.outcome(duels["ENN by probes, fine-tuned", "growth"]),
                "gap_he": as_cell(rows["he"]["gap"], ".3f"),
                "gap_image": as_cell(rows[image]["gap"], ".3f"),
                "gap_probes": as_cell(rows["ENN by probes, fine-tuned"]["gap"], ".3f"),
                "gap_smaller": rows[image]["gap"] < rows["he"]["gap"],
                "gap_tuned": tables.spread((rows[arm]["gap"] for arm in GROWTH), ".3f"),
                "strength_tuned": tables.spread((float(rows[arm]["strength"]) for arm in GROWTH), "g"),
                "targets": str(rows["conventional"]["n"]),
                "repaid": _break_even(results["parts"]["probes"]["break_even"]["instructed to conventional"]),
            }.items()
        }
        if "the package's ENN, fine-tuned here" in rows:
            own |= {
                f"{name}_package": tables.percent(rows["the package's ENN, as it is"]["accuracy"]),
                f"{name}_package_tuned": tables.percent(rows["the package's ENN, fine-tuned here"]["accuracy"]),
                f"{name}_package_over_he": tables.outcome(duels["the package's ENN, fine-tuned here, from He", "he"]),
            }
    counts = [own[f"{name}_above_tuned"].split(" of ") for name in ("shallow", "deep")]
    own["above_tuned"] = " of ".join(str(sum(int(count[at]) for count in counts)) for at in (0, 1))
    own["earlier"] = any(map(tables.is_earlier, protocols))
    own["short"] = tables.table(
        ["", *(f"`{own['protocol']}`" + tables.EARLIER * tables.is_earlier(own) for own in protocols)],
        [
            [name, *(f"{own[f'{protocol}_{key}']}" for protocol in ("shallow", "deep"))]
            for name, key in (
                ("conventional training", "conventional"),
                ("the paper's way: weight image, γ = 0, RL from scores alone", "starved"),
                ("weight image, fine-tuned through unrolled training", "image"),
                ("growth of the last layer, tuned, without an ENN", "tuned"),
            )
        ],
    )
    return own


def verdict(*protocols: dict[str, Any]) -> str:
    own = figures(*protocols)
    reached = " and ".join(
        f"{own[name + '_reached']} ENNs in `paper-{name}` (at best {own[name + '_best']} %)" for name in ("shallow", "deep")
    )
    tuned = " and ".join(
        f"{own[name + '_tuned']} % ({own[name + '_above_tuned']} ENNs end above it)" for name in ("shallow", "deep")
    )
    return (
        f"The paper's {own['claimed_instructed']} % is reached by {reached}. Growth of the last layer, tuned, which needs no "
        "ENN, "
        f"brings {tuned}."
    )


def doubts(*protocols: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(*protocols)
    found = []
    for name in ("shallow", "deep"):
        protocol = f"`paper-{name}`"
        found += [
            tables.Doubt(
                f"In {protocol} some ENN beats growth of the last layer that is tuned as well.",
                f"{own[name + '_above_tuned']} ENNs do; growth brings {own[name + '_tuned']} %, the best ENN "
                f"{own[name + '_best']} %.",
                own[f"{name}_any_above_tuned"],
            ),
            tables.Doubt(
                f"In {protocol} the paper's own way (weight image, γ = 0, RL from scores alone) reaches its claim.",
                f"It reaches {own[name + '_starved']} %; against plain growth {own[name + '_starved_against_growth']}.",
                own[f"{name}_claim_by_rl"],
            ),
            tables.Doubt(
                f"In {protocol} instructed targets have a smaller gap between test and training loss than those from He.",
                f"{own[name + '_gap_image']} by weight image and {own[name + '_gap_probes']} by probes, "
                f"{own[name + '_gap_he']} from He.",
                own[f"{name}_gap_smaller"],
            ),
        ]
    return found


if __name__ == "__main__":
    sys.exit(main())
