"""Learning rules: through the contract backpropagation is the fused path, another signal is not, and terms go over any."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import ENNConfig
from pipeline.enn import Critic, Home
from pipeline.errors import UserError
from pipeline.instruction import L1, L2, Backprop, Batch, Growth, Instruct, Update
from pipeline.instruction.guard import Guard
from pipeline.instruction.loop import advance, train
from pipeline.learning import SIGNALS, SignalRule, bound
from pipeline.seeding import torch_stream
from pipeline.targets import ACTIVATIONS, MLP, Batches, Population, initialise
from pipeline.targets.target import layers, weights

DEPTHS = [(6, 3), (6, 5, 3), (6, 7, 4, 3), (6, 7, 5, 4, 3)]
TARGET, RATE, STEPS = MLP((6, 8, 5, 3)), 0.1, 12
STRENGTHS = torch.tensor([0.0, 0.03, 0.3], dtype=torch.float64)


class FeedbackAlignment(SignalRule):
    """Fixed random weights go backwards (Lillicrap et al., 2016, eq. 2)."""

    def init(self, target, seeds):
        shapes = weights(target.shapes, target.slots)
        streams = [[torch_stream(seed, "feedback", layer) for seed in seeds] for layer in range(len(shapes))]
        draws = zip(shapes, streams, strict=True)
        return [torch.stack([torch.randn(shape, generator=one) for one in own]) for shape, own in draws]

    def signal(self, context, state):
        if context.above is None:
            return context.error
        return context.through(context.above.pull(context.above.signal, state[context.layer + 1]))


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=generator, dtype=torch.float64), torch.randint(3, (40,), generator=generator)


def fresh(target=TARGET, seeds=(0, 1, 2), **settings):
    start = initialise(target, "he", seeds, dtype=torch.float64)
    return Population(target, start, seeds=seeds, **{"learning_rate": RATE} | settings)


def batches(seeds=(0, 1, 2), shared=False):
    return Batches(*data(), 9, seeds, shared)


def movement(population, rule, shared=False, seeds=(0, 1, 2)):
    before = population.flat()
    advance(population, rule, rule.init(population), batches(seeds, shared), STEPS)
    return population.flat() - before


def both(population, batch, rule):
    """Gradients and losses on the fused path, and through the contract."""
    fused = [gradient.clone() for gradient in population.grads(*batch)], population.losses.clone()
    return *fused, population.grads(*batch, bound(rule, population)), population.losses


# Backpropagation through the contract


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("widths", DEPTHS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backpropagation_through_the_contract_is_the_fused_path_to_the_bit(activation, widths, shared):
    population = fresh(MLP(widths, activation))
    gradients, losses, found, found_losses = both(population, batches(shared=shared)(0), SIGNALS["backprop"]())
    assert torch.equal(losses, found_losses)
    for own, other in zip(found, gradients, strict=True):
        assert other.norm() > 1e-4
        assert torch.equal(own, other)


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"optimiser": "adamw", "weight_decay": 0.1}], ids=str)
def test_it_trains_as_the_fused_path_does_beside_a_member_that_diverges(settings, shared):
    rates = torch.tensor([0.1, 1e200, 0.05], dtype=torch.float64)
    populations = [fresh(learning_rate=rates, **settings) for _ in range(2)]
    fused, found = (
        movement(population, rule, shared)
        for population, rule in zip(populations, (Backprop(), Update(SIGNALS["backprop"]())), strict=True)
    )
    assert populations[0].diverged_at.tolist() == populations[1].diverged_at.tolist() and populations[0].diverged_at[1] > 0
    assert torch.equal(fused, found) and fused[[0, 2]].norm(dim=1).min() > 1e-2


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_random_feedback_is_no_gradient(activation):
    """The twin: below the output a rule that sends back something else must differ, and at the output it must not."""
    population = fresh(MLP((6, 7, 4, 3), activation))
    gradients, losses, found, found_losses = both(population, batches()(0), FeedbackAlignment())
    assert torch.equal(losses, found_losses)
    for slot, own, other in zip(population.target.slots, found, gradients, strict=True):
        assert torch.equal(own, other) if slot.layer == 2 else (own - other).norm() > 0.3 * other.norm()


def test_a_learning_rule_leaves_the_next_step_of_the_fused_path_alone():
    population, batch = fresh(), batches()(0)
    before = [gradient.clone() for gradient in population.grads(*batch)]
    population.grads(*batch, bound(FeedbackAlignment(), population))
    assert all(torch.equal(own, other) for own, other in zip(population.grads(*batch), before, strict=True))


# The contract


@pytest.mark.parametrize("name", SIGNALS)
def test_a_rule_that_says_that_it_sends_back_the_gradient_does(name):
    rule = SIGNALS[name]()
    if not rule.exact:
        pytest.skip("it does not say so")
    assert sends_the_gradient(rule)


def sends_the_gradient(rule):
    gradients, _, found, _ = both(fresh(), batches()(0), rule)
    return all((own - other).norm() < 1e-10 * other.norm() for own, other in zip(found, gradients, strict=True))


def test_a_rule_that_says_so_wrongly_is_found_out():
    class Claims(FeedbackAlignment):
        exact = True

    assert not sends_the_gradient(Claims())


@pytest.mark.parametrize("name", SIGNALS)
def test_under_any_rule_a_member_learns_alone_as_among_others(name):
    together, alone = (movement(fresh(seeds=seeds), Update(SIGNALS[name]()), seeds=seeds) for seeds in ((5, 6, 7), (6,)))
    assert alone.isfinite().all() and alone.norm() > 1e-3
    torch.testing.assert_close(together[1], alone[0], rtol=1e-9, atol=1e-12)


def test_what_is_random_in_a_rule_comes_from_the_members_seed():
    together, alone = (movement(fresh(seeds=seeds), Update(FeedbackAlignment()), seeds=seeds) for seeds in ((5, 6, 7), (6,)))
    assert torch.equal(together[1], alone[0])
    other = fresh(seeds=(6,))
    other.seeds = [7]
    assert not torch.equal(movement(other, Update(FeedbackAlignment()), seeds=(6,)), alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rules_state_is_of_the_populations_type(dtype):
    population = Population(TARGET, initialise(TARGET, "he", [0, 1], dtype=dtype))
    assert {tensor.dtype for tensor in bound(FeedbackAlignment(), population).state} == {dtype}


@pytest.mark.parametrize("order", ["down", "up"])
def test_layers_are_asked_in_order_and_a_rule_learns_once_all_are(order):
    asked, learned = [], []

    class Recorder(SignalRule):
        def signal(self, context, state):
            asked.append(context.layer)
            assert context.h.shape == context.z.shape and context.labels is y
            neighbour = context.above if order == "down" else context.below
            assert neighbour is None or neighbour.signal is not None, "the one before it has no signal yet"
            return context.slope

        def learn(self, contexts, state):
            learned.append([context.signal is not None for context in contexts])

    Recorder.order = order
    population, (x, y) = fresh(), batches()(0)
    population.grads(x, y, bound(Recorder(), population))
    assert asked == ([2, 1, 0] if order == "down" else [0, 1, 2]) and learned == [[True] * 3]


def test_a_context_knows_its_layer():
    seen = []
    population, (x, y) = fresh(MLP((6, 5, 4, 3), "relu")), batches()(0)

    def look(contexts):
        seen.extend(contexts)
        for context in contexts:
            context.signal = torch.zeros_like(context.z)

    population.grads(x, y, look)
    received = x.transpose(1, 2)
    for context, (weight, bias) in zip(seen, pairs(population), strict=True):
        assert torch.equal(context.weight, weight) and torch.equal(context.received, received)
        torch.testing.assert_close(context.z, weight @ received + bias[..., None], rtol=1e-12, atol=1e-14)
        last = context.above is None
        expected = context.z if last else context.z.relu()
        assert torch.equal(context.h, expected)
        assert torch.equal(context.slope, torch.ones_like(context.z) if last else (context.z > 0).double())
        delta = torch.randn_like(context.z)
        torch.testing.assert_close(context.pull(delta), weight.transpose(1, 2) @ delta, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(context.pull(delta, 2 * weight), 2 * context.pull(delta), rtol=1e-12, atol=1e-14)
        received = context.h
    assert (seen[1].z < 0).any() and (seen[1].h == 0).any(), "z was overwritten by h"


def pairs(population):
    return layers(population.parameters, population.target.slots)


@pytest.mark.parametrize(
    ("signal", "says"),
    [(lambda context: None, "got none"), (lambda context: context.received, "got one of shape")],
    ids=["none", "of another shape"],
)
def test_a_signal_that_fits_no_layer_is_refused(signal, says):
    population = fresh()

    def give(contexts):
        for context in contexts:
            context.signal = signal(context)

    with pytest.raises(ValueError, match=f"layer 0 needs a signal of shape .* and {says}"):
        population.grads(*batches()(0), give)


# Terms over a signal


@pytest.mark.parametrize("term", [L1, L2], ids=["L1", "L2"])
def test_a_penalty_over_another_rule_is_that_rule_and_the_penalty(term):
    rule, population = Update(FeedbackAlignment(), [term(STRENGTHS)]), fresh()
    state = rule.init(population)
    batch = batches()(0)
    without = [gradient.clone() for gradient in population.grads(*batch, state.signal)]
    for own, other, parameter, slot in zip(
        rule.update(population, Batch(*batch), state), without, population.parameters, population.target.slots, strict=True
    ):
        slope = parameter if term is L2 else parameter.sign() * (slot.kind == "weight")
        torch.testing.assert_close(own, other + STRENGTHS.view(-1, *[1] * (parameter.dim() - 1)) * slope, rtol=1e-12, atol=0)
    moved, plain, backprop = (
        movement(fresh(), one) for one in (rule, Update(FeedbackAlignment()), Update(terms=[term(STRENGTHS)]))
    )
    assert torch.equal(moved[0], plain[0]) and (moved - plain)[1:].norm(dim=1).min() > 1e-3
    assert (moved - backprop).norm(dim=1).min() > 1e-2


def test_a_term_alone_is_backpropagation_with_it():
    for term in (lambda: L1(STRENGTHS), lambda: L2(STRENGTHS), Growth, lambda: instruct()):
        alone, update = movement(fresh(), term()), movement(fresh(), Update(terms=[term()]))
        assert torch.equal(alone, update) and not torch.equal(alone, movement(fresh(), Backprop()))
    assert torch.equal(movement(fresh(), Update()), movement(fresh(), Backprop()))


def test_terms_add_before_any_of_them_moves_the_weights():
    one, other = (movement(fresh(), Update(terms=terms)) for terms in ([Growth(), L2(STRENGTHS)], [L2(STRENGTHS), Growth()]))
    assert torch.equal(one, other)
    assert not torch.equal(one, movement(fresh(), L2(STRENGTHS))) and not torch.equal(one, movement(fresh(), Growth()))


def instruct(guard=None):
    torch.manual_seed(0)
    home = Home(TARGET, steps=40, period=6, learning_rate=RATE, ladder=(0.0, 1.0), refresh=4, trust_region=0.02, strength=30.0)
    critic = Critic("probes", ENNConfig(hidden=8, probes=5), home).double()
    with torch.no_grad():
        critic.value_head.weight *= 20
    return Instruct(critic, 40, RATE, guard=guard)


def test_a_guard_refuses_a_signal_that_is_no_gradient():
    with pytest.raises(UserError, match="a guarded instruction needs the gradient of the loss, and FeedbackAlignment sends"):
        Update(FeedbackAlignment(), [instruct(Guard())])
    guarded = movement(fresh(), Update(SIGNALS["backprop"](), [instruct(Guard())]))
    assert torch.equal(guarded, movement(fresh(), instruct(Guard())))
    assert not torch.equal(movement(fresh(), Update(FeedbackAlignment(), [instruct()])), movement(fresh(), instruct()))


def test_a_way_back_begins_at_the_gradient_of_the_loss_and_takes_no_signal():
    """Costates are products with the Hessian: whoever asks a population for gradients in ``rl`` gives it a batch alone."""
    calls = [
        node
        for file in (Path(__file__).parents[1] / "rl").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "grads"
    ]
    assert len(calls) >= 2 and not any(call.keywords for call in calls)
    assert all(len(call.args) == (1 if isinstance(call.args[0], ast.Starred) else 2) for call in calls)


def test_a_run_under_an_update_is_measured_and_guarded_as_under_its_instruction_alone():
    x, y = data()

    def run(wrap):
        population = fresh()
        guard = Guard(lambda own: torch.exp(-own.evaluate(x, y).loss))
        trace = train(population, wrap(instruct(guard)), batches(), 24, 6, (x, y))
        return population.flat(), trace

    (one, trace), (other, other_trace) = run(lambda term: term), run(lambda term: Update(terms=[term]))
    assert torch.equal(one, other)
    for name in ("loss", "strength", "instruction_norm"):
        assert np.array_equal(getattr(trace, name), getattr(other_trace, name)), name
    assert max(norm.max() for norm in trace.instruction_norm) > 0
