"""Addresses of tracking servers and databases, and where a database keeps its artifacts."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import UserError, without_secrets

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


def checked(uri: str) -> str:
    """The address itself.

    Raises:
        UserError: MLflow cannot use it.
    """
    scheme = uri.split(":")[0].split("+")[0]
    if scheme not in SCHEMES or (scheme in ("http", "https") and not _host(uri)):
        raise UserError(
            f"the tracking URI {without_secrets(uri)!r} is none that MLflow can use; give the address of a server, such as "
            "http://127.0.0.1:5000, or a database, such as sqlite:////absolute/path/mlflow.db."
        )
    if scheme == "sqlite" and (":memory:" in uri or "mode=memory" in uri or not uri.partition(":")[2].strip("/")):
        raise UserError(
            f"the tracking URI {uri!r} is a database in memory, which ends with the command; give one in a file, such as "
            "sqlite:////absolute/path/mlflow.db."
        )
    return uri


def _host(uri: str) -> str | None:
    try:
        return urlsplit(uri).hostname
    except ValueError:  # brackets that are not closed
        return None


def local_uri(folder: Path) -> str:
    """The database in an output folder."""
    return sqlite_uri(folder / "mlflow.db")


def sqlite_uri(database: Path) -> str:
    """MLflow makes a folder of what it reads in an address that begins with "sqlite:///", before SQLAlchemy decodes it."""
    if not re.search("[?#%]", str(database)):
        return f"sqlite:///{database}"
    from sqlalchemy.engine import URL

    return URL.create("sqlite+pysqlite", database=str(database)).render_as_string()


def database_of(uri: str) -> Path | None:
    """The file of a SQLite database; None for anything else."""
    if not re.match(r"sqlite(\+\w+)?:///", uri):
        return None
    if not re.search("[?#%]", uri):
        return Path(uri.partition(":///")[2]).resolve()
    from sqlalchemy.engine import make_url

    return Path((make_url(uri).database or "").removeprefix("file:")).resolve()


def artifact_location(uri: str) -> str | None:
    """A folder beside a SQLite database, as an absolute URI; a server knows its own."""
    database = database_of(uri)
    return None if database is None else (database.parent / "mlartifacts").as_uri()
