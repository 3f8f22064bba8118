"""The Instructor in Lightning, in Hugging Face's Trainer, and with Accelerate: ``pip install 'grad-instructor[integrations]'``.

Each library is imported when its function is called.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from pipeline.instruction import Instructor

__all__ = ["instruct_accelerated", "lightning_callback", "trainer_callback"]


def lightning_callback(instructor: "Instructor", model: "Callable[[Any], nn.Module] | None" = None) -> Any:
    """For ``lightning.Trainer(callbacks=[…])``: instructs before every optimiser step, after accumulation and unscaling, before
    clipping. Its state is part of Lightning's checkpoints.

    Args:
        model: which part of the LightningModule is instructed (default: all of it, called with a batch of inputs).

    Raises:
        UserError: Lightning is not installed.
    """
    try:
        from pipeline.instruction.integrations.lightning_callback import LightningInstructor
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return LightningInstructor(instructor, model)


def trainer_callback(instructor: "Instructor") -> Any:
    """For ``transformers.Trainer(callbacks=[…])``: instructs before every optimiser step, after accumulation and clipping. Its
    state lies in every checkpoint, from which a resumed run takes it.

    Raises:
        UserError: transformers is not installed.
    """
    try:
        from pipeline.instruction.integrations.trainer import TrainerInstructor
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return TrainerInstructor(instructor)


def instruct_accelerated(accelerator: Any, instructor: "Instructor", model: "nn.Module", optimizer: Any) -> None:
    """With an ``accelerate.Accelerator``, between ``accelerator.backward`` and ``optimizer.step()``: instructs where a step is
    due; gradients that are still accumulated are left alone, scaled ones are unscaled. For checkpoints:
    ``accelerator.register_for_checkpointing(instructor)``.

    Args:
        model, optimizer: as ``accelerator.prepare`` returned them.
    """
    if accelerator.sync_gradients:
        accelerator.unscale_gradients(optimizer)
        instructor.instruct(model)


def _missing(error: ModuleNotFoundError) -> UserError:
    return UserError(f"{error.name} is not installed; install with: pip install 'grad-instructor[integrations]'.")
