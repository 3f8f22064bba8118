"""Learning rules side by side: how far does each come, if each has its own learning rate, and how far is it from the gradient?

    python -m benchmarks.rules                            # hours of one core; goes on where it was stopped
    python -m benchmarks.rules --data mnist --arms conventional fa dfa    # some; the rest is kept as an earlier call found it
    python -m benchmarks.rules --quick                    # seconds; digits in place of the data

784-256-256-10, tanh, from Glorot, Adam with a cosine schedule, five epochs in batches of 100. For every rule, backpropagation
among them, the learning rate is chosen on validation data from the same five candidates, a tenth to ten times 0.001, with
two targets each, trained as long as those that are compared. (Trained for an epoch, which was tried first, faster ones look
better than they are after five.) Then 30 fresh targets per rule, paired by seed and order of the data; each meets the test set
once, after its last step. What a rule trains of its own (synthesisers, inverses) keeps its own rate.

Angles are those of :mod:`pipeline.instruction.angles`, at eleven points of the training. Beside the errors stand published
ones, of other networks trained for longer: biotorch's, from its tables (LeNet; SGD with momentum 0.9, 100 epochs).

What a step of each takes is for :mod:`benchmarks.rules_speed`: other work may go on beside this one.

Writes benchmarks/results/rules.json and the figures beside it. Needs MNIST and Fashion-MNIST (GRAD_INSTRUCTOR_DATA).
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import edges, quick, tables
from benchmarks.cache import Cache, made_by
from pipeline.arms import NAMES
from pipeline.compare import Task, choose, final_tasks, train_task, tuning_task
from pipeline.compare.report import mean_angles, report_examples, tested_members
from pipeline.config import CompareConfig, Config, DataConfig, RLConfig, TargetConfig, TrainingConfig, to_dotted
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.results import figures as draw
from pipeline.results.provenance import provenance
from pipeline.results.rule_tables import angles_in_words, errors
from pipeline.results.tables import as_cell, p_value, report_rows
from pipeline.setting import target_of

BASELINE = "conventional"
RULES = ("conventional", "fa", "dfa", "usf", "brsf", "cdni", "frozen", "ifa", "dtp", "pfa", "frsf", "dni", "tp", "pblf")
"""in the order in which they are trained"""
DATA = ("mnist", "fashion")
EPOCHS, POINTS = 5, 11
CONFIG = Config(
    target=TargetConfig(hidden=(256, 256), activation="tanh", initialisation="glorot"),
    training=TrainingConfig(optimiser="adam", learning_rate=1e-3, schedule="cosine", batch_size=100),
    compare=CompareConfig(rates=(0.1, 0.3, 1.0, 3.0, 10.0), tuning_seeds=2, seeds=30, group=15, curve_examples=5000),
)
QUICK = {
    "EPOCHS": 1,
    "RULES": ("conventional", "fa", "cdni", "frozen"),
    "CONFIG": dataclasses.replace(
        CONFIG,
        target=dataclasses.replace(CONFIG.target, hidden=(8, 8)),
        compare=dataclasses.replace(CONFIG.compare, rates=(1.0, 3.0), tuning_seeds=1, seeds=3, group=2),
    ),
}
AIMS = {"conventional": 2.1, "usf": 2.4, "brsf": 2.7, "fa": 3.4, "dfa": 3.4, "ifa": 3.4, "dtp": 3.3, "cdni": 2.4}
"""at most this test error on MNIST, in percent"""
PUBLISHED = {
    "mnist": {"conventional": 0.91, "fa": 1.7, "dfa": 1.61, "usf": 0.94, "brsf": 0.91, "frsf": 0.97},
    "fashion": {"conventional": 9.2, "fa": 13.06, "dfa": 12.81, "usf": 9.69, "brsf": 10.02, "frsf": 9.61},
}
"""biotorch's test errors in percent"""
TITLES = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}


def main() -> int:
    options = _options()
    if options.quick:
        globals().update(QUICK)
    results = quick.results_folder(options.quick)
    work = options.work or (results / "work" if options.quick else Path("runs/rules"))
    torch.set_num_threads(1)
    facts = provenance(" ".join(["python", "-m", "benchmarks.rules"]), 0)
    asked = tuple(NAMES.get(arm, arm) for arm in options.arms or RULES)
    file = results / "rules.json"
    found: dict[str, Any] = read_json(file)["data"] if file.exists() else {}
    for name in options.data or DATA:
        try:
            study = Study.of(name, quick.data(name, options.quick), work, facts)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        for arm in [arm for arm in RULES if arm in asked]:
            started = time.perf_counter()
            own = found.setdefault(name, {"arms": {}, "chosen": {}})
            own["chosen"][arm], own["arms"][arm] = study.arm(arm)
            error = 100 - 100 * sum(own["arms"][arm]["test_accuracy"]) / len(own["arms"][arm]["test_accuracy"])
            print(f"{name} {arm}: {error:.2f} % error, {time.perf_counter() - started:.0f} s", flush=True)
            write_json(file, facts | _settings() | {"data": found})  # what there is, should it be stopped
        _draw(found[name], results, name)
    return 0


def _options() -> argparse.Namespace:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA)
    parser.add_argument("--arms", nargs="+", choices=[*NAMES, *RULES], metavar="ARM", help=f"of {', '.join(RULES)}")
    parser.add_argument("--work", type=Path, help="folder of finished parts (default: runs/rules)")
    return parser.parse_args()


def _settings() -> dict[str, Any]:
    compare, training = CONFIG.compare, CONFIG.training
    return {
        "learning_rate": training.learning_rate,
        "rates": list(compare.rates),
        "tuning_seeds": compare.tuning_seeds,
        "epochs": EPOCHS,
        "hidden": list(CONFIG.target.hidden),
    }


@dataclass(frozen=True)
class Study:
    """One data set."""

    dataset: Dataset
    config: Config
    cache: Cache

    @classmethod
    def of(cls, name: str, dataset: Dataset, work: Path, facts: dict[str, Any]) -> "Study":
        config = _lasting(name, EPOCHS * (len(dataset.y_train) // CONFIG.training.batch_size))
        decides = {"data": dataset.digest, "settings": to_dotted(config)}
        return cls(dataset, config, Cache.of(__file__, {}, work, facts, **decides))

    def arm(self, arm: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was chosen for a rule, and what its targets came to; each part is computed once."""
        tuning = self.cache.part(f"{self.dataset.name}-{arm}-tuning", lambda: self._choose(arm), arm=arm, part="tuning")
        parts, values = [tuning], []
        for task in final_tasks(self.config, [arm], {arm: tuning.value["strength"]}):
            parts.append(self.cache.part(f"{self.dataset.name}-{task.name}", lambda task=task: self._train(task), task=task))
            values.append(parts[-1].value)
        joined = {
            key: [item for value in values for item in value[key]] for key in values[0] if key not in ("steps", "seconds")
        }
        joined |= {"steps": values[0]["steps"], "seconds": values[0]["seconds"], "provenance": made_by(parts)}
        return tuning.value, joined

    def _choose(self, arm: str) -> dict[str, Any]:
        output = train_task(tuning_task(self.config, arm), self.config, self.dataset, {}, "cpu")
        return choose(self.config, arm, output["result"])

    def _train(self, task: Task) -> dict[str, Any]:
        output = train_task(task, self.config, self.dataset, {}, "cpu")
        result, target = output["result"], target_of(self.config, self.dataset)
        tested = tested_members(target, output["weights"], result["diverged_at"], *report_examples(self.dataset))
        by_member = {
            name: [list(row) for row in zip(*result[name], strict=True)] for name in ("accuracy", "angles") if name in result
        }
        return {
            "seeds": result["seeds"],
            **tested,
            "ms_per_step": [1000 * result["seconds"][-1] / result["steps"][-1]],
            "diverged_at": result["diverged_at"],
            **by_member,
            "steps": result["steps"],
            "seconds": result["seconds"],
        }


def _lasting(name: str, steps: int) -> Config:
    period = max(1, steps // (POINTS - 1))
    training = dataclasses.replace(CONFIG.training, steps=steps // period * period)
    return dataclasses.replace(CONFIG, data=DataConfig(name), training=training, rl=RLConfig(period=period, score_examples=1))


def _draw(found: Mapping[str, Any], results: Path, name: str) -> None:
    order = {called(arm): found["arms"][arm] for arm in RULES if arm in found["arms"]}
    curves = {rule: {key: own[key] for key in ("steps", "seconds", "accuracy")} for rule, own in order.items()}
    draw.accuracy(curves, results / f"rules-{name}.png", data=TITLES[name])
    turned = {
        rule: {"steps": own["steps"], "angles": _numbers(own["angles"])} for rule, own in order.items() if "angles" in own
    }
    if turned:
        draw.angles(turned, results / f"rules-{name}-angles.png", data=TITLES[name])


def redraw(results: Mapping[str, Any], folder: Path) -> None:
    """The pictures once more, from what the results hold."""
    for name, found in results["data"].items():
        _draw(found, folder, name)


def _numbers(angles: Any) -> Any:
    """With NaN in place of null."""
    return [_numbers(item) for item in angles] if isinstance(angles, list) else float("nan") if angles is None else angles


# -- its page ------------------------------------------------------------------------------------------------------------


def rows_of(results: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Of a data set: errors, differences, angles and what was chosen, one row per rule."""
    own = results["data"][name]
    tested = {}
    for arm in (arm for arm in RULES if arm in own["arms"]):
        values, chosen = own["arms"][arm], own["chosen"][arm]
        tested[arm] = {
            **{key: _numbers(values[key]) for key in ("seeds", "test_accuracy", "test_loss", "train_loss", "ms_per_step")},
            "strength": "",
            "diverged": sum(step >= 0 for step in values["diverged_at"]),
            "learning_rate": chosen["strength"] * results["learning_rate"],
            **({"edge": chosen["edge"]} if "edge" in chosen else {}),
            **({"angles": mean_angles(_numbers(values["angles"]))} if "angles" in values else {}),
        }
    rows = report_rows(tested, BASELINE)
    return [row | errors(row) | {"provenance": own["arms"][row["arm"]]["provenance"]} for row in rows]


def table(results: dict[str, Any]) -> str:
    """One table per data set."""
    return tables.blocks(*(edges.noted(_table(results, name)) for name in results["data"]))


def _table(results: dict[str, Any], name: str) -> str:
    rows = rows_of(results, name)
    origins = tables.Origins([row["provenance"] for row in rows])
    head = ["rule", "test error %", "more than backprop", "p (Holm)", "angle to the gradient °, by layer", "learning rate"]
    head += ["aim %", "biotorch %"]
    aims, published = AIMS if name == "mnist" else {}, PUBLISHED.get(name, {})
    cells = [
        [
            f"`{called(row['arm'])}`{mark}",
            _error(row),
            tables.interval(row, "more", "+.2f", 100) if row["arm"] != BASELINE else "–",
            p_value(row["p_holm"]),
            angles_in_words(row),
            edges.marked(f"{row['learning_rate']:.2g}", "edge" in row),
            _aim(row, aims),
            as_cell(published.get(row["arm"]), ".2f"),
        ]
        for row, mark in zip(rows, origins.marks, strict=True)
    ]
    hidden = "-".join(map(str, results["hidden"]))
    missing = [called(arm) for arm in RULES if arm not in results["data"][name]["arms"]]
    absent = f" Not trained here: {', '.join(missing)}." if missing else ""
    lost = [f"{row['diverged']} of {called(row['arm'])}" for row in rows if row["diverged"]]
    diverged = f" Diverged: {', '.join(lost) or 'none'}."
    caption = (
        f"**{TITLES[name]}**, `{tables.command(results)}`: 784-{hidden}-10, {results['epochs']} epochs, n = {rows[0]['n']} "
        f"({tables.where(origins.facts)}).{' ' + origins.notes if origins.notes else ''}{diverged}{absent}"
    )
    return tables.blocks(tables.table(head, cells), caption)


def called(arm: str) -> str:
    """An arm as papers call it."""
    return next((name for name, own in NAMES.items() if own == arm), arm)


def _error(row: Mapping[str, Any]) -> str:
    return tables.interval(row, "error", ".2f", 100)


def _aim(row: Mapping[str, Any], aims: Mapping[str, float]) -> str:
    if row["arm"] not in aims:
        return "–"
    return f"≤ {aims[row['arm']]:g}" + ("" if _reached(row) else ", missed")


def _reached(row: Mapping[str, Any]) -> bool:
    return 100 * row["error"] <= AIMS[row["arm"]]


def _aimed(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in rows_of(results, "mnist") if row["arm"] in AIMS] if "mnist" in results["data"] else []


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """Errors in percent by data and rule, as ``mnist_fa``; and how many aims were reached."""
    found: dict[str, Any] = {"rates": len(results["rates"]), "tuning_seeds": results["tuning_seeds"]}
    found |= {"epochs": results["epochs"]}
    for name in results["data"]:
        found |= {f"{name}_{called(row['arm'])}": tables.percent(row["error"]) for row in rows_of(results, name)}
    aimed = _aimed(results)
    return found | {"aims": len(aimed), "reached": sum(map(_reached, aimed))}


def verdict(results: dict[str, Any]) -> str:
    """The order on each data set, and what became of the aims."""
    orders = []
    for name in results["data"]:
        rows = sorted(rows_of(results, name), key=lambda row: row["error"])
        order = ", ".join(f"{called(row['arm'])} {tables.percent(row['error'])}" for row in rows)
        orders.append(f"on {TITLES[name]} {order}")
    sentences = [f"Test error in percent: {'; '.join(orders)}."]
    aimed = _aimed(results)
    missed = [
        f"{called(row['arm'])} ({tables.percent(row['error'])}, aim {AIMS[row['arm']]:g})" for row in aimed if not _reached(row)
    ]
    if aimed:
        sentences.append(f"Of {len(aimed)} aims on MNIST {len(aimed) - len(missed)} are reached" + _list(missed))
    return " ".join(sentences)


def _list(missed: Sequence[str]) -> str:
    return f"; missed: {', '.join(missed)}." if missed else "."


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    """Aims that were missed."""
    found = []
    for row in [row for row in _aimed(results) if not _reached(row)]:
        hope = f"`{called(row['arm'])}` has at most {AIMS[row['arm']]:g} % error on MNIST after {results['epochs']} epochs."
        found.append(tables.Doubt(hope, f"it has {_error(row)} %.", held=False))
    return found


if __name__ == "__main__":
    sys.exit(main())
