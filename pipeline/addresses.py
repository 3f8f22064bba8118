"""Addresses of servers and storages, told without who may use them: no user, no password, no token, whatever the form.

An address that a command is given is told to :func:`keep_secret`; from then on what is secret in it is left out of any text
that goes through :func:`without_secrets`, also where another package has put it there, decoded or cut in pieces.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote

HIDDEN = "…"
HARMLESS = {"region", "scheme", "endpoint_override", "sslmode", "ssl_mode", "charset", "mode", "cache", "uri", "driver", "host"}
HARMLESS |= {"port", "dbname", "database", "http_path", "catalog", "schema", "timeout", "connect_timeout", "application_name"}
"""names in an address's query whose values may be shown; any other's may not"""
SHORTEST = 4
"""characters of a secret that is looked for in texts; a shorter one would be found in every word"""
_AT, _COLON = r"(?:@|%40|%2540|\uff20|\ufe6b)", r"(?::|%3A|%253A)"
_SCHEME = re.compile(rf"([A-Za-z][\w+.-]*)({_COLON})((?:/|%2F|%252F|\\)*)", re.IGNORECASE)
_NO_USERS = ("sqlite", "file")
"""schemes of addresses in which no user can stand: an @ is part of a folder's name"""
_STORES = ("s3", "gs", "gcs", "hdfs")
"""schemes of addresses in which an @ may stand in a folder's name as well"""
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*(?::|%3A)(?:/|%2F){2}[^\s'\"<>]*", re.IGNORECASE)
_WORDS = "pass|pwd|token|secret|key|user|auth|sig|cred|sas|code"
_NAMED = re.compile(rf"([?&;#]|%3F|%26|%23)([^=&;\s?]*(?:{_WORDS})[^=&;\s?]*)(=|%3D)[^&;\s'\"]*", re.IGNORECASE)
_secrets: set[str] = set()


def keep_secret(address: str) -> None:
    """Remember what is secret in an address."""
    scheme, user, _, rest = _parts(address)
    password = re.split(_COLON, user, maxsplit=1, flags=re.IGNORECASE)[-1]
    values = [item.partition("=")[2] for item in _query(rest, scheme)[1] if item.partition("=")[0].lower() not in HARMLESS]
    for secret in (password, *values, _query(rest, scheme)[2]):
        keep_word(secret)


def keep_word(secret: str) -> None:
    """Remember a password or token itself, in every form that an address may have it in."""
    forms = {secret, unquote(secret), unquote(unquote(secret)), quote(secret, safe=""), quote(unquote(secret), safe="")}
    _secrets.update(form for form in forms if len(form) >= SHORTEST)


def shown_address(address: str) -> str:
    """An address as it may be shown: the scheme, what stands behind the last @, and of a query what is known to be harmless."""
    scheme, _, shown, rest = _parts(address)
    before, items, fragment = _query(rest, scheme)
    told = [f"{name}={_value(name, value)}" if equals else HIDDEN for name, equals, value in (i.partition("=") for i in items)]
    return _by_name(f"{shown}{before}{'?' if items else ''}{'&'.join(told)}{'#' + HIDDEN if fragment else ''}")


def without_secrets(text: str) -> str:
    """A text without what is secret in the addresses in it, and without any secret that is known."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _by_name(_ADDRESS.sub(lambda found: shown_address(found[0]), text))


def _parts(address: str) -> tuple[str, str, str, str]:
    """The scheme, who uses it, the scheme with its slashes, and the rest."""
    found = _SCHEME.match(address) or re.match(r"(.*?)(:)(//)", address, re.DOTALL)
    if found is None:
        user, rest = _user(address, _STORES[0] if address.startswith(("/", ".", "~")) else "")  # a path, or no address at all
        return "", user, "", rest
    scheme, rest = found[1], address[found.end() :]
    kind, slashes = scheme.split("+")[0].lower(), len(re.findall(r"/|%2F|%252F|\\", found[3], re.IGNORECASE))
    user, rest = _user(rest, "" if slashes < 3 and kind in _NO_USERS else kind)  # a host stands behind two slashes
    return scheme, user, found[0], rest


def _user(rest: str, scheme: str) -> tuple[str, str]:
    """Who uses it, and the rest: a password may hold any character, also / ? # and @, so the last @ counts."""
    query = re.search(rf"[?#][^=?@]*=.*{_AT}", rest, re.IGNORECASE | re.DOTALL)
    before = rest[: query.start()] if query else rest  # an @ in a value says nothing of users
    places = list(re.finditer(_AT, before, re.IGNORECASE))
    if not places:
        hides = query and scheme not in _NO_USERS and re.search(rf"{_COLON}(?!\d*($|/))", before, re.IGNORECASE)
        return (before, HIDDEN + rest[len(before) :]) if hides else ("", rest)
    if not re.search(_COLON, before[: places[-1].start()], re.IGNORECASE):  # a user alone, or part of a folder's name
        authority = {**dict.fromkeys(_NO_USERS, 0), **dict.fromkeys(_STORES, len(before.partition("/")[0]))}
        places = [place for place in places if place.start() < authority.get(scheme, len(rest))]
    return (rest[: places[-1].start()], rest[places[-1].end() :]) if places else ("", rest)


def _query(rest: str, scheme: str) -> tuple[str, list[str], str]:
    """What stands before a query, its items, and the fragment after it."""
    fragment = ""
    if scheme.split("+")[0].lower() not in (*_NO_USERS, ""):  # a folder's name may hold a #
        rest, _, fragment = rest.partition("#")
    before, mark, query = rest.partition("?")
    return before, re.split("[&;]", query) if mark else [], fragment


def _value(name: str, value: str) -> str:
    return shown_address(value) if name.lower() in HARMLESS else HIDDEN


def _by_name(text: str) -> str:
    return _NAMED.sub(rf"\1\2\3{HIDDEN}", text)


def sqlite_uri(database: Path) -> str:
    """MLflow makes a folder of what it reads in an address that begins with "sqlite:///", before SQLAlchemy decodes it."""
    if not re.search("[?#%]", str(database)):
        return f"sqlite:///{database}"
    from sqlalchemy.engine import URL

    return URL.create("sqlite+pysqlite", database=str(database)).render_as_string()
