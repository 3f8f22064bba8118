"""Commands as a reader can give them: without the folder that a run was told to use, which is a path of one machine."""

import re
from typing import Any


def without_folder(found: Any) -> Any:
    """``found``, of JSON's types, with `` --output FOLDER`` taken out of every ``command`` in it, however deep."""
    if isinstance(found, dict):
        return {
            key: re.sub(r" --output (\"[^\"]*\"|'[^']*'|\S+)", "", value)
            if key == "command" and isinstance(value, str)
            else without_folder(value)
            for key, value in found.items()
        }
    return [without_folder(value) for value in found] if isinstance(found, list) else found
