"""The ENNs that come with the package do what their cards say."""

import pytest
import torch

from pipeline.data import load
from pipeline.enn import load_critic
from pipeline.enn.files import SHIPPED, shipped
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.instruction import Backprop, Instruct, Instructor
from pipeline.instruction.loop import advance
from pipeline.targets import Batches, Population, initialise

DATA = {"digits-mlp": "digits", "mnist-image": "mnist", "mnist-mlp": "mnist", "mnist-tuned": "mnist"}
TUNED = {"momentum": 0.9, "schedule": "cosine"}
"""of the targets that mnist-tuned learned on"""


def test_the_names_are_these():
    assert shipped() == sorted(DATA)
    with pytest.raises(UserError, match="an ENN is two files"):
        Instructor.load("no-such-enn")


@pytest.mark.parametrize("name", sorted(DATA))
def test_a_card_says_where_the_enn_comes_from(name):
    card = read_json(SHIPPED / f"{name}.json")["card"]
    assert {"data", "targets", "command", "commit", "seed", "date", "test accuracy", "limits"} <= set(card)
    assert card["data"] == DATA[name] and "dirty" not in card["commit"]
    assert card["test accuracy"]["instructed"]["n"] >= 30
    assert (SHIPPED / f"{name}.safetensors").stat().st_size < 1e6


@pytest.mark.parametrize(
    ("name", "start"),
    [(name, start) for name in sorted(DATA) for start in ("normal", "he") if (name, start) != ("mnist-tuned", "normal")],
)
def test_it_helps_fresh_targets_at_once(name, start):
    """Eight targets of seeds that it never saw, on validation data: better than without it, by half a point at least."""
    critic = load_critic(name)
    try:
        dataset = load(DATA[name])
    except UserError as error:
        pytest.skip(str(error))
    home, seeds, accuracy = critic.home, list(range(8)), []
    for rule in (Backprop(), Instruct(critic, home.steps, home.learning_rate)):
        own = TUNED | {"steps": home.steps} if name == "mnist-tuned" else {}
        population = Population(home.target, initialise(home.target, start, seeds), "sgd", home.learning_rate, **own)
        batches = Batches(*dataset.tensors("train"), 32 if name == "digits-mlp" else 100, seeds, True)
        advance(population, rule, rule.init(population), batches, home.steps)
        accuracy.append(population.evaluate(*dataset.tensors("validation")).accuracy)
    assert bool((accuracy[1].mean() - accuracy[0].mean()) > 0.005), [torch.mean(own).item() for own in accuracy]
