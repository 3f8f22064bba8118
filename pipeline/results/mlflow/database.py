"""The SQLite database in a run's folder: made whole, set aside where it was moved, known again."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline.addresses import sqlite_uri
from pipeline.results.databases import journal_leads_away, journal_of
from pipeline.results.mlflow import client
from pipeline.results.mlflow.address import database_of

MOVED = "(artifact_location LIKE 'file:%/mlartifacts' AND artifact_location != ?)"
"""of an experiment that we made beside a database which was elsewhere then"""


LEADS_AWAY = """
SELECT (SELECT COUNT(*) FROM sqlite_master WHERE type = 'view' OR (type = 'trigger' AND (
            sql LIKE '%runs%' OR sql LIKE '%experiments%' OR sql LIKE '%models%' OR sql LIKE '%artifact%')))
     + (SELECT COUNT(*) FROM experiments WHERE name = :name AND artifact_location != :location)
     + (SELECT COUNT(*) FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = :name AND (
            substr(artifact_uri, 1, length(:location) + 1) != :location || '/'
            OR substr(artifact_uri, length(:location) + 2) GLOB '*[^0-9A-Za-z/_-]*'))
"""
"""what in a folder's own database would have MLflow write artifacts elsewhere (MLflow's own trigger guards secrets alone)"""
MODELS_LEAD_AWAY = """
SELECT COUNT(*) FROM logged_models WHERE substr(artifact_location, 1, length(:location) + 1) != :location || '/'
    OR substr(artifact_location, length(:location) + 2) GLOB '*[^0-9A-Za-z/_-]*'
"""
"""the same of its logged models; a database of an earlier MLflow has no such table"""
UNREADABLE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH)
"""SQLite's codes for a file that is no database of MLflow's, or that answers none of its questions. Any other, a lock or a full
disk, says nothing of what is in it."""
KIND = 0xFF
"""what of a code says which it is; the rest says more of it"""


def set_aside_if_moved(uri: str, location: str | None, own: str | None = None) -> None:
    """A database that was moved or copied points to artifacts elsewhere: keep it aside, and make it anew from the records.

    Args:
        own: the experiment, where the database is the one in the run's folder, which may come from somebody else: nothing in
            it may lead out of the folder then.
    """
    database = database_of(uri)
    if database is None or not database.exists():
        return
    if own is not None and journal_leads_away(database):
        journal_of(database).unlink()
        _set_aside(database)
        return
    mode = "ro" if own is None else "rw"  # what a kill has left half done is undone before it is looked at
    try:
        with closing(_connected(database, mode)) as connection:
            away = connection.execute(f"SELECT COUNT(*) FROM experiments WHERE {MOVED}", (location,)).fetchone()[0]
            if own is not None and not away:
                away = _leading_away(connection, own, location)
    except sqlite3.Error as error:
        if own is None:  # MLflow will say what is wrong with it
            return
        if getattr(error, "sqlite_errorcode", 0) & KIND not in UNREADABLE:
            raise OSError(str(error)) from error
        away = 1
    if away:
        _set_aside(database)


def _set_aside(database: Path) -> None:
    database.rename(database.with_name("mlflow-before-move.db"))


def _leading_away(connection: sqlite3.Connection, own: str, location: str | None) -> int:
    """How many things in a folder's own database would have artifacts written, or looked for, elsewhere."""
    away = connection.execute(LEADS_AWAY, {"name": own, "location": location}).fetchone()[0]
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'logged_models'").fetchone():
        away += connection.execute(MODELS_LEAD_AWAY, {"location": location}).fetchone()[0]
    return away


def make_database(uri: str) -> None:
    """MLflow's schema takes seconds to make, and what a kill or a full disk leaves of a half-made one it can neither use nor
    mend. So a new SQLite database is made under another name, and gets its own when it is whole. The name was never used
    before: MLflow keeps the stores that it has made in this process, though their files be gone."""
    database = database_of(uri)
    if database is None or database.exists():
        return
    new = database.with_name(f".{database.name}-{uuid4().hex[:12]}")
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        client.new_client(sqlite_uri(new)).search_experiments(max_results=1)
        with suppress(FileExistsError):  # another process was first
            os.link(new, database)
    finally:
        for left in database.parent.glob(f"{new.name}*"):
            left.unlink(missing_ok=True)


def holds_experiment(
    database: Path, number: str, name: str, created: Any, location: str | None, in_folder: bool = False
) -> bool:
    """Whether a database has the experiment that was sent to; one that was deleted, replaced or moved has not, nor has one
    ``in_folder``, a run's own, that leads out of it. Only read."""
    if not database.exists() or (in_folder and journal_leads_away(database)):
        return False
    query = "SELECT 1 FROM experiments WHERE experiment_id = ? AND name = ? AND creation_time = ? AND NOT " + MOVED
    with suppress(sqlite3.Error), closing(_connected(database, "ro")) as connection:
        if in_folder and _leading_away(connection, name, location):
            return False
        return connection.execute(query, (number, name, created, location)).fetchone() is not None
    return False


def _connected(database: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode={mode}", uri=True)
