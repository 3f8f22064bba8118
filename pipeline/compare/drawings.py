"""The figures of a comparison, from what is in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.arms import ARMS
from pipeline.compare.report import bound, curves, enn_seconds
from pipeline.compare.train import checkpoints_of
from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.files import read_tensors
from pipeline.results import figures
from pipeline.results.figures import Drawing

EXPLAINED = "explain"
"""folder, in a run's, of what its ENN looks at"""


@dataclass(frozen=True)
class Reported:
    """A comparison that has been reported on."""

    folder: Path
    config: Config
    dataset: Dataset
    written: Mapping[str, Any]
    """its ``report.json``"""
    arms: Mapping[str, Mapping[str, Any]]
    """as :func:`pipeline.compare.collect` gives them"""
    critics: Mapping[str, Critic]
    """by reader and ``before``; empty where there is no ENN"""
    points: Mapping[str, Mapping[str, Any]]
    """what ENNs predicted, as :func:`pipeline.compare.report.prediction_points` gives it"""

    @property
    def without_enn(self) -> bool:
        """No ENN was trained, and none instructed."""
        return not self.critics


def drawings(found: Reported) -> dict[str, Drawing]:
    """By the name of its file. Only what there is something to draw of."""
    data, enn = found.dataset.name, {} if found.without_enn else enn_seconds(found.folder)
    accuracies = {arm: curves(values, "accuracy") for arm, values in found.arms.items()}
    made = {"accuracy": figures.accuracy(accuracies, data=data, enn=enn)}
    if instructed := instructions(found):
        made["instruction"] = figures.instruction(instructed, data=data)
    if found.points:
        made["prediction"] = figures.prediction(found.points, data=data, score=score_of(found.config))
    if turned := {arm: curves(values, "angles") for arm, values in found.arms.items() if "angles" in values}:
        made["angles"] = figures.angles(turned, data=data)
    return made


def instructions(found: Reported) -> dict[str, dict[str, Any]]:
    """Curves of the arms that an ENN instructs, with the largest λ that there was."""
    own = {arm: values for arm, values in found.arms.items() if ARMS[arm].enn and not found.without_enn}
    return {
        arm: curves(values, "instruction") | {"bound": bound(found.config, arm, values["chosen_strength"], found.critics)}
        for arm, values in own.items()
    }


def score_of(config: Config) -> str:
    """What an ENN predicts, in words."""
    score = "exp(−loss)" if config.rl.score == "loss" else "accuracy"
    return f"{score} from a moment on, discounted by γ = {config.rl.gamma:g} per period of {config.rl.period} steps, 0 to 1"


def explained(found: Reported) -> dict[str, Drawing]:
    """Grad-CAM of every arm whose weights were looked at, all on one scale.

    Raises:
        UserError: a file does not hold what this program writes.
    """
    maps = {arm: maps for arm in found.arms if ARMS[arm].explained and (maps := _maps(found, arm))}
    scale = figures.scale_of([item for of_arm in maps.values() for item in of_arm])
    return {arm: figures.gradcam(of_arm, of=f"the arm {arm}", scale=scale) for arm, of_arm in maps.items()}


def _maps(found: Reported, arm: str) -> list[dict[str, Any]]:
    path = found.folder / EXPLAINED / f"gradcam-{arm}.safetensors"
    if not path.exists():
        return []
    tensors, made = read_tensors(path), []
    for number, (name, step) in enumerate(checkpoints_of(found.config).items()):
        parts = {part: tensors.get(f"{number}/{part}") for part in ("image", "map")}
        if any(part is None or part.ndim != 2 or 0 in part.shape for part in parts.values()):
            raise UserError(f"{path} holds no maps of this run; delete it and give `grad-instructor explain`.")
        said = _value(found.arms[arm], step)
        made.append(
            {"title": f"{name}, step {step}{said}", **{name: part.numpy() for name, part in parts.items() if part is not None}}
        )
    return made


def _value(values: Mapping[str, Any], step: int) -> str:
    """V of the first target at a step, where it was noted."""
    noted, steps = values["predicted"].get("convnet"), values["steps"]
    at = steps.index(step) if step in steps else -1
    return f" (V = {noted[0][at]:.2f})" if noted and 0 <= at < len(noted[0]) else ""
