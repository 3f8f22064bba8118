"""Every setting of a run, as a value: frozen dataclasses, presets, and a run's identity.

The same dataclasses are read by the command line and by ``config.json``. A run is named by the hash of what differs from
the defaults, so that adding a field with a default renames no old run. Nothing here imports torch.
"""

import dataclasses
import difflib
import json
import math
import sys
import types
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pipeline.arms import ARMS, unmet
from pipeline.digests import digest_of_json
from pipeline.errors import UserError, shown

LARGEST_COUNT = 2**31 - 1
"""of anything; a slip of the keyboard is told apart from a machine without memory"""
LEAST_RECORDED = 64
"""members of a recorded population: blocks of sixteen hold every start and level of λ, and one block in four is held out"""
Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
Initialisation = Literal["normal", "glorot", "he", "lsuv"]
Optimiser = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine"]
ReaderName = Literal["probes", "convnet", "statistics"]
if TYPE_CHECKING:
    Arm = str
else:
    Arm = Literal[tuple(ARMS)]


@dataclass(frozen=True)
class DataConfig:
    """Which data the targets are trained on."""

    dataset: str = "digits"
    """digits, mnist, fashion, cifar10, or the path of an .npz with x_train, y_train, x_test, y_test (short: --dataset)"""


@dataclass(frozen=True)
class TargetConfig:
    """The network that is trained: a multilayer perceptron."""

    hidden: tuple[int, ...] = (32,)
    """widths of the hidden layers"""
    activation: Activation = "relu"
    """nonlinearity of the hidden layers"""
    initialisation: Initialisation = "normal"
    """initial weights of the conventional arm (the He arms always start from He)"""
    sigma: float = 0.01
    """standard deviation of the initial weights when initialisation is normal"""


@dataclass(frozen=True)
class TrainingConfig:
    """How a target is trained, in every arm alike."""

    optimiser: Optimiser = "sgd"
    """the rule that turns gradients into steps"""
    learning_rate: float = 0.1
    """step size"""
    momentum: float = 0.0
    """momentum of sgd"""
    weight_decay: float = 0.0
    """weight decay, in torch's sense of the chosen optimiser"""
    schedule: Schedule = "constant"
    """how the learning rate changes during a run; cosine: falling to 0 at its end"""
    batch_size: int = 32
    """examples per step"""
    steps: int = 600
    """optimiser steps per target"""
    shared_order: bool = False
    """give all members of a population the same batches (faster) instead of each its own order"""


@dataclass(frozen=True)
class ENNConfig:
    """The Evaluation Neural Network."""

    readers: tuple[ReaderName, ...] = ("probes", "convnet")
    """the readers to train on the same experience; the first one instructs, the others only learn and are explained"""
    coarsening: int = 1
    """the ENN learns on runs so much coarser than the real ones (learning rate × c, steps ÷ c), nearly on the same path"""
    hidden: int = 64
    """width of the hidden layer between a reader and the value head"""
    probes: int = 32
    """probes: how many learned inputs are pushed through the target"""
    resolution: float = 0.15
    """convnet: resolution ρ of the weight image; 0.15 keeps 0.15² of the pixels"""
    interpolation: Literal["area", "bilinear"] = "area"
    """convnet: how the weight image is made smaller"""
    channels: Literal["signed", "magnitude", "both"] = "both"
    """convnet: what a pixel holds: the mean weight, the mean |weight|, or both"""
    depth: int = 3
    """convnet: number of convolutions"""
    width: int = 16
    """convnet: channels of each convolution"""
    kernel: int = 3
    """convnet: size of each convolution's kernel (odd)"""


@dataclass(frozen=True)
class InstructionConfig:
    """How an ENN's gradient is added to backpropagation's."""

    ladder: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0)
    """the levels of the strength λ that the policy chooses from; the first must be 0 (conventional training)"""
    refresh: int = 10
    """optimiser steps for which one instruction is reused, counted from the start of each period"""
    trust_region: float = 0.01
    """largest instructed step, as a fraction of each weight tensor's norm"""
    decoupled: bool = False
    """move the weights directly, beside the optimiser's step, instead of adding to the gradient that it reads"""


@dataclass(frozen=True)
class RLConfig:
    """How the ENN is trained: off-policy deep RL (DQN) on the targets' own training runs."""

    gamma: float = 0.7
    """discount per period: 0 predicts the score after one period (the paper's ENN), towards 1 the final score"""
    score: Literal["loss", "accuracy"] = "loss"
    """what is maximised on validation data: exp(-loss) or accuracy"""
    score_examples: int = 1000
    """validation examples in the reward (at most two thirds of them); the others choose strengths and draw curves"""
    period: int = 25
    """optimiser steps between two decisions on λ"""
    members: int = 128
    """targets trained at once in one environment"""
    rounds: int = 6
    """rounds of: collect runs under the current ENN, then learn"""
    updates: int = 300
    """gradient steps on the ENN per round"""
    batch_size: int = 128
    """transitions per gradient step"""
    learning_rate: float = 3e-3
    """step size of the ENN's optimiser (Adam)"""
    n_step: int = 5
    """rewards summed before the target network is asked; at least the number of decisions per run means whole returns"""
    tau: float = 0.02
    """how far the target network moves towards the ENN at each gradient step"""
    epsilon: float = 0.5
    """fraction of the policy's decisions that are taken at random while collecting"""
    replay: int = 20_000
    """transitions kept for replay"""
    env_runners: int = 0
    """Ray processes that collect runs, each with its own environment; 0 collects in the driver"""


@dataclass(frozen=True)
class RecordedConfig:
    """Learning from recorded populations, in place of rounds under the ENN itself: how a search teaches its candidates."""

    rounds: int = 0
    """where rl.rounds is 0: populations to record; rl.updates gradient steps learn from three quarters of them"""
    updates: int = 100
    """gradient steps on the ENN under which the next population is recorded, from those before"""
    settings: tuple[str, ...] = ()
    """what else is different about that ENN: settings of enn, instruction and rl, such as 'rl.gamma=0.5' (values as in JSON)"""


@dataclass(frozen=True)
class UnrollConfig:
    """Fine-tuning of the instructing ENN, after RL, through unrolled instructed training (beyond the paper)."""

    start: str = ""
    """the ENN to go on from, in place of RL: a file, or the name of one that comes with the package (with rl.rounds 0)"""
    segments: int = 0
    """gradient steps on the ENN, each through one segment of the runs of all members; 0 leaves the ENN as RL left it"""
    steps: int = 60
    """optimiser steps that the score is backpropagated through"""
    members: int = 8
    """targets trained at once; every other one starts from He"""
    strength: float = 5.0
    """λ from which the ENN's own choice of λ starts"""
    learning_rate: float = 0.01
    """step size of the ENN's optimiser (Adam), falling to 0"""
    largest_costate: float = 10.0
    """norm to which a costate is shortened; else members on a plateau, where it explodes, are all that the ENN learns from"""
    anneal: int = 0
    """steps without instruction after each segment, the learning rate falling to 0, before its end is scored; for runs whose
    learning rate is high and falls later, where a score in their midst says little"""
    folds: int = 10
    """a member trains without one of so many folds of the training data and is scored on it; 1: scored on validation data"""
    score_examples: int = 500
    """examples on which a member is scored at the end of a segment"""


@dataclass(frozen=True)
class CompareConfig:
    """The comparison of training with and without instruction."""

    arms: tuple[Arm, ...] = ("conventional", "l1", "l2", "growth", "he", "instructed", "instructed-he")
    """ways of training to compare, paired by seed"""
    baseline: Arm = "conventional"
    """the arm that every other is compared with"""
    seeds: int = 30
    """fresh targets per arm"""
    group: int = 15
    """targets trained as one population on one worker; 0: all of an arm's, or as many of them as a GPU has memory for"""
    tuning_seeds: int = 8
    """targets per candidate when a strength is chosen on validation data"""
    l1: tuple[float, ...] = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    """candidate strengths of the L1 penalty; with 0 among them, and listed first, a penalty that helps nothing is not chosen"""
    l2: tuple[float, ...] = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    """candidate strengths of the L2 penalty"""
    growth: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    """candidates for growth-tuned: times He's norm that the last layer grows to"""
    instruction: tuple[float, ...] = (-1.0, 1.0, 3.0, 10.0, 30.0, 100.0)
    """candidate strengths λ of the instruction; -1 lets the ENN's advantages choose λ at each period"""
    curve_examples: int = 2000
    """at most this many validation examples, none of them in the reward, for curves and the choice of strengths"""


@dataclass(frozen=True)
class Config:
    """Everything that decides a run's numbers."""

    seed: int = 0
    """the one seed from which every random stream is derived"""
    data: DataConfig = field(default_factory=DataConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    enn: ENNConfig = field(default_factory=ENNConfig)
    instruction: InstructionConfig = field(default_factory=InstructionConfig)
    rl: RLConfig = field(default_factory=RLConfig)
    recorded: RecordedConfig = field(default_factory=RecordedConfig)
    unroll: UnrollConfig = field(default_factory=UnrollConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)


def to_dotted(config: Any, prefix: str = "") -> dict[str, Any]:
    """``{"rl.gamma": 0.9, …}``: every setting under its dotted name, tuples as lists (JSON's types only)."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat |= to_dotted(value, f"{prefix}{item.name}.")
        else:
            flat[f"{prefix}{item.name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def from_dotted(values: dict[str, Any]) -> Config:
    """The inverse of :func:`to_dotted`; keys left out keep their defaults.

    Raises:
        UserError: an unknown key (naming the nearest right one) or a value of the wrong type.
    """
    known = to_dotted(Config())
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:80], known, n=1, cutoff=0.0)
            raise UserError(f"unknown setting {shown(key)}; did you mean {near[0]!r}?")
    return _build(Config, values, "")


def _build(kind: Any, values: dict[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
    arguments = {}
    for item in dataclasses.fields(kind):
        key = prefix + item.name
        if dataclasses.is_dataclass(hints[item.name]):
            arguments[item.name] = _build(hints[item.name], values, key + ".")
        elif key in values:
            arguments[item.name] = coerce(hints[item.name], values[key], key)
    return kind(**arguments)


def coerce(hint: Any, value: Any, key: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(coerce(options[0], item, key) for item in value)
    if origin is Literal and value in options:
        return value
    if origin in (typing.Union, types.UnionType) and value is None and type(None) in options:
        return None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if type(value) is float or abs(value) <= sys.float_info.max else math.inf  # refused by validate
    if hint in (int, str, bool) and type(value) is hint:
        return value
    if origin is tuple:
        raise UserError(f"setting {key!r} is {shown(value)}; give a list, even of one value.")
    expected = ", ".join(map(repr, options)) if origin is Literal else getattr(hint, "__name__", hint)
    raise UserError(
        f"setting {key!r} is {shown(value)}; give {'one of ' if origin is Literal else 'a value of type '}{expected}."
    )


def identity(config: Config) -> str:
    """Eight hexadecimal digits of the hash of every setting that differs from its default."""
    default = to_dotted(Config())
    changed = {key: value for key, value in to_dotted(config).items() if value != default[key]}
    return digest_of_json(changed, 8)


def validate(config: Config) -> Config:
    """The configuration itself, if its values make sense together.

    Raises:
        UserError: names the first setting that does not.
    """
    rl, enn, compare, training, instruction = config.rl, config.enn, config.compare, config.training, config.instruction
    checks: list[tuple[bool, str]] = [
        (_is_finite(value), f"{key} is {shown(value)}; give finite numbers.") for key, value in to_dotted(config).items()
    ]
    checks += [
        (key == "seed" or _is_small(value), f"{key} is {shown(value)}; give whole numbers of at most {LARGEST_COUNT}.")
        for key, value in to_dotted(config).items()
    ]
    checks += [
        (0.0 < enn.resolution <= 1.0, f"enn.resolution is {enn.resolution}; give a ρ above 0 and at most 1."),
        (0.0 <= rl.gamma < 1.0, f"rl.gamma is {rl.gamma}; give a discount of at least 0 and below 1."),
        (bool(config.target.hidden), "target.hidden is empty; give at least one hidden width."),
        (min(config.target.hidden, default=1) >= 1, f"target.hidden is {config.target.hidden}; give widths of at least 1."),
        (bool(enn.readers), "enn.readers is empty; name at least one reader."),
        (len(set(enn.readers)) == len(enn.readers), f"enn.readers is {enn.readers}; name each reader once."),
        (enn.kernel % 2 == 1 and enn.kernel >= 1, f"enn.kernel is {enn.kernel}; give an odd kernel size."),
        (
            len(instruction.ladder) >= 2 and instruction.ladder[0] == 0.0 and min(instruction.ladder[1:]) > 0,
            f"instruction.ladder is {instruction.ladder}; start it with 0 and follow with strengths above 0.",
        ),
        (0.0 < instruction.trust_region <= 1.0, f"instruction.trust_region is {instruction.trust_region}; give one in (0, 1]."),
        (
            rl.period < 1 or training.steps % rl.period == 0,  # a period below 1 is named below
            f"training.steps ({training.steps}) is no multiple of rl.period ({rl.period}); change one of them.",
        ),
        (training.learning_rate > 0, f"training.learning_rate is {training.learning_rate}; give one above 0."),
        (0.0 <= training.momentum < 1.0, f"training.momentum is {training.momentum}; give one of at least 0 and below 1."),
        (training.weight_decay >= 0, f"training.weight_decay is {training.weight_decay}; give one of at least 0."),
        (config.target.sigma > 0, f"target.sigma is {config.target.sigma}; give one above 0."),
        (rl.learning_rate > 0, f"rl.learning_rate is {rl.learning_rate}; give one above 0."),
        (0.0 < rl.tau <= 1.0, f"rl.tau is {rl.tau}; give one in (0, 1]."),
        (rl.env_runners >= 0, f"rl.env_runners is {rl.env_runners}; give at least 0."),
        (0.0 <= rl.epsilon <= 1.0, f"rl.epsilon is {rl.epsilon}; give a fraction between 0 and 1."),
        (
            rl.rounds >= 2 or (rl.rounds == 0 and bool(config.unroll.start or config.recorded.rounds)),
            f"rl.rounds is {rl.rounds}; give at least 2 (the last judges what was learned before it); or 0, and unroll.start "
            "or recorded.rounds.",
        ),
        (
            not config.unroll.start or (rl.rounds == 0 and len(enn.readers) == 1),
            "unroll.start names an ENN to go on from; set rl.rounds to 0 and one reader with it.",
        ),
        (compare.seeds >= 2, f"compare.seeds is {compare.seeds}; give at least 2, or there is no interval."),
        (
            compare.baseline in compare.arms,
            f"compare.arms lacks {compare.baseline!r}, which every arm is compared with; add it, or set compare.baseline.",
        ),
    ]
    arms = tuple(ARMS[arm] for arm in compare.arms)
    checks += [(False, sentence) for sentence in unmet(arms, enn.readers, config.unroll.segments)]
    for name in ("batch_size", "steps"):
        checks.append((getattr(training, name) >= 1, f"training.{name} is {getattr(training, name)}; give at least 1."))
    for name in ("period", "members", "batch_size", "n_step", "score_examples", "replay"):
        checks.append((getattr(rl, name) >= 1, f"rl.{name} is {getattr(rl, name)}; give at least 1."))
    for name in ("probes", "hidden", "depth", "width"):
        checks.append((getattr(enn, name) >= 1, f"enn.{name} is {getattr(enn, name)}; give at least 1."))
    checks.append((compare.group >= 0, f"compare.group is {compare.group}; give at least 0."))
    for name in ("tuning_seeds", "curve_examples"):
        checks.append((getattr(compare, name) >= 1, f"compare.{name} is {getattr(compare, name)}; give at least 1."))
    for name in dict.fromkeys(arm.strengths for arm in ARMS.values() if arm.strengths):
        checks.append((bool(getattr(compare, name)), f"compare.{name} is empty; give at least one candidate strength."))
    checks.append((instruction.refresh >= 1, f"instruction.refresh is {instruction.refresh}; give at least 1."))
    checks += _recorded_checks(config)
    checks += _unroll_checks(config)
    for holds, message in checks:
        if not holds:
            raise UserError(message)
    if config.recorded.rounds and config.recorded.settings:
        validate(recording_config(config))
    return config


def recording_config(config: Config) -> Config:
    """The settings of the ENN under which the populations are recorded that the ENN of ``config`` learns from.

    Its ladder of λ is that of ``config`` unless ``recorded.settings`` say otherwise. Nothing of ``unroll`` and ``compare``
    matters to it.

    Raises:
        UserError: ``recorded.settings`` are none.
    """
    values = to_dotted(config) | _recorded_settings(config.recorded.settings) | {"recorded.settings": []}
    return dataclasses.replace(from_dotted(values), unroll=UnrollConfig(), compare=CompareConfig())


def _recorded_settings(texts: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            if not equals or not key.startswith(("enn.", "instruction.", "rl.")) or key in values:
                raise ValueError(text)
            values[key] = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"recorded.settings has {shown(text)}; give settings of enn, instruction and rl, each once, such as "
                "'rl.gamma=0.5', with the value as in JSON."
            ) from error
    return values


def _recorded_checks(config: Config) -> list[tuple[bool, str]]:
    rl, recorded = config.rl, config.recorded
    learns = bool(recorded.rounds) and not rl.rounds
    return [
        (recorded.rounds >= 0, f"recorded.rounds is {recorded.rounds}; give at least 0."),
        (recorded.updates >= 0, f"recorded.updates is {recorded.updates}; give at least 0."),
        (
            not (learns and config.unroll.start),
            "unroll.start and recorded.rounds both say where the ENN comes from; give one of them.",
        ),
        (
            not learns or rl.members >= LEAST_RECORDED,
            f"rl.members is {rl.members}; give at least {LEAST_RECORDED} with recorded.rounds, so that every start and λ is "
            "held out.",
        ),
        (
            rl.updates >= (1 if rl.rounds else 0),
            f"rl.updates is {rl.updates}; give at least 1 (or, where rl.rounds is 0, at least 0).",
        ),
    ]


def coarsened(config: Config) -> Config:
    """What the ENN learns on: runs with c times the learning rate and 1/c of the steps, hence nearly on the same path.

    Periods and the reuse of an instruction shrink with the steps, and the trust region of a step grows with the step.
    """
    c, training, instruction = config.enn.coarsening, config.training, config.instruction
    return dataclasses.replace(
        config,
        enn=dataclasses.replace(config.enn, coarsening=1),
        training=dataclasses.replace(training, learning_rate=training.learning_rate * c, steps=training.steps // c),
        rl=dataclasses.replace(config.rl, period=config.rl.period // c),
        instruction=dataclasses.replace(
            instruction, refresh=instruction.refresh // c, trust_region=min(1.0, instruction.trust_region * c)
        ),
    )


def _unroll_checks(config: Config) -> list[tuple[bool, str]]:
    unroll, training, coarse = config.unroll, config.training, config.enn.coarsening
    if coarse < 1:
        return [(False, f"enn.coarsening is {coarse}; give at least 1.")]
    counts = (training.steps, config.rl.period, config.instruction.refresh)
    whole = coarse == 1 or all(count % coarse == 0 for count in counts)
    checks = [
        (whole, f"training.steps, rl.period and instruction.refresh {counts} must be multiples of enn.coarsening ({coarse})."),
        (unroll.segments >= 0, f"unroll.segments is {unroll.segments}; give at least 0."),
        (unroll.anneal >= 0, f"unroll.anneal is {unroll.anneal}; give at least 0."),
    ]
    for name in ("steps", "members", "folds", "score_examples"):
        checks.append((getattr(unroll, name) >= 1, f"unroll.{name} is {getattr(unroll, name)}; give at least 1."))
    for name in ("strength", "learning_rate", "largest_costate"):
        checks.append((getattr(unroll, name) > 0, f"unroll.{name} is {getattr(unroll, name)}; give one above 0."))
    if unroll.segments and whole and config.instruction.refresh >= 1 and unroll.steps >= 1:
        refresh = config.instruction.refresh // coarse
        checks += [
            (
                unroll.steps % refresh == 0,
                f"unroll.steps ({unroll.steps}) must be a multiple of instruction.refresh / enn.coarsening ({refresh}).",
            ),
            (
                unroll.steps <= training.steps // coarse,
                f"unroll.steps ({unroll.steps}) is more than a whole run of the ENN's training ({training.steps // coarse} "
                "steps); make it smaller.",
            ),
        ]
    return checks


def _is_finite(value: Any) -> bool:
    return all(math.isfinite(item) for item in (value if isinstance(value, list) else [value]) if isinstance(item, float))


def _is_small(value: Any) -> bool:
    return all(abs(item) <= LARGEST_COUNT for item in (value if isinstance(value, list) else [value]) if isinstance(item, int))


def _preset(dataset: str, hidden: tuple[int, ...], training: TrainingConfig, rl: RLConfig, **others: Any) -> Config:
    return Config(data=DataConfig(dataset), target=TargetConfig(hidden=hidden), training=training, rl=rl, **others)


_SMALL = TrainingConfig(learning_rate=0.1, batch_size=100, steps=600)
_SMALL_RL = RLConfig(rounds=6, updates=250)
_MANY = ENNConfig(probes=64)
_OFTEN = InstructionConfig(refresh=5, trust_region=0.02)
PRESETS: dict[str, Config] = {
    "digits": Config(
        enn=ENNConfig(resolution=0.3),  # 0.15 would leave 5 × 10 pixels of such small targets
        instruction=InstructionConfig(refresh=25),  # reading the weights costs as much as three steps of 32 examples
        rl=RLConfig(rounds=3),  # and 250 segments: what two minutes allow
        unroll=UnrollConfig(segments=250, steps=75),
    ),
    "mnist": _preset("mnist", (50,), _SMALL, _SMALL_RL, enn=_MANY, instruction=_OFTEN, unroll=UnrollConfig(segments=1000)),
    "fashion": _preset("fashion", (50,), _SMALL, _SMALL_RL, enn=_MANY, instruction=_OFTEN, unroll=UnrollConfig(segments=1000)),
    # on top of a tuned optimiser: the ENN of "mnist-mlp" learns on, at a quarter of the learning rate that is best for it
    "mnist-tuned": Config(
        data=DataConfig("mnist"),
        target=TargetConfig(hidden=(100,), initialisation="he"),
        training=TrainingConfig(learning_rate=0.1, momentum=0.9, schedule="cosine", batch_size=100, steps=110),
        enn=ENNConfig(readers=("probes",), probes=64),
        rl=RLConfig(rounds=0, period=10),
        instruction=InstructionConfig(refresh=2, trust_region=0.05, decoupled=True),
        unroll=UnrollConfig(
            start="mnist-mlp", segments=160, steps=50, strength=100.0, learning_rate=0.005, largest_costate=1.0
        ),
        compare=CompareConfig(arms=("conventional", "instructed")),
    ),
    "paper-shallow": _preset(
        "mnist",
        (100,),
        TrainingConfig(learning_rate=0.01, batch_size=100, steps=3850),
        RLConfig(period=350, members=64, rounds=4, updates=150, batch_size=64),
        enn=ENNConfig(readers=("probes",), probes=64, coarsening=10),
        instruction=InstructionConfig(refresh=50, trust_region=0.002),
        unroll=UnrollConfig(segments=1000),
    ),
    "paper-deep": _preset(
        "mnist",
        (100, 50),
        TrainingConfig(learning_rate=0.05, batch_size=100, steps=2750),
        RLConfig(period=250, members=64, rounds=4, updates=150, batch_size=64),
        enn=ENNConfig(readers=("probes",), probes=64, coarsening=5),
        instruction=InstructionConfig(refresh=25, trust_region=0.004),
        unroll=UnrollConfig(segments=400, largest_costate=1.0),
    ),
}
