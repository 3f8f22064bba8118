"""The zoo: accuracies of this project's own small networks that were trained once (``python -m benchmarks.zoo``), so that
predictors can be held against them without training.

A file of ``zoo/`` holds the networks of one space on one data set: of each name the validation and the test accuracy in
percent, means over several seeds; the settings that trained them; and the digest of the data. The test accuracies are there to
be reported: whoever chooses among networks looks at the others.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.files import read_json

ZOO = Path(__file__).parent / "zoo"
COLUMNS = ("validation", "test")


@dataclass(frozen=True)
class Recorded:
    """What is known of one space on one data set."""

    accuracies: Mapping[str, tuple[float, float]]
    """by the name of a network: validation and test accuracy, in percent"""
    seeds: int
    """networks of a name that the accuracies are means of"""
    settings: Mapping[str, Any]
    """that trained them, by dotted name"""
    commit: str


def file_of(space: str, dataset: str) -> Path:
    """Where the accuracies of a space on a data set are, or are to be."""
    return ZOO / f"{space}-{dataset}.json"


def recorded(space: str, dataset: str, digest: str | None = None) -> Recorded:
    """The accuracies of a space on a data set.

    Args:
        dataset: its name.
        digest: of the data; not compared without.

    Raises:
        UserError: none were recorded, they are of other data, or the file is damaged.
    """
    path, known = file_of(space, dataset), sorted(own.stem.removeprefix(f"{space}-") for own in ZOO.glob(f"{space}-*.json"))
    if Path(dataset).name != dataset or not path.exists():
        there = f"there are some on {' and '.join(known)}" if known else "there are none of this space"
        raise UserError(
            f"no accuracies of {space} on {dataset} were recorded ({there}); leave out --accuracies, and they are trained."
        )
    try:
        found = read_json(path)
        own = {str(name): (float(one), float(other)) for name, (one, other) in found["accuracies"].items()}
        kept = Recorded(own, int(found["seeds"]), dict(found["settings"]), str(found["commit"]))
        if not own or not all(math.isfinite(value) and 0 <= value <= 100 for pair in own.values() for value in pair):
            raise ValueError("an accuracy is none in percent")
    except (UserError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is truncated or corrupt; put back what was there.") from error
    if digest not in (None, found.get("digest")):
        raise UserError(
            f"the accuracies of {space} on {dataset} were recorded with other data of that name; leave out --accuracies."
        )
    return kept
