"""Lightning: ``Trainer(callbacks=[LightningInstructor(instructor)])``."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer  # pyright: ignore[reportMissingImports]
from torch import nn
from torch.optim import Optimizer

from pipeline.instruction.instructor import Instructor


class LightningInstructor(Callback):
    """Instructs before every optimiser step: after accumulation and unscaling, before clipping. Its state is part of
    Lightning's checkpoints.

    Args:
        model: which part of the LightningModule is instructed (default: all of it, called with a batch of inputs).
    """

    def __init__(self, instructor: Instructor, model: Callable[[LightningModule], nn.Module] | None = None) -> None:
        self.instructor, self.model = instructor, model

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.instructor.instruct(pl_module if self.model is None else self.model(pl_module))

    def state_dict(self) -> dict[str, Any]:
        return self.instructor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.instructor.load_state_dict(state_dict)
