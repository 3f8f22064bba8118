"""What the page of a prediction says: how well scores at initialisation rank networks, and where they come from."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.results.figures import Drawing
from pipeline.results.page import Chart, Code, Facts, Folded, Page, Section, Table
from pipeline.results.page.source import checkout, source_facts
from pipeline.results.ranking import cells, headings


def page_of(found: Mapping[str, Any], asked: Mapping[str, Any], drawings: Mapping[str, Drawing]) -> Page:
    """The page of ``predict``.

    Args:
        found: its ``predict.json``.
        asked: its ``plan.json``.
        drawings: its figures, by the names of their files.
    """
    rows = [cells(row, found["columns"]) for row in found["rows"]]
    table = Table(str(found["caption"]), headings(found["columns"]), rows)
    facts = found["provenance"]
    charts = [Chart(f"chart-{number}", drawing) for number, drawing in enumerate(drawings.values())]
    sections = [
        Section("results", "How well they rank", [table]),
        *([Section("figures", "Scores and accuracies", charts)] if charts else []),
        Section(
            "made",
            "Where this comes from",
            [
                Code(f"{checkout(facts)}\n{facts.get('command')}"),
                Facts(source_facts(facts)),
                Folded("All that was asked", [Code(json.dumps(asked, indent=1, ensure_ascii=False))]),
            ],
        ),
    ]
    return Page("Networks scored before they are trained", [str(found["caption"])], sections)
