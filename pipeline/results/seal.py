"""Checksums within our own .json files, so that an edit by hand is noticed. Nothing here imports torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.digests import digest_of_json
from pipeline.errors import UserError, shown
from pipeline.files import read_json, strict

CHECKSUM = "checksum"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of a .json file with their checksum."""
    return dict(value) | {CHECKSUM: _checksum(value)}


def check_seal(path: Path, value: Mapping[str, Any]) -> None:
    """Raises UserError where the file in ``path`` does not hold what was written; earlier versions noted nothing."""
    found = _checksum({name: item for name, item in value.items() if name != CHECKSUM})
    if value.get(CHECKSUM, found) != found:
        raise UserError(
            f"{path} was changed after it was written (checksum {shown(value[CHECKSUM])} then and {found!r} now); put back "
            "what was there, or delete it and give the command that writes it again."
        )


def read_report(path: Path) -> dict[str, Any]:
    """What a ``report.json`` says.

    Raises:
        UserError: it is damaged, or was changed after it was written.
    """
    report = read_json(path)
    if not isinstance(report, dict) or not isinstance(report.get("rows"), list) or not report["rows"]:
        raise UserError(f"{path} is truncated or corrupt; delete it and give the same command again.")
    check_seal(path, report)
    return report


def _checksum(value: Mapping[str, Any]) -> str:
    return digest_of_json(strict(value))
