"""What each command takes, as dataclasses that tyro reads."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline.cluster import Placement
from pipeline.config import PRESETS, Config, DataConfig, identity
from pipeline.files import read_json


def _optional(kind: str) -> Any:
    """An option that may be left out, and says itself what holds then: without tyro's ``{None}|…`` and ``(default: None)``."""
    return tyro.conf.arg(metavar=kind, help_behavior_hint="")


FILE, TEXT, NUMBER = map(_optional, ("PATH", "STR", "INT"))


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are. None of this changes a number."""

    output: Annotated[Path | None, FILE] = None
    """folder of the results (default: runs/NAME-HASH, of a search or compare runs/search-… or runs/compare-…); given again, the
    work goes on there"""
    data_folder: Annotated[str | None, TEXT] = None
    """folder of MNIST, Fashion-MNIST and CIFAR-10 (default: $GRAD_INSTRUCTOR_DATA, else ~/.cache/grad-instructor)"""
    download: bool = False
    """fetch a data set that is not there"""
    storage_path: Annotated[str | None, TEXT] = None
    """storage that a copy of the results is kept in (NFS folder, s3://bucket/folder); another machine goes on from it"""
    tracking_uri: Annotated[str | None, TEXT] = None
    """MLflow server or database (default: $MLFLOW_TRACKING_URI, else mlflow.db in the output folder)"""
    experiment: str = "grad-instructor"
    """MLflow experiment"""
    quiet: bool = False
    """say nothing but warnings and errors; what was done is in the folder"""


@dataclass(frozen=True, kw_only=True)
class Options(Places):
    """Where things are, and which settings to start from."""

    preset: str = "digits"
    """settings to start from: digits, mnist, mnist-tuned, fashion, paper-shallow, paper-deep, pblf-digits or pblf-mnist"""
    config: Annotated[Path | None, FILE] = None
    """JSON or YAML file of settings by dotted name (a search's best.json, a run's config.json); options go before it"""
    adapt: Annotated[str | None, TEXT] = None
    """an ENN (a file, or the name of one that comes with the package) that keeps learning from the runs that it instructs,
    in place of a new one"""


@dataclass(frozen=True)
class Command:
    """What every working command takes."""

    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    placement: Annotated[Placement, tyro.conf.arg(name="")] = field(default_factory=Placement)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)

    @property
    def work(self) -> str:
        """What kind of work its folder holds: ``run``, or, without an ENN, ``compare``."""
        return "run"

    @property
    def folder(self) -> Path:
        """The output folder."""
        return (self.options.output or Path("runs") / self.name).absolute()

    @property
    def name(self) -> str:
        """Of the output folder, by default."""
        name = (
            self.options.preset
            if self.config.data == PRESETS[self.options.preset].data
            else Path(self.config.data.dataset).stem
        )
        return f"{name}-{identity(self.config)}"


@dataclass(frozen=True)
class CompareCommand(Command):
    """What ``compare`` takes: the same, in folders of its own."""

    @property
    def work(self) -> str:
        return "compare"

    @property
    def name(self) -> str:
        return f"compare-{super().name}"


@dataclass(frozen=True)
class ReportCommand(Command):
    """What ``report`` takes."""

    json: bool = False
    """print report.json (rows, duels, provenance) instead of the table; whatever else is said goes where errors go"""

    @property
    def work(self) -> str:
        """What the folder says that it holds: ``report`` reports on a comparison without an ENN as well."""
        path = self.folder / "config.json"
        saved = read_json(path) if os.path.exists(path) else None
        return "compare" if isinstance(saved, dict) and saved.get("work") == "compare" else "run"


@dataclass(frozen=True, kw_only=True)
class SearchCommand(Places):
    """What ``search`` takes."""

    file: Annotated[Path, tyro.conf.Positional]
    """a YAML file such as tune_configs/smoke.yaml: space, sampler, scheduler, budget, objectives"""
    protocol: Annotated[str | None, TEXT] = None
    """settings to start from in place of the file's preset, such as pblf-mnist for tune_configs/pblf.yaml"""
    placement: Annotated[Placement, tyro.conf.arg(name="")] = field(default_factory=Placement)


ARCHITECTURES = 500
"""that ``predict`` draws, unless told otherwise"""


@dataclass(frozen=True, kw_only=True)
class PredictCommand(Places):
    """What ``predict`` takes."""

    space: str = "nasbench201"
    """space that architectures are drawn from: nasbench201, mlp or cnn"""
    architectures: Annotated[int | None, NUMBER] = None
    """how many are drawn, uniformly, each at most once (default: 500, or all where there are fewer)"""
    predictors: tuple[str, ...] = ("gradsign", "live_params", "params")
    """names of predictors (docs/predictors.md has them all), one after the other; az_nas, and names with a plus between them,
    such as live_params+naswot, are combinations by ranks"""
    models: Annotated[str | None, TEXT] = None
    """FILE.py:FUNCTION, a function that gives networks of your own in place of a space: a list, or names and networks"""
    accuracies: Annotated[str | None, TEXT] = None
    """of networks of mlp or cnn: trained (here, afterwards), or recorded (once, on digits or Fashion-MNIST; nothing is trained)
    (default: trained)"""
    examples: int = 128
    """training examples that a predictor looks at"""
    seed: int = 0
    """of the networks' initial weights, the examples, and what is drawn"""
    data: DataConfig = field(default_factory=DataConfig)
    placement: Annotated[Placement, tyro.conf.arg(name="")] = field(default_factory=Placement)


@dataclass(frozen=True)
class Look:
    """What all commands take that only look."""

    output: Annotated[Path | None, FILE] = None
    """folder of a run (default: the newest in runs/)"""
    tracking_uri: Annotated[str | None, TEXT] = None
    """MLflow server or database (default: $MLFLOW_TRACKING_URI, else mlflow.db in the folder)"""


@dataclass(frozen=True)
class SyncCommand(Look):
    """What ``sync`` takes."""

    experiment: str = "grad-instructor"
    """MLflow experiment"""


@dataclass(frozen=True)
class UiCommand(Look):
    """What ``ui`` takes."""

    experiment: str = "grad-instructor"
    """MLflow experiment that records go to which were not sent yet"""
    host: str = "127.0.0.1"
    """address to listen on"""
    port: int = 5000
    """port to listen on"""
    open: bool = False
    """open the page in a browser"""


@dataclass(frozen=True)
class DoctorCommand(Look):
    """What ``doctor`` takes."""

    data_folder: Annotated[str | None, TEXT] = None
    """folder of the data sets (default: $GRAD_INSTRUCTOR_DATA, else ~/.cache/grad-instructor)"""
