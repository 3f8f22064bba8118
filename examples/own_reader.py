"""A reader of your own, the body of an ENN, in one file.

    python examples/own_reader.py

A reader turns a network's weights into features; all else of an ENN is there. This one measures matrices, and is known by its
name once it stands in ``READERS``. Here it learns on scikit-learn's digits how well weights do, in rounds: from runs without
instruction first, then also from runs under the ENN as it is by then. Fitted to the first alone, its gradient leads astray.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from grad_instructor import (
    MLP,
    READERS,
    Backprop,
    Batches,
    Critic,
    Dataset,
    ENNConfig,
    Home,
    Instruct,
    Population,
    Reader,
    Rule,
    Unreadable,
    initialise,
    load,
    load_dataset,
    save,
    train,
)

TARGET = MLP((64, 32, 10))
STEPS, PERIOD, BATCH, RATE = 200, 25, 32, 0.1


class Norms(Reader):
    """Of each layer's weight matrix the logarithms of its norm and of its largest row's, and the progress."""

    def __init__(self, config: ENNConfig, home: MLP) -> None:
        super().__init__(config, home)
        self.features = 2 * (len(home.widths) - 1) + 1

    def check(self, target: MLP) -> None:
        if len(target.widths) != len(self.home.widths):
            raise Unreadable(f"the norms reader learned on {len(self.home.widths) - 1} layers; use targets of the same depth.")

    def read(self, parameters: Sequence[Tensor], progress: Tensor, activation: str | None = None) -> Tensor:
        columns = [progress]
        for weight in (tensor for tensor in parameters if tensor.dim() == 3):  # (P, out, in); biases are (P, out)
            rows = weight.norm(dim=2)
            columns += [rows.norm(dim=1).log(), rows.amax(dim=1).log()]
        return torch.stack(columns, dim=1)


READERS["norms"] = Norms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of learning, and recording under the ENN")
    parser.add_argument("--output", type=Path, default=Path("norms.safetensors"), help="file of the ENN")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = load_dataset("digits")
    critic, seen = Critic("norms", ENNConfig(hidden=32), home()), recorded(data, range(16), Backprop())
    print(f"validation accuracy after {STEPS} steps: {accuracy(data, Backprop()):.1f} % alone")
    for number in range(1, 1 + options.rounds):
        fit(critic, seen)
        rule = Instruct(critic, STEPS, RATE)
        new = recorded(data, range(16 * number, 16 * number + 16), rule)
        with torch.no_grad():
            error = (critic.value(new.weights, new.progress) - new.scores).abs().mean().item()
        print(f"round {number}: {accuracy(data, rule):.1f} % instructed; on runs not seen yet V is {error:.2f} off")
        seen = seen.with_more(new)
    save(critic, options.output, {"learned on": "digits, examples/own_reader.py"})
    assert load(options.output).reader_name == "norms"
    print(f"saved: {options.output}")


def home() -> Home:
    """Where this ENN learns, and how it wants to be used."""
    return Home(
        target=TARGET,
        steps=STEPS,
        period=PERIOD,
        learning_rate=RATE,
        ladder=(0.0, 1.0),
        refresh=5,
        trust_region=0.01,
        strength=5.0,
    )


@dataclass
class Runs:
    """Weights along runs, each tensor (points, …), the progress there, and the score exp(−validation loss)."""

    weights: list[Tensor]
    progress: Tensor
    scores: Tensor

    def with_more(self, other: "Runs") -> "Runs":
        weights = [torch.cat(pair) for pair in zip(self.weights, other.weights, strict=True)]
        return Runs(weights, torch.cat([self.progress, other.progress]), torch.cat([self.scores, other.scores]))


def recorded(data: Dataset, seeds: Sequence[int], rule: Rule) -> Runs:
    """Runs from small weights."""
    population, weights, steps = fresh(seeds), [], []

    def keep(step: int) -> None:
        weights.append([tensor.clone() for tensor in population.parameters])
        steps.append(step)

    batches = Batches(*data.tensors("train"), BATCH, seeds, shared_order=False)
    trace = train(population, rule, batches, STEPS, PERIOD, data.tensors("validation"), at_point=keep)
    return Runs(
        [torch.cat(tensors) for tensors in zip(*weights, strict=True)],
        (torch.tensor(steps) / STEPS).repeat_interleave(len(seeds)),
        torch.exp(-torch.cat([torch.as_tensor(loss) for loss in trace.loss])),
    )


def fresh(seeds: Sequence[int]) -> Population:
    """One target for each seed, from small weights."""
    return Population(TARGET, initialise(TARGET, "normal", seeds, sigma=0.01), "sgd", RATE)


def fit(critic: Critic, runs: Runs) -> None:
    """V is the score of these weights, as in the paper."""
    critic.requires_grad_(True)
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(critic.value(runs.weights, runs.progress), runs.scores).backward()
        optimizer.step()


def accuracy(data: Dataset, rule: Rule) -> float:
    """In per cent, of eight fresh targets at the end of their runs."""
    seeds = range(1000, 1008)
    batches = Batches(*data.tensors("train"), BATCH, seeds, shared_order=False)
    return 100 * float(train(fresh(seeds), rule, batches, STEPS, PERIOD, data.tensors("validation")).accuracy[-1].mean())


if __name__ == "__main__":
    main()
