"""The page on evolved equations (:mod:`benchmarks.evolution`): its tables, figures and words."""

from typing import Any

from benchmarks import edges, tables
from pipeline.learning.expression.spelling import parse, spelt
from pipeline.results.tables import as_cell

FILES = {"evolved": "backprop_evolution", "drawn": "backprop_random"}
"""searches, and their files in tune_configs"""
CHANCE, NEAR = 15.0, 1.0
"""accuracy up to which nothing was learned (of ten classes), and points below backpropagation"""
MOST_COST, MOST_SECONDS = 1.6, 0.5
"""aims: times the fused pass, of an equation of depth 1; of the processor, for an equation on digits"""


def _code(text: str) -> str:
    """An equation in a cell of a table."""
    return f"`{spelt(parse(text))}`".replace("|", "\\|")


COUNTS = ("equations", "diverged", "chance", "near")
SAID = {"evolved": "evolved", "drawn": "at random"}


def table(results: dict[str, Any]) -> str:
    """Fresh seeds; then how the searches ended; the winner's ancestors; what equations cost."""
    own, facts, found = results["settings"], results["provenance"], corrected(results)
    rows, longer = [], []
    for row in found:
        source, first = SAID.get(row["source"], row["source"]), row is found[0]
        cells = {
            end: ["–", "–"] if first else [tables.signed(row[f"difference{end}"]), tables.p_cell(row[f"difference{end}"])]
            for end in ENDS
        }
        rate = edges.marked(f"{row['rate']:g}", edges.at_edge(row["rate"], own["rates"]))
        rows.append([_code(row["equation"]), source, tables.interval(row, "mean", ".2f", 100), *cells[""], rate])
        diverged = [str(row[f"diverged{end}"]) for end in ENDS]
        mean = tables.interval(row, "mean_longer", ".2f", 100)
        longer.append([_code(row["equation"]), mean, *cells["_longer"], ", ".join(diverged)])
    caption = (
        f"`{tables.command(facts)}`: {own['seeds']} fresh paired seeds, digits, {own['steps']} steps of Adam on hidden layers "
        f"of {', '.join(map(str, own['hidden']))} (tanh), longer: {own['longer']} times as many; each row chose its rate from "
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
    head = ["equation", "found", "test accuracy, %", "difference", tables.P, "rate"]
    head_longer = ["the same, longer", "test accuracy, %", "difference", tables.P, "diverged, in short and long runs"]
    return tables.blocks(
        edges.noted(tables.blocks(tables.table(head, rows, 2), tables.table(head_longer, longer), caption)),
        searches,
        note,
        "The winner's ancestors:",
        chain,
        "What equations cost:",
        cost,
    )


ENDS = ("", "_longer")
"""of the names of what belongs to runs of either length"""


def corrected(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, with p of the differences corrected for their number."""
    rows = results["rows"]
    for end in ENDS:
        tables.correct([row[f"difference{end}"] for row in rows[1:]])
    return rows


def figures(results: dict[str, Any]) -> dict[str, Any]:
    searches, rows = results["searches"], corrected(results)
    best = max(rows[1:], key=lambda row: row["mean"])
    count, (evolved, drawn) = results["distinct"], (searches[name] for name in FILES)
    ratios = [ratio for row in results["speed"] for ratio in row["ratios"].values()]
    own = {name: [row for row in rows if row["source"] == name] for name in SAID}
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
        "gains": sum(tables.told(row["difference"]) == tables.GAIN for row in rows[1:]),
        "losses": sum(tables.told(row["difference"]) == tables.LOSS for rows in own.values() for row in rows),
        "gains_longer": sum(tables.told(row["difference_longer"]) == tables.GAIN for row in rows[1:]),
        "compared": sum(map(len, own.values())),
        "unexplained": tables.spread([100 * share for shares in results["unexplained"].values() for share in shares], ".0f"),
        "depth": results["settings"]["depth"],
        "evolved": {key: f"{evolved[key]:,}" for key in COUNTS},
        "drawn": {key: f"{drawn[key]:,}" for key in COUNTS},
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"Of the {own['compared']} best of {own['equations']} equations, evolved or drawn at random, "
        f"{own['gains'] or 'not one'} is better than backpropagation on fresh seeds, tuned from the same rates (in runs that "
        f"are {results['settings']['longer']} times longer: {own['gains_longer'] or 'not one'}). The best of "
        f"them by its mean is {own['best']}, {own['difference']}."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    """Whether evolution finds what backpropagation is not, and what was hoped for of speed."""
    own, most = figures(results), max(ratio for row in results["speed"] for ratio in row["ratios"].values())
    each = max(search["seconds"] / search["equations"] for search in results["searches"].values())
    found = [
        tables.Doubt(
            "Evolution finds an equation that is better than backpropagation, tuned with the same rates.",
            f"of the {own['compared']} best {own['gains'] or 'not one'} is on fresh seeds; {own['equations']} were tried.",
            held=own["gains"] > 0,
        )
    ]
    for is_, aim, what, unit in (
        (most, MOST_COST, "An equation of one binary operator costs at most", "times the fused pass"),
        (each, MOST_SECONDS, "An equation on digits takes at most", "s of the processor"),
    ):
        if is_ > aim:
            found.append(tables.Doubt(f"{what} {aim:g} {unit}.", f"{tables.spread([is_])}.", held=False))
    return found
