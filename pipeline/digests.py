"""Digests of plain values: what names a run, a search and a result, the same in every process. Nothing here imports torch."""

import hashlib
import json
from typing import Any

DIGITS = 16
"""of a digest, hexadecimal"""


def digest_of_json(value: Any, digits: int = DIGITS) -> str:
    """The first ``digits`` hexadecimal digits of the SHA-256 of a value of JSON's types, in which the order of keys does not
    count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:digits]
