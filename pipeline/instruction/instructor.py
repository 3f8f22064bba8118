"""Instruction in anyone's own training loop."""

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.enn import load_critic
from pipeline.enn.files import digest_of
from pipeline.enn.readers import Probes
from pipeline.errors import UserError
from pipeline.instruction import values
from pipeline.instruction.caller import callers_level, gradient_norm, rates_of, refuse_line_search, require_gradients
from pipeline.instruction.chain import foreign
from pipeline.instruction.guard import Guard
from pipeline.instruction.held import Held
from pipeline.instruction.low_rank import LowRank
from pipeline.instruction.memory import Bound, Latest, checked_state
from pipeline.instruction.modules import Call, How, Readable, readable
from pipeline.instruction.own_guard import FarFromHome, OwnGuard, far_from_home
from pipeline.instruction.unseen import undisturbed
from pipeline.instruction.validation import Validation
from pipeline.instruction.values import Enn, Flag, Module, Number, Optimizer, Pair, Shape, Whole
from pipeline.instruction.wrapped import mean_over, unwrapped
from pipeline.learning.modules import require_gradient_of


class Instructor:
    """Instruction in anyone's own training loop::

        instructor = Instructor.load("enn.safetensors", steps=1000, learning_rate=0.1)
        loss.backward()
        instructor.instruct(model)     # adds −λ ∂V/∂θ to each parameter's .grad
        optimizer.step()

    It reads what the model computes. A chain of ``nn.Linear`` layers with biases and one kind of activation between them is
    read by its weights, once its forward pass was seen to be that chain. Where the ENN reads by probes, any ``nn.Module`` can
    be read that turns inputs of ``input_shape`` into scores of the home target's classes. Reading leaves no trace in the model.
    Parameters that do not require gradients are left alone.

    An instructor belongs to one model and one run. It follows the ENN as far as the gradients at hand agree with it (see
    :mod:`pipeline.instruction.own_guard`).

    Args:
        critic: the ENN; a copy of it is used.
        steps, learning_rate, strength, input_shape, guarded, forward, hooks, optimizer, validation: see :meth:`load`.
    """

    def __init__(
        self,
        critic: Enn,
        steps: Whole | None = None,
        learning_rate: Number | None = None,
        strength: Number | None = None,
        input_shape: Shape | None = None,
        guarded: Flag | None = None,
        *,
        forward: Call | None = None,
        hooks: str = "refuse",
        optimizer: Optimizer | None = None,
        validation: Pair | None = None,
    ) -> None:
        critic = values.critic(critic)
        own = copy.deepcopy(critic) if strength is None else critic.with_strength(values.strength(strength))
        self.critic = own.eval().requires_grad_(False)
        self.steps = critic.home.steps if steps is None else values.steps(steps)
        self.learning_rate = critic.home.learning_rate if learning_rate is None else values.learning_rate(learning_rate)
        self.how = How(None if input_shape is None else values.input_shape(input_shape), forward, values.hooks(hooks))
        self.optimizer, self.guarded = values.optimizer(optimizer), values.guarded(guarded)
        self.validation = values.validation(validation, critic.home.target, self.how.input_shape)
        if self.validation is not None and guarded is not None:
            raise UserError("validation is for the guard of one's own loop; leave guarded out, or validation.")
        chain = not self.how.any_module and isinstance(self.critic.reader, Probes)
        self._low_rank = LowRank(self.critic) if chain else None
        self.reset()

    def reset(self) -> None:
        """Begin a new run, of this model or another."""
        self.step, self.last = 0, None
        shown = None if self.validation is None else Validation(*self.validation)
        self.guard = OwnGuard(validation=shown) if self.guarded is None else Guard() if self.guarded else None
        self._bound = Bound()
        self._read: tuple[list[Any], nn.Module, Readable] | None = None
        self._held = Held(self.critic, self._low_rank)

    step: int
    """optimiser steps instructed so far"""
    last: Latest | None
    """what the latest call of :meth:`instruct` did; None before the first"""

    @classmethod
    def load(
        cls,
        path: str | Path,
        steps: Whole | None = None,
        learning_rate: Number | None = None,
        strength: Number | None = None,
        device: str = "cpu",
        input_shape: Shape | None = None,
        guarded: Flag | None = None,
        *,
        forward: Call | None = None,
        hooks: str = "refuse",
        optimizer: Optimizer | None = None,
        validation: Pair | None = None,
    ) -> "Instructor":
        """An instructor with the ENN saved at ``path``, or with one that comes with the package, by its name.

        Args:
            steps: T, optimiser steps of your whole run (default: that of the runs the ENN learned on).
            learning_rate: of your optimiser, for the trust region (default: likewise). An ENN whose home is decoupled moves the
                weights by a rate of its own, whatever your optimiser's is.
            strength: λ; 0 is conventional training, -1 lets the ENN choose (default: as saved).
            input_shape: of one input of a model that is no chain of linear layers, for example (1, 28, 28).
            guarded: None follows the ENN as far as the gradients at hand agree with it; True only weakens an instruction that
                leads uphill, as the loops of this package do; False follows it blindly.
            forward: ``forward(model, inputs)``, the scores of a batch, of a model with other inputs or outputs.
            hooks: what becomes of forward hooks while the ENN looks: "refuse" the model, "ignore" them (they only look on), or
                "fire" them (they belong to what the model computes).
            optimizer: yours; each tensor's trust region then follows the learning rate of its parameter group, and what is in
                no group is left alone.
            validation: a pair (x, y) of inputs and their classes that are not trained on; the ENN is then followed only as far
                as these agree with it, from the first step on (see :mod:`pipeline.instruction.validation`).

        Raises:
            UserError: the file is missing, damaged or of another version; or an argument is none.
        """
        critic = load_critic(path, device)
        more = {"forward": forward, "hooks": hooks, "optimizer": optimizer, "validation": validation}
        return cls(critic, steps, learning_rate, strength, input_shape, guarded, **more)

    def instruct(self, model: Module, scale: Number = 1.0) -> None:
        """Add −λ ∂V/∂θ to the ``.grad`` of each of ``model``'s parameters, and count one step. An ENN whose home is decoupled
        leaves the gradients alone and moves the parameters themselves.

        To be called once per optimiser step. A call while gradients are still accumulated on those of the call before does
        nothing; nor does one whose gradients are not finite, a step that a ``GradScaler`` will skip. Where a loop instructs
        and then leaves the step out by itself, the next call is in its place: no step is counted twice.

        Args:
            scale: by how much the gradients are scaled; the instruction is, too.

        Raises:
            Unreadable: the model, or one of its layers, is none that this ENN can read; the message names the layer.
            UserError: the model is not that of the steps before, or its gradients are those of a scaled loss; or a guarded
                instruction's model learns by a rule that sends back no gradient.
        """
        scale = values.scale(scale)
        if not isinstance(model, nn.Module):
            unwrapped(model)
        refuse_line_search(self.critic.home.decoupled)
        if self.guard is not None:
            require_gradient_of(model, "a guarded instruction (guarded=False leaves the guard out)")
        with undisturbed(self.how.hooks):
            self._instruct(model, scale)

    def _instruct(self, given: nn.Module, scale: float) -> None:
        (model, read), home, held = self._reading(given), self.critic.home, self._held
        stale = held.is_stale(read)
        self._bound.check(model, read.names, read.tensors, not stale)
        norm = gradient_norm(read, scale)
        if norm != norm or norm == float("inf") or self._bound.is_repeat(read.tensors):
            return
        if self.guard is not None and self.last is not None:
            require_gradients(read)
        # whether the last step was left out, so that this one takes its place; without gradients nobody makes steps by them
        again = self.step > 0 and norm > 0 and self._bound.is_unmoved(read.tensors)
        if again and home.decoupled:  # which moved the weights already
            self._bound.remember(model, read.names, read.tensors)
            return
        self.step -= again
        due = not again and self.step % home.period % home.refresh == 0
        if not again and isinstance(self.guard, OwnGuard) and self.guard.rests(self.step % home.period == 0):
            due = False
            held.drop()
        if stale:
            held.drop()
        if due or stale:
            self._refresh(given, read)
        at = min(1.0, self.step / self.steps)
        length, rate = held.apply(read, scale, self.step / self.steps, self.optimizer)
        if self._shown is not None and length > 0 and not again:
            self._shown.moved += rate
        self._bound.remember(model, read.names, read.tensors)
        if due and (told := far_from_home(model, home.target, self.step == 0, self.guard)):
            warnings.warn(told, FarFromHome, stacklevel=callers_level())
        trust = 1.0 if self.guard is None else float(self.guard.factor)
        loss = None if self._shown is None else self._shown.loss
        self.last = Latest(self.step, at, held.value, float(held.strength), trust, norm, length, due, length > 0, loss)
        self.step += 1

    def predict(self, model: Module) -> float:
        """V(θ, t) of a model now; of any, it need not be the one that is instructed.

        Raises:
            Unreadable: the model, or one of its layers, is none that this ENN can read; the message names the layer.
        """
        model = unwrapped(model)
        with undisturbed(self.how.hooks), torch.no_grad():
            progress = self._progress()
            with _no_autocast(progress):
                read = readable(model, self.critic, self.how)
                return float(self.critic.value_of(read.features(progress)))

    def state_dict(self) -> dict[str, Any]:
        """All that the instructor remembers, in tensors, numbers, text and lists: saved beside the model's, a run that was
        stopped at any step goes on to the same bits."""
        return {
            "enn": digest_of(self.critic),
            "step": self.step,
            **self._held.state_dict(),
            "guard": {} if self.guard is None else self.guard.state_dict(),
            "names": list(self._bound.names),
            "sample": None if self._bound.sample is None else self._bound.sample.clone(),
            "made": self._bound.was_made(),
        }

    def load_state_dict(self, state: Any) -> None:
        """Go on where :meth:`state_dict` was called, with an instructor that was made alike.

        Raises:
            UserError: it is no state of an instructor, or one of another ENN.
        """
        own = checked_state(state)
        if own["enn"] != digest_of(self.critic):
            raise UserError("the state that was to be loaded is of another ENN; load the ENN that the run was instructed by.")
        self.reset()
        self.step = own["step"]
        self._held.load_state_dict(own)
        self._bound.names = list(own["names"])
        self._bound.sample = None if own["sample"] is None else own["sample"].clone()
        self._bound.made = own["made"]
        if self.guard is not None:
            self.guard.load_state_dict(own["guard"])

    def __getstate__(self) -> dict[str, Any]:
        """What a copy keeps, and what is pickled: all but the model that was read."""
        return self.__dict__ | {"_read": None}

    def _reading(self, given: nn.Module) -> tuple[nn.Module, Readable]:
        """The model within its wrappers, and how it is read: as before where nothing has changed, looked at anew where its
        parameters or layers are others, and a chain at every period."""
        facts: list[Any] = [(name, id(own), own.requires_grad, own.dtype, own.device) for name, own in given.named_parameters()]
        facts += [(name, id(own), type(own)) for name, own in given.named_modules()]
        if self._read is not None and self._read[0] == facts:
            _, model, read = self._read
            if self.step % self.critic.home.period or read.confirm():
                return model, read
        model = unwrapped(given)
        read = readable(model, self.critic, self.how)
        self._read = facts, model, read
        if isinstance(self.guard, OwnGuard):
            self.guard.far = bool(foreign(model, self.critic.home.target))
        return model, read

    def _progress(self) -> Tensor:
        like = next(self.critic.parameters())
        return torch.full((1,), min(1.0, self.step / self.steps), dtype=like.dtype, device=like.device)

    def _refresh(self, given: nn.Module, read: Readable) -> None:
        """Read the weights, and let the guard look at what is made of them."""
        home, held, guard, shown = self.critic.home, self._held, self.guard, self._shown
        base, optimizer = (home.learning_rate, None) if home.decoupled else (self.learning_rate, self.optimizer)
        rates = rates_of(read.tensors, base, optimizer)
        if self.step % home.period or (isinstance(guard, OwnGuard) and guard.far):
            shown = None  # which is looked at where a period begins, and tells nothing far from home
        followed = held.moved(read, rates, shown.moved, self.optimizer) if shown is not None and shown.moved else {}
        mean = None if shown is None else mean_over(given)
        progress, many = self._progress(), home.refresh > 1 or guard is not None
        with _no_autocast(progress), held.unless_it_fails():
            held.read(read, self.step, progress, rates, many)
            if shown is not None and mean is not None and held.pushes:
                shown.check(read, self.how, held.trained(read, self.optimizer), followed, mean)
        if self._shown is not None:
            self._shown.moved = 0.0
        if guard is not None and held.pushes:
            held.compare(read, guard)
            held.weaken(float(guard.factor))

    @property
    def _shown(self) -> Validation | None:
        return self.guard.validation if isinstance(self.guard, OwnGuard) else None


def _no_autocast(like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, enabled=False)
