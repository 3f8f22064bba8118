"""Instruct a network of your own, in your own loop, under AdamW.

    python examples/own_loop.py

Two lines are ours: the one that makes the instructor, and the one between ``backward`` and ``step``. On MNIST, with the ENN
that comes with the package for tuned optimisers, a run as short as this ends higher. Where MNIST is not there the loop runs on
scikit-learn's digits, whose ENN learned under plain SGD: there it does not help a tuned AdamW.
"""

import argparse

import torch
from torch.nn.functional import cross_entropy

from grad_instructor import Dataset, Instructor, UserError, load_dataset

ENNS = {"mnist": "mnist-tuned", "digits": "digits-mlp"}
RATE = 0.02
"""the best of several for AdamW alone, on either"""
BATCH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=44, help="optimiser steps of a run")
    parser.add_argument("--seeds", type=int, default=3, help="runs of either kind")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = find_data()
    print(f"{data.name}, {options.steps} steps of AdamW, validation accuracy %")
    for seed in range(options.seeds):
        alone, instructed = (100 * train(data, options.steps, seed, own) for own in (False, True))
        print(f"seed {seed}: alone {alone:.2f}, instructed {instructed:.2f}")


def find_data() -> Dataset:
    """MNIST if it is there."""
    try:
        return load_dataset("mnist")
    except UserError as error:
        print(f"{error} So this is about digits.")
        return load_dataset("digits")


def train(data: Dataset, steps: int, seed: int, instructed: bool) -> float:
    """Validation accuracy after a run; the same start and the same batches with and without instruction."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(data.features, 100), torch.nn.ReLU(), torch.nn.Linear(100, data.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    instructor = Instructor.load(ENNS[data.name], steps=steps)
    x, y = data.tensors("train")
    for _ in range(steps):
        batch = torch.randint(len(x), (BATCH,))
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        if instructed:
            instructor.instruct(model)
        optimizer.step()
        schedule.step()
    x, y = data.tensors("validation")
    with torch.no_grad():
        return (model(x).argmax(dim=1) == y).float().mean().item()


if __name__ == "__main__":
    main()
