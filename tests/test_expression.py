"""Equations as learning rules: every operator is the textbook's, known rules are their equations, text and tree are one, and a
member in which something is not finite is frozen, unnoticed by the others."""

from random import Random

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.instruction import Update
from pipeline.instruction.loop import advance
from pipeline.learning import bound, named
from pipeline.learning.expression import MATRICES, Expression
from pipeline.learning.expression.binaries import BINARIES
from pipeline.learning.expression.drawing import equation, mutated
from pipeline.learning.expression.fingerprint import fingerprint, probed
from pipeline.learning.expression.grammar import Leaf, depth, walk
from pipeline.learning.expression.operands import OPERANDS
from pipeline.learning.expression.simplify import simplified
from pipeline.learning.expression.spelling import parse, plain, spelt
from pipeline.learning.expression.typing import check, shape_of
from pipeline.learning.expression.unaries import UNARIES
from pipeline.targets import MLP, Batches, Population, initialise
from pipeline.targets.target import layers
from tests.support import reference_expressions as reference

WIDTHS, SEEDS = (6, 7, 5, 4, 3), (5, 6)
PULL = "(Wᵀs)∘σ′"
FORGETFUL = "noise(drop(std((Rᵀs)∘σ′), 0.1), 0.01) + (Wᵀs)∘σ′"
"""an equation with everything that draws or remembers"""


def data(examples=9):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.3).long()


def fresh(widths=WIDTHS, activation="tanh", seeds=SEEDS, **settings):
    target = MLP(widths, activation)
    start = initialise(target, "he", seeds, dtype=torch.float64)
    return Population(target, start, seeds=seeds, **{"learning_rate": 0.1} | settings)


def batches(seeds=SEEDS):
    return Batches(*data(), 9, seeds, False)


def signals_of(population, rule, batch):
    """What goes back to every layer, (P, width, B)."""
    found = []

    def keep(contexts):
        rule(contexts)
        found.extend(context.signal.clone() for context in contexts)

    population.grads(*batch, keep)
    return found


def compared(text, swapped=False, steps=2):
    """The largest relative difference of a member's signals from the reference's, over some batches."""
    population = fresh()
    rule, worst = bound(Expression(text), population), 0.0
    averages = [{} for _ in SEEDS]
    for step in range(steps):
        x, y = batches()(step)
        found = signals_of(population, rule, (x, y))
        for member, seed in enumerate(SEEDS):
            pairs = layers([parameter[member].numpy() for parameter in population.parameters], population.target.slots)
            matrices = [{name: own[member].numpy() for name, own in drawn.items()} for drawn in rule.state.drawn]
            with np.errstate(all="ignore"):
                expected = reference.signals(
                    parse(text),
                    *zip(*pairs, strict=True),
                    x[member].numpy(),
                    y[member].numpy(),
                    matrices,
                    seed,
                    step,
                    averages[member],
                    swapped,
                )
            for one, another in zip(found, expected, strict=True):
                assert one[member].shape == another.T.shape
                worst = max(worst, float(np.abs(one[member].numpy() - another.T).max() / np.abs(another).max()))
    return worst


# Every operator is the textbook's


def _with(name, operand):
    entry = UNARIES[name]
    return [f"{name}({operand}, {value})" if entry.values else f"{name}({operand})" for value in entry.values or (None,)]


def _typed(name):
    """A signal that has this unary operator in it."""
    return [f"T({text})" for text in _with(name, f"T({PULL})")] + _with(name, PULL)


@pytest.mark.parametrize("name", UNARIES)
def test_a_unary_operator_is_the_textbooks(name):
    texts = [f"T(T({PULL}))", "T(W) @ z_up"] if name == "T" else [*_typed(name), *(f"T({own}) @ s" for own in _with(name, "W"))]
    for text in texts:
        assert compared(text) < 1e-10, text


@pytest.mark.parametrize("name", [name for name in UNARIES if name.startswith("norm") and name[-1] in "cri"])
def test_columns_of_the_papers_are_our_rows(name):
    """The twin: whoever takes one for the other has other signals."""
    assert compared(f"{name}({PULL})") < 1e-10 < 1e-4 < compared(f"{name}({PULL})", swapped=True)


@pytest.mark.parametrize("name", OPERANDS)
def test_an_operand_is_what_it_says(name):
    shapes = {
        ("n", "B"): "{} + h",
        ("m", "n"): "({})ᵀ · s",
        ("m", "B"): "Wᵀ · {}",
        ("K", "B"): "R_L · {}",
        ("n", "K"): "{} · g",
    }
    assert compared(shapes[OPERANDS[name].shape].format(name)) < 1e-10


@pytest.mark.parametrize("name", BINARIES)
def test_a_binary_operator_is_the_textbooks(name):
    texts = ["T(R) @ s", "T(z_up @ T(h)) @ s", "R_L @ g"] if name == "@" else [f"({PULL}) {name} h", f"cube(z) {name} ({PULL})"]
    if not BINARIES[name].level:
        texts = [f"{name}({PULL}, h)", f"{name}(cube(z), {PULL})"]
    for text in texts:
        assert compared(text) < 1e-10, text


def test_deep_equations_are_the_references():
    draws, far = Random(3), 0
    for number in range(12):
        tree = equation(draws, 1 + number % 3)
        if probed(spelt(tree)) is not None:
            assert compared(spelt(tree)) < 1e-7, spelt(tree)
            far += 1
    assert far > 6


# Rules that equations spell


def gradients_of(population, rule):
    return [gradient.clone() for gradient in population.grads(*batches()(0), bound(rule, population))]


def random_matrices(text, population, name):
    return [drawn[name] for drawn in bound(Expression(text), population).state.drawn]


KNOWN = {
    "backprop": ("(Wᵀs)∘σ′", lambda p, text: {}),
    "backprop by parts": ("(Wᵀ · s) ∘ σ′", lambda p, text: {}),
    "fa": ("(Rᵀs)∘σ′", lambda p, text: {"feedback": random_matrices(text, p, "R")}),
    "fa of signs": ("(Sᵀs)∘σ′", lambda p, text: {"feedback": random_matrices(text, p, "S")}),
    "dfa": ("(R_Lg)∘σ′", lambda p, text: {"feedback": [own.transpose(1, 2) for own in random_matrices(text, p, "R_L")]}),
    "frsf of ones": ("(W±ᵀ · s) ∘ σ′", lambda p, text: {"feedback": [torch.ones(own.shape[1:]) for own in p.parameters[2::2]]}),
    "frsf": ("((|R| ∘ W±)ᵀ · s) ∘ σ′", lambda p, text: {"feedback": random_matrices(text, p, "R")}),
    "frozen": ("h − h", lambda p, text: {}),
    "pblf": ("0.5·((Wᵀs)∘σ′)", lambda p, text: {"phi": (0.0, 0.0, 0.0, 0.5)}),
}


@pytest.mark.parametrize("widths", [(6, 5, 3), (6, 7, 4, 3), WIDTHS], ids=str)
@pytest.mark.parametrize("name", KNOWN)
def test_a_known_rule_is_its_equation(name, widths):
    population, (text, settings) = fresh(widths), KNOWN[name]
    expected = gradients_of(population, named(name.partition(" ")[0], **settings(population, text)))
    twin = gradients_of(population, Expression("h − z" if text == "h − h" else f"0.5·({text})"))
    found = gradients_of(population, Expression(text))
    for one, another, other in zip(found[:-2], expected[:-2], twin[:-2], strict=True):
        torch.testing.assert_close(one, another, rtol=1e-10, atol=1e-14)
        assert (other - another).norm() > 1e-3 * another.norm() or name == "frozen", "the twin"
        assert (other - another).norm() > 0, "the twin"


def test_uniform_signs_are_an_equation_where_all_layers_have_one_scale():
    population = fresh((6, 4, 4))
    expected, found = gradients_of(population, named("usf")), gradients_of(population, Expression("0.5·((W±ᵀ·s)∘σ′)"))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-10, atol=1e-14)  # √(2 / (4 + 4))
    assert not torch.allclose(gradients_of(population, Expression("0.6·((W±ᵀ·s)∘σ′)"))[0], expected[0])


# Text and tree


def test_text_and_tree_are_one():
    draws = Random(1)
    for number in range(100):
        tree = equation(draws, 1 + number % 3)
        changed, how = mutated(tree, draws, 1 + number % 3)
        for own in (tree, changed):
            check(own)
            assert depth(own) <= 1 + number % 3
            assert parse(spelt(own)) == own == parse(plain(own)) and plain(own).isascii()
            assert not any(OPERANDS[part.name].ours for part in walk(own) if isinstance(part, Leaf))
        assert changed != tree and how in ("operand", "unary", "binary", "subtree")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("(Wᵀs)∘σ′ / ‖·‖₂", "norm2((WTs)*d)"),
        ("  ( Wᵀs ) ∘ σ' / ‖·‖₂", "norm2((WTs)*d)"),
        ("1/h", "inv(h)"),
        ("z - 0.1 + h", "shift(z, -0.1) + h"),
        ("W^T·s ∘ h", "(T(W) @ s) * h"),
        ("−z³", "neg(cube(z))"),
        ("2·|z|⁺", "scale(relu(abs(z)), 2)"),
        ("1[z > 0] + √|h|", "step(z) + sqrt(h)"),
        ("z + 1[h>0]", "z + step(h)"),
        ("z + 1e-3·h", "z + scale(h, 0.001)"),
        ("z ∘ (h / z)", "z * (h / z)"),
    ],
)
def test_both_spellings_are_read(text, same):
    assert parse(text) == parse(same)
    assert parse(text) != parse("z")


def test_the_two_ways_to_write_a_pull_are_one_rule_and_two_trees():
    assert parse("(Wᵀs)∘σ′") != parse("(Wᵀ · s) ∘ σ′") and fingerprint("(Wᵀs)∘σ′") == fingerprint("(Wᵀ · s) ∘ σ′")


SAYS = {
    "W + z": r"does not type at '\+' between 'W', which is above × own, and 'z', which is own × batch: .* W, .* would do\.$",
    "W · s": r"does not type at '·' .*; 'Wᵀ' in the first's place or .* would do\.$",
    "z ∘ hᵀ": r"does not type at '∘' between 'z'.*; 'hᵀᵀ' in the second's place or z, h, .* would do\.$",
    "1[z > 0] ∘ (R + g)": r"does not type at '\+' between 'R', which is above × own, and 'g', which is classes × batch",
    "W": r"^'W' is above × own, and a signal is own × batch; 'Wᵀ' times z↑ or s would do\.$",
    "zᵀ": r"its transpose 'zᵀᵀ' would do\.$",
    "s": r"Wᵀ times it would do\.$",
    "g": r"R_L times it would do\.$",
    "((z + h) ∘ (z + h) + z) / h": r"has 4 operators in one another; give at most 3\.$",
    "z +": r"'z \+' cannot be read at its end; write one such as",
    "z h": r"cannot be read at 'h'; write",
    "clip(z)": r"cannot be read at '\)' \(a ',' is missing\)",
    "clip(z, −1)": r"\(the constant of clip is -1\)",
    "drop(z, 1.5)": r"the constant of drop is 1\.5",
    "foo(z)": r"there is no 'foo'; is it 'factor'\?",
    "3": r"a number stands only before ·",
    "2/z": r"a number stands only before ·",
    "": r"cannot be read at its end",
    "(" * 500: r"too much stands in one another",
    "−" * 500 + "z": r"too much stands in one another",
    "z" + "ᵀ" * 900: r"more than 40 operators in one another",
    "+".join("z" * 500): r"more than 40 operators in one another",
    "z" + "∘(z" * 15 + ")" * 15: r"has 15 operators in one another; give at most 3\.$",
    "z" * 2000: r"an equation of 2000 characters; give at most 1000\.$",
}


@pytest.mark.parametrize("text", SAYS, ids=lambda text: text[:30])
def test_what_is_no_equation_is_refused_where_it_stops_being_one(text):
    with pytest.raises(UserError, match=SAYS[text]) as caught:
        named("expression", equation=text)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".") and len(str(caught.value)) < 600


def test_forty_operators_in_one_another_are_read():
    assert plain(parse("z" + "ᵀ" * 40)) == "T(" * 40 + "z" + ")" * 40


def test_what_a_sentence_proposes_types():
    """In place of what does not: W + each of them, and z ∘ each."""
    for first, wrong in (("W", "z"), ("z", "W")):
        with pytest.raises(UserError) as caught:
            named("expression", equation=f"{first} + {wrong}")
        proposed = str(caught.value).rpartition("; ")[2].partition(" in the second")[0].split(", ")
        assert len(proposed) == 4 and all(shape_of(parse(f"{first} + {own}")) for own in proposed)


# Simpler, and the same


def test_a_simpler_equation_is_the_same():
    draws, shorter = Random(5), 0
    for number in range(25):
        tree = equation(draws, 1 + number % 3)
        own, other = probed(spelt(tree)), probed(spelt(simplified(tree)))
        shorter += simplified(tree) != tree
        assert (own is None) == (other is None), spelt(tree)
        if own is not None:
            torch.testing.assert_close(own, other, rtol=1e-7, atol=1e-12)
    assert shorter > 6


@pytest.mark.parametrize(
    ("one", "another", "alike"),
    [
        ("z + h", "h + z", True),
        ("left(z, h)", "z + 0.1·h − 0.1·h", True),
        ("noise(z, 0.1) + h", "h + noise(z, 0.1)", True),
        ("left(z, noise(h, 1)) + noise(h, 0.1)", "z + noise(h, 0.1)", True),
        ("z − h", "h − z", False),
        ("z", "1.0001·z", False),
        ("noise(z, 0.1)", "z", False),
        ("std(z)", "z / ‖·‖₂ᶜ", False),
        ("(Rᵀs)∘σ′", "(Sᵀs)∘σ′", False),
        ("1 / (z − z)", "1 / (h − h)", False),
        ("1 / (z − z)", "left(1 / (z − z), h)", True),
    ],
)
def test_equations_are_told_apart_by_what_they_do(one, another, alike):
    assert (fingerprint(one) == fingerprint(another)) == alike


# Members


def trained(population, rule, steps, start=0, state=None):
    state = rule.init(population) if state is None else state
    advance(population, rule, state, batches(tuple(population.seeds)), steps)
    return state


def test_what_draws_and_remembers_goes_on_to_the_bit():
    rule, straight, before = Update(Expression(FORGETFUL)), fresh(), fresh()
    trained(straight, rule, 12)
    state = trained(before, rule, 5)
    kept, remembered = before.state_dict(), state.signal.state_dict()

    def continued(with_state):
        after = fresh()
        after.load_state_dict(kept)
        own = rule.init(after)
        if with_state:
            own.signal.load_state_dict(remembered)
        trained(after, rule, 7, state=own)
        return after.flat()

    assert torch.equal(continued(True), straight.flat())
    assert not torch.equal(continued(False), straight.flat())


def test_what_is_drawn_is_the_members_own_and_new_at_each_step_and_place():
    rule = Update(Expression(FORGETFUL))
    together, alone, other = fresh(seeds=(5, 6, 7)), fresh(seeds=(6,)), fresh(seeds=(6,))
    other.seeds = [8]
    for population in (together, alone):
        trained(population, rule, 6)
    assert torch.equal(together.flat()[1], alone.flat()[0])
    advance(other, rule, rule.init(other), batches((6,)), 6)
    assert not torch.equal(other.flat(), alone.flat())
    noise = bound(Expression("noise(z, 1) − noise(z, 1)"), fresh())
    first, second = (signals_of(fresh(), noise, batches()(0))[0] for _ in range(2))
    assert first.abs().min() > 0 and not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


ILL = {
    "1 / 0": ("h⁻¹", 0.0),
    "1 / 0, hidden by a clip": ("clip(h⁻¹, 0.1)", 0.0),
    "1 / 0, hidden by a sign": ("sgn(h⁻¹) + z", 0.0),
    "1 / 0, hidden by a quotient": ("z / (h + h⁻¹)", 0.0),
    "1 / 0, hidden by the smaller": ("min(z, |h|⁻¹)", 0.0),
    "0 / 0 of a norm": ("h / ‖·‖₂ᶜ + z", 0.0),
    "0 / 0 of a norm, hidden by a step": ("1[h / ‖·‖₂ᶜ > 0]", 0.0),
    "0 / √0": ("std(h)", 0.0),
    "overflow, hidden by 1 / x": ("1 / z³", 1e120),
    "overflow of a norm": ("z / ‖·‖₂ᶜ", 1e160),
}


@pytest.mark.parametrize("case", ILL)
def test_a_member_in_which_something_is_not_finite_is_frozen_and_no_other_notices(case):
    text, factor = ILL[case]

    def after(ill):
        population, rule = fresh((6, 5, 3), seeds=(5, 6, 7), learning_rate=0.01), Update(Expression(text))
        if ill:  # one hidden unit of one member
            population.parameters[0][1, 2] *= factor
            population.parameters[1][1, 2] = 0.0
        trained(population, rule, 3)
        return population

    healthy, ill = after(False), after(True)
    assert ill.diverged_at.tolist() == [-1, 0, -1] and healthy.diverged_at.tolist() == [-1, -1, -1]
    assert torch.equal(ill.flat()[[0, 2]], healthy.flat()[[0, 2]]) and torch.isfinite(ill.flat()).all()


def test_what_is_never_computed_freezes_nobody():
    population = fresh(learning_rate=0.01)
    trained(population, Update(Expression("left((Wᵀs)∘σ′, 1 / (z − z))")), 3)
    assert (population.diverged_at < 0).all()


def test_matrices_are_drawn_as_they_say():
    target = MLP((6, 300, 200, 10))
    state = Expression("(Rᵀs)∘σ′ + ((Sᵀs)∘σ′ + (R_Lg)∘σ′)").init(target, (1, 2))
    for layer, (own, above) in enumerate(((300, 200), (200, 10))):
        found = state.drawn[layer]
        assert found.keys() == MATRICES.keys() and not torch.equal(found["R"][0], found["R"][1])
        assert found["R"].std().item() == pytest.approx((2 / (own + above)) ** 0.5, rel=0.05)
        assert found["R_L"].std().item() == pytest.approx((2 / (own + 10)) ** 0.5, rel=0.05)
        assert found["S"].abs().eq(1).all() and found["S"].mean().abs() < 0.05
    assert Expression("z").init(target, (1,)).drawn == [{}, {}]


def test_memory_is_used_again_by_batches_of_any_size():
    population, rule = fresh(), None
    rule = bound(Expression("max(z ∘ h, (Wᵀs)∘σ′) + (z / (h + 2) + h)"), population)
    x, y = data()
    found = [signals_of(population, rule, (x[:size], y[:size]))[0] for size in (1, 9, 4, 9, 1)]
    assert torch.equal(found[0], found[4]) and torch.equal(found[1], found[3])
