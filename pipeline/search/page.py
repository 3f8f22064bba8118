"""What the page of a search says: what was asked, the best of its candidates, all of them, and where they come from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.results.figures import Drawing
from pipeline.results.measures import in_words, quantity, short
from pipeline.results.page import Chart, Code, Facts, Folded, Page, Section, Table, Words
from pipeline.results.page.source import checkout, source_facts
from pipeline.results.tables import as_cell
from pipeline.search.outcome import cells, headings, pareto
from pipeline.search.plan import Plan, ranked_by


def page_of(plan: Plan, found: Mapping[str, Any], drawings: Mapping[str, Drawing], best: Sequence[str]) -> Page:
    """The page of a search.

    Args:
        found: its ``search.json``.
        drawings: its figures, by the names of their files.
        best: files of settings, of the best of each group.
    """
    front, names = pareto(plan, found["rows"]), [name for name, _ in plan.objectives]
    table = Table(
        "Of the finished candidates those that no other is at least as good as in every objective; best first. "
        + ranked_by(names),
        headings(plan),
        [cells(plan, row) for row in front],
        (),
        range(1 + len(plan.objectives), 99),
    )
    charts = [Chart(file.removesuffix(".png"), drawing) for file, drawing in drawings.items()]
    sections = [
        Section("asked", "What was asked", [Facts(_facts(plan, found))]),
        Section("best", "The best of every trade-off", [table, *_edges(found), *_next(best)]),
        *([Section("figures", "All finished candidates", charts)] if charts else []),
        Section("candidates", "Every candidate", [Folded("All of them, and how they ended", [_everyone(found["rows"])])]),
        Section("made", "Where this comes from", _made(found)),
    ]
    return Page(
        f"Search: {found['search']}", list(filter(None, [str(found["question"]).strip(), _answer(plan, front)])), sections
    )


def _answer(plan: Plan, front: Sequence[Mapping[str, Any]]) -> str:
    if not front:
        return "No candidate was judged to the end."
    name, direction = plan.objectives[0]
    best = {"maximise": "largest", "minimise": "smallest"}[direction]
    value = quantity(name, as_cell(front[0]["result"][name], ".3g"))
    return f"The {best} {in_words(name)} is {value}, of the candidate {front[0]['name']}; on validation data."


def _facts(plan: Plan, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    ended = ", ".join(f"{count} after the stage {name}" for name, count in found["ended_after"].items())
    space = list(dict.fromkeys(dimension.key for group in plan.groups for dimension in group.space))
    objectives = ", ".join(f"{in_words(name)} ({direction})" for name, direction in plan.objectives)
    return [
        ("kind", f"{plan.kind}, from the preset {plan.preset}, on {plan.config().data.dataset}"),
        ("objectives", objectives),
        ("searched", ", ".join(space)),
        ("candidates", f"{found['candidates']}: {ended}; {found['failed']} failed"),
        ("sampler, scheduler", f"{plan.sampler.name}, {plan.scheduler.name}"),
        ("processor seconds", f"{_seconds(found['processor_seconds'])}, of all candidates together"),
    ]


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _edges(found: Mapping[str, Any]) -> list[Words]:
    return [Words(found["edges"], listed=True)] if found.get("edges") else []


def _next(best: Sequence[str]) -> list[Words]:
    return [Words([f"Settings of the best in the first objective: {', '.join(best)}, beside this page."])] if best else []


def _everyone(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = [
        [
            str(row["name"]),
            str(row["outcome"]),
            str(row["stage"]),
            json.dumps(short(row["settings"]), ensure_ascii=False),
            ", ".join(f"{in_words(name)} {quantity(name, _value(value))}" for name, value in row["result"].items()),
        ]
        for row in rows
    ]
    columns = ("candidate", "how it ended", "last stage", "settings", "results of that stage")
    return Table("Every candidate.", columns, shown, (), (1, 2, 3, 4))


def _value(value: Any) -> str:
    return as_cell(value, ".4g") if isinstance(value, int | float) else str(value)


def _made(found: Mapping[str, Any]) -> list[Any]:
    facts = found["provenance"]
    plan = json.dumps(found["plan"], indent=1, ensure_ascii=False)
    return [
        Code(f"{checkout(facts)}\n{facts.get('command')}"),
        Facts(source_facts(facts)),
        Folded("The whole plan", [Code(plan)]),
    ]
