"""Searches over ENNs: populations are recorded once, every candidate learns from them, is fine-tuned, and instructs targets."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import LEAST_RECORDED, Config
from pipeline.errors import UserError, shown
from pipeline.search.kinds.kind import Checks, Judging, Kind
from pipeline.search.values import Record, Stage, pairs_of

if TYPE_CHECKING:
    import pipeline.data.dataset

LEARNED = ("unroll.segments", "rl.rounds", "rl.updates", "recorded.")
"""settings that say how long an ENN learns, and from what"""


def decide(base: Mapping[str, Any], last: Stage, record: Record) -> dict[str, Any]:
    """How long the ENN learns, and from which recordings."""
    return {
        "unroll.segments": last.segments,
        "rl.rounds": 0,
        "rl.updates": last.updates,
        "recorded.rounds": 0 if base["unroll.start"] else record.rounds,
        "recorded.updates": record.updates,
    }


def complete(base: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Names in ``recorded.settings`` what is different about the ENN that recorded."""
    if not values["recorded.rounds"]:
        return values
    return values | {"recorded.settings": [f"{key}={json.dumps(base[key])}" for key in base if _recorded(base, values, key)]}


def _recorded(base: Mapping[str, Any], values: Mapping[str, Any], key: str) -> bool:
    return key.startswith(("enn.", "instruction.", "rl.")) and key != "instruction.ladder" and base[key] != values[key]


def reason(key: str) -> str:
    """Why a setting cannot be searched or given."""
    if key.startswith(LEARNED):
        return "'stages' and 'record' say how long a candidate learns, and from what."
    if key.startswith(KIND.decided):
        return "it says how runs are collected under an ENN that learns meanwhile, which no candidate does."
    return "the recorded runs depend on it, so give it once in 'settings'."


def without_effect(key: str, base: Mapping[str, Any]) -> str:
    """Why a setting would not change any candidate."""
    if base["unroll.start"] and key.startswith(("enn.", "rl.")):
        return f"every candidate starts from the ENN {base['unroll.start']}, which is what it is."
    if key.startswith("rl.") and not base["rl.updates"]:
        return "no stage has 'updates'."
    if key.startswith("unroll.") and not base["unroll.segments"]:
        return "no stage has 'segments'."
    return ""


def check_settings(base: Mapping[str, Any]) -> None:
    """Raises UserError where candidates would start from a file: a search names no folder."""
    if base["unroll.start"] not in ("", *shipped_enns()):
        raise UserError(
            f"unroll.start is {shown(base['unroll.start'])}; a search names an ENN of the package: {', '.join(shipped_enns())}."
        )


def shipped_enns() -> list[str]:
    """Names of the ENNs that come with the package (:func:`pipeline.enn.files.shipped`, which needs torch)."""
    return sorted(path.stem for path in (Path(__file__).parents[2] / "enn" / "shipped").glob("*.safetensors"))


def check(stages: Sequence[Stage], groups: Sequence[Config], searched: frozenset[str]) -> Checks:
    """What must hold of the stages."""
    del searched
    return [
        (
            all(a.updates == b.updates or not a.segments for a, b in pairs_of(stages)),
            "stages: 'updates' cannot grow once 'segments' have begun.",
        ),
        (
            all(stage.targets != 1 for stage in stages),
            "stages: 'targets' is 1; give at least 2 (every other one starts from He), or none.",
        ),
        (not any(stage.steps for stage in stages), "stages: 'steps' are for searches over targets; set training.steps."),
        (
            not groups[0].unroll.start or not any(stage.updates for stage in stages),
            "stages: an ENN of unroll.start is not taught from recorded runs; leave out 'updates'.",
        ),
        (
            all(config.rl.members >= LEAST_RECORDED for config in groups),
            f"settings: rl.members must be at least {LEAST_RECORDED}, so that every start and λ is held out.",
        ),
    ]


def check_data(config: Config, dataset: "pipeline.data.dataset.Dataset") -> None:
    """Raises UserError where the ENN of ``unroll.start`` is not what ``enn`` says, or cannot read the targets."""
    if config.unroll.start:
        from pipeline.setting import load_start, target_of

        load_start(config, target_of(config, dataset))


def prepare(
    stages: Sequence[Stage],
    record: Record,
    recordings: Mapping[str, Config],
    dataset: "pipeline.data.dataset.Dataset",
    folder: Path,
) -> Judging:
    """Record what candidates learn from, unless it is there."""
    from rl.offline import judge
    from rl.offline import record as record_one

    targets, started = max(stage.targets for stage in stages), time.monotonic()
    recorded = {
        name: record_one(config, dataset, folder / "recordings" / name, record.rounds, targets, record.updates)
        for name, config in recordings.items()
    }
    runs, many = {len(own.loss) for own in recorded.values()}, len(recorded) > 1
    said = (
        f"{f'{len(recorded)} times ' if many else ''}{max(runs)} runs are recorded ({time.monotonic() - started:.0f} s); "
        f"every candidate learns from {'those of its ladder of λ' if many else 'them'}."
    )
    size = sum(own.observations.nbytes for own in recorded.values())
    return Judging(judge, {"dataset": dataset, "recorded": recorded}, size, said)


KIND = Kind(
    name="enn",
    over="ENNs",
    searched=("enn.", "instruction.", "rl.", "unroll."),
    given=("rl.period", "rl.members", "rl.score_examples", "enn.coarsening", "unroll.start"),
    decided=("unroll.segments", "rl.rounds", "rl.updates", "rl.epsilon", "rl.env_runners", "recorded."),
    objectives=(
        "gain",
        "gain_small",
        "gain_he",
        "rank_correlation",
        "calibration_error",
        "cosine",
        "look_ahead",
        "ms_per_instruction",
        "parameters",
    ),
    smaller=("calibration_error", "ms_per_instruction", "parameters"),
    ranked="rank_correlation",
    stands_for={"ms_per_instruction": "operations_per_instruction"},
    parts=("record", "predict"),
    predicted=True,
    records=True,
    least_targets=2,
    trained_by="train-enn",
    decide=decide,
    complete=complete,
    reason=reason,
    without_effect=without_effect,
    check_settings=check_settings,
    check=check,
    check_data=check_data,
    prepare=prepare,
)
