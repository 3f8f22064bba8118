"""Configuration as a value, a run's identity, and the named random streams."""

import ast
import dataclasses
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import PRESETS, Config, ENNConfig, RLConfig, from_dotted, identity, to_dotted, validate
from pipeline.config import dotted as module
from pipeline.errors import UserError
from pipeline.seeding import numpy_stream, stream, torch_stream


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_survive_json(name):
    preset = PRESETS[name]
    assert validate(preset) is preset
    assert from_dotted(json.loads(json.dumps(to_dotted(preset)))) == preset


def test_presets_that_differ_have_names_that_differ():
    named = {name: identity(preset) for name, preset in PRESETS.items()}
    assert len(set(named.values())) == len({json.dumps(to_dotted(preset)) for preset in PRESETS.values()})


def test_every_setting_has_one_sentence_of_help_and_a_dotted_name():
    stages = [kind for path in Path(module.__file__).parent.glob("*.py") for kind in ast.parse(path.read_text()).body]
    stages = [kind for kind in stages if isinstance(kind, ast.ClassDef) and kind.name != "Config"]
    assert sorted(kind.name for kind in stages) == sorted(type(value).__name__ for value in _stages(Config()))
    for kind in stages:
        settings, helps = kind.body[1::2], kind.body[2::2]
        assert len(settings) == len(helps) and all(isinstance(setting, ast.AnnAssign) for setting in settings)
        assert all(len(ast.literal_eval(help.value)) > 5 for help in helps)
    dotted = to_dotted(Config())
    assert dotted["rl.gamma"] == RLConfig().gamma and dotted["target.hidden"] == list(Config().target.hidden)
    assert all(isinstance(value, int | float | str | bool | list) for value in dotted.values())


def _stages(config: Config) -> list:
    return [value for item in dataclasses.fields(config) if dataclasses.is_dataclass(value := getattr(config, item.name))]


def test_a_setting_reaches_its_field_and_the_others_keep_their_defaults():
    built = from_dotted({"rl.gamma": 0, "target.hidden": [100, 50], "enn.readers": ["convnet"], "training.shared_order": True})
    assert built.rl == RLConfig(gamma=0.0) and isinstance(built.rl.gamma, float)
    assert built.target.hidden == (100, 50) and built.enn.readers == ("convnet",) and built.training.shared_order is True
    assert built.compare == Config().compare and from_dotted({}) == Config()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rl.gama": 0.5}, "unknown setting 'rl.gama'; did you mean 'rl.gamma'?"),
        ({"enn.probe": 3}, "did you mean 'enn.probes'?"),
        ({"gamma": 0.5}, "did you mean 'rl.gamma'?"),
        ({"rl": {"gamma": 0.5}}, "unknown setting 'rl'"),
        ({"": 1}, "unknown setting ''"),
        ({"rl.gamma": "0.5"}, "setting 'rl.gamma' is '0.5'; give a value of type float."),
        ({"rl.gamma": True}, "setting 'rl.gamma' is True; give a value of type float."),
        ({"rl.gamma": None}, "setting 'rl.gamma' is None; give a value of type float."),
        ({"rl.period": 2.0}, "setting 'rl.period' is 2.0; give a value of type int."),
        ({"rl.period": True}, "setting 'rl.period' is True; give a value of type int."),
        ({"data.dataset": 3}, "give a value of type str."),
        ({"training.shared_order": 1}, "give a value of type bool."),
        ({"target.hidden": 32}, "setting 'target.hidden' is 32; give a list, even of one value."),
        ({"target.hidden": [32, "x"]}, "setting 'target.hidden' is 'x'; give a value of type int."),
        ({"enn.readers": "probes"}, "setting 'enn.readers' is 'probes'; give a list, even of one value."),
        ({"enn.readers": ["oracle"]}, "is 'oracle'; give one of 'probes', 'convnet', 'statistics'."),
        ({"enn.channels": ["both"]}, "give one of 'signed', 'magnitude', 'both'."),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(UserError) as caught:
        from_dotted(values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"enn.resolution": 0.0}, "ρ above 0"),
        ({"enn.resolution": 1.01}, "ρ above 0"),
        ({"enn.resolution": math.nan}, "finite"),
        ({"enn.kernel": 4}, "odd"),
        ({"enn.kernel": -1}, "odd"),
        ({"enn.readers": []}, "at least one reader"),
        ({"enn.readers": ["probes", "probes"]}, "once"),
        ({"enn.probes": 0}, "at least 1"),
        ({"enn.depth": 0}, "at least 1"),
        ({"target.hidden": []}, "at least one hidden width"),
        ({"target.hidden": [5, 0]}, "at least 1"),
        ({"target.sigma": 0.0}, "above 0"),
        ({"training.steps": 610, "rl.period": 25}, "no multiple of rl.period (25)"),
        ({"training.steps": 0}, "at least 1"),
        ({"training.learning_rate": 0.0}, "above 0"),
        ({"training.learning_rate": math.inf}, "finite"),
        ({"training.momentum": 1.0}, "below 1"),
        ({"training.weight_decay": -0.1}, "at least 0"),
        ({"instruction.ladder": [1.0, 3.0]}, "start it with 0"),
        ({"instruction.ladder": [0.0]}, "start it with 0"),
        ({"instruction.ladder": [0.0, -1.0]}, "above 0"),
        ({"instruction.ladder": [0.0, 1.0, math.nan]}, "finite"),
        ({"instruction.trust_region": 0.0}, "(0, 1]"),
        ({"instruction.refresh": 0}, "at least 1"),
        ({"rl.gamma": 1.0}, "below 1"),
        ({"rl.gamma": -0.1}, "below 1"),
        ({"rl.epsilon": 1.5}, "between 0 and 1"),
        ({"rl.rounds": 1}, "at least 2"),
        ({"rl.period": 0}, "at least 1"),
        ({"rl.members": 0}, "at least 1"),
        ({"rl.tau": 0.0}, "(0, 1]"),
        ({"rl.learning_rate": 0.0}, "above 0"),
        ({"rl.env_runners": -1}, "at least 0"),
        ({"rl.updates": 0}, "at least 1"),
        ({"rl.rounds": 0}, "recorded.rounds"),
        ({"recorded.rounds": -1}, "at least 0"),
        ({"recorded.updates": -1}, "at least 0"),
        ({"rl.members": 32, "rl.rounds": 0, "recorded.rounds": 1}, "at least 64 with recorded.rounds"),
        ({"unroll.start": "digits-mlp", "enn.readers": ["probes"], "rl.rounds": 0, "recorded.rounds": 1}, "give one of them"),
        ({"recorded.settings": ["rl.gamma:0.5"], "recorded.rounds": 1}, "'rl.gamma=0.5'"),
        ({"recorded.settings": ["training.steps=5"], "recorded.rounds": 1}, "settings of enn, instruction and rl"),
        ({"recorded.settings": ["rl.gamma=high"], "recorded.rounds": 1}, "as in JSON"),
        ({"recorded.settings": ["rl.gamma=0.5", "rl.gamma=0.5"], "recorded.rounds": 1}, "each once"),
        ({"compare.seeds": 1}, "at least 2"),
        ({"compare.arms": ["instructed"]}, "lacks 'conventional'"),
        ({"compare.arms": ["conventional", "instructed-image"], "enn.readers": ["probes"]}, "no 'convnet'"),
        ({"compare.group": -1}, "at least 0"),
        ({"compare.l1": []}, "at least one candidate"),
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused_in_one_sentence(values, message):
    with pytest.raises(UserError) as caught:
        validate(from_dotted(values))
    text = str(caught.value)
    assert message in text and next(iter(values)) in text and text.endswith(".") and "\n" not in text


# Identity

OTHER = {
    "data.dataset": "mnist",
    "target.activation": "tanh",
    "target.initialisation": "he",
    "training.optimiser": "adam",
    "training.schedule": "cosine",
    "rl.score": "accuracy",
    "recorded.settings": ["rl.gamma=0.5"],
    "unroll.start": "digits-mlp",
    "enn.interpolation": "bilinear",
    "enn.channels": "signed",
    "rule.equation": "z",
    "compare.baseline": "he",
    "rule.name": "fa",
    "architecture.table": "cifar10",
    "architecture.normalisation": "none",
    **{f"architecture.edge{edge}": "skip_connect" for edge in ("01", "02", "12", "03", "13", "23")},
}
"""settings that are names: one that is not the default"""


def test_identity_is_that_of_what_differs():
    assert identity(Config()) == identity(from_dotted(to_dotted(Config()))) == "44136fa3"  # of {}: renaming all runs is noticed
    names = {identity(Config())}
    for key, value in to_dotted(Config()).items():
        other = value[1:] or [3] if isinstance(value, list) else (not value if isinstance(value, bool) else None)
        other = {int: 4321, float: 0.4321}.get(type(value), other)  # alike, so that a name without its stage is noticed
        names.add(identity(from_dotted({key: OTHER.get(key, other)})))
    assert len(names) == len(to_dotted(Config())) + 1, "two settings share a name"


def test_a_new_setting_with_a_default_renames_no_old_run(monkeypatch):
    @dataclass(frozen=True)
    class NewENNConfig(ENNConfig):
        temperature: float = 1.0

    @dataclass(frozen=True)
    class NewConfig(Config):
        enn: NewENNConfig = field(default_factory=NewENNConfig)
        colour: str = "red"

    changed = {"rl.gamma": 0.9, "enn.width": 5}
    before = [identity(preset) for preset in PRESETS.values()] + [identity(from_dotted(changed))]
    presets = [from_dotted(to_dotted(preset)) for preset in PRESETS.values()] + [from_dotted(changed)]
    monkeypatch.setattr(module, "Config", NewConfig)
    grown = [
        NewConfig(**{item.name: getattr(old, item.name) for item in dataclasses.fields(Config)})
        for old in (replace(old, enn=NewENNConfig(**dataclasses.asdict(old.enn))) for old in presets)
    ]
    assert [identity(new) for new in grown] == before
    assert identity(replace(grown[0], colour="blue")) != before[0]


# Named streams


def test_streams_are_the_ones_of_yesterday():
    """Pinned: whoever changes them changes every recorded number."""
    assert stream(0, "data order", 1) == 9128156349754581047
    assert numpy_stream(0, "data order", 1).integers(1000, size=4).tolist() == [716, 555, 706, 960]
    drawn = torch.randint(1000, (4,), generator=torch_stream(0, "initial weights"))
    assert drawn.tolist() == [573, 771, 711, 225]


def test_streams_differ_by_seed_and_by_every_part_of_their_name():
    names = [(), ("a",), ("b",), ("a", 0), ("a", 1), ("a", "0"), (0, "a"), ("a", "b"), ("ab",), ("a, 'b",)]
    seeds = [stream(seed, *name) for seed in (0, 1, -1, 2**70) for name in names]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    one, other = (numpy_stream(0, name).random(1000) for name in ("a", "b"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


def test_streams_are_the_same_in_another_process_whatever_its_hash_seed():
    script = "from pipeline.seeding import *; print(stream(3, 'x', 1), torch_stream(3, 'x').initial_seed())"
    expected = f"{stream(3, 'x', 1)} {torch_stream(3, 'x').initial_seed()}\n"
    command, environment = [sys.executable, "-c", script], os.environ | {"PYTHONHASHSEED": "5"}
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=True)
    assert done.stdout == expected
