"""What a search ends with: the table of all candidates, the Pareto front, plots, and the best settings as files."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config import to_dotted
from pipeline.files import write_json
from pipeline.results.edges import PENALTIES, edge_of, end_of_range
from pipeline.results.measures import short, with_unit
from pipeline.results.tables import as_cell
from pipeline.search.candidates import Search
from pipeline.search.kinds import KINDS
from pipeline.search.ladder import Ladder, name_of
from pipeline.search.plan import TIMES, Plan, deciding, ranked_by
from pipeline.search.values import Dimension, Group

if TYPE_CHECKING:
    from pipeline.results.figures import Drawing

Row = dict[str, Any]


def rows_of(search: Search) -> list[Row]:
    """One row per candidate: its name, group, number, settings, how it ended and where, the last stage's results, and the
    commits that judged it."""
    rows = []
    for group in search.plan.groups:
        ladder = search.ladders[group.name]
        for number, chosen in enumerate(ladder.chosen):
            stage, how = ladder.outcome(number) or (0, "unfinished")
            rows.append(
                {
                    "name": name_of(group.name, number),
                    "group": group.name,
                    "number": number,
                    "settings": chosen,
                    "outcome": how,
                    "stage": search.plan.stages[stage].name,
                    "result": ladder.results.get((number, stage), {}),
                    "seconds": _seconds(ladder, number),
                    "commits": _commits(search, group.name, number),
                }
            )
    return rows


def _seconds(ladder: Ladder, number: int) -> float:
    """Of the processor, over all stages of a candidate."""
    return sum(float(result.get("seconds", 0.0)) for (other, _), result in ladder.results.items() if other == number)


def _commits(search: Search, group: str, number: int) -> list[str]:
    by = [made_by for (name, other, _), made_by in sorted(search.made_by.items()) if (name, other) == (group, number)]
    return sorted({str(one["commit"]) for one in by if "commit" in one})


def pareto(plan: Plan, rows: Sequence[Row]) -> list[Row]:
    """The finished rows that no other finished row is at least as good as in every objective and better in one; best first."""
    finished = [row for row in rows if row["outcome"] == "finished"]
    points = np.array([_losses(plan, row) for row in finished]).reshape(len(finished), len(plan.objectives))
    front = [
        row
        for row, point in zip(finished, points, strict=True)
        if not ((points <= point).all(1) & (points < point).any(1)).any()
    ]
    return sorted(front, key=lambda row: _losses(plan, row))


def _losses(plan: Plan, row: Row) -> list[float]:
    signs = {"maximise": -1.0, "minimise": 1.0}
    return [signs[direction] * deciding(row["result"], name) for name, direction in plan.objectives]


def best_of(plan: Plan, rows: Sequence[Row]) -> dict[str, Row]:
    """By group, the row that is best in the first objective."""
    best: dict[str, Row] = {}
    for row in pareto(dataclasses.replace(plan, objectives=plan.objectives[:1]), rows):
        best.setdefault(row["group"], row)
    for group in plan.groups:
        own = [row for row in rows if row["group"] == group.name and row["outcome"] == "finished"]
        if own:
            best[group.name] = min(own, key=lambda row: (_losses(plan, row), row["number"]))
    return best


def write_best(plan: Plan, rows: Sequence[Row], folder: Path) -> list[str]:
    """``best.json`` (of each group ``best-GROUP.json``): settings that ``train-enn`` and ``run`` accept with ``--config``.

    They train what was judged: the ENN to the bit, and targets of the same settings. Measured times are left out, so that the
    same search gives the same file.
    """
    files = []
    for group in plan.groups:
        row = best_of(plan, rows).get(group.name)
        if row is None:
            continue
        file = f"best-{group.name}.json" if group.name else "best.json"
        settings = to_dotted(plan.config(group, row["settings"]))
        judged = {name: value for name, value in row["result"].items() if name not in (*TIMES, "seconds")}
        facts = {"candidate": row["name"], "search": plan.name, "result": judged}
        write_json(folder / file, {"preset": plan.preset, "settings": settings, "found": facts})
        files.append(file)
    return files


# -- tables ------------------------------------------------------------------------------------------------------------


def headings(plan: Plan) -> list[str]:
    """Of :func:`cells`: candidate, objectives, the settings that were searched."""
    return ["candidate", *(with_unit(name) for name, _ in plan.objectives), *_keys(plan.groups)]


def cells(plan: Plan, row: Row) -> list[str]:
    """One row of the table."""
    return [
        row["name"],
        *(_shown(plan, row, name) for name, _ in plan.objectives),
        *(_setting(row, key) for key in _keys(plan.groups)),
    ]


def _keys(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(dimension.key for group in groups for dimension in group.space))


def _shown(plan: Plan, row: Row, name: str) -> str:
    value = row["result"][name]
    if name == "gain" and "gain_low" in row["result"]:
        low, high = (as_cell(row["result"][f"gain_{end}"], "+.2f") for end in ("low", "high"))
        return f"{as_cell(value, '+.2f')} [{low}, {high}]"
    return as_cell(value, ",.0f" if name == "parameters" else ".3g")


def _setting(row: Row, key: str) -> str:
    value = row["settings"].get(key, "–")
    if isinstance(value, list):
        return ", ".join(map(str, short(value)))
    return f"{value:g}" if isinstance(value, float) else str(value)


def markdown(plan: Plan, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    head = headings(plan)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *(cells(plan, row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def edge_lines(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """Which numbers of the best candidate (of each group) lie at an end of what was searched, a sentence each."""
    found = []
    for row in best_of(plan, rows).values():
        for dimension in next(group for group in plan.groups if group.name == row["group"]).space:
            if edge := _edge(dimension, row["settings"].get(dimension.key)):
                found.append(
                    f"{row['name']}: its {dimension.key}, {_setting(row, dimension.key)}, is the {edge} that was searched; a "
                    "better one may lie beyond it."
                )
    return found


def _edge(dimension: Dimension, chosen: Any) -> str | None:
    """None also where it is no number, or does not matter with the other settings."""
    if not isinstance(chosen, int | float) or isinstance(chosen, bool):
        return None
    free = dimension.key.rpartition(".")[2] in PENALTIES
    if not dimension.choice:
        return end_of_range(float(chosen), dimension.low, dimension.high, dimension.log, free)
    numbers = [own for own in dimension.choice if isinstance(own, int | float) and not isinstance(own, bool)]
    return edge_of([chosen], numbers, free)


def summary(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    """How many candidates came how far, and what it cost."""
    ends = {stage.name: 0 for stage in plan.stages}
    for row in rows:
        ends[row["stage"]] += row["outcome"] in ("stopped", "finished")
    failed = [row for row in rows if row["outcome"] == "failed"]
    return {
        "candidates": len(rows),
        "ended_after": ends,
        "failed": len(failed),
        "processor_seconds": sum(row["seconds"] for row in rows),
    }


# -- plots -------------------------------------------------------------------------------------------------------------


def draw(search: Search, rows: Sequence[Row], folder: Path) -> dict[str, "Drawing"]:
    """The plots that can be drawn, by the names of their files in ``folder``: front, importance of settings, parallel
    coordinates."""
    from pipeline.results import figures

    plan, drawn, data = search.plan, {}, search.plan.config().data.dataset
    objectives = [name for name, _ in plan.objectives]
    finished = [row for row in rows if row["outcome"] == "finished"]
    if len(objectives) >= 2 and finished:
        points = _points(plan, finished, *objectives[:2])
        drawn["front.png"] = figures.front(points, objectives[:2], folder / "front.png", data=data, note=ranked_by(objectives))
    for group in plan.groups:
        own = [row for row in finished if row["group"] == group.name]
        if len(own) < 3 or KINDS[plan.kind].proposals:  # what is proposed in another way has no importance by values
            continue
        suffix, objective = f"-{group.name}" if group.name else "", objectives[0]
        file, shares = f"importance{suffix}.png", importances(plan, group, own)
        drawn[file] = figures.importance(shares, objective, folder / file, candidates=len(own), data=data)
        values = [row["result"][objective] for row in own]
        settings = [{d.key: row["settings"].get(d.key) for d in group.space} for row in own]
        file = f"parallel{suffix}.png"
        drawn[file] = figures.parallel(settings, values, objective, folder / file, data=data)
    return drawn


def _points(plan: Plan, rows: Sequence[Row], high: str, wide: str) -> list[dict[str, Any]]:
    best = {row["name"] for row in pareto(plan, rows)}
    return [
        {
            "name": row["name"],
            "x": row["result"][wide],
            "y": row["result"][high],
            "front": row["name"] in best,
            "kind": kind_of(row),
        }
        for row in rows
    ]


def kind_of(row: Row) -> str:
    """What a point of the plot is coloured by: its reader, or its group."""
    readers = row["settings"].get("enn.readers")
    return readers[0] if readers else row["group"] or "candidates"


def importances(plan: Plan, group: Group, rows: Sequence[Row]) -> dict[str, float]:
    """Each setting's share of what the first objective varies by, by Optuna's mean decrease of impurity in a random forest.

    A setting that only matters at some values of another stands at its default elsewhere.
    """
    import optuna

    from pipeline.search.propose import distribution_of

    defaults = to_dotted(plan.config(group))
    study = optuna.create_study(direction="maximize" if plan.objectives[0][1] == "maximise" else "minimize")
    distributions: dict[str, Any] = {}
    for dimension in group.space:
        distributions[dimension.key] = distribution_of(_widened(dimension, defaults[dimension.key]))
    for row in rows:
        values = {d.key: row["settings"].get(d.key, defaults[d.key]) for d in group.space}
        params = {key: json.dumps(value) if isinstance(value, list) else value for key, value in values.items()}
        trial = optuna.trial.create_trial(
            params=params, distributions=distributions, value=row["result"][plan.objectives[0][0]]
        )
        study.add_trial(trial)
    evaluator = optuna.importance.MeanDecreaseImpurityImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _widened(dimension: Any, default: Any) -> Any:
    """The dimension with its default among its values; without a logarithm where that has none (which is all one to trees)."""
    if dimension.choice:
        return dataclasses.replace(dimension, choice=_with(dimension.choice, default))
    low, high = min(dimension.low, float(default)), max(dimension.high, float(default))
    return dataclasses.replace(dimension, low=low, high=high, log=dimension.log and low > 0)


def _with(choices: tuple[Any, ...], default: Any) -> tuple[Any, ...]:
    return choices if default in choices else (*choices, default)
