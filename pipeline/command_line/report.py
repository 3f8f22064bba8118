"""``grad-instructor report``: the test set, once; the table, the plots, the page."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.command_line import arm_runs, comparing
from pipeline.command_line.options import ReportCommand
from pipeline.command_line.stages import do
from pipeline.command_line.work import Work, load_critics
from pipeline.config import PRESETS
from pipeline.files import read_json, write_atomic, write_json
from pipeline.progress import console
from pipeline.results import rule_tables, tables
from pipeline.results.seal import read_report, sealed
from pipeline.results.tables import corrected, head_to_head_line, prediction_line, report_rows

if TYPE_CHECKING:
    from pipeline.compare.drawings import Reported


def command(options: ReportCommand, line: str) -> int:
    """Stage 4 alone."""
    job = Work("report", options, line)
    code = do(job, [report], show_report)
    if options.json:
        print((job.folder / "report.json").read_text(encoding="utf-8"), end="")
    return code


def report(job: Work) -> None:
    """Stage 4: the test set, once; the table, the plots, the page."""
    from pipeline.compare import collect
    from pipeline.compare.page.found import answer
    from pipeline.compare.report import prediction_points

    arms = collect(job.config, job.folder)
    _test(job, arms)
    points = {} if job.without_enn else prediction_points(job.config, arms)
    _write(job, points)
    found = _reported(job, arms, points)
    _draw(job, found)
    _write_page(job, found)
    _record(job, answer(found)[1:])
    show_report(job, job.dataset.name)


def _test(job: Work, arms: dict[str, dict[str, Any]]) -> None:
    """``report.json``, unless it is there and of the populations that are there."""
    from pipeline.compare import chosen_strengths
    from pipeline.compare.folder import enns_made_by, is_stale, populations, report_origin
    from pipeline.compare.report import evaluate_on_test, head_to_head, made_by

    path = job.folder / "report.json"
    tested_now = populations(job.folder, job.config)
    if path.exists() and not is_stale(read_json(path), tested_now):
        return
    tested = evaluate_on_test(job.config, job.dataset, job.folder, arms)
    enns = enns_made_by(job.folder, job.config)
    rows = [
        row | {"provenance": made_by(job.config, row["arm"], arms[row["arm"]]["provenance"], enns, job.provenance)}
        for row in report_rows(tested, job.config.compare.baseline)
    ]
    written = {
        "rows": rows,
        "head_to_head": head_to_head(tested),
        "seeds": tested,
        "candidates": chosen_strengths(job.config, job.folder),
        "origin": report_origin(job.config, job.dataset, load_critics(job)).as_json(),
        "populations": tested_now,
    }
    write_json(path, sealed(written))


def _write(job: Work, points: dict[str, dict[str, Any]]) -> None:
    """``report.md`` and, where there is an ENN, ``prediction.json``."""
    written = read_report(job.folder / "report.json")
    lines = "".join(f"\n- {line}" for line in _lines(written))
    table = rule_tables.markdown(_of_rules(job, written)) if job.without_enn else tables.markdown(written["rows"])
    write_atomic(job.folder / "report.md", table + lines + "\n")
    if job.without_enn:
        return
    numbers = {name: {k: v for k, v in p.items() if not isinstance(v, list)} for name, p in points.items()}
    write_json(job.folder / "prediction.json", numbers)


def _lines(written: Mapping[str, Any]) -> list[str]:
    """What stands below the table: the duels, and which commits had a part."""
    edges, rows = tables.edge_lines(written["rows"]), written["rows"]
    return [*edges, *(head_to_head_line(duel) for duel in corrected(written["head_to_head"])), *_commits(rows)]


def _of_rules(job: Work, written: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows, with the learning rate of an arm for which none was chosen."""
    return [{"learning_rate": job.config.training.learning_rate} | row for row in written["rows"]]


def _commits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where rows were made by another commit than the report: which, a sentence for those of the same."""
    arms: dict[str, list[str]] = {}
    for row in rows:
        if commits := row["provenance"].get("commits"):
            arms.setdefault(commits, []).append(row["arm"])
    return [f"{', '.join(names)}: {commits}" for commits, names in arms.items()]


def _reported(job: Work, arms: dict[str, dict[str, Any]], points: dict[str, dict[str, Any]]) -> "Reported":
    from pipeline.compare.drawings import Reported

    written = read_report(job.folder / "report.json")
    return Reported(job.folder, job.config, job.dataset, written, arms, load_critics(job), points)


def _draw(job: Work, found: "Reported") -> None:
    from pipeline.compare.drawings import drawings
    from pipeline.results.figures.drawing import drawn

    for name, drawing in drawings(found).items():
        drawn(drawing, job.folder / "figures" / f"{name}.png")
        job.records.artifact(job.root, f"figures/{name}.png", "figures")


FILES = ("report.html", "report.json", "report.md")
"""artifacts of the folder's own run, those of them that are there"""


def _write_page(job: Work, found: "Reported") -> None:
    from pipeline.compare.page import page_of
    from pipeline.results.page import write

    preset = job.command.options.preset
    beginning = comparing.of_preset(PRESETS[preset]) if job.without_enn else PRESETS[preset]
    write(page_of(found, preset, beginning), job.folder)


def page_again(job: Work) -> None:
    """``report.html`` with what was found since the report was made; nothing where there is none yet."""
    if not (job.folder / "report.json").exists():
        return
    from pipeline.compare import collect
    from pipeline.compare.report import prediction_points

    arms = collect(job.config, job.folder)
    _write_page(job, _reported(job, arms, {} if job.without_enn else prediction_points(job.config, arms)))
    job.records.artifact(job.root, "report.html", "")


def _record(job: Work, answer: Sequence[str]) -> None:
    """The answer in the folder's own run, and each row of it in the run of its arm.

    Args:
        answer: in sentences. They come first: MLflow's page of a run shows the beginning of its description alone.
    """
    rows = read_report(job.folder / "report.json")["rows"]
    for file in FILES:
        if (job.folder / file).exists():
            job.records.artifact(job.root, file, "")
    for row in rows:
        arm_runs.record_test(job, row)
    job.records.result(job.root, {f"test/accuracy/{row['arm']}": row["accuracy"] for row in rows})
    said = [*answer, f"Test set of {job.dataset.name}, {rows[0]['n']} targets per arm."]
    about = "\n\n".join([*said, (job.folder / "report.md").read_text(encoding="utf-8")])
    job.records.tags(job.root, {"mlflow.note.content": about})


def show_report(job: Work, data: str) -> None:
    """Print the table, and what stands below it, from the files.

    Args:
        data: the name of the data set.
    """
    written = read_report(job.folder / "report.json")
    rows = written["rows"]
    measured, baseline = "error" if job.without_enn else "accuracy", job.config.compare.baseline
    console.print(f"\ntest {measured} on {data}, {rows[0]['n']} targets per arm, differences paired by seed with {baseline}:")
    console.print(rule_tables.rich_table(_of_rules(job, written)) if job.without_enn else tables.rich_table(rows))
    for line in [*([rule_tables.ABOUT] if job.without_enn else []), *_lines(written)]:
        console.print(line)
    for name, point in {} if job.without_enn else read_json(job.folder / "prediction.json").items():
        console.print(f"prediction by {name}: {prediction_line(point)}")
