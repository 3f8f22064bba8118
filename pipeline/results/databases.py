"""SQLite databases in a folder that may be somebody else's: what in one would do more than be read."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pipeline.errors import UserError

_NAMES_A_FILE = bytes.fromhex("d9d505f920a163d7")
"""the end of a journal that belongs to a change of several databases, and names the file that says so (sqlite.org)"""
_RUNS = "SELECT COUNT(*) FROM sqlite_master WHERE type IN ('trigger', 'view')"


def journal_of(database: Path) -> Path:
    """Where SQLite finds what a process that was killed has left half done, which it then undoes."""
    return database.with_name(f"{database.name}-journal")


def journal_leads_away(database: Path) -> bool:
    """Whether its journal names another file, which SQLite would delete: none of ours is changed together with another."""
    journal = journal_of(database)
    if not journal.is_file():
        return False
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(_NAMES_A_FILE)))
        return file.read() == _NAMES_A_FILE


def refuse_strange(database: Path) -> None:
    """Raises UserError where using the database would change another file, or run what is in it: a trigger, a view.

    What is no database at all is left to whoever opens it.
    """
    if not database.is_file():
        return
    if journal_leads_away(database):
        raise UserError(f"{journal_of(database)} names a file elsewhere; delete it, and give the same command again.")
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            strange = connection.execute(_RUNS).fetchone()[0]
    except sqlite3.Error:
        return
    if strange:
        raise UserError(
            f"{database} holds triggers or views, which nothing of ours does; delete it and give the same command again."
        )
