"""Hugging Face's Trainer: ``Trainer(…, callbacks=[TrainerInstructor(instructor)])``."""

from pathlib import Path
from typing import Any

import torch
from transformers import (  # pyright: ignore[reportMissingImports]
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from pipeline.instruction.instructor import Instructor

FILE = "instructor.pt"
"""in every checkpoint"""


class TrainerInstructor(TrainerCallback):
    """Instructs before every optimiser step: after accumulation and clipping. Its state lies in every checkpoint, from which a
    resumed run takes it."""

    def __init__(self, instructor: Instructor) -> None:
        self.instructor = instructor

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        file = _checkpoint(args, state) / FILE
        if state.global_step > 0 and file.exists():
            self.instructor.load_state_dict(torch.load(file, weights_only=True))

    def on_pre_optimizer_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        self.instructor.instruct(more["model"])

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        if state.is_world_process_zero:
            torch.save(self.instructor.state_dict(), _checkpoint(args, state) / FILE)


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
