"""Hugging Face's Trainer: ``Trainer(…, callbacks=[TrainerInstructor(instructor)])``."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import (  # pyright: ignore[reportMissingImports]
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from pipeline.files import read_metadata, read_tensors, write_tensors
from pipeline.instruction.instructor import Instructor

FILE = "instructor.safetensors"
"""in every checkpoint; no pickle, for a checkpoint may come from somebody else"""
TENSOR = "tensor: "
"""in the place of a tensor, before its name"""


class TrainerInstructor(TrainerCallback):
    """Instructs before every optimiser step: after accumulation and clipping. Its state lies in every checkpoint, from which a
    resumed run takes it."""

    def __init__(self, instructor: Instructor) -> None:
        self.instructor = instructor

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        file = _checkpoint(args, state) / FILE
        if state.global_step > 0 and file.exists():
            self.instructor.load_state_dict(_joined(json.loads(read_metadata(file)["state"]), read_tensors(file)))

    def on_pre_optimizer_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        self.instructor.instruct(more["model"])

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        if state.is_world_process_zero:
            tensors: dict[str, Tensor] = {}
            rest = _split(self.instructor.state_dict(), tensors)
            write_tensors(_checkpoint(args, state) / FILE, tensors, {"state": json.dumps(rest)})


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _split(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What is no tensor of a state; its tensors are added to ``tensors``."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return TENSOR + name
    if isinstance(value, dict):
        return {key: _split(own, tensors) for key, own in value.items()}
    return value


def _joined(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of :func:`_split`."""
    if isinstance(value, str) and value.startswith(TENSOR):
        return tensors[value.removeprefix(TENSOR)]
    return {key: _joined(own, tensors) for key, own in value.items()} if isinstance(value, dict) else value
