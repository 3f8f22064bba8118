"""Learning rules: each is what its paper writes, those that should be backpropagation are, and members never meet.

What is parametrised over ``SIGNALS`` runs on a new rule by itself; its slow reference is one function of
``tests/support/reference_rules.py``.
"""

import itertools

import pytest
import torch

from pipeline.arms import ARMS
from pipeline.compare.tasks import Task
from pipeline.compare.train import Making
from pipeline.config import from_dotted
from pipeline.errors import UserError
from pipeline.instruction import L1, L2, Batch, Growth, RandomPush, Update
from pipeline.instruction.loop import advance
from pipeline.learning import SIGNALS, bound, named, require_gradient
from pipeline.learning.dni import SyntheticGradients
from pipeline.learning.trained import Training
from pipeline.seeding import torch_stream
from pipeline.targets import ACTIVATIONS, MLP, Batches, Context, Population, initialise
from pipeline.targets.members import per_member
from pipeline.targets.target import layers
from tests.support import reference_rules

DEPTHS = [(6, 3), (6, 5, 3), (6, 7, 4, 3), (6, 7, 5, 4, 3)]
TARGET, SEEDS, STEPS = MLP((6, 6, 5, 4, 3), "tanh"), (5, 6, 7), 12
TRAINED = {"tp": "inverses", "dtp": "inverses", "dni": "synthesisers", "cdni": "synthesisers", "pfa": "backward"}
"""rules that train something of their own, and the setting that says how"""
STRENGTHS = torch.tensor([0.03, 0.1, 0.3], dtype=torch.float64)
RANDOM = {"dni", "cdni", "fa", "dfa", "ifa", "brsf", "frsf", "tp", "dtp", "pfa", "expression"}
"""rules in which something is drawn"""
CHANGING = {"brsf", *TRAINED}
"""rules that remember something from step to step"""
OTHERS = [name for name in SIGNALS if name != "backprop"]


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.3).long()


def fresh(target=TARGET, seeds=SEEDS, **settings):
    start = initialise(target, "he", seeds, dtype=torch.float64)
    return Population(target, start, seeds=seeds, **{"learning_rate": 0.1} | settings)


def batches(seeds=SEEDS, shared=False):
    return Batches(*data(), 9, seeds, shared)


def trained(population, rule, steps=STEPS, seeds=SEEDS, shared=False):
    """The population's parameters after some steps under a rule."""
    advance(population, rule, rule.init(population), batches(seeds, shared), steps)
    return population.flat()


def gradients_of(population, signal, batch=None):
    """Fresh copies, (weight, bias) of each layer."""
    found = population.grads(*(batch or batches()(0)), signal)
    return layers([gradient.clone() for gradient in found], population.target.slots)


def compared(population, rule, same):
    """Checks each layer's gradients under a rule against backpropagation's by ``same(own, other)``."""
    expected, found = gradients_of(population, None), gradients_of(population, bound(rule, population))
    for own, other in zip(found, expected, strict=True):
        assert other[0].flatten(1).norm(dim=1).min() > 1e-5
        for one, another in zip(own, other, strict=True):
            assert same(one, another)


def weights_above(population):
    return [weight for weight, _ in layers(population.parameters, population.target.slots)][1:]


def whole(pairs):
    return torch.cat([tensor.flatten() for pair in pairs for tensor in pair])


def apart(one, another):
    return (one - another).norm() > 1e-3 * another.norm()


@pytest.fixture(params=DEPTHS, ids=str)
def widths(request):
    return request.param


@pytest.fixture(params=ACTIVATIONS)
def activation(request):
    return request.param


# Every rule is what its paper writes


def state_of(name, state, member, population, numbers):
    """What a reference reads of a rule's state: one member's tensors by layer."""

    def own(tensor):
        return tensor[member].clone()

    def by_layer(tensors):
        return {layer: own(tensor) for layer, tensor in enumerate(tensors) if tensor is not None}

    if name in ("fa", "dfa", "ifa"):
        return {"feedback": by_layer(state)}
    if name in ("usf", "brsf", "frsf"):
        return {"magnitude": by_layer(state.magnitudes if name == "brsf" else state)}
    if name in ("tp", "dtp"):
        inverses = {layer: [own(t) for t in it.parameters] for layer, it in enumerate(state.trained) if it is not None}
        shapes = [(width, numbers) for width in population.target.widths[1:]]
        seed, step = population.seeds[member], max([int(it.step) for it in state.trained if it is not None], default=0)
        noise = [
            0.1 * torch.randn(shape, generator=torch_stream(seed, "noise", layer, step)).double()
            for layer, shape in enumerate(shapes)
        ]
        return {"inverses": inverses, "noise": noise}
    if name in ("dni", "cdni"):
        return {"synthesisers": [[own(t) for t in it.parameters] for it in state]}
    if name == "pfa":
        learned = {layer: own(it.parameters[0]) for layer, it in enumerate(state.trained) if it is not None}
        return {"fixed": by_layer(state.fixed), "learned": learned}
    if name == "pblf":
        phi = torch.tensor((0.824, 0.3945, 0.2906, 0.8482), dtype=torch.float64)
        return {"phi": phi, "modes": [1] * (population.target.depth - 1)}
    if name == "expression":
        return {"R": by_layer(drawn["R"] for drawn in state.drawn)}
    return {}


def own_parameters(name, state):
    """The tensors in a reference's state that the rule trains."""
    if name in ("tp", "dtp"):
        return [tensor for own in state["inverses"].values() for tensor in own]
    if name in ("dni", "cdni"):
        return [tensor for own in state["synthesisers"] for tensor in own]
    return list(state["learned"].values()) if name == "pfa" else []


def assert_follows_its_reference(name, target, steps=3):
    population = fresh(target, SEEDS[:2])
    signal, draw = bound(named(name), population), batches(SEEDS[:2])
    module, optimisers, owns = ACTIVATIONS[target.activation].module(), {}, {}
    for step in range(steps):
        x, y = (tensor[:, :5] for tensor in draw(step))
        before = [state_of(name, signal.state, member, population, 5) for member in range(2)]
        pairs = layers([parameter.clone() for parameter in population.parameters], target.slots)
        found = gradients_of(population, signal, (x, y))
        for member, state in enumerate(before):
            weights, biases = ([pair[part][member] for pair in pairs] for part in range(2))
            given = (name, weights, biases, module, x[member], y[member])
            expected = reference_rules.gradients(*given, state)
            for own, other in zip(found, expected, strict=True):
                for one, another in zip(own, other, strict=True):
                    torch.testing.assert_close(one[member], another, rtol=1e-8, atol=1e-12)
            if name in TRAINED:
                leaves = own_parameters(name, state)
                for leaf, kept in zip(leaves, owns.get(member, leaves), strict=True):
                    leaf.data = kept.data
                    leaf.requires_grad_()
                if member not in optimisers:
                    rates = {"lr": 0.1, "weight_decay": 1e-3} if name == "pfa" else {"lr": 1e-3}
                    optimisers[member] = (torch.optim.SGD if name == "pfa" else torch.optim.Adam)(
                        leaves or [torch.zeros(1)], **rates
                    )
                    owns[member] = leaves
                if leaves:
                    with torch.enable_grad():
                        loss = reference_rules.loss_of_its_own(*given, state)
                    for kept, slope in zip(owns[member], torch.autograd.grad(loss, leaves), strict=True):
                        kept.grad = slope
                    optimisers[member].step()
                    after = own_parameters(name, state_of(name, signal.state, member, population, 5))
                    for one, another in zip(after, owns[member], strict=True):
                        torch.testing.assert_close(one, another.detach(), rtol=1e-6, atol=1e-9)
        population.apply(population.gradients)


@pytest.mark.parametrize("name", SIGNALS)
def test_every_depth_follows_its_reference(name, widths):
    assert_follows_its_reference(name, MLP(widths, "tanh"))


@pytest.mark.parametrize("name", SIGNALS)
def test_every_activation_follows_its_reference(name, activation):
    assert_follows_its_reference(name, MLP((6, 7, 5, 4, 3), activation), steps=2)


def test_every_rule_has_a_reference():
    assert reference_rules.RULES.keys() == SIGNALS.keys()


def test_the_references_differ():
    """The twin: no rule passes for another."""
    population = fresh()
    gradients = {name: whole(gradients_of(population, bound(named(name), population))) for name in SIGNALS}
    for one, another in itertools.combinations(SIGNALS, 2):
        as_frozen = {one, another} <= {"dni", "cdni", "frozen"}  # synthesisers start at 0
        assert apart(gradients[one], gradients[another]) != as_frozen, (one, another)


# What holds of every rule


@pytest.mark.parametrize("name", OTHERS)
def test_only_the_output_layers_gradient_is_the_losss(name):
    population = fresh()
    expected, found = gradients_of(population, None), gradients_of(population, bound(named(name), population))
    losses = population.losses.clone()
    population.grads(*batches()(0))
    assert torch.equal(losses, population.losses)
    assert all(torch.equal(own, other) for own, other in zip(found[-1], expected[-1], strict=True))
    assert apart(found[0][0], expected[0][0])


@pytest.mark.parametrize("name", SIGNALS)
def test_without_hidden_layers_every_rule_is_backpropagation(name):
    compared(fresh(MLP((6, 3))), named(name), torch.equal)


@pytest.mark.parametrize("name", SIGNALS)
def test_what_says_it_is_exact_is_and_nothing_else(name):
    rule, population = named(name), fresh()
    expected, found = gradients_of(population, None), gradients_of(population, bound(rule, population))
    assert getattr(rule, "exact", False) == torch.equal(found[0][0], expected[0][0])
    if rule.exact:
        require_gradient(rule, "the costate")
    else:
        with pytest.raises(
            UserError, match=f"the costate needs the gradient of the loss, and {type(rule).__name__} sends back none"
        ):
            require_gradient(rule, "the costate")


@pytest.mark.parametrize("name", SIGNALS)
def test_every_rule_learns(name):
    population = fresh(optimiser="adam", learning_rate=0.01)
    before = population.evaluate(*data()).loss.mean()
    trained(population, Update(name), 200)
    assert population.evaluate(*data()).loss.mean() < 0.8 * before


@pytest.mark.parametrize("name", SIGNALS)
def test_a_member_alone_is_itself_in_a_population(name):
    rule = Update(name)
    together, alone, other = fresh(), fresh(seeds=(6,)), fresh(seeds=(6,))
    other.seeds = [8]
    found, expected, another = trained(together, rule), trained(alone, rule, seeds=(6,)), trained(other, rule, seeds=(6,))
    assert torch.equal(found[1], expected[0])
    assert torch.equal(another, expected) != (name in RANDOM)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_member_is_itself_beside_other_neighbours(name):
    """At widths where products are the library's, which rounds those of one member alone as it likes."""
    target, generator = MLP((100, 60, 50, 40, 10), "tanh"), torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 100, generator=generator), torch.randint(10, (64,), generator=generator)

    def of(seeds):
        population, rule = Population(target, initialise(target, "he", seeds), seeds=seeds), Update(name)
        advance(population, rule, rule.init(population), Batches(x, y, 32, seeds, False), 5)
        return population.flat()

    assert torch.equal(of((5, 6, 7, 8))[1:3], of((6, 7)))


@pytest.mark.parametrize("name", SIGNALS)
def test_a_shared_batch_is_the_same_batch_for_each(name):
    x, y = batches(shared=True)(0)
    one, another = fresh(), fresh()
    for population, batch in ((one, (x, y)), (another, (x.expand(3, *x.shape).clone(), y.expand(3, -1).clone()))):
        signal = bound(named(name), population)
        for _ in range(STEPS):
            population.apply(population.grads(*batch, signal))
    torch.testing.assert_close(one.flat(), another.flat(), rtol=1e-8, atol=1e-10)
    assert apart(one.flat(), fresh().flat())


@pytest.mark.parametrize("settings", [{}, {"optimiser": "adamw", "weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_run_goes_on_to_the_bit(name, settings):
    whole, before = fresh(**settings), fresh(**settings)
    expected = trained(whole, Update(name), 2 * STEPS)
    rule = Update(name)
    state = rule.init(before)
    advance(before, rule, state, batches(), STEPS)
    kept, remembered = before.state_dict(), state.signal.state_dict()
    advance(before, rule, state, batches(), STEPS)  # and a copy does not follow

    def continued(with_state):
        after = fresh(**settings)
        after.load_state_dict(kept)
        state = rule.init(after)
        if with_state:
            state.signal.load_state_dict(remembered)
        advance(after, rule, state, batches(), STEPS)
        return after.flat()

    assert torch.equal(continued(True), expected) and torch.equal(before.flat(), expected)
    assert torch.equal(continued(False), expected) != (name in CHANGING)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("name", SIGNALS)
def test_a_diverging_neighbour_changes_nothing(name, optimiser):
    target, rule = MLP(TARGET.widths, "relu"), Update(name)

    def after(poison):
        population = fresh(target, optimiser=optimiser, learning_rate=0.03)
        state = rule.init(population)
        for value in (None, poison):
            for parameter in population.parameters if value else ():
                parameter[1].fill_(value)
            advance(population, rule, state, batches(), STEPS)
        return population

    healthy, ill = after(None), after(1e200)
    assert ill.diverged_at.tolist() == [-1, STEPS, -1] and (healthy.diverged_at < 0).all()
    assert torch.equal(ill.flat()[[0, 2]], healthy.flat()[[0, 2]]) and not torch.equal(ill.flat()[1], healthy.flat()[1])
    assert torch.isfinite(ill.flat()).all()


@pytest.mark.parametrize("name", TRAINED)
def test_a_neighbour_whose_own_parameters_overflow_changes_nothing(name):
    def after(rates):
        rates = torch.tensor(rates, dtype=torch.float64)
        population = fresh()
        return trained(population, Update(named(name, **{TRAINED[name]: Training(rates, "sgd")})), 3 * STEPS), population

    (found, ill), (expected, _) = after([1e-3, 1e300, 1e-3]), after([1e-3, 1e-3, 1e-3])
    assert torch.equal(found[[0, 2]], expected[[0, 2]]) and not torch.equal(found[1], expected[1])
    assert torch.isfinite(found).all() and (ill.diverged_at[[0, 2]] < 0).all()
    assert ill.diverged_at[1] > 0 or name in ("tp", "dtp")  # whose inverses end in a bounded activation


@pytest.mark.parametrize("term", [L1, L2, Growth, RandomPush], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_term_over_a_rule_is_the_rule_and_the_term(name, term):
    population, by_hand = fresh(), fresh()
    given = {L1: (STRENGTHS,), L2: (STRENGTHS,), RandomPush: (SEEDS, 0.01)}
    own = term(*given.get(term, ()))
    rule = Update(name, [own])
    state, state_by_hand, signal = rule.init(population), own.init(by_hand), bound(named(name), by_hand)
    for step in range(3):
        batch = Batch(*batches()(step))
        population.apply(rule.update(population, batch, state))
        gradients = by_hand.grads(*batch, signal)
        own.read(by_hand, gradients, state_by_hand)
        own.add(by_hand, gradients, state_by_hand)
        own.move(by_hand, state_by_hand)
        by_hand.apply(gradients)
    assert torch.equal(population.flat(), by_hand.flat())
    assert apart(population.flat(), trained(fresh(), Update(name), 3))


@pytest.mark.parametrize("name", OTHERS)
def test_l2_over_a_rule_is_weight_decay_over_it(name):
    """Under plain SGD."""
    strengths = torch.full((3,), 0.05, dtype=torch.float64)
    one, another = trained(fresh(), Update(name, [L2(strengths)])), trained(fresh(weight_decay=0.05), Update(name))
    torch.testing.assert_close(one, another, rtol=1e-9, atol=1e-12)
    assert apart(one, trained(fresh(), Update(name)))


# Rules that should be backpropagation


@pytest.mark.parametrize("matrices", ["own", "others"])
def test_feedback_alignment_with_the_weights_is_backpropagation(widths, activation, matrices):
    population = fresh(MLP(widths, activation))
    own = [weight.clone() for weight in weights_above(population)]
    if matrices == "own":
        compared(population, named("fa", feedback=own), torch.equal)
    elif own:
        found = gradients_of(population, bound(named("fa", feedback=[weight.flip(1) for weight in own]), population))
        assert apart(found[0][0], gradients_of(population, None)[0][0])


def test_direct_feedback_of_the_weights_is_backpropagation_on_one_hidden_layer(activation):
    for name in ("dfa", "ifa"):
        population = fresh(MLP((6, 5, 3), activation))
        own = [weights_above(population)[0].clone()]
        compared(population, named(name, feedback=own), torch.equal)
        found = gradients_of(population, bound(named(name, feedback=[-own[0]]), population))
        torch.testing.assert_close(found[0][0], -gradients_of(population, None)[0][0], rtol=0, atol=0)


def test_feedback_of_all_kinds_is_one_on_one_hidden_layer_and_differs_on_two(activation):
    def of(widths):
        population = fresh(MLP(widths, activation))
        return [gradients_of(population, bound(named(name), population))[0][0] for name in ("fa", "dfa", "ifa")]

    fa, dfa, ifa = of((6, 5, 3))
    assert torch.equal(fa, dfa) and torch.equal(dfa, ifa)
    fa, dfa, ifa = of((6, 7, 4, 3))
    assert apart(fa, dfa) and apart(dfa, gradients_of(fresh(MLP((6, 7, 4, 3), activation)), None)[0][0])
    assert torch.equal(dfa, ifa)  # the first layer's; the second's comes from below
    population = fresh(MLP((6, 7, 4, 3), activation))
    second = [gradients_of(population, bound(named(name), population))[1][0] for name in ("dfa", "ifa")]
    assert apart(*second)


def test_a_learned_derivative_of_one_is_backpropagation(widths, activation):
    population, hidden = fresh(MLP(widths, activation)), len(widths) - 2
    wild = torch.tensor([[0.5, -0.3, 0.9, 0.1]] * 3)
    compared(population, named("pblf", phi=(0.0, 0.0, 0.0, 1.0)), torch.equal)
    compared(population, named("pblf", phi=wild, modes=[0] * hidden), torch.equal)
    if hidden:
        found = gradients_of(population, bound(named("pblf", phi=wild, modes=[1] + [0] * (hidden - 1)), population))
        expected = gradients_of(population, None)
        assert apart(found[0][0], expected[0][0])
        assert all(torch.equal(own[0], other[0]) for own, other in zip(found[1:], expected[1:], strict=True))


def test_a_constant_derivative_multiplies_by_its_powers(activation):
    factors = torch.tensor([0.3, -0.7, 1.0], dtype=torch.float64)  # which float32 would round
    modes = torch.tensor([[1, 0, 1], [1, 1, 1], [0, 1, 0]])
    phi = torch.zeros(3, 4, dtype=torch.float64)
    phi[:, 3] = factors
    population = fresh(MLP((6, 7, 5, 4, 3), activation))
    found = gradients_of(population, bound(named("pblf", phi=phi, modes=modes), population))
    for layer, (own, other) in enumerate(zip(found, gradients_of(population, None), strict=True)):
        powers = factors ** modes[:, layer:].sum(1)
        for one, another in zip(own, other, strict=True):
            torch.testing.assert_close(one, another * per_member(powers, another), rtol=1e-10, atol=1e-14)


def test_adam_makes_a_constant_derivative_vanish():
    rule = named("pblf", phi=(0.0, 0.0, 0.0, 0.25))

    def moved(signal, optimiser):
        population = fresh(MLP((6, 7, 4, 3), "tanh"), optimiser=optimiser, learning_rate=1e-3)
        return trained(population, Update(signal), 5) - fresh(MLP((6, 7, 4, 3), "tanh")).flat()

    assert (moved(rule, "adam") - moved(None, "adam")).norm() < 1e-3 * moved(None, "adam").norm()
    assert (moved(rule, "sgd") - moved(None, "sgd")).norm() > 0.1 * moved(None, "sgd").norm()


def test_synthetic_gradients_with_an_oracle_are_backpropagation(widths, activation):
    class Oracle(SyntheticGradients):
        error = 0.0

        def synthesise(self, context, state):
            return context.above.pull(context.above.signal).mul_(context.examples * (1 + self.error))

    class Wrong(Oracle):
        error = 1e-3

    population = fresh(MLP(widths, activation))
    compared(population, Oracle(), lambda own, other: torch.allclose(own, other, rtol=1e-10, atol=1e-15))
    if len(widths) > 2:
        with pytest.raises(AssertionError):
            compared(population, Wrong(), lambda own, other: torch.allclose(own, other, rtol=1e-10, atol=1e-15))


@pytest.mark.parametrize("name", ["dtp", "tp"])
@pytest.mark.parametrize("rate", [0.5, 1e-3])
def test_targets_with_an_oracle_are_backpropagation(name, rate, widths, activation):
    """An oracle is an inverse that is linear about h and has the transposed Jacobian; then it holds at any η, not in a limit:
    the signal is 2 η times backpropagation's."""

    class Oracle(SIGNALS[name]):
        def inverse(self, above, h, state):
            moved = above.below.h + above.pull(above.through(h - above.h))
            return moved

    population = fresh(MLP(widths, activation))
    last = len(widths) - 2
    found, expected = gradients_of(population, bound(Oracle(rate=rate), population)), gradients_of(population, None)
    for layer, (own, other) in enumerate(zip(found, expected, strict=True)):
        for one, another in zip(own, other, strict=True):
            torch.testing.assert_close(one, another * (1.0 if layer == last else 2 * rate), rtol=1e-8, atol=1e-12)
    if last > 1:
        plain = gradients_of(population, bound(named(name, rate=rate), population))
        assert apart(plain[0][0], found[0][0])


def test_difference_targets_come_near_the_gradient_as_inverses_learn_less():
    """The twin of the oracle: with drawn inverses the last hidden layer alone has the gradient."""
    population = fresh()
    found, expected = gradients_of(population, bound(named("dtp"), population)), gradients_of(population, None)
    torch.testing.assert_close(found[2][0], expected[2][0], rtol=1e-10, atol=1e-14)
    assert apart(found[1][0], expected[1][0])


def test_products_that_are_the_weights_stay_backpropagation():
    """R = BᵀW, B orthogonal: under plain SGD with R's own rate and weight decay, R follows W."""
    one, another = (fresh(weight_decay=1e-3) for _ in range(2))
    signal, drawn = bound(named("pfa"), one), bound(named("pfa"), another)
    for layer, weight in enumerate(weights_above(one), start=1):
        fixed = signal.state.fixed[layer]
        fixed.copy_(torch.linalg.qr(fixed)[0])  # drawn in float32
        signal.state.trained[layer].parameters[0].copy_(signal.state.fixed[layer].transpose(1, 2) @ weight)
    for step in range(STEPS):
        batch = batches()(step)
        one.apply(one.grads(*batch, signal))
        another.apply(another.grads(*batch, drawn))
    expected = trained(fresh(weight_decay=1e-3), Update())
    torch.testing.assert_close(one.flat(), expected, rtol=1e-9, atol=1e-11)
    assert apart(another.flat(), expected)


def test_products_with_many_neurons_between_are_nearly_orthogonal():
    state = bound(named("pfa", expansion=400), fresh()).state
    for fixed in state.fixed[1:]:
        product = fixed @ fixed.transpose(1, 2)
        assert (product - torch.eye(len(product[0]), dtype=torch.float64)).abs().max() < 0.2


# What each is by its nature


def test_with_hidden_layers_frozen_only_the_last_one_moves(activation):
    population = fresh(MLP((6, 7, 4, 3), activation))
    before = [parameter.clone() for parameter in population.parameters]
    trained(population, Update("frozen"))
    for slot, now, then in zip(population.target.slots, population.parameters, before, strict=True):
        assert torch.equal(now, then) == (slot.layer < 2)


@pytest.mark.parametrize("name", ["usf", "brsf", "frsf", "fa"])
def test_sign_symmetric_feedback_has_the_weights_signs(name, monkeypatch):
    pulled, pull = [], Context.pull

    def spy(self, delta, weights=None, out=None):
        pulled.append((self.layer, None if weights is None else weights.clone(), self.weight.clone()))
        return pull(self, delta, weights, out)

    monkeypatch.setattr(Context, "pull", spy)
    trained(fresh(), Update(name), 3)
    assert len(pulled) == 9 and all(weights is not None for _, weights, _ in pulled)
    assert all(torch.equal(weights.sign(), weight.sign()) for _, weights, weight in pulled) == (name != "fa")
    of_one = [weights for layer, weights, _ in pulled if layer == 2]
    sizes = [weights.abs() for weights in of_one]
    assert torch.equal(sizes[0], sizes[1]) == (name != "brsf")


def test_scales_of_uniform_feedback_are_per_member():
    population = fresh()
    plain = gradients_of(population, bound(named("usf"), population))
    scaled = gradients_of(population, bound(named("usf", scale=torch.tensor([1.0, 2.0, 0.5])), population))
    factors = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    for layer, (own, other) in enumerate(zip(scaled, plain, strict=True)):
        torch.testing.assert_close(own[0], other[0] * per_member(factors ** (3 - layer), other[0]), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("name", "given"), [("pblf", {"phi": (0.1, 0.7, -0.3, 0.9)}), ("usf", {"scale": 1.0})])
def test_settings_have_all_their_digits_in_float64_and_round_once_to_float32(name, given):
    found = {}
    for dtype in (torch.float32, torch.float64):
        population = Population(TARGET, initialise(TARGET, "he", SEEDS, dtype=dtype))
        found[dtype] = bound(named(name, **given), population).state_dict()
    for key, exact in found[torch.float64].items():
        assert exact.dtype == torch.float64 and torch.equal(exact.float(), found[torch.float32][key])
    assert any(not torch.equal(exact, exact.float().double()) for exact in found[torch.float64].values())


def test_members_have_their_own_equations():
    phi = torch.tensor([[0.2, 0.1, 0.4, 0.9], [-0.5, 0.3, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    modes = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 1, 1]])
    population = fresh()
    together = gradients_of(population, bound(named("pblf", phi=phi, modes=modes), population))
    for member in range(3):
        alone = fresh(seeds=SEEDS[member : member + 1])
        batch = tuple(tensor[member : member + 1] for tensor in batches()(0))
        found = gradients_of(alone, bound(named("pblf", phi=phi[member], modes=modes[member]), alone), batch)
        assert all(torch.equal(own[0][0], other[0][member]) for own, other in zip(found, together, strict=True))


def test_labels_reach_a_conditioned_synthesiser_alone():
    """Of two examples with one h and two labels, only cdni predicts two gradients."""
    x = torch.ones(1, 6, dtype=torch.float64)
    for name in ("dni", "cdni"):
        population = fresh()
        signal = bound(named(name), population)
        for step in range(20):
            population.apply(population.grads(*batches()(step), signal))
        signals, learned = [], signal.state_dict()
        for label in (0, 2):
            signal.load_state_dict(learned)
            population.grads(x, torch.tensor([label]), signal)
            signals.append(population.gradients[0].clone())
        assert apart(*signals) == (name == "cdni")


def test_every_rule_but_backpropagation_is_an_arm():
    """Of its own name; those of one's own parameters at the run's own optimiser."""
    config = from_dotted({"training.learning_rate": 0.25, "training.optimiser": "sgd", "training.momentum": 0.9})
    for name in OTHERS:
        rule = ARMS[name].rule(Making(ARMS[name], Task(name, name, SEEDS, (0.0,) * 3, keep=False), config, fresh(), {}))
        assert type(rule.signal) is SIGNALS[name] and not rule.terms and "learning rate" in ARMS[name].says
        if name == "pfa":
            backward = rule.signal.backward
            assert (backward.learning_rate, backward.optimiser, backward.momentum) == (0.25, "sgd", 0.9)


# Bad input


def test_settings_of_their_kinds_are_taken():
    named("pblf", phi=torch.zeros(3, 4), modes=[1, 0])
    named("pblf", phi=[0.0, 0.0, 0.0, 1.0], modes=None)
    named("usf", scale=torch.ones(3)), named("usf", scale=2.0), named("pfa", expansion=2, backward=Training())
    named("fa", feedback=None), named("fa", feedback=(torch.ones(2, 2),)), named("fa", feedback=[])


@pytest.mark.parametrize(
    ("give", "says"),
    [
        (lambda p: named("dfaa"), r"unknown learning rule 'dfaa'; did you mean 'dfa'\? choose from backprop, "),
        (lambda p: Update("feedbak"), r"unknown learning rule 'feedbak'; did you mean"),
        (lambda p: named("fa", feedbacks=[]), r"'fa' has no setting 'feedbacks'; it takes feedback\."),
        (lambda p: named("frozen", scale=1), r"'frozen' has no setting 'scale'; it takes none\."),
        (lambda p: bound(named("fa", feedback=[torch.ones(3, 5, 6)]), p), r"1 feedback matrices for 3 layers"),
        (
            lambda p: bound(named("fa", feedback=[torch.ones(5, 6), torch.ones(5, 4), torch.ones(3, 4)]), p),
            r"feedback of layer 3 has shape \(5, 4\); give \(3, 4, 5\), or \(4, 5\) for all members",
        ),
        (lambda p: bound(named("ifa", feedback=[torch.ones(2, 3, 6)]), p), r"feedback of layer 2 has shape \(2, 3, 6\)"),
        (lambda p: bound(named("dfa", feedback=[torch.ones(6, 3)] * 3), p), r"feedback of layer 2 has shape \(6, 3\)"),
        (lambda p: bound(named("usf", scale=torch.ones(2)), p), r"scales of shape \(2,\) for 3 members"),
        (lambda p: named("pblf", phi=(0.0, 0.0, 1.5, 0.0)), r"φ has 1\.5; all of it lies in \[−1, 1\]"),
        (lambda p: named("pblf", phi=(0.0, float("nan"), 0.0, 0.0)), r"φ has nan; all of it lies"),
        (lambda p: named("pblf", phi=torch.zeros(3, 5)), r"φ has shape \(3, 5\); give w₁, b₁, w₂, b₂"),
        (lambda p: bound(named("pblf", phi=torch.zeros(2, 4)), p), r"φ is given for 2 members of 3"),
        (lambda p: bound(named("pblf", modes=[1, 0]), p), r"mode bits of shape \(2,\) for 3 hidden layers"),
        (lambda p: bound(named("pblf", modes=torch.ones(2, 3)), p), r"mode bits of shape \(2, 3\) for 3 hidden layers"),
        (lambda p: bound(named("pblf", modes=[1, 2, 0]), p), r"give a 0 or a 1 for each hidden layer"),
        (lambda p: named("pblf", phi="0.1"), r"setting 'phi' .* 'pblf' is '0\.1'; give a tensor or a list of numbers\.$"),
        (lambda p: named("pblf", phi=[[1.0], [1.0, 0.0]]), r"setting 'phi' .* give a tensor or a list of numbers"),
        (lambda p: named("pblf", modes=1), r"setting 'modes' .* is 1; give a tensor or a list of whole numbers or None\.$"),
        (lambda p: named("fa", feedback=torch.tensor(1.0)), r"setting 'feedback' .* give a list of tensors or None\.$"),
        (lambda p: named("dfa", feedback=[[[1.0]]]), r"setting 'feedback' .* give a list of tensors or None"),
        (lambda p: named("usf", scale=float("nan")), r"setting 'scale' .* 'usf' is nan; give a finite number or a tensor"),
        (lambda p: named("tp", rate="fast"), r"setting 'rate' .* 'tp' is 'fast'; give a finite number\.$"),
        (lambda p: named("cdni", hidden=1.5), r"setting 'hidden' .* 'cdni' is 1\.5; give a whole number\.$"),
        (lambda p: named("dni", synthesisers=0.1), r"setting 'synthesisers' .* 'dni' is 0\.1; give a Training\.$"),
        (lambda p: named("expression", equation=None), r"setting 'equation' .* is None; give a text\.$"),
        (lambda p: named("pfa", expansion=0), r"expansion of product feedback is 0; give at least 1"),
        (lambda p: Training(optimiser="nobody"), r"unknown optimiser 'nobody'; choose from sgd, "),
        (
            lambda p: bound(named("dni", synthesisers=Training(torch.ones(2))), p),
            r"own learning rates have shape \(2,\); give one, or 3",
        ),
        (
            lambda p: bound(named("fa"), p).load_state_dict(bound(named("dfa"), p).state_dict()),
            r"the saved state of the learning rule is none of FeedbackAlignment on these members",
        ),
    ],
)
def test_what_fits_nothing_is_refused_in_one_sentence(give, says):
    with pytest.raises(UserError, match=says) as caught:
        give(fresh())
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
