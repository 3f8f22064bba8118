"""What each command takes, as dataclasses that tyro reads."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.cluster import Placement
from pipeline.config import PRESETS, Config, identity


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are. None of this changes a number."""

    output: Path | None = None
    """folder of the results (default: runs/NAME-HASH, a search's runs/search-NAME-HASH); given again, the work goes on there"""
    data_folder: str | None = None
    """folder of MNIST, Fashion-MNIST and CIFAR-10 (default: $GRAD_INSTRUCTOR_DATA, else ~/.cache/grad-instructor)"""
    download: bool = False
    """fetch a data set that is not there"""
    storage_path: str | None = None
    """storage that a copy of the results is kept in (NFS folder, s3://bucket/folder); another machine goes on from it"""
    tracking_uri: str | None = None
    """MLflow server or database (default: mlflow.db in the output folder)"""
    experiment: str = "grad-instructor"
    """MLflow experiment"""


@dataclass(frozen=True, kw_only=True)
class Options(Places):
    """Where things are, and which settings to start from."""

    preset: str = "digits"
    """settings to start from: digits, mnist, mnist-tuned, fashion, paper-shallow, paper-deep, pblf-digits or pblf-mnist"""
    config: Path | None = None
    """JSON or YAML file of settings by dotted name (a search's best.json, a run's config.json); options go before it"""
    adapt: str | None = None
    """an ENN (a file, or the name of one that comes with the package) that keeps learning from the runs that it instructs,
    in place of a new one"""


@dataclass(frozen=True)
class Command:
    """What every working command takes."""

    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    placement: Annotated[Placement, tyro.conf.arg(name="")] = field(default_factory=Placement)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)

    @property
    def folder(self) -> Path:
        """The output folder."""
        name = (
            self.options.preset
            if self.config.data == PRESETS[self.options.preset].data
            else Path(self.config.data.dataset).stem
        )
        return (self.options.output or Path("runs") / f"{name}-{identity(self.config)}").absolute()


@dataclass(frozen=True, kw_only=True)
class SearchCommand(Places):
    """What ``search`` takes."""

    file: Annotated[Path, tyro.conf.Positional]
    """a YAML file such as tune_configs/smoke.yaml: space, sampler, scheduler, budget, objectives"""
    protocol: str | None = None
    """settings to start from in place of the file's preset, such as pblf-mnist for tune_configs/pblf.yaml"""
    placement: Annotated[Placement, tyro.conf.arg(name="")] = field(default_factory=Placement)


@dataclass(frozen=True)
class Look:
    """What the commands take that only look: ui, sync, doctor."""

    output: Path | None = None
    """folder of a run (default: the newest in runs/)"""
    data_folder: str | None = None
    """folder of the data sets"""
    tracking_uri: str | None = None
    """MLflow server or database (default: mlflow.db in the folder)"""
    experiment: str = "grad-instructor"
    """MLflow experiment"""
    host: str = "127.0.0.1"
    """ui: address to listen on"""
    port: int = 5000
    """ui: port to listen on"""
