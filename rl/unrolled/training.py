"""Fine-tuning from the first segment to the last, with checkpoints on the way."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.files import write_json
from pipeline.results.checkpoints import begun, read_checkpoint, read_history, write_checkpoint
from pipeline.results.origin import Origin
from rl.unrolled.tuning import FineTuning

KEEP = 25
"""segments between two checkpoints"""


def fine_tune(
    config: Config,
    dataset: Dataset,
    critic: Critic,
    folder: Path,
    on_segment: Callable[[dict[str, Any]], None] | None = None,
    device: str = "cpu",
    origin: Origin | None = None,
) -> tuple[Critic, list[dict[str, Any]]]:
    """A fine-tuned copy of ``critic`` and the history, one row per :data:`KEEP` segments; its home is that of ``config``.

    Continues where an earlier call in the same folder stopped, and ends with the same numbers.

    Args:
        on_segment: called with every new row of the history (also for rows of an earlier call).
        origin: what the result is made from; what an earlier call left must be made from the same.
    """
    history_file = folder / "unrolled.json"
    history = read_history(history_file, origin)
    history = begun(history, lambda count: [_checkpoint(folder, history[count - 1]["segment"])])
    tuning = FineTuning(config, dataset, critic, device)
    if history:
        tuning.load(read_checkpoint(_checkpoint(folder, history[-1]["segment"]), origin))
    for row in history:
        if on_segment:
            on_segment(row)
    started, rows = time.perf_counter(), []
    for number in range(tuning.segments, config.unroll.segments):
        rows.append(tuning.segment(number))
        if (number + 1) % KEEP == 0 or number + 1 == config.unroll.segments:
            row = {name: _mean([row[name] for row in rows]) for name in rows[0]}
            history.append({"segment": number + 1, **row, "seconds": time.perf_counter() - started})
            history[-1] |= origin.row() if origin else {}
            write_checkpoint(_checkpoint(folder, number + 1), tuning.tensors(), origin)
            write_json(history_file, history)
            for old in sorted(folder.glob("unrolled-*.safetensors"))[:-2]:
                old.unlink()
            started, rows = time.perf_counter(), []
            if on_segment:
                on_segment(history[-1])
    return tuning.exported(), history


def _checkpoint(folder: Path, segments: int) -> Path:
    """The file that the fine-tuning goes on from after so many segments."""
    return folder / f"unrolled-{segments:06d}.safetensors"


def _mean(values: Sequence[float]) -> float:
    """Of the numbers among them; NaN where there is none."""
    found = [value for value in values if not math.isnan(value)]
    return float(np.mean(found)) if found else math.nan
