"""What an :class:`pipeline.instruction.Instructor` remembers of its model: which it is, and where its weights were."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import UserError

SAMPLES = 128
"""values per tensor by which weights are known again"""
MOVED, TURNED = 0.7, 0.35
"""what no optimiser step does at once: the weights change by so much of their norm, and point elsewhere, at such a cosine"""

STATE = {
    "enn": str,
    "step": int,
    "strength": Tensor,
    "value": float,
    "instruction": Mapping,
    "lengths": Mapping,
    "guard": Mapping,
    "names": Sequence,
    "sample": (Tensor, type(None)),
    "made": bool,
}
"""what a saved state consists of"""


@dataclass(frozen=True)
class Latest:
    """What the latest call of ``instruct`` did, for a log."""

    step: int
    """from 0; of the call"""
    progress: float
    """t / T"""
    value: float
    """V(θ, t) at the latest reading"""
    strength: float
    """λ before the guard"""
    trust: float
    """the guard's factor on it; 1 without a guard"""
    gradient_norm: float
    """of the gradients that were found, before anything was added"""
    instruction_norm: float
    """of what was added to them, or, of a decoupled ENN, of what moved the weights, divided by its learning rate"""
    read: bool
    """whether the weights were read; else an earlier instruction was used again"""
    instructed: bool
    """whether anything was added or moved"""
    validation_loss: float | None = None
    """of the validation data where they were looked at last; None where there are none"""


class Bound:
    """The one model that an instructor belongs to."""

    def __init__(self) -> None:
        self.model: weakref.ref[nn.Module] | None = None
        self.names: list[str] = []
        self.tensors: list[weakref.ref[Tensor]] = []
        self.sample: Tensor | None = None
        self.versions: list[int] = []
        self.gradient: Tensor | None = None
        """one of the gradients that were instructed last"""
        self.made = True
        """False where a state was loaded whose last step was instructed and not made"""

    def __getstate__(self) -> dict[str, Any]:
        """What a copy keeps, and what is pickled: the names and the sample, by which the model is known again as it is after
        :meth:`Instructor.load_state_dict`."""
        return {**Bound().__dict__, "names": self.names, "sample": self.sample, "made": self.was_made()}

    def check(self, model: nn.Module, names: Sequence[str], tensors: Sequence[Tensor], fits: bool = True) -> None:
        """Nothing, where this is the model of the steps before.

        Args:
            fits: the instruction that is held has the shapes of these tensors.

        Raises:
            UserError: it is another one, or its weights were made anew.
        """
        if self.model is not None and self.model() is not model:
            raise UserError(
                "this instructor belongs to another model, at whose weights and progress its instruction was made; make one "
                "instructor per model, or call its reset() to begin a new run."
            )
        now = sample(tensors)
        fits = fits and (self.sample is None or self.sample.shape == now.shape)
        if self.names and self.model is None and (self.names != list(names) or not fits):
            raise UserError(
                "the state that was loaded is of a model with other parameters; load it beside the model that it was saved "
                "with."
            )
        if self.sample is None or self.names != list(names):
            return
        known = [own() for own in self.tensors]
        before = self.sample.to(now)
        replaced = bool(known) and not any(own is other for own, other in zip(known, tensors, strict=True))
        if now.shape != before.shape:
            return
        both = torch.stack([before, now])
        (size, turned), (_, new) = (both @ both.t()).tolist()  # squares, and the inner product
        apart, far = size + new - 2 * turned, abs(turned) < TURNED * (size * new) ** 0.5
        if replaced or (apart > MOVED**2 * size and far and size > 0):
            raise UserError(
                "the model's weights are not those of the step before: it was initialised anew, or other weights were loaded; "
                "call the instructor's reset() to begin a new run, or load_state_dict() with what was saved beside them."
            )

    def is_repeat(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the gradients that were instructed last are still being accumulated: no optimiser step came between."""
        return any(own.grad is self.gradient for own in tensors) and self.is_unmoved(tensors)

    def is_unmoved(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the step that was instructed last was not made: the weights are where they were. (An optimiser that writes
        to ``.data`` leaves no other trace than their values.)"""
        if self.made and (self.gradient is None or self.versions != [own._version for own in tensors]):
            return False
        now = sample(tensors)
        return self.sample is not None and torch.equal(self.sample.to(now), now)

    def was_made(self) -> bool:
        """Whether the step that was instructed last was made by now."""
        known = [own for own in (tensor() for tensor in self.tensors) if own is not None]
        return self.made and not (bool(known) and len(known) == len(self.tensors) and self.is_unmoved(known))

    def remember(self, model: nn.Module, names: Sequence[str], tensors: Sequence[Tensor]) -> None:
        """This model and its weights, as they are after a step was instructed."""
        self.model, self.names, self.sample, self.made = weakref.ref(model), list(names), sample(tensors), True
        self.tensors = [weakref.ref(own) for own in tensors]
        self.versions = [own._version for own in tensors]
        trained = [own.grad for own in tensors if own.grad is not None]
        self.gradient = min(trained, key=lambda own: own.numel()) if trained else None


def sample(tensors: Sequence[Tensor]) -> Tensor:
    """Some values of every matrix, spread over it."""
    parts = []
    for tensor in tensors:
        if tensor.dim() > 1:
            flat = tensor.detach().flatten()
            parts.append(flat[:: max(1, len(flat) // SAMPLES)][:SAMPLES].float())
    device = parts[0].device if parts else torch.device("cpu")
    return torch.cat([part.to(device) for part in parts]) if parts else torch.zeros(0)


def checked_state(state: Any) -> dict[str, Any]:
    """A state that was saved, if it is one.

    Raises:
        UserError: it is none of an instructor.
    """
    state = {"made": True, **state} if isinstance(state, Mapping) else state  # earlier versions did not write it
    alike = isinstance(state, Mapping) and state.keys() == STATE.keys()
    if not alike or not all(isinstance(state[key], kind) for key, kind in STATE.items()) or not _is_whole(state):
        raise UserError("what was to be loaded is no state of an instructor; give what its state_dict() returned.")
    return dict(state)


def _is_whole(state: Mapping[str, Any]) -> bool:
    """Whether the parts of a state fit each other, and are made of tensors and numbers."""
    names, pushes, lengths, kept = (state[key] for key in ("names", "instruction", "lengths", "sample"))
    tensors = all(isinstance(own, Tensor) and own.is_floating_point() for own in pushes.values())
    numbers = all(isinstance(own, int | float) for own in lengths.values())
    known = all(isinstance(name, str) for name in names) and set(pushes) <= set(names) & set(lengths)
    single = state["strength"].numel() == 1 and state["strength"].is_floating_point()
    flat = kept is None or (kept.dim() == 1 and kept.is_floating_point())
    return tensors and numbers and known and single and flat and state["step"] >= 0 and _of_numbers(state["guard"])


def _of_numbers(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_of_numbers(own) for own in value.values())
    return value is None or isinstance(value, int | float | Tensor)
