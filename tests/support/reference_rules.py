"""Learning rules as their papers write them: one member, one example after the other, vectors and loops; no code of the fast
ones. Derivatives of activations and of regressions are autograd's.

A rule's reference is ``(member, state, wanted) -> signals``, the s_i of one example, and for rules that train something of
their own ``losses``, what they minimise. ``state`` has what is random or learned, as plain tensors of this member, by layer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Example:
    """One example in one member: layers are numbered from 0, and the last is the output."""

    weights: list[Tensor]
    z: list[Tensor]
    h: list[Tensor]
    """after each layer; the logits at the output"""
    slopes: list[Tensor]
    x: Tensor
    wanted: Tensor
    """one-hot"""
    module: torch.nn.Module
    """σ"""

    @property
    def last(self) -> int:
        return len(self.z) - 1

    @property
    def error(self) -> Tensor:
        """∂loss/∂z at the output, of this example's own loss."""
        p = torch.exp(self.z[-1]) / torch.exp(self.z[-1]).sum()
        return p - self.wanted


def example_of(weights, biases, module, x, label) -> Example:
    z, h, slopes = [], [], []
    before = x
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z.append(times(weight, before) + bias)
        last = number == len(weights) - 1
        leaf = z[-1].clone().requires_grad_()
        with torch.enable_grad():
            out = leaf * 1.0 if last else module(leaf)
            slopes.append(torch.autograd.grad(out.sum(), leaf)[0])
        h.append(out.detach())
        before = h[-1]
    wanted = torch.tensor([float(label == k) for k in range(len(z[-1]))], dtype=x.dtype)
    return Example(list(weights), z, h, slopes, x, wanted, module)


def times(matrix, vector) -> Tensor:
    """M v, row by row."""
    return torch.stack([(row * vector).sum() for row in matrix])


def downwards(one: Example, backward) -> list[Tensor]:
    """s_L = e, s_i = (backward(i + 1) s_{i+1}) ∘ σ′(z_i), ``backward`` giving a matrix (width of i, width of i + 1)."""
    signals = {one.last: one.error}
    for i in reversed(range(one.last)):
        signals[i] = times(backward(i + 1), signals[i + 1]) * one.slopes[i]
    return [signals[i] for i in range(one.last + 1)]


def backprop(one, state):
    return downwards(one, lambda i: one.weights[i].T)


def fa(one, state):
    return downwards(one, lambda i: state["feedback"][i].T)


def dfa(one, state):
    return [times(state["feedback"][i + 1].T, one.error) * one.slopes[i] for i in range(one.last)] + [one.error]


def ifa(one, state):
    signals = []
    for i in range(one.last):
        came = times(state["feedback"][1].T, one.error) if i == 0 else times(one.weights[i], signals[-1])
        signals.append(came * one.slopes[i])
    return [*signals, one.error]


def sign_symmetric(one, state):
    def backward(i):
        rows = [[float(w > 0) - float(w < 0) for w in row] for row in one.weights[i]]
        return (torch.tensor(rows, dtype=one.x.dtype) * state["magnitude"][i]).T

    return downwards(one, backward)


def frozen(one, state):
    return [0 * z for z in one.z[:-1]] + [one.error]


def _inverse(one, state, i, h):
    """V_i(h_i), what layer i − 1 had."""
    matrix, bias = state["inverses"][i]
    return one.module(times(matrix.T, h) + bias)


def _targets(one, state, down):
    """t_i of every hidden layer, η = ½."""
    top = one.last - 1
    targets = {top: one.h[top] - 0.5 * times(one.weights[one.last].T, one.error)}
    for i in reversed(range(top)):
        targets[i] = down(i, targets[i + 1])
    return [2 * (one.h[i] - targets[i]) * one.slopes[i] for i in range(one.last)] + [one.error]


def tp(one, state):
    return _targets(one, state, lambda i, above: _inverse(one, state, i + 1, above)) if one.last else [one.error]


def dtp(one, state):
    def down(i, above):
        return one.h[i] + _inverse(one, state, i + 1, above) - _inverse(one, state, i + 1, one.h[i + 1])

    return _targets(one, state, down) if one.last else [one.error]


def inverse_losses(one, state):
    """‖V_i(h_i(h_{i−1} + ε)) − (h_{i−1} + ε)‖² of each hidden layer above the first."""
    losses = []
    for i in range(1, one.last):
        noisy = one.h[i - 1] + state["noise"][i - 1]
        bias = one.z[i] - times(one.weights[i], one.h[i - 1])
        again = _inverse(one, state, i, one.module(times(one.weights[i], noisy) + bias))
        losses.append(((again - noisy) ** 2).sum())
    return losses


def _synthetic(one, state, i):
    linear, inner, last = synthesiser_parts(state["synthesisers"][i])
    found = _seen(one, i, *linear)
    if last is None:
        return found
    u = torch.exp(_seen(one, i, *inner))
    return found + times(last.T, u / u.sum() * len(u) ** 0.5)


def _seen(one, i, matrix, bias, *labels):
    found = times(matrix.T, one.h[i]) + bias
    return found + times(labels[0].T, one.wanted) if labels else found


def synthesiser_parts(own):
    """What of a synthesiser's parameters is linear, what makes its hidden layer, and what comes of that."""
    count = len(own) // 2
    return (own[:count], own[count : 2 * count], own[-1]) if len(own) > 3 else (own, [], None)


def dni(one, state):
    return [_synthetic(one, state, i) * one.slopes[i] for i in range(one.last)] + [one.error]


def synthesiser_losses(one, state):
    """‖S_i(h_i) − W_{i+1}ᵀ s_{i+1}‖² of each hidden layer."""
    signals = [signal.detach() for signal in dni(one, state)]
    wanted = [times(one.weights[i + 1].T, signals[i + 1]) for i in range(one.last)]
    return [((_synthetic(one, state, i) - wanted[i]) ** 2).sum() for i in range(one.last)]


def pblf(one, state):
    w1, b1, w2, b2 = state["phi"]
    signals = backprop(one, state)
    for i in reversed(range(one.last)):
        came = times(one.weights[i + 1].T, signals[i + 1])
        f = w2 * one.module(w1 * one.h[i] + b1) + b2 if state["modes"][i] else torch.ones_like(one.h[i])
        signals[i] = came * one.slopes[i] * f
    return signals


def pfa(one, state):
    return downwards(one, lambda i: state["learned"][i].T @ state["fixed"][i].T)


def expression(one, state):
    """The rule's default, the sum of what backpropagation and feedback alignment send down."""
    signals = {one.last: one.error}
    for i in reversed(range(one.last)):
        came = times(one.weights[i + 1].T, signals[i + 1]) + times(state["R"][i].T, signals[i + 1])
        signals[i] = came * one.slopes[i]
    return [signals[i] for i in range(one.last + 1)]


def learned_slopes(one, state):
    """(Bᵀ s_i) h_{i−1}ᵀ for R of each layer above the first, given as a loss that has this gradient."""
    signals = [signal.detach() for signal in pfa(one, state)]
    return [
        (torch.outer(times(state["fixed"][i].T, signals[i]), one.h[i - 1]).detach() * state["learned"][i]).sum()
        for i in range(1, one.last + 1)
    ]


RULES = {
    "backprop": backprop,
    "fa": fa,
    "dfa": dfa,
    "ifa": ifa,
    "usf": sign_symmetric,
    "brsf": sign_symmetric,
    "frsf": sign_symmetric,
    "frozen": frozen,
    "tp": tp,
    "dtp": dtp,
    "dni": dni,
    "cdni": dni,
    "pblf": pblf,
    "pfa": pfa,
    "expression": expression,
}
LOSSES = {
    "tp": inverse_losses,
    "dtp": inverse_losses,
    "dni": synthesiser_losses,
    "cdni": synthesiser_losses,
    "pfa": learned_slopes,
}


def gradients(name, weights, biases, module, x, labels, state):
    """What the rule puts in the gradients' place, (weight, bias) of each layer: the mean over the examples."""
    found = [[torch.zeros_like(weight), torch.zeros_like(bias)] for weight, bias in zip(weights, biases, strict=True)]
    for vector, label in zip(x, labels, strict=True):
        one = example_of(weights, biases, module, vector, int(label))
        for i, signal in enumerate(RULES[name](one, state)):
            below = vector if i == 0 else one.h[i - 1]
            found[i][0] += torch.stack([s * below for s in signal.detach()]) / len(x)
            found[i][1] += signal.detach() / len(x)
    return found


def loss_of_its_own(name, weights, biases, module, x, labels, state):
    """The mean over the examples of what the rule's own parameters minimise; differentiable in what ``state`` holds of them."""
    total = torch.zeros((), dtype=x.dtype)
    for number, (vector, label) in enumerate(zip(x, labels, strict=True)):
        one = example_of(weights, biases, module, vector, int(label))
        own = state | {"noise": [noise[:, number] for noise in state.get("noise", [])]}
        total = total + sum(LOSSES[name](one, own)) / len(x)
    return total
