"""What do predictors tell of 15,625 cells before any is trained, and what does GradSign know beyond a count of weights?

    python -m benchmarks.predictors         # minutes, from the scores that benchmarks.scores has kept
    python -m benchmarks.predictors --quick

Kendall's τ with the test accuracies of NAS-Bench-201 (validation, where there are no others), on three data sets and in two
settings that the field mixes: all cells, and those without dead edges. Beside GradSign stand counts of weights, which need no
data. Where two cells have as many live weights, a count says nothing: how often does GradSign then prefer the better one?
Combinations by ranks are chosen on one half of the cells and reported on the other.

Writes benchmarks/results/predictors.json.
"""

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from benchmarks import quick, scores, tables
from pipeline.architectures.space import Space
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.table import TABLES, Table, read_tables
from pipeline.data import data_folder
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.names import COMBINATIONS, parts_of
from pipeline.predictors.rank import combined
from pipeline.results.provenance import provenance
from pipeline.results.statistics import rank_correlation
from pipeline.results.tables import as_cell
from pipeline.seeding import numpy_stream
from pipeline.targets.nasbench201 import CellNetwork, cells

RESAMPLES = 1000
AIM = 0.78
"""τ on CIFAR-10 that was hoped for"""
LARGEST = 4
"""predictors that a combination has, at most"""
BY: tuple[Literal["mean", "logarithm"], ...] = ("mean", "logarithm")
"""what is added up: ranks, or their logarithms as AZ-NAS does"""
STEP = 1
"""of the cells, every so many-th is looked at"""
QUICK = {"RESAMPLES": 20, "STEP": 100, "LARGEST": 2}
SPACE: Space = SPACES["nasbench201"]
SIDE = 32
"""pixels of an image"""
ALIKE = ("flops", "live_flops")
"""rank cells as the weights do, so that no combination needs them"""
COUNTS = ("params", "live_params", "flops", "live_flops")
PUBLISHED = {
    "params": (0.578, 0.552, 0.520, None),
    "naswot": (0.557, 0.579, 0.573, 37),
    "synflow": (0.571, 0.565, 0.555, 53),
    "zico": (0.589, 0.590, 0.584, 373),
    "gradsign": (0.618, 0.594, 0.575, 1824),
    "az_nas": (0.741, 0.723, 0.710, 43),
    "synflow+az_nas": (0.776, 0.758, 0.747, 96),
}
"""τ on the three data sets over all cells, and ms on a GPU: AZ-NAS (Lee & Ham, 2024), table 1; read second-hand"""
Column = Float[np.ndarray, " N"]


def main() -> int:
    parser = quick.parser_of(__doc__)
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    try:
        known = made_up() if options.quick else read_tables(data_folder(None))
        found = made_up_scores() if options.quick else read_json(quick.RESULTS / "predictors-scores.json")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    columns, some = predictors_of(found)
    accuracies = {name: table.accuracy for name, table in known.items()}
    facts: dict[str, Any] = {"test": all(table.test is not None for table in known.values())}
    facts["rows"] = rows(columns, some | published(columns | some), accuracies, found["scores"])
    facts["beyond"] = beyond(columns | some, accuracies)
    facts["combinations"] = combinations(columns, some, accuracies)
    kept = found["scores"].items()
    facts["scored"] = {name: {"cells": len(own["index"]), "of": own["of"], "commits": own["commits"]} for name, own in kept}
    write_json(results / "predictors.json", facts | provenance("python -m benchmarks.predictors", 0))
    print(table(read_json(results / "predictors.json")))
    return 0


# -- scores ------------------------------------------------------------------------------------------------------------


def predictors_of(found: Mapping[str, Any]) -> tuple[dict[str, Column], dict[str, Column]]:
    """Scores of every cell by predictor, and those of the drawn cells alone; NaN for the others there."""
    columns = counts()
    some: dict[str, Column] = {}
    drawn = np.isin(np.arange(SPACE.size), found["drawn"])
    for predictor, own in found["scores"].items():
        if not own["drawn"]:
            continue
        values = {predictor: spread(own["index"], own["value"])}
        if predictor == "gradsign":
            with np.errstate(divide="ignore", invalid="ignore"):  # a weight has a gradient where it is live
                for name, count in (("gradsign_mean", "params"), ("gradsign_live", "live_params")):
                    values[name] = values[predictor] / columns[count]
        for name, column in values.items():
            if predictor in scores.EVERY and len(own["index"]) == own["of"]:
                columns[name] = column
            else:  # of the others only the drawn ones are a fair sample
                some[name] = np.where(drawn, column, math.nan)
    return columns, some


def published(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Combinations that a paper names, among the cells that have a score by each of their parts."""
    found = {}
    for name in PUBLISHED:
        parts = parts_of(name)
        if (name in COMBINATIONS or "+" in name) and all(part in columns for part in parts):
            found[name] = np.array(combined(name, {part: columns[part].tolist() for part in parts}))
    return found


def counts() -> dict[str, Column]:
    """Weights and multiply-adds of every cell, of all weights and of the live ones, without making 15,625 networks.

    Both are sums over edges, and an edge's part depends on its operation alone; the rest of the network is the same for all,
    and dead where a cell joins input to output nowhere.
    """
    rest, one, three = (_counted(operation) for operation in ("none", "nor_conv_1x1", "nor_conv_3x3"))
    parts = {"nor_conv_1x1": (one - rest) / 6, "nor_conv_3x3": (three - rest) / 6}
    found = np.zeros((SPACE.size, 2, 2))
    for place, cell in enumerate(cells()):
        for operation, live in zip(cell.operations, cell.live_edges(), strict=True):
            if operation in parts:
                found[place] += np.outer([1, live], parts[operation])
        found[place] += np.outer([1, cell.connected], rest)
    return {"params": found[:, 0, 0], "flops": found[:, 0, 1], "live_params": found[:, 1, 0], "live_flops": found[:, 1, 1]}


def _counted(operation: str) -> Float[np.ndarray, "2"]:
    """Weights and multiply-adds of the network whose six edges have this operation, whether they are live or not."""
    import torch

    from pipeline.targets.nasbench201 import Cell

    with torch.device("meta"):
        module = CellNetwork(Cell((operation,) * 6), 10, *scores.SIZES, affine=False)
    layers = list(module.layers(SIDE, SIDE))
    return np.array([sum(own.weights for own in layers), sum(own.weights * own.positions for own in layers)], dtype=float)


def spread(index: Sequence[int], values: Sequence[float | str | None]) -> Column:
    """The values of the cells that were scored, for every cell that computes the same; NaN elsewhere."""
    own = {place: float("nan" if value is None else value) for place, value in zip(index, values, strict=True)}
    return np.array([own.get(place, math.nan) for place in canonical()])


def canonical() -> list[int]:
    """Of every cell, the index of the one that stands for it."""
    if not _CANONICAL:
        _CANONICAL.extend(SPACE.index(SPACE.code(str(SPACE.canonical(code)))) for code in SPACE)
    return _CANONICAL


_CANONICAL: list[int] = []


def whole_cells() -> Int[np.ndarray, " M"]:
    """Indices of the cells that have no dead edge (9,445)."""
    return np.array([place for place, cell in enumerate(cells()) if cell.live() == cell])


# -- what they tell ------------------------------------------------------------------------------------------------------


def rows(
    columns: Mapping[str, Column], some: Mapping[str, Column], accuracies: Mapping[str, Column], kept: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Kendall's τ of each predictor, on each data set, in both settings."""
    settings = {"all": np.arange(0, SPACE.size, STEP), "no dead edge": whole_cells()[::STEP]}
    found = []
    for name, column in (columns | some).items():
        cost = kept.get(name, {}).get("busy_ms")
        against = {
            setting: {data: ranked(column, accuracy, which) for data, accuracy in accuracies.items()}
            for setting, which in settings.items()
        }
        found.append({"predictor": name, "ms": cost, "every": name in columns, "against": against})
        print(name, as_cell(against["all"]["cifar10"]["kendall"], ".3f"), flush=True)
    return found


def ranked(column: Column, accuracy: Column, which: Int[np.ndarray, " M"]) -> dict[str, float]:
    """Kendall's τ and Spearman's ρ among these cells; the interval resamples cells that compute the same together."""
    finite = which[np.isfinite(column[which]) & np.isfinite(accuracy[which])]
    alike = np.array(canonical())[finite].tolist()
    own = rank_correlation(column[finite].tolist(), accuracy[finite].tolist(), alike, resamples=RESAMPLES)
    return {name: own[name] for name in ("kendall", "low", "high", "spearman", "n")}


def beyond(columns: Mapping[str, Column], accuracies: Mapping[str, Column]) -> dict[str, Any]:
    """Among cells that compute different things with equally many live weights, how often the one with the larger score is
    the more accurate; 0.5 is what a coin says. The interval resamples the groups of equal counts."""
    distinct = np.array(sorted(set(canonical())))[::STEP]
    groups = _groups(columns["live_params"][distinct], distinct)
    found: dict[str, Any] = {"groups": len(groups), "cells": sum(map(len, groups))}
    for name, column in columns.items():
        if name not in COUNTS:  # here all counts tell the same
            found[name] = {data: _agreement(column, accuracy, groups) for data, accuracy in accuracies.items()}
    if "gradsign" in columns:
        found["pearson"] = float(np.corrcoef(*_both(columns["gradsign"], columns["live_params"]))[0, 1])
    return found | {"per_weight": _per_weight(columns)}


def _both(one: Column, other: Column) -> tuple[Column, Column]:
    finite = np.isfinite(one) & np.isfinite(other)
    return one[finite], other[finite]


def _per_weight(columns: Mapping[str, Column]) -> dict[str, float]:
    """GradSign per live weight, beside what coins would give: E|Σ of N signs|."""
    examples = scores.EXAMPLES
    coins = sum(abs(2 * k - examples) * math.comb(examples, k) for k in range(examples + 1)) / 2**examples
    found = columns["gradsign_live"][np.isfinite(columns["gradsign_live"])] if "gradsign_live" in columns else []
    return {"median": float(np.median(found)) if len(found) else math.nan, "coins": coins}


def _groups(counted: Column, among: Int[np.ndarray, " M"]) -> list[Int[np.ndarray, " G"]]:
    order = np.argsort(counted, kind="stable")
    starts = np.flatnonzero(np.diff(counted[order])) + 1
    return [among[own] for own in np.split(order, starts) if len(own) > 1]


def _agreement(column: Column, accuracy: Column, groups: Sequence[Int[np.ndarray, " G"]]) -> dict[str, float]:
    """Shares of pairs; a pair with equal scores or accuracies does not count."""
    sums = np.array([_concordant(column[own], accuracy[own]) for own in groups], dtype=float).reshape(-1, 2)
    right, told = sums.sum(0)
    if not told:
        return {"share": math.nan, "low": math.nan, "high": math.nan, "pairs": 0}
    drawn = numpy_stream(0, "groups of equal counts").multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (drawn @ sums[:, 0]) / (drawn @ sums[:, 1])
    low, high = np.nanquantile(shares, [0.025, 0.975])
    return {"share": right / told, "low": float(low), "high": float(high), "pairs": int(told)}


def _concordant(score: Column, accuracy: Column) -> tuple[int, int]:
    """Pairs that agree, and pairs that say something."""
    signs = np.sign(score[:, None] - score) * np.sign(accuracy[:, None] - accuracy)
    upper = np.triu(np.nan_to_num(signs), 1)
    return int((upper > 0).sum()), int((upper != 0).sum())


# -- combinations ----------------------------------------------------------------------------------------------------------


def combinations(
    columns: Mapping[str, Column], some: Mapping[str, Column], accuracies: Mapping[str, Column]
) -> list[dict[str, Any]]:
    """The best of every size, chosen by τ on CIFAR-10 on one half of the cells, and its τ on the other half. Cells that compute
    the same, and have the same scores, are in the same half."""
    found = []
    for over, own in (("every cell", columns), ("the drawn cells", columns | some)):
        if over == "the drawn cells" and not some:
            continue
        usable = {name: column for name, column in own.items() if name not in ALIKE and np.isfinite(column).sum() > LARGEST}
        defined = np.flatnonzero(np.all([np.isfinite(column) for column in usable.values()], axis=0))
        first, second = halves(defined[::STEP])
        ranks = ranks_of(usable, list(usable), first)
        for size in range(1, LARGEST + 1):
            choices = [(names, by) for by in BY[:size] for names in itertools.combinations(usable, size)]
            if not choices:
                break
            told = {own: kendall(together(ranks, *own), accuracies["cifar10"][first]) for own in choices}
            best = max(told, key=lambda own: -math.inf if math.isnan(told[own]) else told[own])
            chosen = np.full(SPACE.size, math.nan)
            chosen[second] = together(ranks_of(usable, best[0], second), *best)
            reported = {data: ranked(chosen, accuracy, second) for data, accuracy in accuracies.items()}
            facts = {"over": over, "size": size, "names": best[0], "by": best[1], "of": len(choices), "chosen": told[best]}
            found.append(facts | {"against": reported})
            print(over, *best, as_cell(reported["cifar10"]["kendall"], ".3f"), flush=True)
    return found


def halves(places: Int[np.ndarray, " M"]) -> tuple[Int[np.ndarray, " A"], Int[np.ndarray, " B"]]:
    """The cells in two halves, drawn by what they compute."""
    stands = np.array(canonical())[places]
    distinct = numpy_stream(0, "halves").permutation(np.unique(stands))
    first = np.isin(stands, distinct[: len(distinct) // 2])
    return places[first], places[~first]


def ranks_of(columns: Mapping[str, Column], names: Sequence[str], which: Int[np.ndarray, " M"]) -> dict[str, Column]:
    """Ranks among these cells by each predictor."""
    return {name: stats.rankdata(columns[name][which]) for name in names}


def together(ranks: Mapping[str, Column], names: Sequence[str], by: Literal["mean", "logarithm"]) -> Column:
    """What :func:`pipeline.predictors.rank.by_ranks` makes of scores that are numbers, from their ranks."""
    own = np.stack([ranks[name] for name in names])
    return own.mean(0) if by == "mean" else np.log(own / own.shape[1]).sum(0)


def kendall(column: Column, accuracy: Column) -> float:
    found: Any = stats.kendalltau(column, accuracy)
    return float(found.statistic)


# -- for --quick ---------------------------------------------------------------------------------------------------------


def made_up() -> dict[str, Table]:
    """Accuracies that follow from the counts, and noise."""
    draws, live = numpy_stream(0, "made up"), counts()["live_params"]
    accuracy = 50 + 20 * live / live.max() + draws.normal(size=SPACE.size)
    return {name: Table(name, accuracy[:, None], None, None) for name in TABLES}


def made_up_scores() -> dict[str, Any]:
    """As the file of scores has them: of every cell that stands for others, and of few."""
    draws, every = numpy_stream(0, "scores"), sorted(set(canonical()))
    live = counts()["live_params"][every]
    found = {"gradsign": {"index": every, "value": (9 * live + draws.normal(size=len(every))).tolist()}}
    found |= {"naswot": {"index": every[:50], "value": draws.normal(size=50).tolist()}}
    other = {"ms": 1.0, "busy_ms": 1.0, "drawn": True, "commits": []}
    scored = {name: own | other | {"of": len(own["index"])} for name, own in found.items()}
    return {"scores": scored, "drawn": every[:50]}


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any], *_: Any) -> str:
    """Three tables: all predictors, what is beyond a count, combinations."""
    return tables.blocks(_ranks(results), _beyond(results), _combinations(results))


def _ranks(results: dict[str, Any]) -> str:
    head = ["predictor", "cells", *(f"τ {data}" for data in TABLES), "no dead edge", "ms", "published"]
    lines = []
    for row in sorted(results["rows"], key=lambda own: -(own["against"]["all"]["cifar10"]["kendall"] or -1)):
        every = row["against"]["all"]
        published = PUBLISHED.get(row["predictor"])
        told = "–" if published is None else f"{published[0]:.3f}"
        lines.append(
            [
                row["predictor"],
                f"{every['cifar10']['n']:,}",
                *(_tau(every[data]) if data == "cifar10" else as_cell(every[data]["kendall"], ".3f") for data in TABLES),
                as_cell(row["against"]["no dead edge"]["cifar10"]["kendall"], ".3f"),
                as_cell(row["ms"], ".0f") if row["ms"] else "–",
                told,
            ]
        )
    caption = (
        f"`{tables.command(results)}`: Kendall's τ between scores at initialisation and {_accuracy(results)} after 200 epochs, "
        "95 % bootstrap intervals. A predictor that was scored on fewer than all cells was so on 1,000 drawn uniformly, or "
        "those of them without dead edges. ms: of one core's time for 128 images and one cell, the median, with other work on "
        "the machine; a dash: none to speak of. No dead edge: τ on CIFAR-10 among cells without one. Published: τ on CIFAR-10 "
        "over all cells, read second-hand (AZ-NAS, table 1) "
        f"({tables.where(results)})."
    )
    return tables.blocks(tables.table(head, lines), caption)


def _accuracy(results: dict[str, Any]) -> str:
    return "test accuracy" if results["test"] else "validation accuracy"


def _tau(own: Mapping[str, Any]) -> str:
    return tables.interval({"tau": own["kendall"], "tau_low": own["low"], "tau_high": own["high"]}, "tau", ".3f", 1)


def _beyond(results: dict[str, Any]) -> str:
    own = results["beyond"]
    names = [name for name, value in own.items() if isinstance(value, dict) and "cifar10" in value]
    lines = [[name, f"{own[name]['cifar10']['pairs']:,}", *(_share(own[name][data]) for data in TABLES)] for name in names]
    caption = (
        f"Pairs of cells that compute different things with equally many live weights ({own['cells']:,} cells, {own['groups']} "
        "counts): in how many of 100 the one with the larger score is the more accurate. 50 is what a coin says."
    )
    return tables.blocks(tables.table(["predictor", "pairs", *TABLES], lines), caption) if lines else ""


def _share(own: Mapping[str, Any]) -> str:
    return tables.interval({"share": own["share"], "share_low": own["low"], "share_high": own["high"]}, "share", ".1f", 100)


def _combinations(results: dict[str, Any]) -> str:
    head = [
        "chosen among",
        "ranks of",
        "combinations tried",
        "τ where chosen",
        *(f"τ {data}" for data in TABLES),
    ]
    lines = [
        [
            f"{own['over']} ({own['against']['cifar10']['n']:,} for the report)",
            _named(own),
            f"{own['of']:,}",
            as_cell(own["chosen"], ".3f"),
            *(_tau(own["against"][data]) for data in TABLES),
        ]
        for own in results["combinations"]
    ]
    caption = (
        "Combinations, by the sum of ranks or, where it says log, of their logarithms: the best by τ on CIFAR-10 on one half "
        "of the cells that have all scores; τ of the other columns is on the other half. Cells that compute the same are in "
        "the same half, and resampled together."
    )
    return tables.blocks(tables.table(head, lines, left=2), caption)


def _named(own: Mapping[str, Any]) -> str:
    parts = " + ".join(own["names"])
    return f"log({parts})" if own.get("by") == "logarithm" else parts


def figures(results: dict[str, Any], *_: Any) -> dict[str, Any]:
    """Numbers for templates."""
    taus = {row["predictor"]: row["against"]["all"]["cifar10"]["kendall"] for row in results["rows"]}
    best, counted = _best(results), {row["predictor"]: row["against"]["all"]["cifar10"]["n"] for row in results["rows"]}
    share = results["beyond"].get("gradsign", {}).get("cifar10", {})
    return {
        "tau": {name: as_cell(value, ".3f") for name, value in taus.items()},
        "live": as_cell(taus.get("live_params"), ".3f"),
        "gradsign": as_cell(taus.get("gradsign"), ".3f"),
        "gradsign_cells": as_cell(counted.get("gradsign"), ",.0f"),
        "cells": as_cell(counted["live_params"], ",.0f"),
        "best": _named(best),
        "best_tau": as_cell(best["against"]["cifar10"]["kendall"], ".3f"),
        "best_over": best["over"],
        "share": as_cell(share.get("share"), ".0f", 100),
        "per_weight": as_cell(results["beyond"]["per_weight"]["median"], ".2f"),
        "coins": as_cell(results["beyond"]["per_weight"]["coins"], ".2f"),
    }


def verdict(results: dict[str, Any], *_: Any) -> str:
    own = figures(results)
    sums = f"GradSign ranks {own['gradsign_cells']} cells with τ = {own['gradsign']} on CIFAR-10, and the"
    if own["gradsign"] == "–":
        sums = "The"
    return (
        f"{sums} number of live weights, which needs neither data nor a gradient, ranks all {own['cells']} with "
        f"τ = {own['live']}. The best combination by ranks, over {own['best_over']}, is {own['best']}: "
        f"τ = {own['best_tau']} where it was not chosen."
    )


def doubts(results: dict[str, Any], *_: Any) -> list[tables.Doubt]:
    taus = {row["predictor"]: row["against"]["all"]["cifar10"]["kendall"] for row in results["rows"]}
    own, found = figures(results), []
    if taus.get("gradsign") is not None:
        found.append(
            tables.Doubt(
                "GradSign ranks architectures better than a count of the weights that can learn.",
                f"τ = {own['gradsign']} on CIFAR-10, and {own['live']} for the live weights; of cells with equally many it "
                f"prefers the better one in {own['share']} % of the pairs",
                taus["gradsign"] > (taus["live_params"] or 0),
            )
        )
    best = _best(results)
    found.append(
        tables.Doubt(
            f"A combination that needs no training ranks the cells with a Kendall's τ of at least {AIM} on CIFAR-10.",
            f"{own['best_tau']} ({own['best']}, over {own['best_over']})",
            (best["against"]["cifar10"]["kendall"] or 0) >= AIM,
        )
    )
    return found


def _best(results: dict[str, Any]) -> dict[str, Any]:
    """The combination that did best where it was chosen."""
    return max(results["combinations"], key=lambda own: own["chosen"] or -1)


if __name__ == "__main__":
    sys.exit(main())
