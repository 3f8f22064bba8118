"""Grad-Instructor by its public name: networks (ENNs) whose gradients instruct the training of other networks.

    from grad_instructor import Instructor

Everything here is made elsewhere, in ``pipeline`` and ``rl``, and is imported when it is first asked for: ``import
grad_instructor`` alone imports no torch. A new name is one line of ``HOMES``, one of the imports for type checkers, and one of
``__all__``; a test holds the three against each other.
"""

import importlib
import sys
from typing import TYPE_CHECKING

from grad_instructor.neighbours import Shadowed, check, is_command_line

if TYPE_CHECKING:
    from grad_instructor import integrations, learning, predictors, targets
    from grad_instructor.calls import Report, SearchReport, run, search
    from pipeline import __version__
    from pipeline.cluster import Placement
    from pipeline.config import (
        PRESETS,
        ArchitectureConfig,
        CompareConfig,
        Config,
        DataConfig,
        ENNConfig,
        EvolutionConfig,
        InstructionConfig,
        RecordedConfig,
        RLConfig,
        RuleConfig,
        TargetConfig,
        TrainingConfig,
        UnrollConfig,
        from_dotted,
        to_dotted,
    )
    from pipeline.data import Dataset
    from pipeline.data import load as load_dataset
    from pipeline.enn import Critic, Home
    from pipeline.enn import load_critic as load
    from pipeline.enn import save_critic as save
    from pipeline.enn.files import shipped
    from pipeline.enn.readers import READERS, Reader, Unreadable
    from pipeline.errors import UserError
    from pipeline.instruction import L1, L2, Backprop, Batch, Growth, Instruct, Instructor, RandomPush, Rule, Term, Update
    from pipeline.instruction.guard import Guard
    from pipeline.instruction.loop import Trace, train
    from pipeline.results.records import Records
    from pipeline.search.plan import Plan
    from pipeline.search.reading import read_plan
    from pipeline.targets import MLP, Batches, Population, Slot, Target, initialise

HOMES = {
    "__version__": "pipeline",
    # networks, and training them
    "MLP": "pipeline.targets",
    "Target": "pipeline.targets",
    "Slot": "pipeline.targets",
    "Population": "pipeline.targets",
    "Batches": "pipeline.targets",
    "initialise": "pipeline.targets",
    "train": "pipeline.instruction.loop",
    "Trace": "pipeline.instruction.loop",
    "Rule": "pipeline.instruction",
    "Batch": "pipeline.instruction",
    "Update": "pipeline.instruction",
    "Term": "pipeline.instruction",
    "Backprop": "pipeline.instruction",
    "L1": "pipeline.instruction",
    "L2": "pipeline.instruction",
    "Growth": "pipeline.instruction",
    "RandomPush": "pipeline.instruction",
    # ENNs, and instructing with them
    "Instructor": "pipeline.instruction",
    "Instruct": "pipeline.instruction",
    "Guard": "pipeline.instruction.guard",
    "Critic": "pipeline.enn",
    "Home": "pipeline.enn",
    "load": "pipeline.enn:load_critic",
    "save": "pipeline.enn:save_critic",
    "shipped": "pipeline.enn.files",
    "READERS": "pipeline.enn.readers",
    "Reader": "pipeline.enn.readers",
    "Unreadable": "pipeline.enn.readers",
    # data
    "Dataset": "pipeline.data",
    "load_dataset": "pipeline.data:load",
    # settings
    "Config": "pipeline.config",
    "DataConfig": "pipeline.config",
    "TargetConfig": "pipeline.config",
    "TrainingConfig": "pipeline.config",
    "RuleConfig": "pipeline.config",
    "ENNConfig": "pipeline.config",
    "EvolutionConfig": "pipeline.config",
    "ArchitectureConfig": "pipeline.config",
    "InstructionConfig": "pipeline.config",
    "RLConfig": "pipeline.config",
    "RecordedConfig": "pipeline.config",
    "UnrollConfig": "pipeline.config",
    "CompareConfig": "pipeline.config",
    "PRESETS": "pipeline.config",
    "from_dotted": "pipeline.config",
    "to_dotted": "pipeline.config",
    # whole commands
    "run": "grad_instructor.calls",
    "Report": "grad_instructor.calls",
    "search": "grad_instructor.calls",
    "SearchReport": "grad_instructor.calls",
    "Records": "pipeline.results.records",
    "read_plan": "pipeline.search.reading",
    "Plan": "pipeline.search.plan",
    "Placement": "pipeline.cluster",
    "UserError": "pipeline.errors",
    # namespaces
    "integrations": "grad_instructor.integrations:",
    "learning": "grad_instructor.learning:",
    "predictors": "grad_instructor.predictors:",
    "targets": "grad_instructor.targets:",
}
"""Where each name is made: ``module``, ``module:another name there``, or ``module:`` for the module itself."""

__all__ = [
    "L1",
    "L2",
    "MLP",
    "PRESETS",
    "READERS",
    "ArchitectureConfig",
    "Backprop",
    "Batch",
    "Batches",
    "CompareConfig",
    "Config",
    "Critic",
    "DataConfig",
    "Dataset",
    "ENNConfig",
    "EvolutionConfig",
    "Growth",
    "Guard",
    "Home",
    "Instruct",
    "InstructionConfig",
    "Instructor",
    "Placement",
    "Plan",
    "Population",
    "RLConfig",
    "RandomPush",
    "Reader",
    "RecordedConfig",
    "Records",
    "Report",
    "Rule",
    "RuleConfig",
    "SearchReport",
    "Shadowed",
    "Slot",
    "Target",
    "TargetConfig",
    "Term",
    "Trace",
    "TrainingConfig",
    "Unreadable",
    "UnrollConfig",
    "Update",
    "UserError",
    "__version__",
    "from_dotted",
    "initialise",
    "integrations",
    "learning",
    "load",
    "load_dataset",
    "predictors",
    "read_plan",
    "run",
    "save",
    "search",
    "shipped",
    "targets",
    "to_dotted",
    "train",
]

if not TYPE_CHECKING:  # or a type checker would take every misspelt name for one of ours

    def __getattr__(name: str) -> object:
        home = HOMES.get(name)
        if home is None:
            raise AttributeError(f"grad_instructor has no {name!r}", name=name, obj=sys.modules[__name__])
        check(["pipeline"])
        module, alias, other = home.partition(":")
        found = importlib.import_module(module)
        value = found if alias and not other else getattr(found, other or name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})


if not is_command_line():
    check(["pipeline"])  # rl is looked for where it is needed: most loops never do
