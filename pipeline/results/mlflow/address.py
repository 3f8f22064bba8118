"""Addresses of tracking servers and databases, and where a database keeps its artifacts."""

import os
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.addresses import keep_secret, shown_address, sqlite_uri
from pipeline.errors import UserError, reason_of

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
SERVERS = ("http", "https", "databricks")
"""of those, what is no database"""
FROM_ENVIRONMENT = "MLFLOW_TRACKING_URI"
SUCH_AS = (
    "give the address of a server, such as http://127.0.0.1:5000, or a database, such as sqlite:////absolute/path/mlflow.db"
)


def given(uri: str | None) -> str | None:
    """The address that the user has given, by option or, as MLflow has it, by the environment."""
    return uri or os.environ.get(FROM_ENVIRONMENT) or None


def checked(uri: str) -> str:
    """The address itself.

    Raises:
        UserError: MLflow cannot use it.
    """
    keep_secret(uri)
    scheme, told = uri.split(":")[0].split("+")[0], f"the tracking URI {shown_address(uri)!r}{_whence(uri)}"
    if scheme not in SCHEMES or (scheme in ("http", "https") and not _is_web(uri)):
        raise UserError(f"{told} is none that MLflow can use; {SUCH_AS}.")
    if scheme == "sqlite" and _in_memory(uri):
        raise UserError(
            f"{told} is a database in memory, which ends with the command; give one in a file, such as "
            "sqlite:////absolute/path/mlflow.db."
        )
    if scheme not in SERVERS and not re.fullmatch(r"sqlite:////?[^?#%]+", uri):
        _check_database(uri, told)
    return uri


def _in_memory(uri: str) -> bool:
    path, _, query = unquote(uri.partition(":")[2].removeprefix("//").removeprefix("/")).partition("?")
    return path.strip("/") in ("", ":memory:") or path.startswith("file::memory:") or "mode=memory" in query


def _whence(uri: str) -> str:
    return f" of {FROM_ENVIRONMENT}" if os.environ.get(FROM_ENVIRONMENT) == uri else ""


def _check_database(uri: str, told: str) -> None:
    """Raises UserError where SQLAlchemy cannot read the address, or the database's driver is not installed."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        url = make_url(uri)
        dialect: Any = url.get_dialect()
        driver = dialect.import_dbapi()
        with warnings.catch_warnings(action="ignore"):
            dialect(dbapi=driver).create_connect_args(url)
    except ImportError as error:
        raise UserError(f"{told} needs a driver that is not installed ({error}); install it with pip, or {SUCH_AS}.") from error
    except (SQLAlchemyError, ValueError, TypeError, LookupError) as error:
        raise UserError(f"{told} is malformed ({reason_of(error)}); {SUCH_AS}.") from error


def _is_web(uri: str) -> bool:
    """Whether there is a host, and a port that can be one."""
    try:
        parts = urlsplit(uri)
        return uri.isprintable() and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets that are not closed, a port that is none
        return "@" in uri  # a password may hold what an address may not: requests decides


def local_uri(folder: Path) -> str:
    """The database in an output folder."""
    return sqlite_uri(folder / "mlflow.db")


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
