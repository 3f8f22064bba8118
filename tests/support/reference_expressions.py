"""Equations of Backprop Evolution's language as the papers write them: one member, NumPy, batches as (B, n), one example per
row. All matrices are the transposes of the population's, and products stand in the other order; no code of the fast ones.

What is drawn at each step comes from the same named streams, in the population's layout.
"""

import numpy as np
import torch

from pipeline.seeding import torch_stream

TANH = (np.tanh, lambda z: 1 - np.tanh(z) ** 2)


def pull(matrix, signal):
    """s W, (B, m) times (m, n)."""
    return signal @ matrix


class Layer:
    """What an equation may read of one layer: everything in the papers' layout."""

    def __init__(self, layer, weight_above, z, h, slope, z_above, error, above, matrices, seed, step, averages):
        self.examples = len(z)
        self.layer, self.seed, self.step, self.averages, self.place = layer, seed, step, averages, 0
        own = {"W": weight_above, "R": matrices.get("R"), "S": matrices.get("S")}
        self.values = {
            "W": weight_above.T,
            "W±": np.sign(weight_above).T,
            "R": _turned(own["R"]),
            "S": _turned(own["S"]),
            "R_L": _turned(matrices.get("R_L")),
            "z": z,
            "h": h,
            "σ′": slope,
            "z↑": z_above,
            "g": error,
            "s": above,
        }
        for name, matrix in own.items():
            if matrix is not None:
                self.values[f"{name}ᵀs"] = pull(matrix, above)
        if "R_L" in matrices:
            self.values["R_Lg"] = error @ matrices["R_L"].T
        for name in ("Wᵀs", "Rᵀs", "Sᵀs", "R_Lg"):
            if name in self.values:
                self.values[f"({name})∘σ′"] = self.values[name] * slope

    def next_place(self):
        self.place += 1
        return self.place - 1

    def draw(self, how, place, shape):
        """In the population's layout, and turned."""
        generator = torch_stream(self.seed, "equation", self.layer, place, self.step)
        return how(tuple(reversed(shape)), generator=generator).double().numpy().T


def _turned(matrix):
    return None if matrix is None else matrix.T


def value(tree, layer, swapped=False):
    """What a tree stands for.

    Args:
        swapped: take rows for columns, which is the mistake of who forgets that the layouts differ.
    """
    kind = type(tree).__name__
    if kind == "Leaf":
        return layer.values[tree.name]
    if kind == "Binary":
        x = value(tree.left, layer, swapped)
        if tree.name == "left":
            return x
        y = value(tree.right, layer, swapped)
        return BINARY[tree.name](x, y)
    place = layer.next_place() if tree.name in ("noise", "factor", "drop", "std") else None
    x = value(tree.of, layer, swapped)
    if tree.name.startswith("norm"):
        return x / norm(tree.name.removeprefix("norm"), x.T if swapped else x, swapped)
    if tree.name in ("noise", "factor"):
        noise = tree.value * layer.draw(torch.randn, place, x.shape)
        return x + noise if tree.name == "noise" else x * (1 + noise)
    if tree.name == "drop":
        return np.where(layer.draw(torch.rand, place, x.shape) < tree.value, 0.0, x / (1 - tree.value))
    if tree.name == "std":
        over = x.shape.index(layer.examples) if layer.examples in x.shape else 0
        new = x.mean(over, keepdims=True), ((x - x.mean(over, keepdims=True)) ** 2).mean(over, keepdims=True)
        old = layer.averages.get((layer.layer, place), new)
        mean, variance = layer.averages[layer.layer, place] = tuple(0.9 * a + 0.1 * b for a, b in zip(old, new, strict=True))
        return (x - mean) / np.sqrt(variance)
    return UNARY[tree.name](x, tree.value)


BINARY = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "@": lambda x, y: y @ x,
    "min": lambda x, y: np.where(x < y, x, y),
    "max": lambda x, y: np.where(x > y, x, y),
}
UNARY = {
    "T": lambda x, c: x.T,
    "inv": lambda x, c: 1 / x,
    "abs": lambda x, c: np.where(x < 0, -x, x),
    "neg": lambda x, c: 0 - x,
    "step": lambda x, c: np.where(x > 0, 1.0, 0.0),
    "relu": lambda x, c: np.where(x > 0, x, 0.0),
    "sgn": lambda x, c: np.where(x > 0, 1.0, np.where(x < 0, -1.0, 0.0)),
    "sqrt": lambda x, c: np.sqrt(np.where(x < 0, -x, x)),
    "ssq": lambda x, c: np.where(x > 0, x * x, -x * x),
    "cube": lambda x, c: x * x * x,
    "scale": lambda x, c: c * x,
    "shift": lambda x, c: x + c,
    "clip": lambda x, c: np.where(x > c, c, np.where(x < -c, -c, x)),
}


def norm(name, x, swapped=False):
    """‖x‖ by the textbook: NumPy's, of the whole matrix, of each column (of all rows) or of each row."""
    if name.endswith("i"):
        return np.linalg.norm(x, {"1": 1, "min": -np.inf, "inf": np.inf}[name[:-1]])
    order = {"0": 0, "1": 1, "2": 2, "min": -np.inf, "inf": np.inf}[name.rstrip("cr")]
    if name[-1] not in "cr":
        return np.linalg.norm(x.ravel(), order)
    axis = 0 if name[-1] == "c" else 1
    found = np.linalg.norm(x, order, axis=axis, keepdims=True)
    return found.T if swapped else found


def signals(tree, weights, biases, x, labels, matrices, seed, step, averages, swapped=False):
    """s_i of every layer, (B, width), of the mean cross entropy.

    Args:
        weights, biases: of one member, by layer, (out, in) and (out,).
        matrices: by layer, random ones by name, (out, in) as the weights, and R_L (n, K).
        averages: what is remembered, by layer and place; updated.
    """
    function, slope = TANH
    zs, hs = [], [x]
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        zs.append(hs[-1] @ weight.T + bias)
        hs.append(function(zs[-1]) if number < len(weights) - 1 else zs[-1])
    p = np.exp(zs[-1]) / np.exp(zs[-1]).sum(1, keepdims=True)
    error = (p - np.eye(p.shape[1])[labels]) / len(x)
    found = [error]
    for i in reversed(range(len(weights) - 1)):
        own = Layer(
            i, weights[i + 1], zs[i], hs[i + 1], slope(zs[i]), zs[i + 1], error, found[0], matrices[i], seed, step, averages
        )
        found.insert(0, value(tree, own, swapped))
    return found
