"""Is there a better derivative to send backwards, or is what a search finds a learning rate (Eyono, 2020)?

    python -m benchmarks.pblf                          # pblf-mnist, 784-100-100-10: about half an hour on one core
    python -m benchmarks.pblf --protocol pblf-digits   # minutes, no download
    python -m benchmarks.pblf --protocol pblf-wrn      # WRN-10-1 on the CIFAR-10 there is (--network 16-2, --device cuda)
    python -m benchmarks.pblf --quick                  # seconds; results in a temporary folder

φ = (w₁, b₁, w₂, b₂) and a mode bit for each hidden layer make f(h) = w₂ a(w₁ h + b₁) + b₂, by which what goes backwards is
multiplied (pipeline/learning/pblf.py). Several searches judge as many candidates each, by validation accuracy on one target, as
the dissertation does. The best of each is trained again on fresh targets, paired by seed, beside backpropagation at the
search's learning rate, and at a rate that was chosen with as many trained targets as a search has candidates. The best φ of
Bayesian optimisation and of random search get their own rate as well: what is left is what was found beyond a learning rate.
What was found is also trained six times longer, and with other batch sizes.

Finished parts are kept (--work), searches candidate by candidate: given again, the command goes on. Writes
benchmarks/results/pblf.json and its pictures, or pblf-digits.json, pblf-wrn.json.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import pblf_extras, quick, tables
from benchmarks.cache import Cache
from pipeline.cluster import Placement
from pipeline.config import Config
from pipeline.config.rule import PHI
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.instruction import Update
from pipeline.instruction.loop import advance
from pipeline.learning import named
from pipeline.results.provenance import provenance
from pipeline.results.statistics import paired
from pipeline.search.candidates import Search
from pipeline.search.drive import drive
from pipeline.search.kinds.rule import judge, judge_together
from pipeline.search.outcome import best_of, rows_of
from pipeline.search.reading import read_plan
from pipeline.search.values import Sampler
from pipeline.seeding import stream
from pipeline.setting import selection_data, target_of
from pipeline.targets import Batches, Population, initialise

FILE = Path(__file__).resolve().parents[1] / "tune_configs" / "pblf.yaml"
PROTOCOLS = ("pblf-mnist", "pblf-digits", "pblf-wrn")
CANDIDATES, BATCH, SEEDS = 100, 10, 20
GENERATION = 20
"""of the genetic algorithm"""
ALONE, MODULES = 5, 4
"""times as fast as one at a time on digits, and as modules on MNIST: the aims"""
TOGETHER = (20, 100)
"""candidates of a population whose speed is measured"""
STARTUP, RANDOM_EVERY = 20, 10
SEARCHES: dict[str, dict[str, Any]] = {
    "random search": {"name": "random"},
    "UCB, 0.1": {"name": "gp", "acquisition": "ucb", "trade_off": 0.1},
    "UCB, 2": {"name": "gp", "acquisition": "ucb", "trade_off": 2.0},
    "EI": {"name": "gp", "acquisition": "ei", "trade_off": 0.01},
    "PI": {"name": "gp", "acquisition": "pi", "trade_off": 0.01},
    "genetic": {"name": "genetic"},
}
RANDOM, BAYESIAN = "random search", ("UCB, 0.1", "UCB, 2", "EI", "PI")
LOWEST, HIGHEST, RATES = 1e-3, 1.0, 20
"""learning rates that are tried, evenly on a logarithmic scale; each on as many targets as make up the searches' budget"""
LONGER, BATCHES = 6, (25, 400)
"""times the steps; examples per step (the steps are as many as make up the same epochs)"""
PUBLISHED = {
    "published: BO, 20 epochs": (0.0002, 0.4306, 0.0, 0.0, (1, 0)),
    "published: random, 20 epochs": (0.824, 0.3945, 0.2906, 0.8482, (1, 1)),
}
"""w₁, b₁, w₂, b₂ of the dissertation, its modes 1000 and 1100 on our two layers"""
DISSERTATION = (
    ("20", "92.86", "92.77", "92.59"),
    ("100", "95.47 ± 0.03", "95.00 ± 0.52", "95.28 ± 0.03"),
    ("600", "96.23", "95.93", "95.97"),
)
"""epochs; test accuracy of backpropagation, of BO's and of random search's equation; WRN-16-2 on CIFAR-10, means of five"""
QUICK = {
    "CANDIDATES": 6,
    "BATCH": 3,
    "GENERATION": 3,
    "TOGETHER": (3,),
    "SEEDS": 2,
    "STARTUP": 3,
    "RATES": 3,
    "SEARCHES": {name: SEARCHES[name] for name in (RANDOM, "UCB, 0.1")},
    "BAYESIAN": ("UCB, 0.1",),
    "LONGER": 2,
    "BATCHES": (50,),
}
BACKPROP, TUNED = "backprop", "backprop, its rate tuned"


@dataclass(frozen=True)
class Way:
    """One way of training: a derivative, and at which rate."""

    phi: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)
    modes: tuple[int, ...] = ()
    """(): at all positions"""
    rate: float = math.nan


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0])
    parser.add_argument("--network", choices=("10-1", "16-2"), default="10-1", help="of pblf-wrn: depth and width")
    parser.add_argument("--epochs", type=int, default=20, help="of pblf-wrn")
    parser.add_argument("--candidates", type=int, help=f"of each search (default: {CANDIDATES})")
    parser.add_argument("--seeds", type=int, help=f"fresh targets of each way (default: {SEEDS})")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: cpu)")
    parser.add_argument("--work", type=Path, help="folder of finished parts (default: runs/PROTOCOL)")
    options = parser.parse_args()
    if min(own for own in (options.candidates, options.seeds, options.epochs + 1, 2) if own is not None) < 2:
        parser.error("--candidates and --seeds are at least 2, --epochs at least 1")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"there is no GPU for --device {options.device}; leave it out")
    if options.quick:
        globals().update(QUICK)
    changed = {"CANDIDATES": options.candidates, "SEEDS": options.seeds}
    globals().update({name: value for name, value in changed.items() if value})
    torch.set_num_threads(1)
    given = [f"--protocol {options.protocol}" * (options.protocol != PROTOCOLS[0])]
    given += [f"--{name} {getattr(options, name)}" for name in ("candidates", "seeds") if getattr(options, name)]
    if options.protocol == "pblf-wrn":
        given += [f"--{name} {getattr(options, name)}" for name in ("network", "epochs")]
    given += [f"--device {options.device}" * (options.device != "cpu")]
    facts = provenance(" ".join(["python -m benchmarks.pblf", *filter(None, given)]), 0)
    results = quick.results_folder(options.quick)
    work = options.work or (results / "work" if options.quick else Path("runs") / options.protocol)
    try:
        if options.protocol == "pblf-wrn":
            from benchmarks import pblf_wrn

            pblf_wrn.run(options, facts, results, work, CANDIDATES)
            return 0
        run(options.protocol, options.device, options.quick, facts, results, work)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(protocol: str, device: str, is_quick: bool, facts: dict[str, Any], results: Path, work: Path) -> None:
    """All parts, then the file and its pictures."""
    config = read_plan(FILE, protocol).config()
    if is_quick:
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=20))
        config = dataclasses.replace(config, rl=dataclasses.replace(config.rl, period=10))
    dataset = quick.data(config.data.dataset, is_quick)
    cache = Cache.of(__file__, globals(), work, facts, data=dataset.digest, protocol=protocol, device=device)
    started = time.perf_counter()

    def part(name: str, compute: Any, **decides: Any) -> Any:
        found = cache.part(name, compute, **decides)
        print(f"{time.perf_counter() - started:6.0f} s  {name}", flush=True)
        return found.value

    searches = {
        name: part(f"search {name}", lambda name=name: searched(name, protocol, config, dataset, cache), search=SEARCHES[name])
        for name in SEARCHES
    }
    ways = {BACKPROP: Way(rate=config.training.learning_rate)}
    ways |= {name: way_of(found, config) for name, found in searches.items()}
    bayesian = max(BAYESIAN, key=lambda name: (searches[name]["best"]["accuracy"], -BAYESIAN.index(name)))
    tuned = {}
    for name, of in {TUNED: BACKPROP, f"{RANDOM}, its rate tuned": RANDOM, f"{bayesian}, its rate tuned": bayesian}.items():
        tuned[name] = part(
            f"rates {name}", lambda way=ways[of]: best_rate(way, config, dataset, device), way=dataclasses.asdict(ways[of])
        )
        ways[name] = dataclasses.replace(ways[of], rate=tuned[name]["rate"])
    for name, (*phi, modes) in PUBLISHED.items():
        ways[name] = Way(tuple(phi), modes, config.training.learning_rate)
    found = {
        name: part(f"fresh {name}", lambda way=way: fresh(way, config, dataset, device), way=dataclasses.asdict(way))
        for name, way in ways.items()
    }
    chosen = [BACKPROP, TUNED, bayesian, RANDOM, f"{bayesian}, its rate tuned", f"{RANDOM}, its rate tuned"]
    others = {}
    for title, other in elsewhere(config).items():
        others[title] = {
            name: part(
                f"{title} {name}",
                lambda way=ways[name], other=other: fresh(way, other, dataset, device),
                way=dataclasses.asdict(ways[name]),
                title=title,
            )
            for name in chosen
        }
    facts_of_speed = part("speed", lambda: pblf_extras.speed(config, dataset, TOGETHER, is_quick))
    report = facts | {
        "protocol": protocol,
        "candidates": CANDIDATES,
        "seeds": SEEDS,
        "device": device,
        "steps": config.training.steps,
        "batch_size": config.training.batch_size,
        "rates": RATES,
        "network": "-".join(map(str, target_of(config, dataset).widths)),
        "searches": searches,
        "bayesian": bayesian,
        "tuned": tuned,
        "ways": {name: dataclasses.asdict(way) for name, way in ways.items()},
        "fresh": found,
        "elsewhere": others,
        "speed": facts_of_speed,
        "betas": part("betas", pblf_extras.betas),
        "seconds": time.perf_counter() - started,
    }
    report |= {"components": pblf_extras.components([own for search in searches.values() for own in search["all"]])}
    report |= compared(report)
    name = file_of(report)
    write_json(results / f"{name}.json", report)
    pblf_extras.draw(report, results, name)
    print(table(report))


# -- parts ---------------------------------------------------------------------------------------------------------------


def searched(name: str, protocol: str, config: Config, dataset: Dataset, cache: Cache) -> dict[str, Any]:
    """One search through the engine of ``grad-instructor search``, resumed where it was: its best, and all it judged."""
    plan = read_plan(FILE, protocol)
    own = SEARCHES[name]
    learns = {} if own["name"] == "random" else {"startup": STARTUP, "random_every": RANDOM_EVERY}
    sampler: dict[str, Any] = own | learns | {"population": GENERATION}
    settings = plan.groups[0].settings | {"training.steps": config.training.steps, "rl.period": config.rl.period}
    plan = dataclasses.replace(
        plan,
        groups=(dataclasses.replace(plan.groups[0], settings=settings),),
        sampler=Sampler(**sampler),
        budget=dataclasses.replace(plan.budget, candidates=CANDIDATES, batch=BATCH),
    )
    started = time.thread_time()
    search = Search(plan, cache.place(f"search-{name}", search=own), dataset)
    drive(search, judge, {"dataset": dataset}, Placement(local=True), lambda *_: None, lambda *_: None, judge_together)
    rows = rows_of(search)
    best = best_of(plan, rows)[""]

    def told(row: dict[str, Any]) -> dict[str, Any]:
        phi = [row["settings"][f"rule.{own}"] for own in PHI]
        return {"phi": phi, "modes": row["settings"]["rule.modes"], "accuracy": row["result"]["accuracy"]}

    return {"best": told(best), "all": [told(row) for row in rows], "thread_seconds": time.thread_time() - started}


def way_of(found: Mapping[str, Any], config: Config) -> Way:
    """What a search found, at the search's rate."""
    return Way(tuple(found["best"]["phi"]), tuple(found["best"]["modes"]), config.training.learning_rate)


def best_rate(way: Way, config: Config, dataset: Dataset, device: str) -> dict[str, Any]:
    """The rate at which a way does best on validation data, on average over its share of the budget's targets."""
    each = max(1, CANDIDATES // RATES)
    rates = np.geomspace(LOWEST, HIGHEST, RATES)
    accuracies = []
    for rate in rates:
        seeds = [stream(config.seed, "rate", number) for number in range(each)]
        population = trained(dataclasses.replace(way, rate=float(rate)), seeds, config, dataset, device)
        found = population.evaluate(*selection_data(config, dataset, device)).accuracy
        accuracies.append(100 * found.mean().item())
    best = int(np.argmax(accuracies))
    return {"rate": float(rates[best]), "accuracy": accuracies[best], "accuracies": accuracies, "targets": each}


def fresh(way: Way, config: Config, dataset: Dataset, device: str) -> dict[str, Any]:
    """Validation and test accuracy, %, of targets that no search has seen; the same seeds for every way."""
    population = trained(way, [stream(config.seed, "fresh", number) for number in range(SEEDS)], config, dataset, device)
    validation = population.evaluate(*selection_data(config, dataset, device))
    test = population.evaluate(*dataset.tensors("test", device))
    return {
        "validation": (100 * validation.accuracy).tolist(),
        "test": (100 * test.accuracy).tolist(),
        "diverged": int((population.diverged_at >= 0).sum()),
    }


def trained(way: Way, seeds: Sequence[int], config: Config, dataset: Dataset, device: str) -> Population:
    """One member per seed, each with its own start and order of the data."""
    x, y = dataset.tensors("train", device)
    training, target = config.training, target_of(config, dataset)
    start = initialise(target, config.target.initialisation, seeds, config.target.sigma, x[:1], device=device)
    options = (training.optimiser, way.rate, training.momentum, training.weight_decay, training.schedule, training.steps)
    population = Population(target, start, *options, seeds)
    rule = Update(named("pblf", phi=way.phi, modes=way.modes or None))
    advance(population, rule, rule.init(population), Batches(x, y, training.batch_size, seeds, False), training.steps)
    return population


def elsewhere(config: Config) -> dict[str, Config]:
    """Where no search has looked: longer runs, and other batch sizes for the same epochs."""
    training = config.training

    def other(**changed: Any) -> Config:
        return dataclasses.replace(config, training=dataclasses.replace(training, **changed))

    found = {f"{LONGER} times the steps": other(steps=LONGER * training.steps)}
    for size in BATCHES:
        found[f"batches of {size}"] = other(batch_size=size, steps=max(1, training.steps * training.batch_size // size))
    return found


# -- its page ------------------------------------------------------------------------------------------------------------


def compared(report: Mapping[str, Any]) -> dict[str, Any]:
    """Differences of test accuracies, paired by seed: every way against backpropagation at the search's rate and at its own;
    elsewhere against the latter."""
    tests = {name: own["test"] for name, own in report["fresh"].items()}
    far = {
        title: {name: paired(own["test"], found[TUNED]["test"]) for name, own in found.items() if name != TUNED}
        for title, found in report["elsewhere"].items()
    }
    return {"duels": pblf_extras.duels(tests, (BACKPROP, TUNED)), "far": far}


def correct(results: Mapping[str, Any]) -> None:
    """Each table's p-values for themselves."""
    tables.correct(duel for own in results["duels"].values() for duel in own.values())
    tables.correct(duel for own in results["far"].values() for duel in own.values())


def redraw(results: Mapping[str, Any], folder: Path) -> None:
    """The pictures once more, from the results alone."""
    pblf_extras.draw(results, folder, file_of(results))


def file_of(results: Mapping[str, Any]) -> str:
    """Name of the results' file, and of the pictures beside it."""
    return "pblf" if results["protocol"] == PROTOCOLS[0] else str(results["protocol"])


def table(results: Mapping[str, Any]) -> str:
    """What each search found, on the validation data that chose it and on fresh targets; elsewhere; the dissertation's."""
    correct(results)
    return tables.blocks(_found(results), _against(results), _elsewhere(results), _speed(results), _published())


def _found(results: Mapping[str, Any]) -> str:
    rows = []
    chosen = {name: own["best"]["accuracy"] for name, own in results["searches"].items()}
    chosen |= {name: own["accuracy"] for name, own in results["tuned"].items()}
    for name, own in results["fresh"].items():
        way = results["ways"][name]
        phi = ", ".join(f"{value:.3g}" for value in way["phi"])
        cells = [name, phi, "".join(map(str, way["modes"])) or "–", f"{way['rate']:.3g}"]
        rows.append([*cells, f"{chosen[name]:.2f}" if name in chosen else "–", f"{np.mean(own['validation']):.2f}"])
    caption = (
        f"`{tables.command(results)}`: {results['network']}, SGD with momentum and a cosine, {results['steps']} steps of "
        f"{results['batch_size']}; accuracies in %. Each search judged {results['candidates']} candidates on one target each; "
        f"a tuned rate is the best of {results['rates']} on as many targets in all; then {results['seeds']} fresh targets "
        f"({tables.where(results)})."
    )
    head = ["way", "w₁, b₁, w₂, b₂", "modes", "rate", "validation, when chosen", "validation, fresh"]
    return tables.blocks(tables.table(head, rows), caption)


def _against(results: Mapping[str, Any]) -> str:
    tests = {name: own["test"] for name, own in results["fresh"].items()}
    return pblf_extras.against(tests, results["duels"], (BACKPROP, TUNED), "targets", ".2f")


def _elsewhere(results: Mapping[str, Any]) -> str:
    rows = []
    for title, found in results["elsewhere"].items():
        for name, own in found.items():
            cells = pblf_extras.duel_cells(results["far"][title].get(name))
            rows.append([title, name, pblf_extras.mean(own["test"], ".2f"), *cells])
    caption = (
        "The same ways where no search has looked, at the rates of above; "
        f"{results['seeds']} targets each. {tables.CORRECTED_P}."
    )
    head = ["where", "way", "test %", "against backprop's tuned rate", tables.P]
    return tables.blocks(tables.table(head, rows, left=2), caption)


def _speed(results: Mapping[str, Any]) -> str:
    rows = [
        [
            own["data"],
            str(own["batch"]),
            f"{own['together']:.3g}",
            f"{own['alone']:.3g}",
            f"{own['modules']:.3g}",
            *_ratios(own),
        ]
        for own in results["speed"]
    ]
    head = ["data", "candidates", "together, s", "alone, s", "modules, s", "times alone", "times modules"]
    caption = (
        "Seconds of the processor per candidate, judged as a search does: as members of one population, one at a time, and as "
        "plain `nn.Module`s; medians of turns side by side, one thread."
    )
    return tables.blocks(tables.table(head, rows), caption)


def _ratios(own: Mapping[str, Any]) -> list[str]:
    return [f"{own[other] / own['together']:.1f}" for other in ("alone", "modules")]


def _published() -> str:
    head = ["epochs", "backprop", "BO", "random search"]
    caption = (
        'Published (Eyono, 2020): test accuracy in %, WRN-16-2 on CIFAR-10, means of five runs. Its "±" is a sample variance, '
        "no deviation and no interval."
    )
    return tables.blocks(tables.table(head, DISSERTATION), caption)


def figures(results: Mapping[str, Any]) -> dict[str, Any]:
    correct(results)
    against, bayesian = results["duels"], results["bayesian"]
    best = {name: found["best"]["accuracy"] for name, found in results["searches"].items()}
    flattery = [best[name] - float(np.mean(results["fresh"][name]["validation"])) for name in best]
    alone = {own["data"]: own["alone"] / own["together"] for own in results["speed"]}
    modules = {own["data"]: own["modules"] / own["together"] for own in results["speed"]}
    tuned = {name: against[f"{name}, its rate tuned"][TUNED] for name in (bayesian, RANDOM)}
    return {
        "bayesian": bayesian,
        "bo": tables.outcome(against[bayesian][BACKPROP], 1),
        "random": tables.outcome(against[RANDOM][BACKPROP], 1),
        "tuned": tables.outcome(against[TUNED][BACKPROP], 1),
        "bo_tuned": tables.outcome(tuned[bayesian], 1),
        "random_tuned": tables.outcome(tuned[RANDOM], 1),
        "beyond": tables.told(tuned[bayesian]) == tables.GAIN,
        "flattery": tables.spread(flattery, "+.2f"),
        "found": "; ".join(f"{name}: {value:.2f}" for name, value in best.items()),
        "candidates": str(results["candidates"]),
        "faster": tables.spread(alone.values(), ".1f"),
        "faster_modules": tables.spread(modules.values(), ".1f"),
        "fast_enough": alone.get("digits", math.inf) >= ALONE and modules.get("mnist", math.inf) >= MODULES,
        "adam_apart": f"{results['betas']['apart']['adam']:.1g}",
        "sgd_apart": f"{results['betas']['apart']['sgd']:.2g}",
        "sgd_as_rate": f"{results['betas']['as_rate']:.1g}",
        "explained": f"{100 * sum(results['components']['explained']):.0f}",
    }


def verdict(results: Mapping[str, Any]) -> str:
    own = figures(results)
    return (
        "With every learning rate tuned by the same budget, the best derivative of Bayesian optimisation is to backpropagation "
        f"{own['bo_tuned']} on fresh targets, that of random search {own['random_tuned']}. At the search's own rate they are "
        f"{own['bo']} and {own['random']}, where a tuned rate alone is {own['tuned']}."
    )


def doubts(results: Mapping[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "A searched derivative is better than backpropagation by more than a learning rate.",
            f"With both rates tuned by the same budget: {own['bo_tuned']}.",
            own["beyond"],
        ),
        tables.Doubt(
            f"Candidates of one population are judged {ALONE} times as fast as one at a time on digits, and {MODULES} times as "
            "fast as modules on MNIST.",
            f"{own['faster']} and {own['faster_modules']} times.",
            own["fast_enough"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
