"""The exact Hessian-vector product and what is led back through it, against autograd; a difference of gradients is the twin."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.config import TrainingConfig
from pipeline.data import load
from pipeline.errors import UserError
from pipeline.targets import ACTIVATIONS, MLP, Batches, Population, initialise
from pipeline.targets.members import per_member
from rl.descent import Descent
from rl.unrolled import log_loss_costate

MEMBERS, EXAMPLES = 3, 10
WIDTHS = [(5, 3), (5, 1, 3), (5, 6, 3), (5, 6, 4, 3), (5, 7, 6, 4, 3), (1, 2, 2)]
PRECISIONS = {torch.float64: 1e-10, torch.float32: 1e-4}


def case(widths, activation, weights, shared):
    """A target, its parameters in float64, a batch, and a vector of ones that differ in size from tensor to tensor."""
    target, generator = MLP(widths, activation), torch.Generator().manual_seed(0)
    parameters = initialise(target, "normal" if weights == "small" else "he", range(MEMBERS), dtype=torch.float64)
    leading = (EXAMPLES,) if shared else (MEMBERS, EXAMPLES)
    x = torch.randn(*leading, widths[0], generator=generator, dtype=torch.float64)
    y = torch.randint(widths[-1], leading, generator=generator)
    if weights == "trained":
        population = Population(target, parameters, learning_rate=0.3)
        for _ in range(60):
            population.apply(population.grads(x, y))
        parameters = [parameter.clone() for parameter in population.parameters]
    vector = [10**index * torch.randn(p.shape, generator=generator, dtype=torch.float64) for index, p in enumerate(parameters)]
    return target, parameters, x, y, vector


def losses(target, parameters, x, y):
    return F.cross_entropy(target.logits(parameters, x).transpose(1, 2), y.expand(MEMBERS, -1), reduction="none").mean(1)


def by_autograd(target, parameters, x, y, vector):
    leaves = [parameter.clone().requires_grad_() for parameter in parameters]
    first = torch.autograd.grad(losses(target, leaves, x, y).sum(), leaves, create_graph=True)
    along = sum((slope * own).sum() for slope, own in zip(first, vector, strict=True))
    return torch.autograd.grad(along, leaves, materialize_grads=True)


def by_difference(target, parameters, x, y, vector):
    """What the tangent took the place of: two gradients, 0.3 % of the weights' norm apart."""
    length = torch.stack([own.flatten(1).square().sum(1) for own in vector]).sum(0).sqrt()
    size = torch.stack([own.flatten(1).square().sum(1) for own in parameters]).sum(0).sqrt()
    epsilon = 3e-3 * size.clamp_min(1) / length
    here = [gradient.clone() for gradient in Population(target, parameters).grads(x, y)]
    shifted = [p + per_member(epsilon, v) * v for p, v in zip(parameters, vector, strict=True)]
    there = Population(target, shifted).grads(x, y)
    return [(a - b) / per_member(epsilon, a) for a, b in zip(there, here, strict=True)]


def error(found, expected):
    """The largest relative error of a tensor, as a share of the largest tensor's norm where its own is tiny."""
    least = 1e-6 * max(float(other.norm()) for other in expected)
    return max(
        float((own.double() - other).norm()) / max(float(other.norm()), least)
        for own, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("weights", ["small", "he", "trained"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_tangent_is_autograds(activation, weights, shared):
    for widths in WIDTHS:
        target, parameters, x, y, vector = case(widths, activation, weights, shared)
        expected = by_autograd(target, parameters, x, y, vector)
        assert max(float(other.norm()) for other in expected) > 1e-3, "a case in which nothing is curved shows nothing"
        for dtype, tolerance in PRECISIONS.items():
            population = Population(target, [parameter.to(dtype) for parameter in parameters])
            before = population.flat()
            found = population.tangent(x.to(dtype), y, [own.to(dtype) for own in vector])
            assert error(found, expected) <= tolerance, (widths, dtype)
            assert torch.equal(population.flat(), before)


def test_a_difference_of_gradients_is_not_the_tangent():
    """It crosses kinks; this is the mistake that the test above must see."""
    target, parameters, x, y, vector = case((5, 16, 3), "relu", "he", False)
    assert error(by_difference(target, parameters, x, y, vector), by_autograd(target, parameters, x, y, vector)) > 1e-3


def test_a_population_has_tangents_at_other_parameters_and_of_other_batches():
    target, parameters, x, y, vector = case((5, 6, 3), "gelu", "he", False)
    other = [2 * parameter for parameter in parameters]
    population = Population(target, parameters)
    for batch in (slice(None), slice(0, 4), slice(None)):
        xs, ys = x[:, batch], y[:, batch]
        assert error(population.tangent(xs, ys, vector, other), by_autograd(target, other, xs, ys, vector)) < 1e-10
        assert error(population.tangent(xs, ys, vector), by_autograd(target, parameters, xs, ys, vector)) < 1e-10


def test_a_member_that_is_not_finite_leaves_the_others_alone():
    target, parameters, x, y, vector = case((5, 6, 3), "relu", "he", False)
    expected = [own.clone() for own in Population(target, parameters).tangent(x, y, vector)]
    parameters[0][1] = torch.nan
    found = Population(target, parameters).tangent(x, y, vector)
    for own, other in zip(found, expected, strict=True):
        assert torch.equal(own[[0, 2]], other[[0, 2]]) and not bool(own[1].isfinite().all())


def test_a_vector_of_other_shapes_is_refused():
    target, parameters, x, y, vector = case((5, 6, 3), "relu", "he", False)
    for wrong in (vector[:-1], [own[:2] for own in vector], vector[::-1]):
        with pytest.raises(UserError, match="give its own"):
            Population(target, parameters).tangent(x, y, wrong)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_costate_through_sixty_steps_is_autograds_through_all_of_them(activation, momentum):
    digits, target, steps = load("digits"), MLP((64, 32, 10), activation), 60
    training = TrainingConfig(learning_rate=0.1 * (1 - momentum), momentum=momentum, batch_size=32, steps=steps)
    parameters = initialise(target, "he", range(MEMBERS), dtype=torch.float64)
    x, y = digits.tensors("train")
    batches = Batches(x.double(), y, training.batch_size, range(MEMBERS), False)
    examples = tuple(t.expand(MEMBERS, *t.shape) for t in digits.tensors("validation"))
    examples = examples[0].double(), examples[1]
    path = [tuple(tensor.clone() for tensor in batches(step)) for step in range(steps)]

    leaves = [parameter.clone().requires_grad_() for parameter in parameters]
    theta, velocity = leaves, [torch.zeros_like(parameter) for parameter in parameters]
    for batch in path:
        gradients = torch.autograd.grad(losses(target, theta, *batch).sum(), theta, create_graph=True)
        velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
        theta = [p - training.learning_rate * v for p, v in zip(theta, velocity, strict=True)]
    expected = torch.autograd.grad(losses(target, theta, *examples).log().sum(), leaves)

    population = Population(target, parameters)
    descent = Descent(training, population.parameters)
    descent.rates = lambda ages: torch.full((MEMBERS,), training.learning_rate, dtype=torch.float64)
    taken = []
    for step, batch in enumerate(path):
        here = [parameter.clone() for parameter in population.parameters]
        ages = [step] * MEMBERS
        taken.append((here, batch, descent.step(population.parameters, population.grads(*batch), descent.rates(ages), ages)))
    costate = log_loss_costate(population, examples)
    if momentum:
        costate.momentum = [torch.zeros_like(own) for own in costate.parameters]
    for here, batch, step in reversed(taken):
        descent.back(costate, step, lambda vector, batch=batch, here=here: population.tangent(*batch, vector, here))
    assert error(costate.parameters, expected) < 1e-8
