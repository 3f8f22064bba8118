"""What did a search find, and is its best better than the next? Its outcome, as its page shows it.

    grad-instructor search tune_configs/NAME.yaml --output FOLDER
    python -m benchmarks.search FOLDER
    python -m benchmarks.search --quick    # a tiny search of its own, on digits

Writes benchmarks/results/search-NAME.json and the figure of the front. All numbers are on validation data.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import edges, quick, tables
from pipeline import children
from pipeline.config import PRESETS
from pipeline.errors import UserError
from pipeline.files import read_json, write_atomic, write_json
from pipeline.results.measures import with_unit
from pipeline.results.tables import NONE, as_cell
from pipeline.search.plan import ranked_by

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
    command = [
        sys.executable,
        "-m",
        "pipeline.command_line",
        "search",
        str(plan),
        "--local",
        "--output",
        str(folder / "search"),
    ]
    if children.start(command, cwd=Path(__file__).resolve().parents[1]).wait():
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


# -- its page ------------------------------------------------------------------------------------------------------------

ALSO_SHOWN = {"rank_correlation": "τ of V, held-out runs", "calibration_error": "calibration error", "parameters": "parameters"}
"""where every candidate of a search over ENNs is shown"""
MOST_BESIDE = 5
"""candidates beside each other"""
MOST_COLUMNS = 7
"""settings beyond this number stand below each other, in a table of their own"""


def redraw(results: dict[str, Any], folder: Path) -> None:
    """The picture of the front once more, from the results alone; nothing where there is none."""
    from pipeline.results import figures
    from pipeline.search.outcome import kind_of

    path, objectives = folder / f"search-{results['search']}.png", [name for name, _ in results["plan"]["objectives"]][:2]
    if not path.exists() or len(objectives) < 2:
        return
    points = [
        {"name": row["name"], "x": row["result"][objectives[1]], "y": row["result"][objectives[0]]}
        | {"front": row["name"] in results["pareto"], "kind": kind_of(row)}
        for row in results["rows"]
    ]
    figures.front(points, objectives, path, data=data_of(results), note=ranked_by(objectives))


def data_of(results: dict[str, Any]) -> str:
    """What a search was on: settings of its own come before those of its preset."""
    plan = results["plan"]
    own = [group.get("settings", {}).get("data.dataset") for group in plan["groups"]]
    return next(filter(None, own), PRESETS[plan["preset"]].data.dataset)


def table(results: dict[str, Any]) -> str:
    """The Pareto front of a search (where there is one objective: the best of each group), and what the search cost."""
    plan, rows = results["plan"], {row["name"]: row for row in results["rows"]}
    objectives = [name for name, _ in plan["objectives"]]
    everything = plan["sampler"]["name"] == "grid"
    groups = list(dict.fromkeys(row["group"] for row in rows.values())) if len(plan["groups"]) > 1 else []
    chosen = list(rows.values()) if everything else [rows[name] for name in results["pareto"]]
    if groups:
        chosen = best_of_groups(results)
    keys = [key for key in _keys(plan) if any(key in row["settings"] for row in chosen)]
    also = ALSO_SHOWN if everything else {}
    found, settings = [], []
    for row in chosen:
        name = f"**{row['name']}**" if everything and row["name"] in results["pareto"] else row["name"]
        values = [_objective(row["result"], name) for name in objectives]
        values += [f"{row['result'][name]:,.2f}".removesuffix(".00") for name in also]
        space = {dimension["key"]: dimension for group in plan["groups"] for dimension in group["space"]}
        if groups:  # the same name may have another range in each
            (own,) = (group["space"] for group in plan["groups"] if group["name"] == row["group"])
            space = {dimension["key"]: dimension for dimension in own}
        cells = {key: _setting(row["settings"].get(key)) for key in keys}
        edge = {key: not everything and _at_edge(row["settings"].get(key), space.get(key)) for key in keys}
        found.append([name, *values])
        settings.append([edges.marked(cell, edge[key]) for key, cell in cells.items()])
    head = ["candidate", *map(with_unit, objectives), *also.values()]
    if len(head) + len(keys) <= MOST_COLUMNS:
        shown = [tables.table([*head, *(f"`{key}`" for key in keys)], [[*a, *b] for a, b in zip(found, settings, strict=True)])]
    else:
        names = [row[0] for row in found]
        shown = [tables.table(head, found), "Their settings:"]
        for first in range(0, len(names), MOST_BESIDE):
            some = slice(first, first + MOST_BESIDE)
            below = [[f"`{key}`", *(cells[at] for cells in settings[some])] for at, key in enumerate(keys)]
            shown.append(tables.table(["candidate", *names[some]], below))
    of_enns = "; gain in points of accuracy over the same targets without an ENN, half of them from He"
    minutes = results["processor_seconds"] / 60
    taken = f"{minutes:.1f}" if minutes < 1 else f"{minutes:.0f}"
    ended = ", ".join(f"{count} after *{name}*" for name, count in results["ended_after"].items())
    facts, last = results["provenance"], plan["stages"][-1]
    caption = (
        f"`{tables.command(facts)}`: {results['candidates']} candidates ({ended}) in {results['wall_seconds'] / 60:.0f} "
        "minutes, "
        f"{taken} of the processor; {last['targets']} fresh targets per finished candidate, "
        f"validation data{of_enns * ('gain' in objectives)} ({facts['hardware']['cores']} cores; {tables.where(facts)}; "
        f"seed {facts['seed']})."
    )
    caption += " Bold: on the front." * everything
    return edges.noted(tables.blocks(*shown, caption))


def best_of_groups(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each group the row that is best by the first objective; a larger one is better."""
    objective, rows = results["plan"]["objectives"][0][0], results["rows"]
    groups = dict.fromkeys(row["group"] for row in rows)
    return [max((row for row in rows if row["group"] == group), key=lambda row: row["result"][objective]) for group in groups]


def _at_edge(chosen: Any, dimension: dict[str, Any] | None) -> bool:
    """Whether a learning rate, strength or penalty lies at an edge of where it was searched."""
    name = dimension["key"].rpartition(".")[2] if dimension else ""
    if dimension is None or name not in ("learning_rate", "strength", *edges.PENALTIES) or chosen is None:
        return False
    if dimension["choice"]:
        return edges.at_edge(chosen, dimension["choice"], name in edges.PENALTIES)
    return edges.in_range(chosen, dimension["low"], dimension["high"], dimension["log"], name)


def _keys(plan: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(dimension["key"] for group in plan["groups"] for dimension in group["space"]))


def _objective(result: dict[str, Any], name: str) -> str:
    if name == "gain":
        return tables.interval(result, "gain", "+.2f", 1)
    return f"{result[name]:.3g}"


def _setting(value: Any) -> str:
    if value is None:
        return NONE
    return ", ".join(map(str, value)) if isinstance(value, list) else f"{value:.3g}" if isinstance(value, float) else str(value)


def figures(results: dict[str, Any]) -> dict[str, Any]:
    rows, plan = results["rows"], results["plan"]
    objective = plan["objectives"][0][0]
    best = max(rows, key=lambda row: row["result"][objective])["result"]
    own: dict[str, Any] = {
        "question": results["question"],
        "candidates": str(results["candidates"]),
        "minutes": f"{results['wall_seconds'] / 60:.0f}",
        "best": _objective(best, objective),
    }
    if objective != "gain":
        best_ones = best_of_groups(results) if len(plan["groups"]) > 1 else []
        return own | {"by_group": "; ".join(f"{row['group']} {_objective(row['result'], objective)}" for row in best_ones)}
    front = [row for row in rows if row["name"] in results["pareto"]]
    low, high = (max(front, key=lambda row: row["result"]["gain"])["result"][f"gain_{end}"] for end in ("low", "high"))
    own |= {
        "small": as_cell(best["gain_small"], "+.1f"),
        "he": as_cell(best["gain_he"], "+.1f"),
        "he_of_all": tables.spread((row["result"]["gain_he"] for row in rows), "+.1f"),
        "he_told": best["gain_he"] > 0,
        "front": str(len(front)),
        "overlap": sum(row["result"]["gain_high"] >= low and row["result"]["gain_low"] <= high for row in front),
        "gamma": tables.spread((row["settings"].get("rl.gamma") for row in front), ".2f"),
        "n_step": tables.spread((row["settings"].get("rl.n_step") for row in front), "g"),
        "readers": ", ".join(dict.fromkeys(_setting(row["settings"].get("enn.readers")) for row in front)),
        "resolution": tables.spread((row["settings"].get("enn.resolution") for row in front), ".3g"),
        "tau_best": _setting(max(rows, key=lambda row: row["result"]["rank_correlation"])["settings"].get("enn.resolution")),
        "gain_best": _setting(max(rows, key=lambda row: row["result"]["gain"])["settings"].get("enn.resolution")),
        "convnets": str(sum(_setting(row["settings"].get("enn.readers")) == "convnet" for row in [*rows, *results["others"]])),
    }
    return own


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    if "by_group" in own:
        return (
            f"All with the same budget, the best of each group reach: {own['by_group']}. {own['candidates']} candidates were "
            "judged in "
            f"{own['minutes']} minutes."
        )
    apart = f"the intervals of {own['overlap']} of the {own['front']} candidates on the front overlap with that of the best"
    return (
        f"The best of {own['candidates']} candidates gains {own['best']} points ({own['small']} from small weights, "
        f"{own['he']} from He); "
        f"{apart}. A search's best is flattered by having been chosen."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own, name = figures(results), results["search"]
    if "he" not in own:
        return []
    return [
        tables.Doubt(
            f"The search `{name}` tells which candidate is best.",
            f"The intervals of {own['overlap']} of {own['front']} on the front overlap with that of the best.",
            own["overlap"] <= 1,
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
