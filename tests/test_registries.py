"""Registries: a name is a line of ``pipeline/names.py`` and a file; nobody asks for a tensor by its place in a list."""

import ast
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from pipeline import names
from pipeline.config import Config, from_dotted
from pipeline.data.sets import DATA_SETS
from pipeline.enn.readers import READERS
from pipeline.errors import UserError
from pipeline.learning import SIGNALS
from pipeline.predictors import PREDICTORS
from pipeline.targets import ACTIVATIONS
from pipeline.targets.initialise import SCHEMES
from pipeline.targets.optimisers import OPTIMISERS
from pipeline.targets.schedules import SCHEDULES

ROOT = Path(__file__).parents[1]
REGISTRIES = {
    "ACTIVATION": (names.Activation, ACTIVATIONS, "pipeline/targets/activations", "target.activation"),
    "SCHEME": (names.Initialisation, SCHEMES, "pipeline/targets/initialise", "target.initialisation"),
    "OPTIMISER": (names.Optimiser, OPTIMISERS, "pipeline/targets/optimisers", "training.optimiser"),
    "SCHEDULE": (names.Schedule, SCHEDULES, "pipeline/targets/schedules", "training.schedule"),
    "READER": (names.ReaderName, READERS, "pipeline/enn/readers", "enn.readers"),
    "DATA_SET": (names.DataSetName, DATA_SETS, "pipeline/data/sets", None),
    "PREDICTOR": (names.PredictorName, PREDICTORS, "pipeline/predictors", None),
    "SIGNAL": (names.Signal, SIGNALS, "pipeline/learning", None),
}
PLACES = re.compile(
    r"(parameters|tensors|weights|gradients|shapes|slots|names|pairs|moved|state|product|vector|bound|\))\[\d*::2\]"
    r"|\[2 \* layer|(len\(\w*\.?(shapes|parameters|tensors)\)) // 2|if len\(\w*shape\) == 2 else"
)
"""a tensor asked for by its place, or by the number of its dimensions"""


def assigned(file):
    """Names that a module gives a value to."""
    values = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)]
    return {target.id for node in values for target in node.targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("attribute", REGISTRIES)
def test_every_file_that_offers_an_entry_is_registered(attribute):
    listed, registry, folder, _ = REGISTRIES[attribute]
    offered = {file.stem for file in (ROOT / folder).glob("*.py") if attribute in assigned(file)}
    offered |= {file.parent.name for file in (ROOT / folder).glob("*/__init__.py") if attribute in assigned(file)}
    assert offered == set(typing.get_args(listed)) == set(registry)


@pytest.mark.parametrize(("listed", "setting"), [(own[0], own[3]) for own in REGISTRIES.values() if own[3]], ids=str)
def test_settings_take_exactly_the_names_that_are_registered(listed, setting):
    several = setting == "enn.readers"
    for name in typing.get_args(listed):
        assert from_dotted({setting: [name] if several else name}) is not None
    with pytest.raises(UserError, match=f"{setting}.*one of {typing.get_args(listed)[0]!r}"):
        from_dotted({setting: ["nobody"] if several else "nobody"})
    assert Config() == from_dotted({})


def test_names_are_known_without_torch():
    script = "import sys, pipeline.names, pipeline.config; assert not {'torch', 'numpy', 'ray'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_no_tensor_is_asked_for_by_its_place():
    """Slots say which is which (:mod:`pipeline.targets.target`)."""
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("pipeline", "rl", "benchmarks", "examples", "grad_instructor")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if PLACES.search(line)
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "zip(parameters[0::2], parameters[1::2], strict=True)",
        "for number, weight in enumerate(parameters[::2], start=1):",
        "for weight in population.parameters[2::2]:",
        "weight, bias = parameters[2 * layer], parameters[2 * layer + 1]",
        "layers = len(home.shapes) // 2",
        "draw(*shape) if len(shape) == 2 else torch.zeros(shape)",
    ],
)
def test_the_search_for_places_finds_them(line):
    assert PLACES.search(line)
