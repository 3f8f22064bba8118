"""The results of a comparison as they lie in its folder, arm by arm."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.compare.tasks import final_tasks
from pipeline.compare.train import PER_MEMBER
from pipeline.config import Config
from pipeline.files import read_json
from pipeline.results.origin import mapping


def collect(config: Config, folder: Path) -> dict[str, dict[str, Any]]:
    """The arms' results with their groups joined: what :mod:`pipeline.results` draws and tables.

    Per arm: seeds (n), steps (D + 1), seconds (mean over groups), and, one row per seed, loss, accuracy, strength,
    gradient_norm, instruction_norm, predicted (by reader), and of learning rules angles (n, D + 1, layers) in degrees;
    diverged_at; strength chosen; provenance of each group that has it.
    """
    return {arm: collect_arm(config, folder, arm) for arm in config.compare.arms}


def collect_arm(config: Config, folder: Path, arm: str) -> dict[str, Any]:
    """One arm of :func:`collect`."""
    groups = [read_json(folder / "arms" / f"{task.name}.json", math.nan) for task in final_tasks(config, [arm], {})]
    joined: dict[str, Any] = {"steps": groups[0]["steps"]}
    for key in ("seeds", "diverged_at"):
        joined[key] = [value for group in groups for value in group[key]]
    for key in PER_MEMBER:
        joined[key] = np.concatenate([np.array(group[key]).T for group in groups]).tolist()
    if "angles" in groups[0]:
        joined["angles"] = np.concatenate([np.array(group["angles"], float).swapaxes(0, 1) for group in groups]).tolist()
    joined["predicted"] = {
        name: np.concatenate([np.array(group["predicted"][name]).T for group in groups]).tolist()
        for name in groups[0]["predicted"]
    }
    joined["seconds"] = np.mean([group["seconds"] for group in groups], axis=0).tolist()
    joined["ms_per_step"] = [1000 * group["seconds"][-1] / group["steps"][-1] for group in groups]
    joined["chosen_strength"] = groups[0]["strengths"][0]
    joined["provenance"] = [mapping(group["provenance"]) for group in groups if group.get("provenance")]
    return joined
