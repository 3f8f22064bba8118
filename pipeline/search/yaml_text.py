"""YAML as it is read here: plain values, each key once, nothing that could run or crash."""

import itertools
import re
from typing import Any

import yaml

from pipeline.errors import LONGEST, UserError, shown

DEEPEST = 20
"""mappings and lists within each other; libyaml crashes on tens of thousands"""
TOO_DEEP = f"lists and mappings are more than {DEEPEST} deep in each other; correct it."


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where PyYAML has it, is ten times as fast


class _Loader(_Safe):
    """YAML in which a key given twice is an error, and 1e-3 is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str) or key in values:
            raise UserError(f"the key {shown(key)} is given twice or is no name; give each key once.")
        values[key] = loader.construct_object(value, deep=True)
    return values


def _whole(loader: Any, node: yaml.ScalarNode) -> int:
    number = yaml.SafeLoader.construct_yaml_int(loader, node)
    if abs(number) >= 2**63:
        raise UserError("a whole number has more than 18 digits; give a smaller one.")
    return number


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def load_yaml(text: str) -> Any:
    """What a YAML text says; plain values only.

    Raises:
        UserError: it is no YAML, or says more than plain values.
    """
    try:
        depth = _deepest_brackets(text)
        if depth > DEEPEST:  # before libyaml, which crashes on it or has an error of its own, by version
            raise UserError(TOO_DEEP)
        depth = 0
        for event in yaml.parse(text, _Safe):
            if isinstance(event, yaml.AliasEvent):
                raise UserError("aliases (*name) are not read; write the values out.")
            if getattr(event, "tag", None):
                raise UserError("tags (!name) are no YAML that is read here; write plain values.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise UserError(TOO_DEEP)
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = repr(error.problem)[1:-1][:LONGEST]
        raise UserError(f"{line}it is not YAML that can be read ({problem}); correct it.") from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise UserError("it is not YAML that can be read; correct it.") from error


def _deepest_brackets(text: str) -> int:
    """How many brackets are open at once at most (those in quotation marks too: nobody writes so many)."""
    steps = (1 if sign in "[{" else -1 for sign in re.findall(r"[\[\]{}]", text))
    return max(itertools.accumulate(steps, lambda depth, step: max(0, depth + step)), default=0)
