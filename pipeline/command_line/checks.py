"""What is refused before a command does any work."""

import os
from collections.abc import Mapping
from contextlib import suppress

from pipeline.command_line.folders import check_kind, check_settings, compare_kinds, compare_settings, locked, make_folder
from pipeline.command_line.work import Work, load_critics, untrained
from pipeline.config import ArchitectureConfig, Config, to_dotted
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.files import NO_JSON, parse_json
from pipeline.progress import console
from pipeline.received import refuse_links


def check(job: Work) -> bool:
    """Whether every result in the folder says what it was made from (see :func:`_check_origins`), before any work.

    Raises:
        UserError: the first thing that does not fit: the data, the folder, what an earlier command left in it.
    """
    _check_trains(job.config)
    check_fits(job.config, job.dataset)
    fetch(job)
    check_folder(job)
    _check_needs(job)
    noted = _check_origins(job)
    _check_trained(job)
    _ = job.mirror  # an address that MLflow cannot use is refused here
    return noted


def _check_trains(config: Config) -> None:
    """Raises UserError where settings are of an architecture that only searches judge."""
    if config.architecture != ArchitectureConfig():
        raise UserError(
            "architecture.* settings are a cell of NAS-Bench-201 or a convolutional network, which a search judges and no "
            "command trains; leave them out."
        )


def still_fits(job: Work) -> bool:
    """Whether all that is in the folder at the end of the work belongs together, as it did at the beginning: a file may have
    been put there meanwhile. The next command says what is wrong."""
    with suppress(UserError):
        check_folder(job)
        return _check_origins(job)
    return False


def check_folder(job: Work) -> None:
    """Raises UserError where the folder holds a run of other settings or data."""
    check_kind(job.command)
    check_settings(job.command)
    _check_data(job)


def check_fits(config: Config, dataset: Dataset) -> None:
    """What can only be known once the data are there, before any work."""
    if config.training.batch_size > len(dataset.x_train):
        raise UserError(
            f"training.batch_size is {config.training.batch_size} and {dataset.name} has {len(dataset.x_train)} training "
            "examples; give a smaller batch."
        )
    if len(dataset.y_validation) < 2:
        raise UserError(
            f"{dataset.name} has 1 validation example, and the reward and the choice of strengths need their own; "
            "give at least 2."
        )
    if "expression" in config.compare.arms:
        from pipeline.setting import signal_of

        signal_of(config, "expression")


def fetch(job: Work) -> None:
    """Take over what the storage holds, if it has come further than the folder."""
    if job.storage is None:
        return
    with locked(make_folder(job.command)):
        refuse_links(job.folder)
        count = job.storage.fetch(lambda files: _check_copy(job, files))
    if count:
        console.print(f"{count} files were fetched from {job.storage.shown}")


def _check_needs(job: Work) -> None:
    """Raises UserError where what an earlier command makes is not there, or is there and cannot be used."""
    if job.without_enn:
        return
    from pipeline.compare.folder import INSTRUCTING, missing_enns
    from pipeline.setting import load_start, target_of

    trained = os.path.lexists(job.folder / INSTRUCTING)
    missing = missing_enns(job.folder, job.config) if os.path.isdir(job.folder / "training") else []
    if job.name in ("instruct", "explain", "report") and (missing or not trained):
        if not trained:
            raise UserError(f"{job.folder} holds no ENN; train one first with `grad-instructor train-enn`.")
        files = f"{missing[0].name} and {missing[0].stem}.json"
        raise UserError(f"{job.folder} lacks an ENN ({files}); `grad-instructor train-enn` makes what is missing.")
    if trained and not missing:
        load_critics(job)
    elif job.config.unroll.start:
        load_start(job.config, target_of(job.config, job.dataset))


def _check_trained(job: Work) -> None:
    """Raises UserError where a command needs populations that are not there."""
    missing = untrained(job) if job.name in ("explain", "report") else []
    if missing:
        first = "grad-instructor compare" if job.without_enn else "grad-instructor instruct"
        raise UserError(f"{job.folder} lacks trained targets ({missing[0]}); train them first with `{first}`.")


def _check_copy(job: Work, files: Mapping[str, bytes]) -> None:
    """Raises UserError where the copy in the storage is of other data or settings; a damaged one is refused when it is here."""
    from pipeline.compare.folder import check_noted
    from pipeline.results.origin import mapping

    assert job.storage is not None
    for data in files.values():
        with suppress(*NO_JSON):
            saved = mapping(parse_json(data))
            check_noted(job.storage.shown, saved.get("data"), job.dataset, "--storage-path")
            if "settings" in saved:
                compare_kinds(job.storage.shown, saved.get("work", "run"), job.command.work)
                here = to_dotted(job.config)
                compare_settings(job.storage.shown, to_dotted(Config()) | dict(mapping(saved["settings"])), here)


def _check_data(job: Work) -> bool:
    from pipeline.compare.folder import check_data

    noted = check_data(job.folder, job.dataset, [])
    if noted or not os.path.lexists(job.folder / "records.jsonl"):
        return noted
    return check_data(job.folder, job.dataset, job.records.events)


def _check_origins(job: Work) -> bool:
    """Whether every result in the folder says what it was made from; all of them go with the data and settings of now.

    Raises:
        UserError: one does not, or is silent beside others that speak.
    """
    from pipeline.compare.folder import check_results

    silent = check_results(job.folder, job.config, job.dataset, _check_data(job), job.without_enn)
    if silent:
        console.print(
            f"warning: {silent[0]} ({len(silent)} files in all) was made by an earlier version, which did not note what it was "
            "made from; what it does say was compared, and the rest is taken as it is."
        )
    return not silent
