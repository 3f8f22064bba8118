"""The guard of one's own loop that is given validation data.

The oracle is autograd through a copy of the module, and losses of copies whose weights were moved by hand.
"""

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.instruction import Instructor
from pipeline.instruction.guard import WEAKEN
from pipeline.instruction.own_guard import FarFromHome, OwnGuard, trust_by
from pipeline.instruction.validation import MEMORY, Validation
from tests.test_instruction import RATE, data, make_critic
from tests.test_own_loop import Busy, Residual, Three, differences, norm_chain, picture, seeded, sgd, step

USE = {"strength": 1.0, "period": 2, "refresh": 2, "trust_region": 0.1}


def flat(model):
    return torch.cat([own.detach().flatten() for own in model.parameters()])


def agreeing(make=Three, sign=1.0, **use):
    """Inputs, and as their classes what the ENN's push makes more likely (less likely, by ``sign``)."""
    model, x = seeded(make), torch.randn(64, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    before = model.eval()(x)
    Instructor(make_critic(**USE | use | {"decoupled": True}), 40, RATE, guarded=False).instruct(model)
    return x, ((model(x) - before) * sign).argmax(1).detach()


def run(steps=8, make=Three, validation=None, instructed=True, use=None, optimiser=None, **options):
    """Somebody's loop; the model, the instructor and what was told at each step."""
    model, told = seeded(make).eval(), []
    optimiser = optimiser(model) if optimiser else torch.optim.SGD(model.parameters(), RATE, 0.9, weight_decay=0.01)
    instructor = (
        Instructor(make_critic(**USE | (use or {})), 40, RATE, validation=validation, **options) if instructed else None
    )
    x, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FarFromHome)
        for number in range(steps):
            optimiser.zero_grad()
            begin = number * 7 % 30
            F.cross_entropy(model(x[begin : begin + 9]), y[begin : begin + 9]).backward()
            if instructor:
                instructor.instruct(model)
                told.append(instructor.last)
            optimiser.step()
    return model, instructor, told


@pytest.mark.parametrize("make", [Three, Residual])
@pytest.mark.parametrize("decoupled", [False, True])
def test_what_is_looked_at_is_the_cosine_and_the_loss_without_the_pushes(make, decoupled, monkeypatch):
    """Both against a copy of the module: the cosine by autograd, the gain by moving the weights back."""
    (x, y), model, seen = agreeing(make), seeded(make), []
    instructor = Instructor(make_critic(**USE, decoupled=decoupled), 40, RATE, validation=(x, y))
    optimiser, check = sgd(model), Validation.check
    monkeypatch.setattr(Validation, "check", lambda own, *given: seen.append(given) or check(own, *given))
    pushed = {name: torch.zeros_like(own) for name, own in model.named_parameters()}
    for number in range(3):
        optimiser.zero_grad()
        F.cross_entropy(model(data()[0][:9]), data()[1][:9]).backward()
        weights, grads = copy.deepcopy(model), {name: own.grad.clone() for name, own in model.named_parameters()}
        instructor.instruct(model)
        for (name, now), then in zip(model.named_parameters(), weights.parameters(), strict=True):
            pushed[name] += (now - then).detach() if decoupled else RATE * (grads[name] - now.grad)
        if number < 2:
            optimiser.step()
    _, _, pushes, followed, _ = seen[1]
    assert len(seen) == 2 and not seen[0][3], "at steps 0 and 2, and nothing was followed before the first"
    slopes = torch.autograd.grad(F.cross_entropy(weights(x), y), list(weights.parameters()))
    push = torch.cat([pushes[name].flatten() for name, _ in weights.named_parameters()])
    cosine = float(F.cosine_similarity(torch.cat([own.flatten() for own in slopes]), push, dim=0))
    shown = instructor.guard.validation
    assert shown.loss == pytest.approx(F.cross_entropy(weights(x), y).item(), rel=1e-5)
    assert shown.sum == pytest.approx(MEMORY * (shown_first(seen, make, x, y)) - (1 - MEMORY) * cosine, rel=1e-4)
    # what moved the weights between the two looks, and nothing of the third step
    last = {name: -own for name, own in followed.items()}
    for name, own in model.named_parameters():
        third = (own - dict(weights.named_parameters())[name]).detach() if decoupled else RATE * (grads[name] - own.grad)
        torch.testing.assert_close(last[name], -(pushed[name] - third), rtol=1e-6, atol=1e-12)


def shown_first(seen, make, x, y):
    """The mean after the first look."""
    model, pushes = seeded(make), seen[0][2]
    slopes = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    push = torch.cat([pushes[name].flatten() for name, _ in model.named_parameters()])
    return -(1 - MEMORY) * float(F.cosine_similarity(torch.cat([own.flatten() for own in slopes]), push, dim=0))


class Branches(nn.Module):
    """A layer that gets no gradient."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = Three(), nn.Linear(6, 3)

    def forward(self, x):
        return self.used(x)


@pytest.mark.parametrize(("make", "decoupled"), [(Three, False), (Residual, True), (Branches, False)])
def test_an_enn_that_validation_data_contradict_leaves_the_loop_as_it_is_to_the_bit(make, decoupled):
    x, y = agreeing(Three, sign=-1.0)
    use = {"decoupled": decoupled}
    alone = flat(run(make=make, instructed=False)[0])
    model, instructor, told = run(make=make, validation=(x, y), use=use)
    assert torch.equal(flat(model), alone) and instructor.step == 8
    assert not any(own.instructed or own.trust for own in told) and all(own.validation_loss > 0 for own in told)
    assert not torch.equal(flat(run(make=make, use=use)[0]), alone), "the twin: without validation data it is followed at first"


def test_an_enn_that_validation_data_agree_with_is_followed_as_far_as_the_gradients_do():
    told = run(validation=agreeing(), use={"decoupled": True})[2]
    assert told[0].trust == 1.0 and told[0].instructed and told[0].validation_loss > 0
    for contradicted, seen in ((False, 1.0), (True, 0.0)):
        guard = OwnGuard(validation=Validation(*agreeing(), 3))
        guard.known, guard.validation.checks, guard.validation.sum = (0.25, 1, 0.4) if not contradicted else (1.0, 1, -0.2)
        assert guard.shown == seen and guard.factor == min(guard.known, seen)
        guard.far = True
        assert guard.factor == 0


def test_pushes_are_made_shorter_where_the_loss_rises_and_would_not_without_them():
    """The four cases of risen or fallen, with a gain or without; and a loss that is no number."""
    x, y = agreeing()
    model = seeded(Three)
    read = Instructor(make_critic(**USE), 40, RATE)._reading(model)[1]
    pushes = {name: torch.ones_like(own) for name, own in model.named_parameters()}
    slopes = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    downhill = {name: -0.01 * own for name, own in zip(pushes, slopes, strict=True)}
    uphill = {name: -own for name, own in downhill.items()}
    for before, followed, kept in (
        (0.1, uphill, WEAKEN),
        (0.1, downhill, 1.0),
        (100.0, uphill, 1.0),
        (100.0, downhill, 1.0),
        (math.nan, uphill, WEAKEN),
        (0.1, {}, 1.0),
    ):
        shown = Validation(x, y, 3)
        shown.loss = before
        shown.check(read, Instructor(make_critic(**USE)).how, pushes, followed, lambda own: own)
        assert shown.kept == kept


def test_agreement_is_a_discounted_mean_and_begins_with_none():
    shown = Validation(*agreeing(), 3)
    assert trust_by(shown.agreement) == 0
    shown.checks, shown.sum = 2, MEMORY * (1 - MEMORY) * 0.3 + (1 - MEMORY) * 0.6
    assert shown.agreement == pytest.approx((MEMORY * 0.3 + 0.6) / (1 + MEMORY))


def test_far_from_home_nothing_is_followed():
    x, y = agreeing()
    alone = flat(run(make=norm_chain, instructed=False)[0])
    for validation, same in (((x, y), True), (None, False)):
        model, _, told = run(make=norm_chain, validation=validation, input_shape=(6,), use={"decoupled": True})
        assert torch.equal(flat(model), alone) == same and told[0].instructed != same


@pytest.mark.parametrize("hooks", ["refuse", "ignore"])
def test_looking_at_validation_data_leaves_no_trace(hooks):
    model = seeded(Busy)
    model.net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3)).double()
    model.net[2].eval()
    x, y = data()
    F.cross_entropy(model(x), y).backward()
    critic, fired = make_critic(**USE), []
    if hooks == "ignore":
        model.net[0].register_forward_hook(lambda *_: fired.append(1))
    given = agreeing()
    instructor = Instructor(critic, 40, RATE, hooks=hooks, validation=given)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before, kept = picture(model, critic), copy.deepcopy(given)
        instructor.instruct(model)
        assert differences(before, picture(model, critic)) == [] and not fired
    assert instructor.guard.validation.checks == 1
    assert torch.equal(given[0], kept[0]) and torch.equal(given[1], kept[1]) and given[0].grad is None


@pytest.mark.parametrize("use", [{"decoupled": True}, {}])
def test_a_loop_with_validation_data_goes_on_to_the_same_bits(use, tmp_path):
    x, y = agreeing()

    def new():
        model = seeded(Three)
        return model, Instructor(make_critic(**USE | use), 40, RATE, validation=(x, y)), torch.optim.Adam(model.parameters())

    whole, differ = new(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FarFromHome)
        for number in range(5):
            if number == 3:
                kept = copy.deepcopy([whole[0].state_dict(), whole[2].state_dict()])
                torch.save(whole[1].state_dict(), tmp_path / "kept.pt")
            step(*whole, number)
        for forgets in (False, True):
            model, instructor, optimiser = again = new()
            model.load_state_dict(kept[0])
            optimiser.load_state_dict(kept[1])
            state = torch.load(tmp_path / "kept.pt", weights_only=True)
            if forgets:
                del state["guard"]["validation"]
            instructor.load_state_dict(state)
            for number in (3, 4):
                step(*again, number)
            differ += instructor.last != whole[1].last
            assert forgets or (torch.equal(flat(model), flat(whole[0])) and instructor.last == whole[1].last)
    assert differ == 1, "the state made no difference: nothing was tested"


def test_a_batch_that_was_given_may_be_used_again():
    """It is the caller's, who may write into it."""
    x, y = agreeing()
    expected = run(3, validation=(x.clone(), y.clone()))[2]
    instructor = Instructor(make_critic(**USE), 40, RATE, validation=(x, y))
    x.fill_(math.nan)
    assert instructor.guard.validation.x.isfinite().all() and expected[-1].validation_loss > 0
    instructor.reset()
    assert instructor.guard.validation.x.isfinite().all() and instructor.guard.validation.checks == 0


X, Y = torch.rand(40, 6), torch.randint(3, (40,))


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        (X, "is a Tensor; give a pair"),
        ((X,), "give a pair"),
        ((X, None), "give a pair"),
        ((X.numpy(), Y.numpy()), "of ndarray, ndarray; give a pair of tensors"),
        ((X[:0], Y[:0]), "x is empty"),
        ((torch.tensor(1.0), Y), "single number"),
        ((X[:31], Y[:31]), "x has 31 examples"),
        ((torch.rand(40, 7), Y), r"shape \(7,\) and this ENN's models take 6"),
        ((torch.rand(40), Y), r"shape \(\) "),
        (((X * 255).to(torch.uint8), Y), "torch.uint8; give floating-point inputs, scaled"),
        ((torch.full_like(X, math.nan), Y), "not finite"),
        ((X, Y[:39]), r"y has the shape \(39,\) beside 40"),
        ((X, F.one_hot(Y)), r"y has the shape \(40, 3\)"),
        ((X, Y.float()), "y is of torch.float32"),
        ((X, Y + 1), "from 1 to 3 and this ENN reads 3 classes"),
        ((X, Y - 1), "from -1 to 1"),
    ],
)
def test_a_batch_that_is_none_is_refused_in_one_sentence(validation, words):
    with pytest.raises(UserError, match=words) as told:
        Instructor(make_critic(), validation=validation)
    assert str(told.value).startswith("validation") and str(told.value).count("\n") == 0


@pytest.mark.parametrize("guarded", [True, False])
def test_validation_data_belong_to_the_guard_of_ones_own_loop(guarded):
    with pytest.raises(UserError, match="leave guarded out"):
        Instructor(make_critic(), guarded=guarded, validation=(X, Y))


def test_inputs_take_the_shape_of_the_models():
    instructor = Instructor(make_critic(), input_shape=(1, 2, 3), validation=(X.view(40, 3, 2), Y.to(torch.uint8)))
    assert instructor.guard.validation.x.shape == (40, 1, 2, 3)
