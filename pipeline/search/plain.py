"""Checks of plain values: names and keys that are known, with the nearest right one where they are not."""

import re
from typing import Any

from pipeline.errors import UserError, nearest, shown


def as_name(value: Any, where: str) -> str:
    """A name that is safe as a folder's."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value):
        raise UserError(f"{where}: {shown(value)} is no name; use letters, digits, - and _, at most 64.")
    return value


def one_of(value: Any, options: tuple[str, ...], where: str) -> Any:
    if not isinstance(value, str) or value not in options:
        near = nearest(value, options)
        raise UserError(f"{where} is {shown(value)}; give one of {', '.join(options)} (did you mean {near!r}?).")
    return value


def check_mapping(values: Any, where: str) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{where} is to be a mapping, with a line 'name: value' for each.")


def check_keys(values: Any, known: set[str], where: str) -> None:
    check_mapping(values, where)
    for key in values:
        check_known(key, sorted(known), where)


def check_known(key: Any, known: list[str], where: str) -> None:
    if key not in known:
        raise UserError(f"{where}: unknown key {shown(key)}; did you mean {nearest(key, known)!r}?")
