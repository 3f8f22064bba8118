"""Which predictors rank this project's own small networks: an ENN's V, statistics of weights, or those of the literature?

    python -m benchmarks.zoo                # half an hour on one core; needs GRAD_INSTRUCTOR_DATA with Fashion-MNIST; resumable
    python -m benchmarks.zoo --minutes 10   # no more is begun after so long: what is done is reported, and the command goes on
    python -m benchmarks.zoo --quick        # seconds, digits

The zoo: all multilayer perceptrons of the space `mlp` on digits and some on Fashion-MNIST, and some convolutional networks of
the space `cnn` on digits, each trained from several seeds by the settings that ``grad-instructor predict`` trains with. Their
accuracies are kept in the package, for ``predict --accuracies recorded``.

Every predictor sees each network once, before training, with the same 128 training examples. Beside them, and not zero-cost:

- statistics: a ridge regression on statistics of the first, the last and all weight tensors (those of Unterthiner et al.,
  2020), fitted to the test accuracies of nine tenths of the networks and asked about the others;
- the same, V and the validation accuracy of networks that have been trained for one pass over digits, or, on Fashion-MNIST, for
  as many steps;
- the ceiling: the test accuracy of half of the seeds against that of the others.

Writes benchmarks/results/zoo.json and pipeline/architectures/zoo/SPACE-DATASET.json.
"""

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks import quick, tables
from benchmarks.cache import Cache, Part, made_by
from pipeline.architectures.accuracies import seeds_of, trained_as
from pipeline.architectures.recorded import ZOO
from pipeline.architectures.scoring import Wanted, batch_of, drawn, score
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.training import ConvNets, Perceptrons, Targets, targets_of
from pipeline.config import Config, from_dotted, to_dotted
from pipeline.data import Dataset, load
from pipeline.enn import load_critic
from pipeline.enn.readers.statistics import of_members
from pipeline.errors import UserError
from pipeline.files import read_json, strict, write_atomic, write_json
from pipeline.instruction import Instructor
from pipeline.names import COMBINATIONS
from pipeline.predictors import PREDICTORS
from pipeline.predictors.rank import combined
from pipeline.predictors.weights import weights
from pipeline.results.provenance import provenance
from pipeline.results.statistics import rank_correlation
from pipeline.results.tables import as_cell
from pipeline.search.forecast import regressor
from pipeline.seeding import numpy_stream
from pipeline.setting import selection_data


@dataclass(frozen=True)
class Set:
    """Networks of one space on one data set."""

    space: str
    dataset: str
    most: int
    """networks, drawn uniformly"""
    enn: str
    """of the package, that reads them after some steps; before any, the predictor `enn` chooses it"""

    @property
    def name(self) -> str:
        return f"{self.space}-{self.dataset}"

    @property
    def title(self) -> str:
        return f"{self.space}, {'Fashion-MNIST' if self.dataset == 'fashion' else self.dataset}"


@dataclass(frozen=True)
class Found:
    """What training and what scoring found out of a set, in parts."""

    trained: list[Part]
    scored: list[Part]
    digest: str
    """of the data"""
    of: int
    """networks that there are to be"""


SEED, EXAMPLES, LONG = 0, 128, 5
"""of all; that predictors see; networks of a part"""
SETS = (
    Set("mlp", "digits", 500, "digits-mlp"),
    Set("mlp", "fashion", 150, "mnist-mlp"),
    Set("cnn", "digits", 120, "digits-mlp"),
)
FIRST = 33
"""steps: one pass over the training examples of digits"""
FOLDS = 10
RESAMPLES = 1000
SETTINGS: dict[str, Any] = {}
"""of the training, where they are not the defaults"""
ZERO_COST = tuple(PREDICTORS)
LATER = {
    "statistics (fitted)": "statistics of initial weights, fitted to other networks' accuracies",
    "first pass: V": "the ENN's V after one pass",
    "first pass: statistics (fitted)": "statistics of weights after one pass, fitted",
    "first pass: accuracy": "validation accuracy after one pass",
    "other seeds": "test accuracy of other seeds, trained to the end",
}
QUICK = {"SETS": tuple(Set(own.space, own.dataset, 4, own.enn) for own in SETS), "RESAMPLES": 20, "FOLDS": 2, "FIRST": 5}
QUICK |= {"SETTINGS": {"training.steps": 20}, "EXAMPLES": 4, "LONG": 3}


def main() -> int:
    options = quick.resumable_parser_of(__doc__, "zoo").parse_args()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    work, zoo = (results / "work", results / "zoo") if options.quick else (options.work, ZOO)
    torch.set_num_threads(1)
    facts = provenance("python -m benchmarks.zoo", SEED)  # of the commit that runs
    until = time.monotonic() + 60 * options.minutes
    try:
        found = {own.name: all_of(own, options, work, facts, until) for own in SETS}
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if not all(parts.trained for parts in found.values()):
        print("of some networks nothing is there yet; give the same command again")
        return 0
    sets = {own.name: report(own, found[own.name]) for own in SETS}
    for own in SETS:
        write_atomic(zoo / f"{own.name}.json", kept(own, found[own.name]))
    made = made_by([part for parts in found.values() for part in (*parts.trained, *parts.scored)])
    write_json(results / "zoo.json", {"sets": sets, "first": FIRST, "examples": EXAMPLES} | made)
    print(table(read_json(results / "zoo.json")))
    return 0


def all_of(own: Set, options: Any, work: Path, facts: dict[str, Any], until: float) -> Found:
    """What is there of a set; what is not is computed while there is time."""
    dataset = load("digits") if own.dataset == "digits" else quick.data(own.dataset, options.quick)
    config, space = from_dotted(to_dotted(Config(seed=SEED)) | SETTINGS), SPACES[own.space]
    cache = Cache.of(__file__, globals(), work, facts, data=dataset.digest, set=own)
    batch = batch_of(dataset, EXAMPLES, SEED)
    names = [space.text(code) for code in drawn(own.space, own.most, SEED)]
    found = Found([], [], dataset.digest, len(names))

    def part(what: Any, some: list[str], data: Any) -> Part:
        def compute() -> list[Any]:
            if time.monotonic() > until:
                raise TimeIsOver
            return [what(own, name, data, dataset) for name in some]

        return cache.part(f"{own.name}-{what.__name__}", compute, names=some)

    for at in range(0, len(names), LONG):
        some, started = names[at : at + LONG], time.thread_time()
        try:
            parts = part(trained, some, config), part(scored, some, batch)
        except TimeIsOver:
            continue
        found.trained.append(parts[0])
        found.scored.append(parts[1])
        print(f"{own.name}: {at + len(some)} of {len(names)}, {time.thread_time() - started:.1f} s", flush=True)
    return found


class TimeIsOver(Exception):
    """A part is not there, and is not to be computed any more."""


# -- what is recorded ----------------------------------------------------------------------------------------------------


def trained(own: Set, name: str, config: Config, dataset: Dataset) -> dict[str, Any]:
    """A network's accuracies by seed, at the end and after the first steps, and what its weights say by then."""
    config = trained_as(name, own.space, config)
    targets, reader = targets_of(config, dataset, seeds_of(own.space, config)), load_critic(own.enn)
    before = {"statistics": features(targets)}
    targets.advance(FIRST)
    instructor = Instructor(reader, config.training.steps, input_shape=dataset.image_shape, guarded=False)
    instructor.step = FIRST
    after = {"statistics": features(targets), "V": [instructor.predict(module) for module in modules(targets, dataset)]}
    after["accuracy"] = accuracies(targets, config, dataset)["validation"]
    targets.advance(config.training.steps - FIRST)
    return {"name": name, "before": before, "after": after, "end": accuracies(targets, config, dataset)}


def accuracies(targets: Targets, config: Config, dataset: Dataset) -> dict[str, list[float]]:
    """In percent, of each seed: of the validation examples that choices are made on, and of the test set."""
    data = {"validation": selection_data(config, dataset), "test": dataset.tensors("test")}
    return {split: (100 * targets.evaluate(*own).accuracy.double()).tolist() for split, own in data.items()}


def modules(targets: Targets, dataset: Dataset) -> list[nn.Module]:
    """The networks as modules that take images."""
    if isinstance(targets, ConvNets):
        return list(targets.networks)
    assert isinstance(targets, Perceptrons)
    population = targets.population
    own = [population.target.module([tensor[n] for tensor in population.parameters]) for n in range(population.members)]
    return [nn.Sequential(nn.Unflatten(1, (-1,)) if len(dataset.image_shape) == 1 else nn.Flatten(), one) for one in own]


def features(targets: Targets) -> list[float]:
    """Mean, logarithm of the variance and five quantiles of the first, of the last and, on average, of all weight tensors, each
    scaled by its fan-in; means over the seeds."""
    if isinstance(targets, Perceptrons):
        slots, tensors = targets.population.target.slots, targets.population.parameters
        layers = [own.detach() for own, slot in zip(tensors, slots, strict=True) if slot.kind == "weight"]
    else:
        assert isinstance(targets, ConvNets)
        own = [[weight.detach() for weight in weights(network).values()] for network in targets.networks]
        layers = [torch.stack(tensors) for tensors in zip(*own, strict=True)]
    rows = torch.stack([scaled(layer) for layer in layers])
    return torch.cat([rows[0], rows[-1], rows.mean(0)]).double().tolist()


def scaled(layer: Float[Tensor, "P *shape"]) -> Float[Tensor, " 7"]:
    flat = layer.flatten(1)
    return of_members(flat * math.sqrt(layer[0, 0].numel() / 2)).mean(0)


def scored(own: Set, name: str, batch: tuple[Tensor, Tensor], dataset: Dataset) -> dict[str, Any]:
    """A network's scores before training, with the processor's milliseconds; as the command `predict` finds them."""
    found = {}
    for predictor in ZERO_COST:
        wanted, started = Wanted(own.space, (predictor,), SEED), time.thread_time()
        value = score((name, (predictor,)), device="cpu", wanted=wanted, batch=batch, classes=dataset.classes)[predictor][
            "value"
        ]
        found[predictor] = {"value": value, "busy": 1000 * (time.thread_time() - started)}
    return {"name": name, "found": found}


# -- what it tells ---------------------------------------------------------------------------------------------------------


def report(own: Set, parts: Found) -> dict[str, Any]:
    """How well each predictor ranks a set, against the test accuracy, and the validation accuracy beside."""
    networks = [network for part in parts.trained for network in part.value]
    scores = [network["found"] for part in parts.scored for network in part.value]
    means = {split: np.array([np.mean(network["end"][split]) for network in networks]) for split in ("validation", "test")}
    values = {name: [float(one[name]["value"]) for one in scores] for name in ZERO_COST}
    columns = values | {name: combined(name, values) for name in COMBINATIONS} | later(networks, means["test"])
    cost = {name: float(np.median([one[name]["busy"] for one in scores])) for name in ZERO_COST}
    cost |= {name: sum(cost[part] for part in combination.parts) for name, combination in COMBINATIONS.items()}
    rows = [
        {
            "predictor": name,
            "ms": cost.get(name),
            "zero_cost": name not in LATER,
            "test": ranked(column, halves(networks)[1] if name == "other seeds" else means["test"]),
            "validation": ranked(column, means["validation"]),
        }
        for name, column in columns.items()
    ]
    spread = {split: np.quantile(mean, [0, 0.25, 0.5, 0.75, 1]).tolist() for split, mean in means.items()}
    return {
        "space": own.space,
        "dataset": own.dataset,
        "networks": len(networks),
        "of": parts.of,
        "rows": rows,
        "accuracy": spread,
    }


def later(networks: Sequence[Mapping[str, Any]], test: Float[np.ndarray, " N"]) -> dict[str, list[float]]:
    """What is known by training something."""
    found = {
        "statistics (fitted)": left_out([network["before"]["statistics"] for network in networks], test),
        "first pass: V": [float(np.mean(network["after"]["V"])) for network in networks],
        "first pass: statistics (fitted)": left_out([network["after"]["statistics"] for network in networks], test),
        "first pass: accuracy": [float(np.mean(network["after"]["accuracy"])) for network in networks],
        "other seeds": halves(networks)[0].tolist(),
    }
    assert found.keys() == LATER.keys()
    return found


def halves(networks: Sequence[Mapping[str, Any]]) -> Float[np.ndarray, "2 N"]:
    """Test accuracy, the mean of every other seed and of those between."""
    return np.array([[np.mean(network["end"]["test"][half::2]) for network in networks] for half in (0, 1)])


def left_out(rows: Sequence[Sequence[float]], accuracy: Float[np.ndarray, " N"]) -> list[float]:
    """Each network's accuracy, predicted from those of the other folds, less their mean: that alone would rank backwards."""
    x, predicted = np.nan_to_num(np.array(rows)), np.empty(len(rows))
    order = numpy_stream(SEED, "zoo", "folds").permutation(len(rows))
    for fold in range(FOLDS):
        out = np.isin(np.arange(len(rows)), order[fold::FOLDS])
        predicted[out] = regressor().fit(x[~out], accuracy[~out]).predict(x[out]) - accuracy[~out].mean()
    return predicted.tolist()


def ranked(column: Sequence[float], accuracy: Float[np.ndarray, " N"]) -> dict[str, float]:
    """Kendall's τ with its interval; −∞ ranks below every number, NaN not at all."""
    finite = [value for value in column if math.isfinite(value)]
    lowest = min(finite, default=0.0) - 1.0 - abs(min(finite, default=0.0))
    own = [lowest if value == -math.inf else value for value in column]
    found = rank_correlation(own, accuracy.tolist(), resamples=RESAMPLES)
    return {name: found[name] for name in ("kendall", "low", "high", "spearman", "n")}


def kept(own: Set, parts: Found) -> str:
    """The file of accuracies, a line for each network."""
    networks = [network for part in parts.trained for network in part.value]
    config, made = from_dotted(to_dotted(Config(seed=SEED)) | SETTINGS), made_by(parts.trained)
    settings = {key: value for key, value in to_dotted(config).items() if key.startswith("training.")}
    head = {
        "space": own.space,
        "dataset": own.dataset,
        "digest": parts.digest,
        "settings": settings | {"target.initialisation": "he", "seed": SEED},
        "seeds": len(seeds_of(own.space, config)),
        **{name: made[name] for name in ("command", "commit", "date", "torch")},
    }
    rows = {
        network["name"]: [round(float(np.mean(network["end"][split])), 4) for split in ("validation", "test")]
        for network in networks
    }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(strict(pair))}" for name, pair in rows.items())
    text = json.dumps(strict(head), indent=1, ensure_ascii=False, allow_nan=False)
    return f'{text[:-2]},\n "accuracies": {{\n{lines}\n }}\n}}\n'


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """A row for each predictor, a column for each set: those that train nothing, then the others."""
    sets = list(results["sets"].values())
    names = [row["predictor"] for row in sets[0]["rows"]]
    order = [*sorted((name for name in names if name not in LATER), key=lambda name: _place(results, name)), *LATER]
    head = ["predictor", *(f"τ {title(own)}" for own in sets), "ms"]
    lines = []
    for name in order:
        rows = [tables.pick(own["rows"], predictor=name) for own in sets]
        cost = as_cell(float(np.mean([row["ms"] for row in rows])), ".1f") if rows[0]["zero_cost"] else "–"
        lines.append([name, *(_cell(row, own["networks"]) for row, own in zip(rows, sets, strict=True)), cost])
    spreads = "; ".join(f"{title(own)} {_spread(own)} %" for own in sets)
    counts = "; ".join(f"{title(own)} {_counted(own)}" for own in sets)
    caption = (
        f"`{tables.command(results)}`: Kendall's τ with the mean test accuracy of several seeds (four of `mlp`, two of `cnn`) "
        "after 600 steps of SGD, 95 % "
        "bootstrap intervals over networks, not corrected for their number; in brackets how many networks, where a predictor "
        f"is not defined for all. Test accuracies from the smallest to the largest: {spreads}. ms: of one core's time for one "
        f"network and {results['examples']} examples, on average over the sets; a dash: something is trained first. First "
        f"pass: after {results['first']} steps, one pass over digits. Fitted: to the accuracies of other networks of the set. "
        "Other seeds: half of the seeds against the others, which no predictor of the architecture alone could exceed by much. "
        f"Networks: {counts} ({tables.where(results)})."
    )
    return tables.blocks(tables.table(head, lines), caption)


def title(own: Mapping[str, Any]) -> str:
    return Set(own["space"], own["dataset"], 0, "").title


def _cell(row: Mapping[str, Any], networks: int) -> str:
    test = row["test"]
    shown = tables.interval({"tau": test["kendall"], "tau_low": test["low"], "tau_high": test["high"]}, "tau", ".2f", 1)
    return shown if test["n"] == networks else f"{shown} ({test['n']})"


def _counted(own: Mapping[str, Any]) -> str:
    """How many networks there are, and how many there are to be."""
    return str(own["networks"]) if own["networks"] == own["of"] else f"{own['networks']} of {own['of']} that there are to be"


def _spread(own: Mapping[str, Any]) -> str:
    low, _, middle, _, high = own["accuracy"]["test"]
    return f"{low:.0f} to {high:.0f}, median {middle:.0f}"


def _taus(results: dict[str, Any], name: str) -> list[float]:
    """Of a predictor on each set; NaN where it is not defined for all networks."""
    found = []
    for own in results["sets"].values():
        test = tables.pick(own["rows"], predictor=name)["test"]
        found.append(test["kendall"] if test["n"] == own["networks"] and test["kendall"] is not None else math.nan)
    return found


def _place(results: dict[str, Any], name: str) -> tuple[bool, float]:
    """Those that are defined for all networks first, the largest mean first."""
    own = [tables.pick(one["rows"], predictor=name)["test"]["kendall"] for one in results["sets"].values()]
    mean = float(np.mean([-1.0 if value is None else value for value in own]))
    return any(map(math.isnan, _taus(results, name))), -mean


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """Numbers for templates."""
    names = [row["predictor"] for row in next(iter(results["sets"].values()))["rows"] if row["zero_cost"]]
    whole = {name: taus for name in names if not any(map(math.isnan, taus := _taus(results, name)))}
    best = max(whole, key=lambda name: float(np.mean(whole[name])))
    enn = [tables.pick(own["rows"], predictor="enn")["test"] for own in results["sets"].values()]
    return {
        "networks": f"{sum(own['networks'] for own in results['sets'].values()):,}",
        "sets": [title(own) for own in results["sets"].values()],
        "tau": {name: _told(_taus(results, name)) for name in (*names, *LATER)},
        "best": best,
        "best_tau": _told(whole[best]),
        "better": all(
            one > other for one, other in zip(_taus(results, "gradsign"), _taus(results, "live_params"), strict=True)
        ),
        "enn_ranks": all((own["low"] or 0) > 0 for own in enn),
        "enn_intervals": " and ".join(f"[{as_cell(own['low'], '.2f')}, {as_cell(own['high'], '.2f')}]" for own in enn),
        "v_is_better": all(
            one > other
            for one, other in zip(_taus(results, "first pass: V"), _taus(results, "first pass: accuracy"), strict=True)
        ),
    }


def _told(taus: Sequence[float]) -> str:
    """One number for each set, in their order."""
    *others, last = (as_cell(tau, ".2f") for tau in taus)
    return f"{', '.join(others)} and {last}"


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    tau = own["tau"]
    return (
        f"Of {own['networks']} networks that were not trained yet ({'; '.join(own['sets'])}) an ENN's V ranks the accuracies "
        f"with τ = {tau['enn']}, the number of live weights with {tau['live_params']}, and the predictor that turned out best, "
        f"{own['best']}, with {own['best_tau']}. After a first pass of training it is {tau['first pass: V']} for V and "
        f"{tau['first pass: accuracy']} for the validation accuracy by then; other seeds of the same networks come to "
        f"{tau['other seeds']}."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    tau = own["tau"]
    return [
        tables.Doubt(
            "An ENN's V ranks networks of different shapes before they are trained.",
            f"τ = {tau['enn']} ({'; '.join(own['sets'])}), intervals {own['enn_intervals']}",
            own["enn_ranks"],
        ),
        tables.Doubt(
            "GradSign ranks small networks better than a count of the weights that can learn.",
            f"τ = {tau['gradsign']}, and {tau['live_params']} for the live weights",
            own["better"],
        ),
        tables.Doubt(
            "After a first pass of training an ENN's V ranks networks better than their validation accuracy does.",
            f"τ = {tau['first pass: V']}, and {tau['first pass: accuracy']}",
            own["v_is_better"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
