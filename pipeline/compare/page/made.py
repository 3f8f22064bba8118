"""Where the numbers of a comparison come from, and how to make them again."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.compare.drawings import Reported
from pipeline.config import Config, to_dotted
from pipeline.enn.files import digest_of
from pipeline.files import strict
from pipeline.results.measures import short
from pipeline.results.origin import distinct
from pipeline.results.page import Code, Facts, Folded, Part, Section, Table, Words
from pipeline.results.page.source import checkout, source_facts


def made(found: Reported, preset: str, beginning: Config) -> Section:
    """Commits, digests, versions, and the command.

    Args:
        preset: name of the settings that it started from.
        beginning: those settings.
    """
    rows = [row["provenance"] for row in found.written["rows"]]
    facts = max(rows, key=lambda one: str(one.get("date")))
    work = "compare" if found.without_enn else "run"
    parts: list[Part] = [
        Words(
            [
                "With this commit, save all settings (below) as settings.json, and give these lines, where the data "
                f"({found.dataset.name}) are at hand."
            ]
        ),
        Code(f"{checkout(facts)}\ngrad-instructor {work} --config settings.json --output again"),
        Facts([*source_facts(facts), *_digests(found)]),
        _calls(rows),
        _changed(found.config, preset, beginning),
    ]
    settings = {"preset": preset, "settings": strict(to_dotted(found.config))}
    parts.append(Folded("All settings, as settings.json", [Code(json.dumps(settings, indent=1, ensure_ascii=False))]))
    return Section("made", "Where this comes from", parts)


def _digests(found: Reported) -> list[tuple[str, str]]:
    enns = [(f"digest of the ENN ({name})", digest_of(critic)) for name, critic in found.critics.items()]
    own = [("digest of the data", found.dataset.digest), *enns]
    return [*own, ("checksum of report.json", str(found.written.get("checksum", "–")))]


def _calls(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Every command that had a part in the numbers, in the order of their dates, and which part."""
    calls: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        parts = (("ENN", row.get("enn")), ("targets", row.get("trained")), ("report", [row.get("reported", {})]))
        for what, by in parts:
            for one in distinct(by if isinstance(by, list) else []):
                calls.setdefault(tuple(str(one.get(name, "–")) for name in ("date", "commit", "command")), []).append(what)
    cells = [
        [", ".join(dict.fromkeys(whats)), command, commit, date] for (date, commit, command), whats in sorted(calls.items())
    ]
    return Table("The commands that made it.", ("what", "command", "commit", "date"), cells, (), (1, 2, 3))


def _changed(config: Config, preset: str, beginning: Config) -> Part:
    """The settings that are not the preset's."""
    own, before = strict(to_dotted(config)), strict(to_dotted(beginning))
    rows = [[key, _shown(value), _shown(before.get(key))] for key, value in own.items() if value != before.get(key)]
    if not rows:
        return Words([f"All settings are those of the preset {preset}."])
    return Table(f"Settings that are not those of the preset {preset}.", ("setting", "here", "preset"), rows, (), (1, 2))


def _shown(value: Any) -> str:
    return json.dumps(short(value), ensure_ascii=False) if isinstance(value, list) else str(short(value))
