"""Which equation should be sent backwards, if equations evolve, and is the best of them better than backpropagation?

    grad-instructor search tune_configs/backprop_evolution.yaml --output EVOLVED
    grad-instructor search tune_configs/backprop_random.yaml --output DRAWN
    python -m benchmarks.evolution EVOLVED DRAWN
    python -m benchmarks.evolution --quick    # tiny searches of its own

The best equations of either search, backpropagation, feedback alignment and hidden layers that stay as they are (the control)
are trained on fresh seeds. Each first chooses its learning rate on validation data from the same rates, on seeds of its own;
then the paired differences on the test data are measured on other seeds, those of its run's length and of one six times longer.
A part that is done is not done again.

Writes benchmarks/results/evolution.json, evolution-family.png and evolution-ratios.png.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import edges, equations, quick, tables
from benchmarks.cache import Cache
from pipeline.cluster import Placement
from pipeline.config import Config
from pipeline.data import Dataset, load
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.learning.expression.fingerprint import fingerprint
from pipeline.learning.expression.spelling import parse, plain, spelt
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired
from pipeline.results.tables import as_cell
from pipeline.search.candidates import Search
from pipeline.search.drive import drive
from pipeline.search.equations import family
from pipeline.search.kinds.equation import judge, trained
from pipeline.search.outcome import rows_of, summary
from pipeline.search.plan import Plan
from pipeline.search.reading import read_plan
from pipeline.seeding import stream

ROOT = Path(__file__).resolve().parents[1]
FILES = {"evolved": "backprop_evolution", "drawn": "backprop_random"}
"""searches, and their files in tune_configs"""
BEST, TUNING, SEEDS, LONGER = 5, 10, 30, 6
"""equations of each search, seeds that choose a rate, fresh seeds, times the run's length"""
BACKPROP, CONTROLS = "(Wᵀs)∘σ′", {"feedback alignment": "(Rᵀs)∘σ′", "frozen": "h − h"}
CHANCE, NEAR = 15.0, 1.0
"""accuracy up to which nothing was learned (of ten classes), and points below backpropagation"""
NETWORKS, MEMBERS, REPEATS = ((784, 100, 10), (784, 100, 50, 10), (784, 100, 100, 50, 10)), 64, 9
MOST_SIDES: int | None = None
QUICK = {"BEST": 1, "TUNING": 2, "SEEDS": 3, "LONGER": 2, "NETWORKS": ((64, 16, 10),), "MEMBERS": 4, "REPEATS": 2}
QUICK |= {"MOST_SIDES": 12}
SMALLER = {
    "hidden: [32, 32]": "hidden: [8, 8]",
    "training.steps: 150": "training.steps: 20",
    "rl.period: 50": "rl.period: 10",
    "targets: 2, steps: 30": "targets: 1, steps: 5",
    "targets: 8, steps: 150": "targets: 2, steps: 20",
    "candidates: 1500": "candidates: 6",
    "startup: 100": "startup: 3",
}


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("folders", type=Path, nargs="*", help="of the search by evolution and of the one at random")
    parser.add_argument("--work", type=Path, help="where finished parts are kept (default: work-evolution)")
    options = parser.parse_args()
    if len(options.folders) != 2 and not options.quick:
        parser.error("give the folders of both searches, or --quick")
    results = quick.results_folder(options.quick)
    try:
        plans = {name: read_plan(file) for name, file in _files(results, options.quick).items()}
        if options.quick:
            found = {name: _tiny(plan, results / name) for name, plan in plans.items()}
        else:
            found = {name: read_json(folder / "search.json") for name, folder in zip(FILES, options.folders, strict=True)}
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    work = options.work or (results / "work" if options.quick else Path("work-evolution"))
    report = measured(plans, found, work, results)
    write_json(results / "evolution.json", report)
    print(verdict(report), f"written to {results / 'evolution.json'}", sep="\n")
    return 0


def _files(results: Path, small: bool) -> dict[str, Path]:
    """The searches' files; tiny ones in a quick run."""
    files = {name: ROOT / "tune_configs" / f"{file}.yaml" for name, file in FILES.items()}
    if not small:
        return files
    globals().update(QUICK)
    for name, file in files.items():
        text = file.read_text()
        for good, tiny in SMALLER.items():
            text = text.replace(good, tiny)
        files[name] = results / file.name
        files[name].write_text(text)
    return files


def _tiny(plan: Plan, folder: Path) -> dict[str, Any]:
    """What a search ends with, done in this process and without records."""
    search = Search(plan, folder)
    drive(search, judge, {"dataset": load("digits")}, Placement(local=True), lambda task: None, lambda task, result: None)
    rows = rows_of(search)
    return summary(plan, rows) | {"rows": rows, "wall_seconds": 0.0, "provenance": provenance("a quick run", 0)}


def measured(plans: Mapping[str, Plan], found: Mapping[str, Any], work: Path, results: Path) -> dict[str, Any]:
    """Everything that the page shows; its pictures are drawn on the way."""
    torch.set_num_threads(1)
    plan, dataset = plans["evolved"], load("digits")
    facts = provenance("python -m benchmarks.evolution EVOLVED DRAWN", plan.config().seed)
    cache = Cache.of(__file__, globals(), work, facts, data=dataset.digest)
    config = plan.config()
    own = judge(
        dataclasses.replace(config, rule=dataclasses.replace(config.rule, equation=BACKPROP)),
        plan.stages,
        None,
        dataset=dataset,
    )
    searches = {name: _searched(found[name], own["accuracy"]) for name in FILES}
    lineage = family(plan, found["evolved"]["rows"])
    chain = _chain(lineage, found["evolved"]["rows"], searches["evolved"]["best"][0]["name"])
    evolved, drawn = (_points(found[name]) for name in FILES)
    equations.draw_family(evolved, drawn, [row["name"] for row in chain], results / "evolution-family.png")
    rows = compared(config, _contenders(searches), dataset, cache)
    rates = {row["equation"]: row["rate"] for row in rows}
    shown = [row["equation"] for row in rows if row["source"] not in ("backpropagation", *CONTROLS)]
    ratios = {
        text: equations.ratios(config, text, rates[plain(parse(BACKPROP))], config.training.steps // 2, dataset)
        for text in shown
    }
    equations.draw_ratios(ratios, results / "evolution-ratios.png")
    return {
        "provenance": facts,
        "searches": searches,
        "backpropagation": own["accuracy"],
        "family": chain,
        "rows": rows,
        "unexplained": {text: own["unexplained"] for text, own in ratios.items()},
        "distinct": cache.part("distinct", lambda: equations.distinct(MOST_SIDES)).value,
        "speed": cache.part("speed", lambda: equations.speed(NETWORKS, MEMBERS, REPEATS)).value,
        "settings": {"steps": config.training.steps, "rates": list(config.evolution.rates), "depth": config.evolution.depth}
        | {"seeds": SEEDS, "tuning": TUNING, "longer": LONGER, "hidden": list(config.target.hidden)},
    }


def _searched(found: Mapping[str, Any], backprop: float) -> dict[str, Any]:
    """How a search ended, in numbers, and its best equations."""
    rows = found["rows"]
    last = [row["result"] for row in rows if row["outcome"] != "failed"]
    ended = [row for row in rows if row["outcome"] == "finished"]
    best = sorted(ended, key=lambda row: (-row["result"]["accuracy"], row["number"]))[:BEST]
    return {
        "equations": len(rows),
        "finished": len(ended),
        "seconds": found["processor_seconds"],
        "wall_seconds": found["wall_seconds"],
        "most_seconds": max((row["seconds"] for row in rows), default=0.0),
        "diverged": sum(own["diverged"] == 1 for own in last),
        "chance": sum(own["diverged"] < 1 and own["accuracy"] <= CHANCE for own in last),
        "near": sum(row["result"]["accuracy"] >= backprop - NEAR for row in ended),
        "above": sum(row["result"]["accuracy"] > backprop for row in ended),
        "best": [{"name": row["name"], "equation": row["settings"]["rule.equation"]} | row["result"] for row in best],
        "provenance": {key: found["provenance"][key] for key in ("commit", "date", "hardware") if key in found["provenance"]},
    }


def _points(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": row["name"],
            "number": row["number"],
            "accuracy": row["result"]["accuracy"],
            "equation": row["settings"]["rule.equation"],
        }
        for row in found["rows"]
        if row["outcome"] == "finished"
    ]


def _chain(lineage: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], winner: str) -> list[dict[str, Any]]:
    """The winner's ancestors, the first one first."""
    by_name = {row["name"]: row for row in rows}
    found, name = [], winner
    while name is not None:
        row = by_name[name]
        how = lineage[row["number"]]
        found.append(
            {
                "name": name,
                "how": how["how"],
                "equation": row["settings"]["rule.equation"],
                "accuracy": row["result"]["accuracy"],
            }
        )
        name = how["parent"]
    return found[::-1]


# -- fresh seeds -----------------------------------------------------------------------------------------------------------


def _contenders(searches: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(where it comes from, equation); each once, though both searches may have found it."""
    given = [("backpropagation", BACKPROP), *CONTROLS.items()]
    given += [(name, own["equation"]) for name in FILES for own in searches[name]["best"]]
    known: dict[str, tuple[str, str]] = {}
    for source, text in given:
        known.setdefault(fingerprint(plain(parse(text))), (source, plain(parse(text))))
    return list(known.values())


def compared(config: Config, contenders: Sequence[tuple[str, str]], dataset: Dataset, cache: Cache) -> list[dict[str, Any]]:
    """Each contender's test accuracy on fresh seeds at the rate it has chosen, and its paired difference from the first one."""
    rows = []
    for source, text in contenders:
        row: dict[str, Any] = {"source": source, "equation": text}
        for steps in (config.training.steps, LONGER * config.training.steps):
            own = dataclasses.replace(
                config,
                rule=dataclasses.replace(config.rule, equation=text),
                training=dataclasses.replace(config.training, steps=steps),
            )
            part = cache.part("fresh", lambda own=own: fresh(own, dataset), config=own)
            row |= {key + ("" if steps == config.training.steps else "_longer"): value for key, value in part.value.items()}
        rows.append(row)
    for end in ("", "_longer"):
        for row in rows:
            row[f"mean{end}"], row[f"mean{end}_low"], row[f"mean{end}_high"] = mean_interval(row[f"accuracies{end}"])
            row[f"difference{end}"] = paired(row[f"accuracies{end}"], rows[0][f"accuracies{end}"])
        tables.correct([row[f"difference{end}"] for row in rows[1:]])
    return rows


def fresh(config: Config, dataset: Dataset) -> dict[str, Any]:
    """The rate that does best on validation data, and the test accuracy of other seeds at it."""
    rates, steps = config.evolution.rates, config.training.steps
    tuning = [stream(config.seed, "rate", number) for number in range(TUNING)]
    seeds = [stream(config.seed, "fresh", number) for number in range(SEEDS)]
    chosen = trained(config, tuning, rates, steps, dataset).evaluate(*dataset.tensors("validation"))
    rate = rates[int(chosen.accuracy.view(len(rates), -1).mean(1).argmax())]
    population = trained(config, seeds, [rate], steps, dataset)
    found = population.evaluate(*dataset.tensors("test"))
    return {"rate": rate, "accuracies": found.accuracy.double().tolist(), "diverged": int((population.diverged_at >= 0).sum())}


# -- its page ------------------------------------------------------------------------------------------------------------


def _code(text: str) -> str:
    """An equation in a cell of a table."""
    return f"`{spelt(parse(text))}`".replace("|", "\\|")


SAID = {"evolved": "evolved", "drawn": "at random"}


def table(results: dict[str, Any]) -> str:
    """Fresh seeds; then how the searches ended; the winner's ancestors; what equations cost."""
    own, facts = results["settings"], results["provenance"]
    head = [
        "found",
        "equation",
        "test accuracy, %",
        "difference",
        tables.P,
        "rate",
        f"× {own['longer']}, difference",
        tables.P,
        "diverged",
    ]
    rows = []
    for row in results["rows"]:
        first = row is results["rows"][0]
        cells = [SAID.get(row["source"], row["source"]), _code(row["equation"]), tables.interval(row, "mean", ".2f", 100)]
        for end in ("", "_longer"):
            difference = row[f"difference{end}"]
            cells += ["–", "–"] if first else [tables.signed(difference), tables.p_cell(difference)]
            cells += [] if end else [edges.marked(f"{row['rate']:g}", edges.at_edge(row["rate"], own["rates"]))]
        rows.append([*cells, str(row["diverged"] + row["diverged_longer"])])
    caption = (
        f"`{tables.command(facts)}`: {own['seeds']} fresh paired seeds, digits, {own['steps']} steps of Adam on hidden layers "
        f"of {', '.join(map(str, own['hidden']))} (tanh), and {own['longer']} times as many; each row chose its rate from "
        f"{', '.join(f'{rate:g}' for rate in own['rates'])} on {own['tuning']} other seeds and validation data, for either "
        f"length. {tables.CORRECTED_P} ({tables.where(facts)})."
    )
    ends = [
        [
            SAID[name],
            f"{found['equations']:,}",
            f"{found['finished']:,}",
            f"{found['diverged']:,}",
            f"{found['chance']:,}",
            f"{found['near']:,}",
            f"{found['above']:,}",
            f"{found['best'][0]['accuracy']:.1f}",
            f"{found['seconds'] / found['equations']:.2f}",
        ]
        for name, found in results["searches"].items()
    ]
    searches = tables.table(
        ["search", "equations", "to the end", "diverged", "at chance", "near", "above", "best, %", "s per equation"], ends
    )
    note = (
        f"*Diverged*: in every member after its last stage; *at chance*: at most {CHANCE:g} % right; *near*: at most {NEAR:g} "
        f"point below backpropagation judged the same way ({results['backpropagation']:.1f} %); *above*: above it. On "
        "validation data, at the best of the rates; seconds of one processor."
    )
    speeds = results["speed"]
    cost = tables.table(
        ["times the fused pass", *(row["network"] for row in speeds)],
        [[_code(text), *(f"{row['ratios'][text]:.2f}" for row in speeds)] for text in speeds[0]["ratios"]],
    )
    chain = tables.table(
        ["equation", "came about by", "validation accuracy, %", ""],
        [[row["name"], row["how"], as_cell(row["accuracy"], ".1f"), _code(row["equation"])] for row in results["family"]],
    )
    return tables.blocks(
        edges.noted(tables.blocks(tables.table(head, rows, 2), caption)),
        searches,
        note,
        "The winner's ancestors:",
        chain,
        "What equations cost:",
        cost,
    )


def figures(results: dict[str, Any]) -> dict[str, Any]:
    searches, best = results["searches"], max(results["rows"][1:], key=lambda row: row["mean"])
    count, (evolved, drawn) = results["distinct"], (searches[name] for name in FILES)
    ratios = [ratio for row in results["speed"] for ratio in row["ratios"].values()]
    own = {name: [row for row in results["rows"] if row["source"] == name] for name in SAID}
    return {
        "equations": f"{sum(own['equations'] for own in searches.values()):,}",
        "seconds": f"{sum(own['seconds'] for own in searches.values()):,.0f}",
        "seconds_each": tables.spread([own["seconds"] / own["equations"] for own in searches.values()]),
        "most_seconds": f"{max(own['most_seconds'] for own in searches.values()):.2f}",
        "distinct": f"{count['distinct']:,}",
        "written": f"{count['written']:,}",
        "diverging": f"{count['diverged']:,}",
        "cost": tables.spread(ratios),
        "best": f"`{spelt(parse(best['equation']))}`",
        "difference": tables.outcome(best["difference"])
        if "p_holm" in best["difference"]
        else tables.gained(best["difference"]),
        "gains": sum(tables.told(row["difference"]) == tables.GAIN for row in results["rows"][1:]),
        "losses": sum(tables.told(row["difference"]) == tables.LOSS for rows in own.values() for row in rows),
        "gains_longer": sum(tables.told(row["difference_longer"]) == tables.GAIN for row in results["rows"][1:]),
        "compared": sum(map(len, own.values())),
        "unexplained": tables.spread([100 * share for shares in results["unexplained"].values() for share in shares], ".0f"),
        "depth": results["settings"]["depth"],
        "evolved": evolved,
        "drawn": drawn,
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    beats = "None" if not own["gains"] else f"{own['gains']}"
    return (
        f"{beats} of the {own['compared']} best of {own['equations']} equations, evolved or drawn at random, "
        f"{'beats' if own['gains'] in (0, 1) else 'beat'} backpropagation on fresh seeds, tuned from the same rates (in runs "
        f"that are {results['settings']['longer']} times longer: {own['gains_longer'] or 'none'}). The best of them by its mean is "
        f"{own['best']}, {own['difference']}."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    """Whether evolution finds what backpropagation is not, and what was hoped for of speed."""
    own, most = figures(results), max(ratio for row in results["speed"] for ratio in row["ratios"].values())
    each = max(search["seconds"] / search["equations"] for search in results["searches"].values())
    found = [
        tables.Doubt(
            "Evolution finds an equation that beats backpropagation, tuned with the same rates.",
            f"of the {own['compared']} best {own['gains'] or 'none'} does on fresh seeds, of {own['equations']} that were "
            "tried.",
            held=own["gains"] > 0,
        )
    ]
    if most > 1.6:
        found.append(
            tables.Doubt("An equation of depth 1 costs at most 1.6 times the fused pass.", f"{most:.2f} times.", held=False)
        )
    if each > 0.5:
        found.append(tables.Doubt("An equation takes at most 0.5 s of the processor on digits.", f"{each:.2f} s.", held=False))
    return found


if __name__ == "__main__":
    sys.exit(main())
