"""Can the gain of an ENN be predicted from what is measured of it in seconds?

    grad-instructor search tune_configs/every_enn.yaml --output FOLDER
    python -m benchmarks.predicted_enn FOLDER
    python -m benchmarks.predicted_enn --quick    # a tiny search of its own

Before that each ENN is scored at its initialisation by the predictors of architectures, which see it as a network that tells
the better half of recorded weights from the others (rl/offline/predicted.py).

In that search random ENNs are all judged to the end: measured on held-out runs after a short training, after a longer one and
after the whole, then made to instruct fresh targets: four after the longer and the whole training (a *trial*), at last many
more. The gain over those that were in no trial is predicted: by ridge regression on measurements or settings, fitted to all
the other ENNs (leave one out; the penalty is chosen inside, by leave-one-out on the others), and by one measurement, or the
trial, alone. The interval of the rank correlation resamples ENNs.

Also: what the search would have cost if only the third with the highest predictions had been judged to the end, and what would
have been lost.

Writes benchmarks/results/predicted-enn.json.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from benchmarks import quick, tables
from benchmarks.search import searched
from pipeline.config import identity
from pipeline.data import load
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.predictors import PREDICTORS
from pipeline.results.provenance import provenance
from pipeline.results.tables import as_cell
from pipeline.search.forecast import MEASURED, TRIAL, features, regressor
from pipeline.search.plan import Plan
from pipeline.search.values import Dimension, Group, Record, Stage
from pipeline.seeding import numpy_stream
from rl.offline import Trained, predicted, record

EVERY = Path(__file__).resolve().parents[1] / "tune_configs" / "every_enn.yaml"
AIM = 0.8
"""rank correlation of a trial with the gain that was aimed at"""
RESAMPLES = 1000
SHARE = 1 / 3
"""of the candidates that are judged to the end where the search uses predictions"""
PREDICTED = tuple(name for name in PREDICTORS if name != "enn")
LEAST = 4
"""ENNs that a predictor must be made for, to say anything"""
ALONE = ("rank_correlation", "calibration_error", "cosine", "agreement", "look_ahead")


QUICK = {"RESAMPLES": 20}


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="of the search tune_configs/every_enn.yaml")
    parser.add_argument("--output", type=Path, help="file (default: predicted-enn.json in benchmarks/results)")
    options = parser.parse_args()
    if not options.folder and not options.quick:
        parser.error("give the folder of the search tune_configs/every_enn.yaml, or --quick")
    if options.quick:
        globals().update(QUICK)
    results_in = quick.results_folder(options.quick)
    try:
        options.folder = options.folder or searched(results_in, tiny(EVERY.read_text()))
        found = read_json(options.folder / "search.json")
        rows = [row for row in found["rows"] if row["outcome"] == "finished"]
        stages = found["plan"]["stages"]
        folders = [options.folder / "candidates" / row["name"] for row in rows]
        measured = [[read_json(folder / f"{stage['name']}.json") for folder in folders] for stage in stages]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    gains = unseen(measured[-1], measured[-2])
    total = sum(result["seconds"] for stage in measured for result in stage)
    spaces, spent = found["plan"]["groups"][0]["space"], 0.0
    results = untrained(found["plan"], [row["settings"] for row in rows], gains, options.folder, total)
    for stage, own in zip(stages[:-1], measured[:-1], strict=True):
        spent += sum(result["seconds"] for result in own)
        for name, result in compare(own, [row["settings"] for row in rows], gains, spaces).items():
            result |= {"stage": stage["name"], "segments": stage["segments"], "targets": stage["targets"]}
            results[f"{stage['name']}: {name}"] = result | {"saving": saving(result["predicted"], gains, spent, total)}
    facts = provenance("python -m benchmarks.predicted_enn FOLDER", found["provenance"]["seed"])
    facts["search_commit"] = found["provenance"]["commit"]
    summary = {
        "enns": len(rows),
        "targets": stages[-1]["targets"] - stages[-2]["targets"],
        "segments": stages[-1]["segments"],
        "seconds": total,
        "gain": quantiles(gains),
        "gain_half_width": float(np.mean([result["gain_high"] - result["gain_low"] for result in measured[-1]]) / 2),
    }
    write_json(
        options.output or results_in / "predicted-enn.json", {"rows": results, "gains": gains.tolist(), **summary, **facts}
    )
    for name, result in results.items():
        print(f"{name}: ρ = {result['spearman']:.2f} [{result['low']:.2f}, {result['high']:.2f}]  {result['saving']}")
    return 0


def tiny(plan: str) -> str:
    """The search with few candidates, segments and targets."""
    changes = {"candidates: 40, ahead: 40": "candidates: 5, ahead: 5", "updates: 40": "updates: 2"}
    changes |= {"segments: 40": "segments: 2", "segments: 12": "segments: 1", "segments: 4}": "segments: 1}"}
    for old, new in (changes | {"targets: 48": "targets: 8", "training.steps: 150": "training.steps: 75"}).items():
        plan = plan.replace(old, new)
    return plan


def unseen(last: list[dict[str, Any]], trial: list[dict[str, Any]]) -> np.ndarray:
    """Each ENN's gain over the targets that the trials, which are the first of the last stage's, did not train."""
    sums = [[row["gain"] * row["targets"] for row in rows] for rows in (last, trial)]
    return (np.array(sums[0]) - np.array(sums[1])) / (last[0]["targets"] - trial[0]["targets"])


def untrained(
    written: dict[str, Any], settings: list[dict[str, Any]], gains: np.ndarray, folder: Path, total: float
) -> dict[str, dict[str, Any]]:
    """By predictor of architectures: how well its score of the untrained ENN ranks the gains; of those that it is made for.

    Args:
        written: the search's plan, as its folder has it.
        settings: of every ENN.
        total: seconds that judging all of them took.
    """
    torch.set_num_threads(1)
    plan = plan_of(written)
    dataset, (group,), started = load(plan.config().data.dataset), plan.groups, time.thread_time()
    targets = max(stage.targets for stage in plan.stages)
    recorded = {
        name: record(config, dataset, folder / "recordings" / name, plan.record.rounds, targets, plan.record.updates)
        for name, config in plan.recordings().items()
    }
    scores: dict[str, list[float]] = {name: [] for name in PREDICTED}
    for own in settings:
        config = plan.config(group, own)
        runs = recorded[identity(plan.recording(group, config))]
        found = predicted(config, Trained(config, dataset, runs).critic(), runs, PREDICTED)
        for name in PREDICTED:
            scores[name].append(found[name])
    spent, results = (time.thread_time() - started) / len(PREDICTED), {}
    for name, column in scores.items():
        known = np.isfinite(column)
        if known.sum() < LEAST:
            continue
        result = skill(np.array(column)[known], gains[known]) | {"n": int(known.sum()), "stage": "untrained"}
        ranked = np.where(known, column, -np.inf).tolist()
        result |= {"segments": 0, "targets": 0, "predicted": column, "saving": saving(ranked, gains, spent, total)}
        results[f"untrained: {name}"] = result
    return results


def plan_of(written: dict[str, Any]) -> Plan:
    """What of a plan decides its candidates' settings and what they are measured on."""
    groups = tuple(
        Group(own["name"], own["settings"], tuple(Dimension(**_dimension(one)) for one in own["space"]))
        for own in written["groups"]
    )
    stages = tuple(Stage(**own) for own in written["stages"])
    record = Record(**written["record"])
    return Plan(written["name"], "", written["kind"], written["preset"], groups, (), stages, record=record)


def _dimension(written: dict[str, Any]) -> dict[str, Any]:
    return written | {"choice": tuple(written["choice"]), "when": tuple((key, tuple(own)) for key, own in written["when"])}


def compare(
    found: list[dict[str, Any]], settings: list[dict[str, Any]], gains: np.ndarray, space: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """By predictor: what it predicts for each ENN from the others, and how well that ranks them."""
    table = features(found, MEASURED)
    results = {
        "settings": skill(left_out(encoded(settings, space), gains), gains),
        "measurements": skill(left_out(table, gains), gains),
    }
    if TRIAL in found[0]:
        results["measurements and trial"] = skill(left_out(features(found), gains), gains)
        results["trial alone"] = skill(features(found, (TRIAL,))[:, 0], gains)
    for name in ALONE:
        sign = -1.0 if name == "calibration_error" else 1.0
        results[f"{name.replace('_', ' ')} alone"] = skill(sign * table[:, MEASURED.index(name)], gains)
    return results


def left_out(table: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Each ENN's gain, predicted from the others, less the others' mean: that alone would rank the left-out ones backwards."""
    predicted = np.empty(len(gains))
    for one in range(len(gains)):
        others = np.arange(len(gains)) != one
        predicted[one] = regressor().fit(table[others], gains[others]).predict(table[one : one + 1])[0] - gains[others].mean()
    return predicted


def encoded(settings: list[dict[str, Any]], space: list[dict[str, Any]]) -> np.ndarray:
    """(ENNs, columns): numbers, by logarithm where they were searched so; one column per choice; 0 where it did not matter."""
    columns = []
    for dimension in space:
        values = [row.get(dimension["key"]) for row in settings]
        if dimension["choice"]:
            columns += [[float(value == choice) for value in values] for choice in dimension["choice"][1:]]
            continue
        known = [np.log(value) if dimension["log"] else float(value) for value in values if value is not None]
        centre = float(np.mean(known))
        columns.append([0.0 if v is None else (np.log(v) if dimension["log"] else float(v)) - centre for v in values])
    return np.array(columns).T


def skill(predicted: np.ndarray, gains: np.ndarray) -> dict[str, Any]:
    """Spearman's rank correlation with its 95 % interval (percentile bootstrap over ENNs)."""
    draws = numpy_stream(0, "predicted ENN").integers(len(gains), size=(RESAMPLES, len(gains)))
    resampled = [spearman(predicted[chosen], gains[chosen]) for chosen in draws]
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return {"spearman": spearman(predicted, gains), "low": float(low), "high": float(high), "predicted": predicted.tolist()}


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    correlation: Any = stats.pearsonr(stats.rankdata(x), stats.rankdata(y))
    return float(correlation.statistic)


def saving(predicted: list[float], gains: np.ndarray, spent: float, total: float) -> dict[str, float]:
    """Judging to the end only the best SHARE by a prediction that took ``spent`` of ``total`` seconds for all: the share of the
    seconds that it takes, and the gain that is kept."""
    kept = np.argsort(predicted)[::-1][: max(1, round(SHARE * len(gains)))]
    return {
        "share_of_seconds": (spent + (total - spent) * len(kept) / len(gains)) / total,
        "best_kept": float(gains[kept].max()),
        "best": float(gains.max()),
        "mean_kept": float(gains[kept].mean()),
        "mean": float(gains.mean()),
    }


def quantiles(values: np.ndarray) -> list[float]:
    """Smallest, quartiles, largest."""
    return np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """One row per way of predicting, by how far the ENNs were trained; below it the spread of what was to be predicted."""
    cells, before = [], None
    for name, row in results["rows"].items():
        saved, trained = row["saving"], f"{row['segments']} of {results['segments']}"
        kept = [
            f"{as_cell(saved['best_kept'], '+.2f')} of {as_cell(saved['best'], '+.2f')}",
            as_cell(saved["mean_kept"], "+.2f"),
        ]
        spent = f"{100 * saved['share_of_seconds']:.0f} %"
        cells.append(
            [trained if trained != before else "", name.partition(": ")[2], _skill(row, results["enns"]), spent, *kept]
        )
        before = trained
    low, _, middle, _, high = (as_cell(value, "+.2f") for value in results["gain"])
    mean = next(iter(results["rows"].values()))["saving"]["mean"]
    trial = max(row["targets"] for row in results["rows"].values())
    caption = (
        f"`{tables.command(results)}`: Spearman's ρ over {results['enns']} random ENNs, each predicted from the others "
        "(leave one "
        f"out); 95 % intervals resample ENNs, not corrected for their number. Gains: {low} to {high}, median {middle}, each "
        "known "
        f"to ± {results['gain_half_width']:.1f} ({results['targets']} targets); trial: the gain of {trial} other targets. "
        f"Time spent, gains kept: were only the third with the highest predictions judged to the end (mean of all: "
        f"{as_cell(mean, '+.2f')}). All took {results['seconds'] / 60:.0f} minutes of the processor ({tables.where(results)})."
    )
    head = ["segments", "predicted from", "rank correlation with the gain", "time spent", "best gain kept", "mean gain kept"]
    return tables.blocks(tables.table(head, cells, left=2), caption)


def _skill(row: dict[str, Any], enns: int = 0) -> str:
    few = f" ({row['n']} ENNs)" if row.get("n", enns) < enns else ""
    return f"{as_cell(row['spearman'], '.2f')} [{as_cell(row['low'], '.2f')}, {as_cell(row['high'], '.2f')}]{few}"


def figures(results: dict[str, Any]) -> dict[str, Any]:
    rows = results["rows"]
    last = max(row["segments"] for row in rows.values())
    before = {name: row for name, row in rows.items() if row["segments"] < last}
    known = [name for name, row in before.items() if row["low"] > 0]
    trial, measured = rows["trained: trial alone"], rows["trained: measurements"]
    agreed = rows["trained: agreement alone"]
    return {
        "enns": str(results["enns"]),
        "segments": str(results["segments"]),
        "targets": str(results["targets"]),
        "trial_targets": str(trial["targets"]),
        "trial": _skill(trial),
        "measurements": _skill(measured),
        "agreement": _skill(agreed),
        "before": tables.spread((row["spearman"] for row in before.values()), ".2f"),
        "early": ", ".join(sorted({str(row["segments"]) for row in before.values()}, key=int)),
        "known_before": tables.counted(known, list(before)),
        "any_before": bool(known),
        "saved": f"{100 * (1 - trial['saving']['share_of_seconds']):.0f}",
        "aim": f"{AIM:g}",
        "aimed": trial["spearman"] >= AIM,
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"Before an ENN is trained ({own['early']} of {own['segments']} segments) {own['known_before']} ways of predicting "
        "its gain rank "
        f"it at all (ρ {own['before']}). Once it is trained, measurements rank it with {own['measurements']} and a trial of "
        f"{own['trial_targets']} targets with {own['trial']}, which saves {own['saved']} % of the time."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "The gain of an ENN can be predicted before it is trained.",
            f"Of the ways that were tried after {own['early']} of {own['segments']} segments, {own['known_before']} tell it "
            "from chance "
            f"(ρ {own['before']}).",
            own["any_before"],
        ),
        tables.Doubt(
            f"A trial of {own['trial_targets']} targets ranks trained ENNs by their gain with ρ ≥ {own['aim']}.",
            own["trial"],
            own["aimed"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
