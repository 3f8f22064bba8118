"""Loops that nobody wrote down: what changes on the way, what is copied, what is given in another's place.

Each is instructed by what the model computes (the oracle of :mod:`tests.test_own_loop`), goes on to the same bits, or is
refused in one sentence.
"""

import copy
import itertools
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from pipeline.enn.readers import Unreadable
from pipeline.errors import UserError
from pipeline.instruction import Instructor
from pipeline.instruction.caller import rates_of
from pipeline.instruction.own_guard import FarFromHome
from tests.test_instruction import RATE, data, make_critic
from tests.test_own_loop import Three, asked_for, assert_same, instructed, seeded, sgd, step, wide_critic


def chain(*widths):
    layers = [part for sizes in itertools.pairwise(widths) for part in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def made(**use):
    options = {name: use.pop(name) for name in ("guarded", "optimizer", "validation") if name in use}
    return Instructor(make_critic(strength=0.5, **{"period": 8, "refresh": 4} | use), 40, RATE, **{"guarded": False} | options)


# -- what is computed --------------------------------------------------------------------------------------------------


class Ensemble(nn.Module):
    """Members in a list, whose scores are averaged."""

    def __init__(self):
        super().__init__()
        self.members = nn.ModuleList([chain(6, 5, 3) for _ in range(2)])

    def forward(self, x):
        return sum(own(x) for own in self.members) / 2


class TiedBack(nn.Module):
    """A weight used as it is and turned, as embeddings and decoders do."""

    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(6, 5), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(F.relu(F.linear(self.inner(x), self.inner.weight.t())))


class Adapted(nn.Linear):
    """A linear layer that is frozen, with a sum of low rank beside it."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.weight.requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))

    def forward(self, x):
        return super().forward(x) + x @ self.down.t() @ self.up.t()


class Branches(nn.Module):
    """One of two heads, as one says."""

    def __init__(self):
        super().__init__()
        self.inner, self.heads, self.use = nn.Linear(6, 5), nn.ModuleList([nn.Linear(5, 3) for _ in range(2)]), 0

    def forward(self, x):
        return self.heads[self.use](F.relu(self.inner(x)))


@pytest.mark.parametrize("make", [Ensemble, TiedBack, lambda: nn.Sequential(Adapted(6, 5), nn.ReLU(), Adapted(5, 3)), Branches])
def test_more_modules_are_instructed_by_what_they_compute(make):
    found, instructor = instructed(seeded(make))
    assert_same(found, asked_for(seeded(make), instructor.critic))


def test_inputs_in_a_dictionary_are_said_by_a_function():
    class Dictionary(Three):
        def forward(self, batch):
            return {"logits": super().forward(batch["x"])}

    found, instructor = instructed(seeded(Dictionary), forward=lambda own, x: own({"x": x}))
    assert_same(found, asked_for(seeded(Dictionary), instructor.critic, lambda own, x: own({"x": x})["logits"]))


# -- what changes on the way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grows", ["wider", "deeper"])
@pytest.mark.parametrize("options", [{}, {"guarded": None}, {"decoupled": True}])
def test_a_model_that_grows_between_two_readings_is_read_anew(grows, options):
    model, instructor = seeded(lambda: chain(6, 5, 3)), made(**options)
    for number in range(2):
        step(model, instructor, sgd(model), number)
    kept = model[2]
    if grows == "wider":
        model[0], model[2] = nn.Linear(6, 7).double(), nn.Linear(7, 3).double()
    else:
        model.insert(2, nn.Linear(5, 5).double())
        model.insert(3, nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FarFromHome)
        step(model, instructor, sgd(model), 2)
    assert instructor.step == 3 and kept is not None
    shapes = {name: own.shape for name, own in model.named_parameters()}
    assert {name: push.shape for name, push in instructor._held.pushes.items()} == (shapes if instructor.last.trust else {})


def test_another_type_midway_is_followed():
    model, instructor = seeded(Three), made(guarded=None)
    for number in range(2):
        step(model, instructor, sgd(model), number)
    model.bfloat16()
    F.cross_entropy(model(data()[0].bfloat16()), data()[1]).backward()
    instructor.instruct(model)
    assert instructor.step == 3 and model.a.weight.grad.dtype == torch.bfloat16


# -- copies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [copy.deepcopy, lambda own: pickle.loads(pickle.dumps(own))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("options", [{}, {"guarded": None, "decoupled": True}])
def test_a_copy_of_loop_and_instructor_goes_on_to_the_same_bits(how, options):
    model = seeded(Three)
    instructor, optimiser = made(**options), torch.optim.SGD(model.parameters(), RATE, 0.9)
    for number in range(3):
        step(model, instructor, optimiser, number)
    again = how((model, instructor, optimiser))
    for number in range(3, 6):
        step(model, instructor, optimiser, number)
        step(*again, number)
    assert again[1].step == 6 and again[1].last == instructor.last
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again[0].parameters(), strict=True))


def test_a_copy_belongs_to_one_model_as_well():
    model, instructor = seeded(Three), made()
    step(model, instructor, sgd(model), 0)
    again, average = copy.deepcopy(instructor), AveragedModel(model)
    step(model, again, sgd(model), 1)
    for own in (again, instructor):
        with pytest.raises(UserError, match="belongs to another model"):
            own.instruct(average)
    torch.manual_seed(99)
    with pytest.raises(UserError, match="not those of the step before"):
        copy.deepcopy(instructor).instruct(Three().double())


# -- what is given -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [(6, 7, 3), (6, 5, 5, 3)])
def test_a_state_of_a_model_with_other_widths_is_refused(wide):
    model, instructor, other = seeded(lambda: chain(6, 5, 3)), made(), seeded(lambda: chain(*wide))
    step(model, instructor, sgd(model), 0)
    again = made()
    again.load_state_dict(instructor.state_dict())
    F.cross_entropy(other(data()[0]), data()[1]).backward()
    before = [own.grad.clone() for own in other.parameters()]
    with pytest.raises(UserError, match="a model with other parameters"):
        again.instruct(other)
    assert all(torch.equal(own.grad, then) for own, then in zip(other.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "damage",
    [
        {"step": -1},
        {"names": [1, 2]},
        {"instruction": {"a.weight": "x"}},
        {"instruction": {"elsewhere": torch.zeros(2)}},
        {"lengths": {"a.weight": "x"}},
        {"lengths": {}},
        {"strength": torch.zeros(0)},
        {"guard": {"readings": "many"}},
        {"guard": {"validation": {"sum": "large"}}},
        {"sample": torch.zeros(3, 3)},
        {"sample": torch.zeros(3, dtype=torch.long)},
    ],
    ids=str,
)
def test_a_state_with_a_damaged_part_is_refused(damage):
    model, instructor = seeded(Three), made(guarded=None)
    step(model, instructor, sgd(model), 0)
    with pytest.raises(UserError, match="no state of an instructor"):
        instructor.load_state_dict(instructor.state_dict() | damage)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": []}, "a list, which has no parameter groups"),
        ({"optimizer": torch.optim.lr_scheduler.StepLR(sgd(nn.Linear(1, 1)), 3)}, "a StepLR, which has no parameter groups"),
        ({"guarded": "no"}, "guarded is 'no'"),
        ({"guarded": 1}, "guarded is 1"),
    ],
)
def test_what_is_no_value_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        Instructor(make_critic(), **options)


def test_what_is_no_enn_or_no_module_is_refused():
    with pytest.raises(UserError, match="critic is a str; give a Critic"):
        Instructor("mnist-mlp")
    for use in (made().instruct, made(guarded=None).instruct, made().predict):
        with pytest.raises(Unreadable, match="is a list; give a"):
            use([nn.Linear(6, 3)])


def test_an_optimiser_of_another_model_is_refused():
    """Nothing would be instructed, and nothing said."""
    instructor = made(optimizer=sgd(seeded(Three)))
    model = seeded(Three)
    with pytest.raises(UserError, match="none of the model's parameters"):
        step(model, instructor, sgd(model), 0)


def test_numbers_of_numpy_are_numbers():
    assert Instructor(make_critic(), np.int64(7), np.float32(0.5)).learning_rate == 0.5


def test_the_trust_region_follows_the_largest_rate_of_a_schedule():
    """One that begins low, and is said to rise; one that begins high and has fallen; and none."""
    model = seeded(Three)
    optimiser, like = sgd(model, 0.1), list(model.parameters())[:1]
    torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, total_steps=10)
    assert optimiser.param_groups[0]["lr"] < 0.1 and rates_of(like, 7.0, optimiser) == [1.0]
    optimiser = sgd(model, 0.1)
    torch.optim.lr_scheduler.ConstantLR(optimiser, 0.25)
    assert optimiser.param_groups[0]["lr"] < 0.1 and rates_of(like, 7.0, optimiser) == [0.1]
    assert rates_of(like, 7.0, None) == [7.0] == rates_of([torch.zeros(2)], 7.0, optimiser)


@pytest.mark.parametrize("guarded", [None, True, False])
def test_a_guard_without_a_gradient_is_no_guard(guarded):
    """Once, before the first backward pass, there need be none."""
    model, instructor = seeded(Three), made(guarded=guarded)
    instructor.instruct(model)
    model.zero_grad()
    if guarded is False:
        instructor.instruct(model)
        assert instructor.step == 2
    else:
        with pytest.raises(UserError, match="no parameter has a gradient"):
            instructor.instruct(model)
        assert instructor.step == 1


def test_weights_that_are_no_numbers_push_nothing():
    model = seeded(Three)
    with torch.no_grad():
        model.a.weight[0, 0] = torch.inf
    instructor = Instructor(wide_critic(), 40, RATE, guarded=False)
    instructor.instruct(model)
    assert instructor.last.instruction_norm == 0 and not instructor.last.instructed
    assert all(own.grad is None or not own.grad.any() for own in model.parameters())


# -- what breaks off ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [False, True])
def test_an_interrupt_while_the_enn_looks_leaves_everything_as_it_was(validation):
    class Interrupted(Three):
        at = None

        def forward(self, x):
            Interrupted.at = Interrupted.at and Interrupted.at - 1
            if Interrupted.at == 0:
                raise KeyboardInterrupt
            return super().forward(x) + 0 * x[:, :3]

    given = (data()[0], data()[1]) if validation else None
    model, instructor = seeded(Interrupted), made(period=1, refresh=1, guarded=None, validation=given)
    whole, straight = seeded(Interrupted), made(period=1, refresh=1, guarded=None, validation=given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FarFromHome)
        for own in ((model, instructor), (whole, straight)):
            step(*own, sgd(own[0]), 0)
            F.cross_entropy(own[0](data()[0]), data()[1]).backward()
        for calls in range(1, 9):  # each of the forward passes of one call, until there are no more
            Interrupted.at, chance = calls, torch.get_rng_state()
            grads = [own.grad.clone() for own in model.parameters()]
            try:
                instructor.instruct(model)
            except KeyboardInterrupt:
                assert model.training and torch.equal(torch.get_rng_state(), chance) and instructor.step == 1
                assert all(torch.equal(own.grad, then) for own, then in zip(model.parameters(), grads, strict=True))
                continue
            break
        Interrupted.at = None
        straight.instruct(whole)
    assert calls == (3 if validation else 2) and instructor.step == 2 and instructor.last == straight.last
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(model.parameters(), whole.parameters(), strict=True))
