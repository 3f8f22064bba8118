"""Settings by dotted name (``rl.gamma``), as files and searches have them, and a run's identity, which is made from them."""

import dataclasses
import functools
import math
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from pipeline.config.schema import Config
from pipeline.digests import digest_of_json
from pipeline.errors import UserError, nearest, shown


def to_dotted(config: Any, prefix: str = "") -> dict[str, Any]:
    """``{"rl.gamma": 0.9, …}``: every setting under its dotted name, tuples as lists (JSON's types only)."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat |= to_dotted(value, f"{prefix}{item.name}.")
        else:
            flat[f"{prefix}{item.name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def from_dotted(values: dict[str, Any]) -> Config:
    """The inverse of :func:`to_dotted`; keys left out keep their defaults.

    Raises:
        UserError: an unknown key (naming the nearest right one) or a value of the wrong type.
    """
    for key in values:
        if key not in _default(Config):
            raise UserError(f"unknown setting {shown(key)}; did you mean {nearest(key, _default(Config))!r}?")
    return _build(Config, values, "")


@functools.cache
def _default(kind: type[Config]) -> Mapping[str, Any]:
    """Every setting's default."""
    return types.MappingProxyType(to_dotted(kind()))


_hints = functools.cache(typing.get_type_hints)


def _build(kind: Any, values: dict[str, Any], prefix: str) -> Any:
    hints = _hints(kind)
    arguments = {}
    for item in dataclasses.fields(kind):
        key = prefix + item.name
        if dataclasses.is_dataclass(hints[item.name]):
            arguments[item.name] = _build(hints[item.name], values, key + ".")
        elif key in values:
            arguments[item.name] = coerce(hints[item.name], values[key], key)
    return kind(**arguments)


def coerce(hint: Any, value: Any, key: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(coerce(options[0], item, key) for item in value)
    if origin is Literal and value in options:
        return value
    if origin in (typing.Union, types.UnionType) and type(None) in options:
        return None if value is None else coerce(next(option for option in options if option is not type(None)), value, key)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if type(value) is float or abs(value) <= sys.float_info.max else math.inf  # refused by validate
    if hint in (int, str, bool) and type(value) is hint:
        return value
    if origin is tuple:
        raise UserError(f"setting {key!r} is {shown(value)}; give a list, even of one value.")
    expected = ", ".join(map(repr, options)) if origin is Literal else getattr(hint, "__name__", hint)
    raise UserError(
        f"setting {key!r} is {shown(value)}; give {'one of ' if origin is Literal else 'a value of type '}{expected}."
    )


def identity(config: Config) -> str:
    """Eight hexadecimal digits of the hash of every setting that differs from its default."""
    changed = {key: value for key, value in to_dotted(config).items() if value != _default(Config)[key]}
    return digest_of_json(changed, 8)
