"""What the kinds have in common whose candidates are ways of training fresh targets."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.search.kinds.kind import Checks, Judging
from pipeline.search.values import Failed, Record, Stage

if TYPE_CHECKING:
    from torch import Tensor

    import pipeline.data.dataset
    from pipeline.targets.population import Evaluation

WORST_LOSS = 1e3
"""of a target that diverged"""


def decided(last: Stage) -> dict[str, Any]:
    """How long targets are trained, where the last stage says so."""
    return {"training.steps": last.steps} if last.steps else {}


def checks(over: str, stages: Sequence[Stage]) -> Checks:
    """What must hold of the stages of a search over so-and-so: no ENN learns, and there are targets."""
    return [
        (
            not any(stage.updates or stage.segments for stage in stages),
            f"stages: a search over {over} has no updates, no segments.",
        ),
        (all(stage.targets for stage in stages), f"stages: in a search over {over} each one needs 'targets'."),
    ]


def one_length(stages: Sequence[Stage], searched: frozenset[str]) -> Checks:
    """How long targets are trained is said by the stages or searched, not both."""
    return [
        (
            not (stages[-1].steps and "training.steps" in searched),
            "stages: the last one gives 'steps', so that training.steps cannot be searched; drop one of them.",
        )
    ]


def judged_by(
    judge: Callable[..., dict[str, Any]], together: Callable[..., list[dict[str, Any]]] | None = None
) -> Callable[..., Judging]:
    """A kind's ``prepare``: nothing is to be made ready."""

    def prepare(
        stages: Sequence[Stage],
        record: Record,
        recordings: Mapping[str, Config],
        dataset: "pipeline.data.dataset.Dataset",
        folder: Path,
    ) -> Judging:
        del stages, record, recordings, folder
        return Judging(judge, {"dataset": dataset}, together=together)

    return prepare


def steps_and_seeds(config: Config, stage: Stage) -> tuple[int, list[int]]:
    """How long a stage trains, and its targets' seeds: the same for all candidates."""
    from pipeline.seeding import stream

    steps = min(stage.steps or config.training.steps, config.training.steps)
    return steps, [stream(config.seed, "judged", number) for number in range(stage.targets)]


def training_data(config: Config, dataset: "pipeline.data.dataset.Dataset", device: str = "cpu") -> tuple["Tensor", "Tensor"]:
    """The training split.

    Raises:
        Failed: a batch would be larger.
    """
    x, y = dataset.tensors("train", device)
    if config.training.batch_size > len(x):
        raise Failed(f"training.batch_size is {config.training.batch_size} and there are {len(x)} training examples")
    return x, y


def judged(found: "Evaluation", targets: int, seconds: float, steps: int) -> dict[str, Any]:
    """What fresh targets came to after so many steps, and the processor's seconds per target."""
    return {
        "accuracy": 100 * found.accuracy.mean().item(),
        "accuracy_spread": 100 * float(found.accuracy.numpy().std()),
        "loss": bounded(found).mean().item(),
        "targets": targets,
        "seconds": seconds,
        "steps_per_target": float(steps),
    }


def bounded(found: "Evaluation") -> "Tensor":
    """The losses (P,), of a target that diverged the worst."""
    return found.loss.nan_to_num(WORST_LOSS).clamp_max(WORST_LOSS)
