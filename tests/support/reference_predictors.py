"""Predictors at initialisation as their papers have them: slowly, one example, weight or layer at a time, on a copy.

Layers are found among the modules, gradients come from ``backward``, nothing is shared with :mod:`pipeline.predictors`.

N examples, K classes.
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def copied(network):
    """A copy in training mode, dropout off."""
    found = copy.deepcopy(network).train()
    for module in found.modules():
        if isinstance(module, nn.Dropout | nn.MultiheadAttention):
            module.eval()
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0
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


def grad_norm(network, x, y):
    """Abdelfattah et al., 2021."""
    return sum(float(own.square().sum()) ** 0.5 for own in gradients(copied(network), x, y))


def snip(network, x, y):
    """Lee et al., 2019: each weight has a mask c = 1; Σ |∂loss/∂c|, by a change of each layer's masks."""
    network = copied(network)
    total = 0.0
    for name, own in [(name, own) for name, own in network.named_parameters() if own.ndim > 1]:
        mask = torch.ones_like(own, requires_grad=True)
        loss = F.cross_entropy(torch.func.functional_call(network, {name: own.detach() * mask}, (x,)), y)
        if loss.requires_grad:
            (slope,) = torch.autograd.grad(loss, mask, allow_unused=True)
            total += 0.0 if slope is None else float(slope.abs().sum())
    return total


def grasp(network, x, y, step=1e-8):
    """Wang et al., 2020: H g by a central difference of gradients (which no kink lies between, in these networks)."""
    network = copied(network)
    start, at = gradients(network, x, y), [own.detach().clone() for own in weights(network)]
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for own, value, gradient in zip(weights(network), at, start, strict=True):
                own.copy_(value + sign * step * gradient)
        ends.append(gradients(network, x, y))
    products = [(after - before) / (2 * step) for after, before in zip(*ends, strict=True)]
    return -sum(float((value * product).sum()) for value, product in zip(at, products, strict=True))


def without_batchnorm(network):
    """The modules themselves are taken out."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, nn.Identity())
    return network


def synflow(network, x, y):
    """Tanaka et al., 2020."""
    network = without_batchnorm(copied(network))
    with torch.no_grad():
        for own in network.parameters():
            own.abs_()
    network(torch.ones_like(x[:1])).sum().backward()
    return sum(float((own.detach() * own.grad).abs().sum()) for own in weights(network) if own.grad is not None)


def hooked(network, x, kinds, training=True):
    """Inputs and outputs of each module of some kinds, in the order in which they are called."""
    found = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: found.append((module, inputs[0], output)))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    outputs = network(x)
    for hook in hooks:
        hook.remove()
    return found, outputs


LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def fisher(network, x, y):
    """Turner et al., 2020."""
    found, outputs = hooked(copied(network), x, LAYERS)
    for _, _, own in found:
        own.retain_grad()
    F.cross_entropy(outputs, y).backward()
    total = 0.0
    for module, _, own in found:
        for channel in range(own.shape[-1] if isinstance(module, nn.Linear) else own.shape[1]):
            if own.grad is not None:
                at = (..., channel) if isinstance(module, nn.Linear) else (slice(None), channel)
                each = [float((own[at][n].detach() * own.grad[at][n]).sum()) for n in range(len(x))]
                total += sum(value**2 for value in each) / len(x) / 2
    return total


def jacob_cov(network, x, y):
    """Mellor et al., 2020."""
    inputs = x.clone().requires_grad_()
    copied(network)(inputs).sum().backward()
    spectrum = np.linalg.eigvals(np.corrcoef(inputs.grad.flatten(1).numpy())).real
    return -float(np.sum(np.log(spectrum + 1e-5) + 1 / (spectrum + 1e-5)))


def patterns(network, x):
    """(N, units), 0 or 1."""
    found, _ = hooked(copied(network), x, nn.ReLU)
    return torch.cat([(own > 0).flatten(1) for _, _, own in found], dim=1).int().numpy()


def naswot(network, x, y):
    """Mellor et al., 2021: the units less the Hamming distance, pair by pair."""
    codes = patterns(network, x)
    agreeing = [[float(np.sum(one == other)) for other in codes] for one in codes]
    return float(np.linalg.slogdet(np.array(agreeing))[1])


def swap(network, x, y):
    """Peng et al., 2024."""
    return float(len({tuple(pattern) for pattern in patterns(network, x).T}))


def zico(network, x, y):
    """Li et al., 2023, with two batches."""
    half = (len(x) + 1) // 2
    batches = [gradients(copied(network), x[part], y[part]) for part in (slice(half), slice(half, None))]
    total = 0.0
    for layer in zip(*batches, strict=True):
        values = np.stack([own.flatten().numpy() for own in layer])
        deviation = values.std(0)
        ratios = np.abs(values).mean(0)[deviation > 0] / deviation[deviation > 0]
        total += float(np.log(ratios.sum())) if ratios.sum() > 0 else 0.0
    return total


def loaded(network, parameters):
    """A copy with these parameters."""
    network = copied(network)
    with torch.no_grad():
        for name, own in network.named_parameters():
            own.copy_(parameters[name])
    return network


def zen(network, parameters, image, noise, read):
    """Lin et al., 2021.

    Args:
        read: the module whose output, or, if it is the last layer or a pool, whose input is the feature.
    """
    network = loaded(network, parameters)
    features = []
    for inputs in (image, image + 0.01 * noise):
        found, _ = hooked(network, inputs, nn.Module)
        (own,) = [(module, given, made) for module, given, made in found if module is read(network)]
        features.append(own[1] if isinstance(own[0], nn.Linear | nn.AdaptiveAvgPool2d) else own[2])
    change = np.mean([float((features[0][n] - features[1][n]).abs().sum()) for n in range(len(image))])
    found, _ = hooked(network, image, nn.modules.batchnorm._BatchNorm)
    variances = [
        np.mean([given[:, channel].var(correction=0).item() for channel in range(given.shape[1])]) for _, given, _ in found
    ]
    return float(np.log(change) + np.sum(np.log(np.sqrt(variances))))


def entropies(features):
    """Lee & Ham, 2024, eq. 2-4."""
    found = []
    for own in features:
        values = np.stack([own[:, channel].detach().flatten().numpy() for channel in range(own.shape[1])])
        spectrum = np.linalg.eigvals(np.atleast_2d(np.cov(values, bias=True))).real
        shares = np.maximum(spectrum, 0) / spectrum.sum()
        found.append(float(-np.sum(shares * np.log(shares + 1e-8))))
    return found


def trainability(features, signs):
    """Lee & Ham, 2024, eq. 7-9: outer products, one position at a time."""
    scores = []
    for before, after, own in zip(features, features[1:], signs[1:], strict=False):
        (sent,) = torch.autograd.grad(after, before, own, retain_graph=True)
        if own.ndim > 2 and sent.shape[2] != own.shape[2]:
            sent = nn.PixelUnshuffle(sent.shape[2] // own.shape[2])(sent)
        total, count = 0.0, 0
        for n in range(len(own)):
            for sent_at, own_at in (
                zip(sent[n].flatten(1).T, own[n].flatten(1).T, strict=True) if own.ndim > 2 else [(sent[n], own[n])]
            ):
                total, count = total + np.outer(sent_at.detach().numpy(), own_at.numpy()), count + 1
        largest = np.linalg.svd(total / count)[1].max()
        scores.append(-largest - 1 / (largest + 1e-6) + 2)
    return float(np.mean(scores))
