"""What matters in the training of an ENN? One thing is changed at a time.

    python -m benchmarks.ablations
    python -m benchmarks.ablations --quick    # seconds; digits in place of the data

MNIST, 784-25-10, learning rate 0.1, batches of 50, runs of 150 steps: short, so that a gain shows within seconds. Two bases:
an ENN by probes, fine-tuned through unrolled training from random weights; and one that RL alone has taught, from populations
collected under the ENN as it is by then (the learning of :mod:`rl.offline`, which needs no Ray). Every variant is trained
with several seeds and instructs the same fresh targets, every other one from He. Gains are in points of accuracy over the same
targets without an ENN, on validation data that no reward has seen. Intervals resample ENNs and, by start, targets. Nothing is
chosen here.

Where the length of a segment changes, the number of segments does too: every ENN is fine-tuned through as many steps. Twin
critics are two ENNs with other initial weights that learn from the same experience; whichever has the smaller value instructs.

Writes benchmarks/results/ablations.json. Needs MNIST (GRAD_INSTRUCTOR_DATA).
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import quick, tables
from benchmarks.cache import Cache, Part, made_by
from pipeline.config import PRESETS, Config, from_dotted, to_dotted, validate
from pipeline.data import Dataset
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.results.provenance import provenance
from pipeline.results.tables import NONE
from pipeline.seeding import numpy_stream
from pipeline.targets import MLP
from rl.critics import fresh_critic
from rl.descent import Costate
from rl.offline import Learning, Recorded, instruct_targets, play_round
from rl.roles import STARTS, all_from_he
from rl.unrolled import FineTuning, Trajectory

SEEDS = 3
"""ENNs per variant"""
TARGETS, JUDGED = 16, 1000
"""fresh targets per ENN, and the seed that names them"""
RESAMPLES = 10_000
TUNED, RL = "fine-tuned", "RL"
SHORT: dict[str, Any] = {
    "target.hidden": [25],
    "training.steps": 150,
    "training.batch_size": 50,
    "compare.curve_examples": 4000,
    "enn.readers": ["probes"],
}
BY_RL: dict[str, Any] = {"rl.members": 16, "rl.rounds": 4, "rl.updates": 50, "rl.batch_size": 16}
BASES: dict[str, dict[str, Any]] = {
    TUNED: SHORT | BY_RL | {"unroll.segments": 40, "unroll.steps": 25, "unroll.members": 4},
    RL: SHORT | BY_RL | {"enn.probes": 32},
}
TINY: dict[str, Any] = {}
"""what is smaller in every variant; nothing but where it is to be quick"""
QUICK: dict[str, Any] = {
    "SEEDS": 1,
    "TARGETS": 2,
    "RESAMPLES": 100,
    "TINY": {"training.steps": 75, "rl.members": 4, "rl.rounds": 2, "rl.updates": 1, "rl.batch_size": 4}
    | {"unroll.segments": 1, "unroll.members": 2, "unroll.score_examples": 50, "rl.score_examples": 200},
}


@dataclass(frozen=True)
class Variant:
    """What is changed from a base."""

    name: str
    base: str
    """fine-tuned or RL"""
    settings: dict[str, Any] = field(default_factory=dict)
    how: str = ""
    """no setting of the package's: greedy, fixed (λ is not learned), after RL, twins, random ENN, no instruction"""
    strength: float | None = None
    """λ with which the targets are instructed; the ENN's own choice if not given"""

    @property
    def trained_as(self) -> str:
        """Variants that differ only in how the ENN is used share their ENNs."""
        return f"{self.base} {self.how} {sorted(self.settings.items())}"


VARIANTS = (
    Variant("64 probes, 40 segments of 25 steps, λ by a head", TUNED),
    Variant("16 probes", TUNED, {"enn.probes": 16}),
    Variant("128 probes", TUNED, {"enn.probes": 128}),
    Variant("weight image (ρ = 0.15)", TUNED, {"enn.readers": ["convnet"]}),
    Variant("without the Hessians", TUNED, how="greedy"),
    Variant("segments of 10 steps", TUNED, {"unroll.steps": 10, "unroll.segments": 100}),
    Variant("segments of 50 steps", TUNED, {"unroll.steps": 50, "unroll.segments": 20}),
    Variant("costates of at most 1 (10)", TUNED, {"unroll.largest_costate": 1.0}),
    Variant("20 segments", TUNED, {"unroll.segments": 20}),
    Variant("80 segments", TUNED, {"unroll.segments": 80}),
    Variant("reward on 1,000 validation examples, no folds", TUNED, {"unroll.folds": 1}),
    Variant("trust region 0.005 (0.02)", TUNED, {"instruction.trust_region": 0.005}),
    Variant("trust region 0.08", TUNED, {"instruction.trust_region": 0.08}),
    Variant("a reading at every step (at every fifth)", TUNED, {"instruction.refresh": 1}),
    Variant("a reading at every 25th step", TUNED, {"instruction.refresh": 25}),
    Variant("λ fixed at 1", TUNED, {"unroll.strength": 1.0}, "fixed"),
    Variant("λ fixed at 5", TUNED, how="fixed"),
    Variant("λ fixed at 25", TUNED, {"unroll.strength": 25.0}, "fixed"),
    Variant("after RL (from random weights)", TUNED, how="after RL"),
    Variant("γ = 0.7, 4 populations, each under the ENN by then", RL),
    Variant("γ = 0", RL, {"rl.gamma": 0.0}),
    Variant("γ = 0.9", RL, {"rl.gamma": 0.9}),
    Variant("fitted once, to runs without instruction; λ = 3", RL, how="no instruction", strength=3.0),
    Variant("fitted once, to runs under a random ENN", RL, how="random ENN"),
    Variant("2 populations", RL, {"rl.rounds": 2}),
    Variant("8 populations", RL, {"rl.rounds": 8}),
    Variant("one-step returns (5 steps)", RL, {"rl.n_step": 1}),
    Variant("one-step returns, no slow copy", RL, {"rl.n_step": 1, "rl.tau": 1.0}),
    Variant("twin critics", RL, how="twins"),
    Variant("score: accuracy (exp(−loss))", RL, {"rl.score": "accuracy"}),
    Variant("λ fixed at 1 (by the advantages)", RL, strength=1.0),
    Variant("λ fixed at 3", RL, strength=3.0),
    Variant("λ fixed at 10", RL, strength=10.0),
)


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--seeds", type=int, help=f"ENNs per variant (default: {SEEDS})")
    parser.add_argument("--work", type=Path, help="folder of what is finished (default: runs/ablations)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    results, seeds = quick.results_folder(options.quick), options.seeds or SEEDS
    work = options.work or (results / "work" if options.quick else Path("runs/ablations"))
    torch.set_num_threads(1)
    try:
        dataset = quick.data("mnist", options.quick)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    command = "python -m benchmarks.ablations" + (f" --seeds {seeds}" if seeds != SEEDS else "")
    facts = provenance(command, 0)  # of the commit that runs, not of one made meanwhile
    study, started = Study(dataset, Cache.of(__file__, globals(), work, facts, data=dataset.digest)), time.perf_counter()
    found: dict[tuple[str, str], list[Part]] = {(variant.base, variant.name): [] for variant in VARIANTS}
    for seed, variant in itertools.product(range(seeds), VARIANTS):
        own = study.found(variant, seed)
        found[variant.base, variant.name].append(own)
        gain, seconds = 100 * np.mean(own.value["gains"]), time.perf_counter() - started
        print(f"seed {seed}, {variant.base}, {variant.name}: {gain:+.2f}, {seconds:.0f} s", flush=True)
    rows = [row(variant, found) for variant in VARIANTS]
    plain = study.conventional()
    conventional = {start: float(np.mean(np.array(plain)[own])) for start, own in by_start(len(plain)).items()}
    once = {
        variant.trained_as: sum(part.value["seconds"] for part in found[variant.base, variant.name]) for variant in VARIANTS
    }
    facts |= {"seeds": seeds, "targets": TARGETS, "seconds": sum(once.values())}
    write_json(results / "ablations.json", {"conventional": conventional, "bases": BASES, "rows": rows, **facts})
    return 0


# -- measuring ---------------------------------------------------------------------------------------------------------


def row(variant: Variant, found: dict[tuple[str, str], list[Part]]) -> dict[str, Any]:
    """A row of the table: the gain, by start as well, and the difference from the base's."""
    base = next(other for other in VARIANTS if other.base == variant.base)
    both = [found[v.base, v.name] for v in (variant, base)]
    own, its = (np.array([part.value["gains"] for part in parts]) for parts in both)
    parts = {"all": (slice(None), len(STARTS))} | {start: (targets, 1) for start, targets in by_start(own.shape[1]).items()}
    return {
        "base": variant.base,
        "name": variant.name,
        "is_base": variant is base,
        "settings": variant.settings,
        "how": variant.how,
        "gain": {part: interval(own[:, chosen], starts) for part, (chosen, starts) in parts.items()},
        "difference": {part: interval((own - its)[:, chosen], starts) for part, (chosen, starts) in parts.items()},
        "by_seed": own.mean(1).tolist(),
        "seconds": float(np.mean([part.value["seconds"] for part in both[0]])),
        "provenance": made_by([*both[0], *both[1]]),
    }


def by_start(targets: int) -> dict[str, np.ndarray]:
    """Which of so many targets start from small weights, and which from He."""
    he = all_from_he(targets).numpy()
    return dict(zip(STARTS, (~he, he), strict=True))


def interval(values: np.ndarray, starts: int) -> dict[str, float]:
    """Mean of (seeds, targets) and its 95 % bootstrap interval (percentile), which resamples seeds, and targets by start.

    Args:
        starts: how many kinds of start there are, in turn.
    """
    draws, (seeds, targets) = numpy_stream(0, "bootstrap"), values.shape
    rows, each = draws.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds, targets // starts
    columns = np.empty((RESAMPLES, targets))
    for start in range(starts):
        columns[:, start::starts] = draws.multinomial(each, np.full(each, 1 / each), RESAMPLES) / targets
    low, high = np.quantile(np.einsum("rs,st,rt->r", rows, values, columns), [0.025, 0.975])
    return {"difference": float(values.mean()), "low": float(low), "high": float(high)}


@dataclass
class Study:
    """All variants on one data set; what was found is kept."""

    dataset: Dataset
    cache: Cache
    trained: dict[tuple[str, int], tuple[Critic, float]] = field(default_factory=dict)

    def found(self, variant: Variant, seed: int) -> Part:
        """The targets' gains under the ENN of one seed, and the seconds of the processor that its training took."""

        def compute() -> dict[str, Any]:
            critic, seconds = self.critic(variant, seed)
            if variant.strength is not None:
                critic = critic.with_strength(variant.strength)
            gains = np.array(instruct_targets(judged(configured(variant, seed)), self.dataset, critic, TARGETS))
            return {"gains": (gains - self.conventional()).tolist(), "seconds": seconds}

        settings = to_dotted(configured(variant, seed))
        decides = {"settings": settings, "base": variant.base, "how": variant.how, "strength": variant.strength}
        return self.cache.part(f"{variant.base} {variant.name} {seed}", compute, **decides)

    def conventional(self) -> np.ndarray:
        """Accuracies of the targets without an ENN, (TARGETS,)."""
        config = judged(configured(VARIANTS[0], 0))
        targets = self.cache.part(
            "conventional", lambda: instruct_targets(config, self.dataset, None, TARGETS), settings=to_dotted(config)
        )
        return np.array(targets.value)

    def critic(self, variant: Variant, seed: int) -> tuple[Critic, float]:
        """The ENN of one seed, and the seconds of the processor that it took."""
        key = variant.trained_as, seed
        if key not in self.trained:
            started, config = time.thread_time(), configured(variant, seed)
            teach = fine_tuned if variant.base == TUNED else by_rl
            self.trained[key] = teach(config, self.dataset, variant.how), time.thread_time() - started
        return self.trained[key]


def configured(variant: Variant, seed: int) -> Config:
    return validate(from_dotted(to_dotted(PRESETS["mnist"]) | BASES[variant.base] | variant.settings | TINY | {"seed": seed}))


def judged(config: Config) -> Config:
    """The same with the targets that all ENNs instruct."""
    return dataclasses.replace(config, seed=JUDGED)


NOT_RECORDED: dict[str, Any] = {
    field.name: np.empty(0)
    for field in dataclasses.fields(Recorded)
    if field.name not in ("observations", "strengths", "loss", "accuracy")
}
"""what judges candidates of a search, which nobody reads here"""


# -- training ----------------------------------------------------------------------------------------------------------


def fine_tuned(config: Config, dataset: Dataset, how: str) -> Critic:
    """An ENN, fine-tuned through unrolled training."""
    kind = {"greedy": Greedy, "fixed": FixedStrength}.get(how, FineTuning)
    start = by_rl(config, dataset, "") if how == "after RL" else fresh_critic(config, dataset)
    tuning = kind(config, dataset, start)
    for number in range(config.unroll.segments):
        tuning.segment(number)
    return tuning.exported()


class Greedy(FineTuning):
    """The identity in place of what a push becomes under further training."""

    def _back(self, path: Trajectory, step: int, costate: Costate) -> list[Tensor]:
        return self.descent.back(costate, path.steps[step], lambda vector: [torch.zeros_like(own) for own in vector])


class FixedStrength(FineTuning):
    """λ stays at ``unroll.strength``."""

    def __init__(self, config: Config, dataset: Dataset, critic: Critic, device: str = "cpu") -> None:
        super().__init__(config, dataset, critic, device)
        self.critic.strength_weight.requires_grad_(False)
        self.critic.strength_bias.requires_grad_(False)


def by_rl(config: Config, dataset: Dataset, how: str) -> Critic:
    """An ENN, taught by RL alone: ``rl.rounds`` populations, ``rl.updates`` steps on all that was seen after each."""
    once, rounds = how in ("random ENN", "no instruction"), config.rl.rounds
    seeds = [config.seed, *([config.seed + 100] if how == "twins" else [])]
    learnings = [learning(dataclasses.replace(config, seed=seed), dataset) for seed in seeds]
    ladder = (0.0,) * len(config.instruction.ladder) if how == "no instruction" else config.instruction.ladder
    collecting = dataclasses.replace(config, instruction=dataclasses.replace(config.instruction, ladder=ladder))
    for number in range(rounds):
        played = population(collecting, dataset, together([own.critic for own in learnings]), number)
        for own in learnings:
            own.buffer.keep(played.recording(config, np.ones(len(played.loss), bool)))
            if not once or number + 1 == rounds:
                own.advance(config.rl.updates * (number + 1) - own.updates)
    return together([own.critic.eval().requires_grad_(False) for own in learnings])


def learning(config: Config, dataset: Dataset) -> Learning:
    """A fresh ENN that has seen nothing."""
    none = Recorded(*(np.empty((0, 2)) for _ in range(4)), **NOT_RECORDED)
    own = Learning(config, fresh_critic(config, dataset), none, np.ones(0, bool))
    own.buffer.recordings.clear()
    return own


def population(config: Config, dataset: Dataset, critic: Critic, number: int) -> Recorded:
    """What was seen of one population under an ENN."""
    played = play_round(config, dataset, critic, number)
    arrays = {name: tensor.numpy() for name, tensor in played.items()}
    return Recorded(**arrays, **NOT_RECORDED)


class Twins(Critic):
    """Two ENNs as one: the smaller of two values, and of two Q, counts."""

    def __init__(self, critics: Sequence[Critic]) -> None:
        nn.Module.__init__(self)  # it has no reader and heads of its own
        self.critics, self.home = nn.ModuleList(critics), critics[0].home

    @property
    def reader(self) -> "Twins":
        """Itself, for whoever reads."""
        return self

    def check(self, target: MLP) -> None:
        for critic in self.critics:
            cast(Critic, critic).reader.check(target)

    def read(self, parameters: Sequence[Tensor], progress: Tensor, activation: str | None = None) -> Tensor:
        """Features of both, (P, 2, features)."""
        return torch.stack([cast(Critic, own).reader.read(parameters, progress, activation) for own in self.critics], 1)

    def hidden(self, features: Tensor) -> Tensor:
        return torch.stack([cast(Critic, own).hidden(features[:, place]) for place, own in enumerate(self.critics)], 1)

    def value_from(self, hidden: Tensor) -> Tensor:
        values = [cast(Critic, own).value_from(hidden[:, place]) for place, own in enumerate(self.critics)]
        return torch.stack(values).amin(0)

    @torch.no_grad()
    def strengths(self, parameters: Sequence[Tensor], progress: Tensor, activation: str | None = None) -> Tensor:
        both = torch.stack([cast(Critic, own).q_values(parameters, progress, activation) for own in self.critics])
        return torch.tensor(self.home.ladder)[both.amin(0).argmax(-1)]


def together(critics: Sequence[Critic]) -> Critic:
    return critics[0] if len(critics) == 1 else Twins(critics)


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """One row per variant under its base."""
    origins, cells = tables.Origins([row.get("provenance", results) for row in results["rows"]]), []
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        gain, name = row["gain"], row["name"] + mark
        parts = [tables.gained(gain[start]) for start in ("small", "he")]
        difference = NONE if row["is_base"] else tables.signed(row["difference"]["all"])
        shown = f"**{row['base']}**: {name}" if row["is_base"] else name
        cells.append([shown, tables.signed(gain["all"]), difference, *parts, f"{row['seconds']:.0f}"])
    small, he = (tables.percent(results["conventional"][start]) for start in ("small", "he"))
    caption = (
        f"`{tables.command(results)}`: gain in points of validation accuracy over conventional training ({small} % from small "
        f"weights, {he} % from He); {results['seeds']} ENNs per row, {results['targets']} targets each, the same for all; 95 % "
        f"intervals resample ENNs and targets, not corrected for their number; difference: from the base above; "
        f"{results['seconds'] / 60:.0f} minutes of the processor in all ({tables.where(origins.facts)})."
    )
    head = ["", "gain", "difference", "from small", "from He", "s of training"]
    return tables.blocks(tables.table(head, cells), caption, origins.notes)


def _told(row: dict[str, Any]) -> str:
    """By the interval of the difference from the base."""
    own = row["difference"]["all"]
    return tables.GAIN if own["low"] > 0 else tables.LOSS if own["high"] < 0 else tables.NOTHING


def figures(results: dict[str, Any]) -> dict[str, Any]:
    rows = results["rows"]
    own: dict[str, Any] = {"seeds": str(results["seeds"]), "targets": str(results["targets"])}
    for base, key in ((TUNED, "tuned"), (RL, "rl")):
        bases, others = ([row for row in rows if row["base"] == base and row["is_base"] is wanted] for wanted in (True, False))
        own |= {
            f"{key}_gain": tables.gained(bases[0]["gain"]["all"]),
            f"{key}_small": tables.gained(bases[0]["gain"]["small"]),
            f"{key}_he": tables.gained(bases[0]["gain"]["he"]),
            f"{key}_worse": _named(others, tables.LOSS),
            f"{key}_better": _named(others, tables.GAIN),
            f"{key}_untold": "; ".join(row["name"] for row in others if _told(row) == tables.NOTHING) or "none",
            f"{key}_count": str(len(others)),
            f"{key}_worse_count": str(sum(_told(row) == tables.LOSS for row in others)),
        }
    harmed = sorted((row for row in rows if row["gain"]["he"]["high"] < 0), key=lambda row: row["gain"]["he"]["difference"])
    own["harm_from_he"] = "; ".join(f"{row['name']} {tables.gained(row['gain']['he'])}" for row in harmed) or "none"
    for name, key in (("without the Hessians", "hessians"), ("score: accuracy (exp(−loss))", "accuracy")):
        found = [row for row in rows if row["name"] == name]
        own[key] = tables.signed(found[0]["difference"]["all"]) if found else NONE
    own["he_told"] = any(row["gain"]["he"]["low"] > 0 for row in rows if row["is_base"])
    return own


def _named(rows: list[dict[str, Any]], what: str) -> str:
    found = sorted((row for row in rows if _told(row) == what), key=lambda row: row["difference"]["all"]["difference"])
    return "; ".join(f"{row['name']} ({tables.gained(row['difference']['all'])})" for row in found) or "none"


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"Fine-tuning of seconds gains {own['tuned_gain']} points ({own['tuned_small']} from small weights, "
        f"{own['tuned_he']} from He), "
        f"and {own['tuned_worse_count']} of {own['tuned_count']} changes to it cost something that can be told; without the "
        "Hessian "
        f"products it is {own['hessians']}. RL alone gains {own['rl_gain']}, and {own['rl_worse_count']} of "
        f"{own['rl_count']} changes "
        f"cost something; accuracy as the score is {own['accuracy']}."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            "Short fine-tuning or RL teaches an ENN what helps from He.",
            f"In runs this short the bases gain {own['tuned_he']} and {own['rl_he']} points from He.",
            own["he_told"],
        ),
        tables.Doubt(
            "Discount, slow copy, twin critics and the like decide what RL teaches.",
            f"From the base of RL these cannot be told: {own['rl_untold']}.",
            own["rl_untold"] == "none",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
