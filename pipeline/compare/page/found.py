"""What came out of a comparison."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.compare.drawings import Reported, drawings, explained
from pipeline.results import rule_tables, tables
from pipeline.results.figures import COLOURS
from pipeline.results.page import Chart, Part, Section, Table, Words

SURE = 0.05
"""a difference whose p (Holm) is below is told"""


def answer(found: Reported) -> list[str]:
    """What was compared, and which arms can be told from the baseline."""
    rows, baseline = tables.corrected(found.written["rows"]), found.config.compare.baseline
    others = [row for row in rows if row["arm"] != baseline]
    count = len(found.dataset.y_test)
    head = (
        f"{len(rows)} ways of training, {rows[0]['n']} targets each, paired by seed. All numbers in the table are of the test "
        f"set ({count:,} examples), which was looked at once, when everything was trained; every choice was made on validation "
        "data."
    )
    better, worse = (
        [f"{row['arm']} ({_points(row)})" for row in others if _told(row) and sign * row["difference"] > 0] for sign in (1, -1)
    )
    rest = [row["arm"] for row in others if not _told(row)]
    parts = [(better, "more accurate"), (worse, "less accurate"), (rest, "not to be told from it")]
    said = "; ".join(f"{what}: {', '.join(names)}" for names, what in parts if names)
    return [head, f"Against {baseline}, in points of test accuracy, at p (Holm) < {SURE:g}: {said}."] if said else [head]


def _told(row: Mapping[str, Any]) -> bool:
    return row["p_holm"] is not None and row["p_holm"] < SURE


def _points(row: Mapping[str, Any]) -> str:
    return tables.as_cell(row["difference"], "+.2f", 100)


def sections(found: Reported) -> Iterator[Section]:
    """Everything that was measured."""
    drawn = drawings(found)
    yield Section("results", "Results on the test set", list(_results(found)))
    yield Section("curves", "While they trained", [Chart("accuracy", drawn["accuracy"])])
    if "instruction" in drawn:
        yield Section("strength", "How strongly the ENN instructed", [Chart("instruction", drawn["instruction"])])
    if "prediction" in drawn:
        told = [f"{name}: {tables.prediction_line(point)}." for name, point in found.points.items()]
        yield Section(
            "prediction", "What the ENN predicted", [Words(told, listed=True), Chart("prediction", drawn["prediction"])]
        )
    if looked := explained(found):
        charts = [Chart(f"gradcam-{arm}", drawing, coloured=True) for arm, drawing in looked.items()]
        yield Section("gradcam", "What the ENN looks at", charts)
    if "angles" in drawn:
        yield Section("angles", "How far from the gradient", [Words([rule_tables.ABOUT]), Chart("angles", drawn["angles"])])


def _results(found: Reported) -> Iterator[Part]:
    rows, baseline = found.written["rows"], found.config.compare.baseline
    if found.without_enn:
        rows = [{"learning_rate": found.config.training.learning_rate} | row for row in rows]
        columns, cells = rule_tables.COLUMNS, rule_tables.cells(rows)
    else:
        columns, cells = tables.COLUMNS, tables.cells(rows)
    caption = (
        f"Test set of {found.dataset.name}, n targets for each arm. In brackets: 95 % intervals by bootstrap (BCa). Paired "
        f"difference: in points, to {baseline} on the same seeds; p of the paired t-test, corrected by Holm for all arms."
    )
    names = [tables.one_line(name) for name in columns]
    yield Table(caption, names, cells, [COLOURS[row["arm"]] for row in rows])
    if notes := tables.edge_lines(rows):
        yield Words([note.removeprefix("* ") for note in notes], listed=True)
    if duels := tables.corrected(found.written["head_to_head"]):
        yield _duels(duels)


def _duels(duels: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            f"{duel['arm']} against {duel['against']}",
            tables.difference_cell(duel),
            tables.p_value(duel["p_holm"]),
            str(duel["test"]),
            str(duel["n"]),
        ]
        for duel in duels
    ]
    columns = ("arms", "difference in points", "p (Holm)", "test", "n")
    return Table(
        "Arms against each other, in points of test accuracy, paired by seed; 95 % intervals.", columns, rows, (), (3,)
    )
