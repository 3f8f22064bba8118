"""Predictors at initialisation as their papers have them: slowly, one example, weight or layer at a time, on a copy.

Layers are found among the modules, gradients come from ``backward``, nothing is shared with :mod:`pipeline.predictors`.

N examples, K classes.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F


def copied(network):
    """A copy in training mode, dropout off."""
    found = copy.deepcopy(network).train()
    for module in found.modules():
        if isinstance(module, nn.Dropout | nn.MultiheadAttention):
            module.eval()
    return found


def weights(network):
    """Of convolutions and linear layers, each once: in these networks no other parameter has more than one dimension."""
    return [parameter for parameter in network.parameters() if parameter.ndim > 1]


def gradients(network, x, y):
    """Of the mean cross entropy with respect to each weight; zeros where there is none."""
    network.zero_grad(set_to_none=True)
    F.cross_entropy(network(x), y).backward()
    return [torch.zeros_like(own) if own.grad is None else own.grad.clone() for own in weights(network)]


def gradients_of_each(network, x, y):
    """Lists of gradients, one of each example alone."""
    network = copied(network)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return [gradients(network, x[n : n + 1], y[n : n + 1]) for n in range(len(x))]


def gradsign(network, x, y):
    """Zhang & Jia, 2022, algorithm 1."""
    return sum(
        float(sum(own.sign() for own in weight).abs().sum()) for weight in zip(*gradients_of_each(network, x, y), strict=True)
    )


def live(network, x, y):
    """How many weights have a gradient that is not 0 for some example."""
    return sum(
        int(sum(own.ne(0) for own in weight).ne(0).sum()) for weight in zip(*gradients_of_each(network, x, y), strict=True)
    )
