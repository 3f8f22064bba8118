"""Predictors of layers that multiply within one function, whose outputs have their examples elsewhere, or that nobody knows."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from pipeline.errors import UserError
from pipeline.predictors import PREDICTORS, named
from pipeline.predictors.az_nas import entropies, features
from pipeline.predictors.az_trainability import trainability
from pipeline.predictors.drawn import drawn
from pipeline.predictors.weights import weights
from tests.support import reference_predictors as reference

OF_WEIGHTS = ("gradsign", "grad_norm", "snip", "grasp", "synflow", "zico")


def score(name, made, x):
    return named(name).score(made, (x, torch.arange(len(x)) % 4), torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    def __init__(self, kind, width=4, **how):
        super().__init__()
        self.first, self.steps, self.last = nn.Linear(6, 5), kind(5, 4, batch_first=True, **how), nn.Linear(width, 4)

    def forward(self, x):
        return self.last(self.steps(self.first(x))[0].mean(1))


class Packed(Recurrent):
    def forward(self, x):
        packed = nn.utils.rnn.pack_padded_sequence(self.first(x), [x.shape[1]] * len(x), batch_first=True)
        return self.last(self.steps(packed)[1][0])


class Cell(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cell, self.last = kind(6, 5), nn.Linear(5, 4)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.last(state[0] if isinstance(state, tuple) else state)


class Attention(nn.Module):
    """torch's, with positions first or not; keys of another width make it use three matrices in place of one."""

    def __init__(self, batch_first=False, keys=None):
        super().__init__()
        self.first, self.keys = nn.Linear(6, 6), None if keys is None else nn.Linear(6, keys)
        self.attention = nn.MultiheadAttention(6, 2, kdim=keys, vdim=keys, batch_first=batch_first, dropout=0.2)
        self.last, self.batch_first = nn.Linear(6, 4), batch_first
        nn.init.normal_(self.attention.in_proj_bias), nn.init.constant_(self.attention.out_proj.bias, 0.5)

    def forward(self, x):
        h = self.first(x if self.batch_first else x.transpose(0, 1))
        other = h if self.keys is None else self.keys(h)
        return self.last(self.attention(h, other, other)[0].relu().mean(1 if self.batch_first else 0))


class ByHand(nn.Module):
    """The same of linear layers, examples first."""

    def __init__(self):
        super().__init__()
        self.first, self.within, self.out, self.last = nn.Linear(6, 6), nn.Linear(6, 18), nn.Linear(6, 6), nn.Linear(6, 4)
        self.relu = nn.ReLU()

    def forward(self, x):
        query, key, value = self.within(self.first(x)).unflatten(-1, (3, 2, 3)).movedim((2, 3), (0, 2))
        attended = torch.softmax(query @ key.transpose(-2, -1) / 3**0.5, -1) @ value
        return self.last(self.relu(self.out(attended.movedim(1, 2).flatten(2))).mean(1))


def by_hand(made):
    found, own = ByHand().double(), made.attention
    for linear, other in ((found.first, made.first), (found.out, own.out_proj), (found.last, made.last)):
        linear.load_state_dict(other.state_dict())
    found.within.weight.data, found.within.bias.data = own.in_proj_weight.data, own.in_proj_bias.data
    return found


class Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.both, self.last = nn.Linear(6, 5), nn.Bilinear(5, 6, 7), nn.Linear(7, 4)

    def forward(self, x):
        h = x.mean(1)
        return self.last(self.both(self.first(h).tanh(), h).tanh())


def normed():
    layers = parametrizations.weight_norm(nn.Conv1d(3, 4, 3)), parametrizations.weight_norm(nn.Linear(16, 4), dim=1)
    return nn.Sequential(layers[0], nn.Tanh(), nn.Flatten(), layers[1])


class Rows(nn.Module):
    """Positions made one axis with the examples: in the order of either, or of nobody."""

    def __init__(self, order):
        super().__init__()
        self.one, self.two, self.relu, self.last, self.order = (
            nn.Linear(6, 5),
            nn.Linear(5, 3),
            nn.ReLU(),
            nn.Linear(3, 4),
            order,
        )

    def forward(self, x):
        count = len(x)
        if self.order == "positions":
            x = x.transpose(0, 1)
        h = x if self.order == "apart" else x.flatten(0, 1)
        h = h.roll(1, 0) if self.order == "nobody" else h
        h = self.two(self.relu(self.one(h)))
        h = h.unflatten(0, (-1, count)).transpose(0, 1) if self.order == "positions" else h
        return self.last(h.reshape(count, -1, 3).mean(1))


MADE = {
    "lstm": lambda: Recurrent(nn.LSTM, proj_size=3, width=3),
    "gru": lambda: Recurrent(nn.GRU, num_layers=2, bidirectional=True, dropout=0.5, width=8),
    "packed": lambda: Packed(nn.RNN),
    "lstm cell": lambda: Cell(nn.LSTMCell),
    "attention": Attention,
    "attention with examples first": lambda: Attention(batch_first=True),
    "bilinear": Bilinear,
    "weights that are normed": normed,
}


def made(name):
    torch.manual_seed(3)
    return MADE[name]().double(), torch.randn(5, 3, 6, dtype=torch.float64)


@pytest.mark.parametrize("name", MADE)
def test_weights_within_a_layer_count_as_its_paper_says(name):
    own, x = made(name)
    y = torch.arange(len(x)) % 4
    for predictor in OF_WEIGHTS:
        wanted = getattr(reference, predictor)(own, x, y)
        assert score(predictor, own, x) == pytest.approx(wanted, rel=1e-4 if predictor == "grasp" else 1e-9), predictor
    assert score("live_params", own, x) == reference.live(own, x, y) == sum(one.numel() for one in weights(own).values())
    assert score("live_flops", own, x) == score("flops", own, x)


@pytest.mark.parametrize(
    ("name", "at_each", "at_one"), [("lstm", 6 * 5 + 4 * 4 * (5 + 3) + 4 * 3, 3 * 4), ("lstm cell", 4 * 5 * (6 + 5), 5 * 4)]
)
def test_a_recurrent_layer_multiplies_at_every_step(name, at_each, at_one):
    assert score("flops", *made(name)) == 3 * at_each + at_one


@pytest.mark.parametrize("batch_first", [False, True])
def test_attention_is_looked_at_within(batch_first):
    """It scores as the same network by hand does, of which each layer is a module, examples first."""
    torch.manual_seed(3)
    own, x = Attention(batch_first).double(), torch.randn(7, 5, 6, dtype=torch.float64)
    twin, y = by_hand(own), torch.arange(7) % 4
    assert score("fisher", own, x) == pytest.approx(reference.fisher(twin, x, y), rel=1e-9)
    for name in ("zen", "az_expressivity", "az_progressivity", "naswot", "swap"):
        assert score(name, own, x) == pytest.approx(score(name, twin, x), rel=1e-9), name
    found = [features(reference.copied(one), drawn_parameters(one), x) for one in (own, twin)]
    ones = [[torch.ones_like(feature.values) for feature in one] for one in found]
    assert trainability(found[0], ones[0]) == pytest.approx(trainability(found[1], ones[1]), rel=1e-9)
    assert [len(one) for one in found] == [3, 3] and len(set(entropies(found[0]))) == 3


def drawn_parameters(made):
    torch.manual_seed(5)
    return {name: own.requires_grad_() for name, own in drawn(made, "he").items()}


def test_three_matrices_of_attention_are_those_of_one():
    """Keys and values of their own width, by the same numbers."""
    torch.manual_seed(3)
    own, x = Attention(keys=6).double(), torch.randn(7, 5, 6, dtype=torch.float64)
    split = Attention(keys=6).double()
    split.attention = nn.MultiheadAttention(6, 2, kdim=6, vdim=5).double()
    split.attention._qkv_same_embed_dim = False
    assert [score(name, own, x) for name in ("flops", "live_params")] == [5 * 6 * 6 * 6 + 24, 6 * 6 * 6 + 24]
    assert "attention.q_proj_weight" in weights(split) and "attention.in_proj_weight" not in weights(split)


@pytest.mark.parametrize("name", ["fisher", "naswot", "swap"])
@pytest.mark.parametrize("order", ["examples", "positions"])
def test_rows_are_put_to_their_examples(name, order):
    torch.manual_seed(3)
    own, x = Rows(order).double(), torch.randn(7, 5, 6, dtype=torch.float64)
    twin = Rows("apart").double()
    twin.load_state_dict(own.state_dict())
    wanted = getattr(reference, name)(twin, x, torch.arange(7) % 4)
    assert score(name, own, x) == score(name, twin, x) == pytest.approx(wanted, rel=1e-9)
    own.order = "nobody"
    with pytest.raises(UserError, match=r"cannot be told which part of what (one.weight|ReLU 1) computes"):
        score(name, own, x)


@pytest.mark.parametrize("name", ["fisher", "az_expressivity", "az_trainability", "naswot"])
def test_steps_that_cannot_be_looked_at_are_refused(name):
    torch.manual_seed(0)
    with pytest.raises(UserError, match=r"of 'steps\.weight_ih_l0' computes within itself"):
        score(name, Recurrent(nn.RNN, nonlinearity="relu"), torch.randn(4, 5, 6))


class Own(nn.Module):
    """Multiplies by a parameter of its own, in some way."""

    def __init__(self, how):
        super().__init__()
        self.one, self.last, self.how = nn.Linear(6, 5), nn.Linear(5, 4), how
        self.w, self.b, self.scale = (nn.Parameter(torch.randn(shape)) for shape in ((5, 5), (5,), (1, 5)))
        self.attention = nn.MultiheadAttention(5, 1, batch_first=True)

    def forward(self, x):
        return self.last(self.how(self, self.one(x)).tanh())


MULTIPLYING = {
    "linear": lambda own, h: F.linear(h, own.w, own.b),
    "by names": lambda own, h: F.linear(input=h, weight=own.w),
    "matmul": lambda own, h: h @ own.w,
    "einsum": lambda own, h: torch.einsum("ni,io->no", h, own.w),
    "addmm": lambda own, h: torch.addmm(own.b, h, own.w),
    "computed": lambda own, h: h @ F.softplus(own.w[:, :4] * 2).T.repeat(2, 1)[:5],
    "by hand": lambda own, h: (h[:, None] * own.w).sum(-1),
    "into a buffer": lambda own, h: torch.zeros_like(h).copy_(h) @ own.w,
}
ADDING = {
    "scale": lambda own, h: h * own.scale,
    "positions": lambda own, h: h + own.scale,
    "bias": lambda own, h: F.linear(h, torch.eye(5), own.b),
    "queries": lambda own, h: own.attention(own.scale.expand(len(h), 1, 5), h[:, None], h[:, None])[0][:, 0],
}


@pytest.mark.parametrize("how", [*MULTIPLYING, *ADDING])
def test_a_weight_that_nobody_knows_is_refused_by_its_name(how):
    """And what is no weight of a linear map is not: nothing is refused that is counted in full."""
    torch.manual_seed(0)
    own, x = Own((MULTIPLYING | ADDING)[how]), torch.randn(4, 6)
    looking = [name for name in PREDICTORS if PREDICTORS[name].layers == "convolutions and linear layers"]
    for name in looking if how in MULTIPLYING else ("gradsign", "live_params", "fisher"):
        if how in ADDING:
            assert score(name, own, x) > 0
            continue
        with pytest.raises(UserError, match=r"multiplies by its parameter 'w' \(of Own\)"):
            score(name, own, x)
    assert score("params", own, x) > 0 and score("jacob_cov", own, x) < 0


def test_an_embedding_that_is_used_once_more_at_the_output():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.one, self.last = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 9, bias=False)
            self.last.weight = self.table.weight

        def forward(self, tokens):
            h = self.one(self.table(tokens)).mean(1)
            return self.last(h) if self.last is not None else F.linear(h, self.table.weight)

    made, tokens = Tied(), torch.randint(9, (4, 3))
    assert score("live_params", made, tokens) == 6 * 6 + 9 * 6
    made.last = None
    with pytest.raises(UserError, match=r"'table.weight' \(of Embedding\)"):
        score("live_params", made, tokens)


def test_what_cannot_be_differentiated_twice_is_refused_in_a_sentence():
    made = nn.Sequential(nn.Linear(6, 5), nn.Hardsigmoid(), nn.Linear(5, 4))
    with pytest.raises(UserError, match="cannot be differentiated twice"):
        score("grasp", made, torch.randn(4, 6))


def test_paths_that_other_libraries_drop_are_kept():
    class StochasticDepth(nn.Module):  # as torchvision has it
        def forward(self, x):
            return x * torch.rand(()) if self.training else x

    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 5), StochasticDepth(), nn.Linear(5, 4))
    x = torch.randn(4, 6)
    assert score("snip", made, x) == score("snip", nn.Sequential(made[0], made[2]), x)
