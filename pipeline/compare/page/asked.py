"""What a comparison was asked to do."""

from collections.abc import Mapping
from typing import Any

from pipeline.arms import ARMS
from pipeline.compare.drawings import Reported
from pipeline.compare.tasks import chooses_rate
from pipeline.config import Config
from pipeline.data.dataset import SPLITS
from pipeline.results.figures import COLOURS
from pipeline.results.page import Facts, Section, Table

THE_RUNS_RATE = ", at the run's learning rate"
"""what learning rules say of themselves"""


def asked(found: Reported) -> list[Section]:
    """The setting, and each way of training in a sentence."""
    return [
        Section("asked", "What was asked", [Facts(_facts(found))]),
        Section("arms", "The ways of training", [_arms(found)]),
    ]


def _facts(found: Reported) -> list[tuple[str, str]]:
    config, data = found.config, found.dataset
    counts = ", ".join(f"{len(getattr(data, f'y_{split}')):,} {split}" for split in SPLITS)
    facts = [
        ("data", f"{data.name}: {counts} examples; {data.features:,} numbers each, {data.classes} classes"),
        ("targets", target_in_words(config, data.features, data.classes)),
        ("training", training_in_words(config)),
        ("paired by seed", f"{config.compare.seeds} targets for each arm, compared with {config.compare.baseline}"),
        (
            "chosen on validation data",
            f"{_chosen(config)}, by {config.compare.tuning_seeds} further targets for each candidate",
        ),
    ]
    return facts if found.without_enn else [*facts, *_enn(config)]


def _chosen(config: Config) -> str:
    rates = ", ".join(f"{rate:g}" for rate in config.compare.rates)
    return f"a learning rate for each arm, {rates} times {config.training.learning_rate:g}" if rates else "strengths"


def target_in_words(config: Config, features: int, classes: int) -> str:
    """Widths, nonlinearity and initial weights."""
    target = config.target
    widths = "-".join(map(str, (features, *target.hidden, classes)))
    spread = f" of standard deviation {target.sigma:g}" if target.initialisation == "normal" else ""
    return f"{widths}, {target.activation}, initial weights {target.initialisation}{spread} (He where an arm says so)"


def training_in_words(config: Config) -> str:
    """Optimiser, rate, batches, steps."""
    training = config.training
    more = [f"momentum {training.momentum:g}"] if training.momentum else []
    more += [f"weight decay {training.weight_decay:g}"] if training.weight_decay else []
    head = ", ".join([training.optimiser, f"learning rate {training.learning_rate:g} ({training.schedule})", *more])
    return f"{head}; {training.steps:,} steps of {training.batch_size} examples"


def _enn(config: Config) -> list[tuple[str, str]]:
    rl, unroll = config.rl, config.unroll
    first, *others = config.enn.readers
    learned = f"{rl.rounds} rounds of {rl.members} targets, {rl.updates} updates each" if rl.rounds else "no rounds of RL"
    tuned = f", then {unroll.segments} segments of {unroll.steps} steps, unrolled" if unroll.segments else ""
    from_one = f"; it went on from {unroll.start}" if unroll.start else ""
    score = "exp(−loss)" if rl.score == "loss" else "accuracy"
    return [
        (
            "ENN",
            f"reads by {first}"
            + (f"; {', '.join(others)} learned from the same runs, and instructed nobody" if others else ""),
        ),
        ("its training", learned + tuned + from_one),
        ("what it predicts", f"{score} on validation data, γ = {rl.gamma:g} per period of {rl.period} steps"),
    ]


def _arms(found: Reported) -> Table:
    rows, colours = [], []
    for arm in found.arms:
        entry, tried = ARMS[arm], found.written.get("candidates", {}).get(arm, {})
        start = entry.start or found.config.target.initialisation
        what, chosen = what_it_is(found.config, arm), _chosen_of(found.config, arm, tried)
        rows.append([arm, what, start, chosen, candidates(found.config, arm, tried)])
        colours.append(COLOURS[arm])
    columns = ("arm", "what it is", "starts from", "chosen", "candidates: accuracy on validation data, %")
    return Table("Every arm trains the same targets, by seed, on the same batches.", columns, rows, colours, (1, 2, 3, 4))


def what_it_is(config: Config, arm: str) -> str:
    """What an arm is, as a sentence; of its learning rate nothing where one was chosen for it."""
    says = ARMS[arm].says
    text = says.removesuffix(THE_RUNS_RATE) if chooses_rate(config, arm) else says
    return f"{text[:1].upper()}{text[1:]}."


def _chosen_of(config: Config, arm: str, tried: dict[str, Any]) -> str:
    if not tried:
        return "–"
    strength = tried["strength"]
    edge = f", the {tried['edge']} that was tried" if tried.get("edge") else ""
    if chooses_rate(config, arm):
        return f"learning rate {config.training.learning_rate * strength:.4g}{edge}"
    return "λ by the ENN itself" if strength < 0 else f"{_letter(arm)} = {strength:g}"


def _letter(arm: str) -> str:
    return {"instruction": "λ", "growth": "multiple"}.get(ARMS[arm].strengths, "strength")


def candidates(config: Config, arm: str, tried: Mapping[str, Any]) -> str:
    """What was tried for an arm, and the accuracy on validation data that it led to, in percent."""
    found, rates = tried.get("validation_accuracy", {}), chooses_rate(config, arm)
    names = {name: f"× {name}" if rates else "by the ENN" if name == "-1" else name for name in found}
    return "; ".join(f"{names[name]}: {100 * value:.1f}" for name, value in found.items()) or "–"
