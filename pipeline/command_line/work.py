"""A command at work in a folder, and what it works with."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline import cluster, interrupts
from pipeline.command_line.options import Command
from pipeline.config import Config
from pipeline.data import Dataset, data_folder, load, sources_digest
from pipeline.progress import warn
from pipeline.results.mlflow import Mirror
from pipeline.results.provenance import provenance
from pipeline.results.records import Records
from pipeline.results.storage import Storage


@dataclass
class Work:
    """One command at work in one folder."""

    name: str
    command: Command
    line: str
    sources: str | None = None
    """what :meth:`find_sources` gave when the data were loaded"""

    @property
    def config(self) -> Config:
        return self.command.config

    @property
    def root(self) -> str:
        """The folder's own run in the records: one, whichever commands work there."""
        return self.name if self.name in ("search", "predict") else self.command.work

    @property
    def without_enn(self) -> bool:
        """No ENN is trained, and none instructs."""
        return self.command.work == "compare"

    @cached_property
    def folder(self) -> Path:
        return self.command.folder

    @cached_property
    def dataset(self) -> Dataset:
        options = self.command.options
        dataset = load(self.config.data.dataset, options.data_folder, options.download)
        self.sources = self.find_sources()
        for note in dataset.notes:
            warn(note)
        return dataset

    def find_sources(self) -> str | None:
        """What tells the data's files, as they are now, from others."""
        return sources_digest(self.config.data.dataset, data_folder(self.command.options.data_folder))

    @cached_property
    def records(self) -> Records:
        return Records(self.folder)

    @cached_property
    def mirror(self) -> Mirror:
        options = self.command.options
        return Mirror(self.folder, options.tracking_uri, options.experiment, warn)

    @cached_property
    def storage(self) -> Storage | None:
        uri = self.command.options.storage_path
        return Storage(self.folder, uri, warn) if uri else None

    @cached_property
    def provenance(self) -> dict[str, Any]:
        return provenance(self.line, self.config.seed)

    def made(self, result: Mapping[str, Any]) -> bool:
        """Whether a result is of this very call, and none that was there before."""
        by = result.get("provenance")
        return isinstance(by, Mapping) and by.get("date") == self.provenance["date"]

    def send(self, last: bool = False) -> None:
        """Tell MLflow what it has not been told yet, and keep the copy of the results up to date."""
        with interrupts.put_off():
            self.mirror.send(self.records, last)
            if self.storage and not last:
                self.storage.send()

    @property
    def at_once(self) -> int:
        """How many tasks are done at the same time."""
        placement = self.command.placement
        return cluster.worker_count(placement) if cluster.is_running() and not placement.local else 1

    def start_ray(self) -> None:
        """Start Ray or join a cluster, unless that was done."""
        cluster.start(self.command.placement, size_in_bytes(self.dataset))
        interrupts.install_again()  # Ray has put its own handlers in their place

    def child(self, name: str, title: str, params: dict[str, Any], role: str, **tags: str) -> str:
        """Start a run under the folder's own, unless it has finished; its name."""
        run = f"{self.root}/{name}"
        if self.records.status(run) != "FINISHED":
            self.start(run, title, params, role, None, **tags)
        return run

    def start(self, run: str, title: str, params: dict[str, Any], role: str, at: int | None = None, **tags: str) -> None:
        """Start a run under the folder's own, with its data.

        Args:
            role: what it is to people who compare: enn, arm, candidate, predictor.
            at: when, in ms since epoch, unless it is now.
            tags: further ones, or in place of those of this command.
        """
        told = {"role": role, "stage": self.name, "commit": self.provenance["commit"]} | tags
        self.records.start(run, title, self.root, params, told, at)
        self.tell_data(run)

    def tell_data(self, run: str) -> None:
        """Note what data a run is about."""
        self.records.dataset(run, self.dataset.name, self.dataset.digest, sizes_of(self.dataset))


def sizes_of(dataset: Dataset) -> dict[str, int]:
    """Examples in each split."""
    return {split: len(getattr(dataset, f"y_{split}")) for split in ("train", "validation", "test")}


def size_in_bytes(dataset: Dataset) -> int:
    """Of all inputs."""
    return sum(getattr(dataset, f"x_{split}").nbytes for split in ("train", "validation", "test"))


def untrained(job: Work) -> list[str]:
    """The populations of the comparison that are still to be trained."""
    from pipeline.compare import all_tasks

    return [task.name for task in all_tasks(job.config) if not (job.folder / "arms" / f"{task.name}.json").exists()]


def load_critics(job: Work) -> dict[str, Any]:
    """The trained ENNs of a run's folder, checked against the targets that they are to instruct."""
    if job.without_enn:
        return {}
    from pipeline.compare.folder import load_enns

    return load_enns(job.folder, job.config, job.dataset)
