"""Halves of a network that do not wait for each other are the learning rule that they are said to be."""

import pytest
import torch

from pipeline.instruction.loop import advance
from pipeline.instruction.update import Update
from pipeline.learning import named
from pipeline.learning.halves import halves, here, schedule
from pipeline.targets import MLP, Batches, Population, initialise

STEPS, RATE, TARGET = 12, 1e-3, MLP((64, 8, 10), "tanh")


def batches(digits):
    x, y = digits.tensors("train")
    return Batches(x, y, 20, [3], shared_order=True)


def trained_in_halves(digits, rule, lag):
    lower, upper = halves(TARGET, initialise(TARGET, "glorot", [3]), batches(digits), RATE, rule, 3)
    here(lower, upper, STEPS, lag)
    assert not lower.waiting
    return torch.cat([own.flatten() for own in [*lower.parameters(), *upper.parameters()]])


def trained_whole(digits, rule):
    population = Population(TARGET, initialise(TARGET, "glorot", [3]), "adam", RATE, seeds=[3])
    whole = Update(rule)
    advance(population, whole, whole.init(population), batches(digits), STEPS)
    return population.flat()[0]


@pytest.mark.parametrize("name", ["cdni", "dni"])
def test_without_a_lag_it_is_the_learning_rule(digits, name):
    whole, found = trained_whole(digits, named(name)), trained_in_halves(digits, named(name), 0)
    assert torch.allclose(found, whole, rtol=0, atol=1e-6)
    assert not torch.allclose(trained_in_halves(digits, named(name), 2), whole, rtol=0, atol=1e-4), (
        "the twin: gradients come late"
    )


def test_halves_that_wait_are_backpropagation(digits):
    found = trained_in_halves(digits, None, 0)
    assert torch.allclose(found, trained_whole(digits, None), rtol=0, atol=1e-6)
    assert not torch.allclose(found, trained_in_halves(digits, named("cdni"), 0), rtol=0, atol=1e-4)


def test_every_batch_is_learned_from_once_and_late_by_the_lag():
    assert list(schedule(3, 0)) == [(what, number) for number in range(3) for what in ("step", "learn")]
    late = list(schedule(4, 2))
    assert [number for what, number in late if what == "learn"] == [0, 1, 2, 3]
    assert late.index(("learn", 0)) > late.index(("step", 2))
