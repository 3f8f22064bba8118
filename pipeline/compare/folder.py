"""Whether what a run's folder holds belongs together, and to the data and settings that are there now.

Every result is compared, whoever made it, before a command does any work: an ENN, the files of its training, each population
with its weights, the report (see :mod:`pipeline.results.origin`).
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.arms import ARMS, BEFORE
from pipeline.compare.run import check_populations
from pipeline.compare.tasks import final_tasks
from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic, load_critic
from pipeline.enn.files import card_of, digest_of, is_saved
from pipeline.errors import UserError, shown
from pipeline.files import read_json
from pipeline.results.checkpoints import training_fits
from pipeline.results.origin import (
    REPORTING,
    Origin,
    data_of,
    distinct,
    fits,
    learned_from,
    mapping,
    tuned_from,
)
from pipeline.results.seal import read_report
from pipeline.setting import target_of

INSTRUCTING, UNTUNED = "enn.safetensors", "enn-before.safetensors"
"""the instructing ENN; and as RL left it, where it was fine-tuned"""
RECORDED = "recorded"
"""folder, in that of a training, of the recorded populations that an ENN learns from"""


def check_data(folder: Path, dataset: Dataset, events: Iterable[Mapping[str, Any]], file: str = "config.json") -> bool:
    """Whether the folder notes its data, as every version does that notes what results are made from.

    Args:
        file: where they are noted.
        events: of its records, by which a folder of an earlier version is judged.

    Raises:
        UserError: its data are others.
    """
    path = folder / file
    noted = mapping(read_json(path)).get("data") if os.path.lexists(path) else None
    if check_noted(folder, noted, dataset):
        return True
    told = [event for event in events if event["kind"] == "dataset"]
    check_noted(folder, told[-1] if told else None, dataset)
    return False


def check_noted(folder: Path | str, noted: Any, dataset: Dataset, option: str = "--output") -> bool:
    """Whether ``noted`` says which data the results in the folder, which ``option`` names, were made from.

    Raises:
        UserError: they are others.
    """
    if "digest" not in mapping(noted):
        return False
    if noted["digest"] != dataset.digest:
        raise UserError(
            f"{folder} holds work on other data ({_described(noted)} there and {_described(data_of(dataset))} here); give the "
            f"data that it was begun with, or choose another {option}."
        )
    return True


def _described(data: Mapping[str, Any]) -> str:
    sizes = data.get("sizes")
    counts = "/".join(str(count) for count in sizes.values()) if isinstance(sizes, Mapping) else "?"
    return f"{shown(data.get('name'))} with {counts} examples and digest {shown(data['digest'])}"


def check_results(folder: Path, config: Config, dataset: Dataset, noted: bool, without_enn: bool = False) -> list[Path]:
    """The results in the folder that do not say what they were made from: an earlier version's.

    Args:
        noted: the folder notes its data, so that no such result belongs there.
        without_enn: it is no run's, and no ENN instructs in it.

    Raises:
        UserError: one is damaged, or was made from something else; the sentence names both. Or it says nothing, and should.
    """
    silent = []
    for path in _silent(folder, config, dataset, without_enn) if os.path.isdir(folder) else ():
        if noted:
            raise UserError(
                f"{path} does not say what it was made from, as the results of this version in {folder} do; put back the file "
                "that was there, or choose another --output."
            )
        silent.append(path)
    return silent


def _silent(folder: Path, config: Config, dataset: Dataset, without_enn: bool) -> Iterator[Path]:
    if not without_enn:
        yield from _check_enns(folder, config, dataset)
        yield from _check_training(folder, config, dataset)
    if without_enn or not missing_enns(folder, config):
        critics = {} if without_enn else load_enns(folder, config, dataset)
        yield from check_populations(config, dataset, critics, folder)
        yield from _check_report(folder, report_origin(config, dataset, critics), populations(folder, config))


def enn_files(config: Config) -> dict[str, str]:
    """The file names of a run's ENNs: by reader, and of the instructing one before it was fine-tuned."""
    first, *others = config.enn.readers
    files = {first: INSTRUCTING, **{reader: f"enn-{reader}.safetensors" for reader in others}}
    return files | ({BEFORE: UNTUNED} if config.unroll.segments else {})


def enn_file(config: Config, reader: str) -> str:
    """The file name of an ENN that RL trained: the instructing one is there again if it is fine-tuned afterwards."""
    files = enn_files(config)
    return files.get(BEFORE, files[reader]) if reader == config.enn.readers[0] else files[reader]


def unlearned(folder: Path, config: Config) -> list[Path]:
    """The ENNs that RL trains and that are not in the folder, or not whole."""
    files = [folder / enn_file(config, reader) for reader in config.enn.readers]
    return [path for path in files if not is_saved(path)]


def missing_enns(folder: Path, config: Config) -> list[Path]:
    """Those that a comparison needs and that are not in the folder, or not whole."""
    return [folder / file for file in _needed(config).values() if not is_saved(folder / file)]


def _needed(config: Config) -> dict[str, str]:
    """The file names of the ENNs that a comparison needs: that of before only where an arm has it."""
    before = any(ARMS[arm].enn == BEFORE for arm in config.compare.arms)
    return {name: file for name, file in enn_files(config).items() if before or name != BEFORE}


def load_enns(folder: Path, config: Config, dataset: Dataset) -> dict[str, Critic]:
    """The trained ENNs that a comparison needs, checked against the targets that they are to instruct."""
    target, critics = target_of(config, dataset), {}
    for name, file in _needed(config).items():
        critic, reader = load_critic(folder / file), config.enn.readers[0] if name == BEFORE else name
        if critic.reader_name != reader:
            raise UserError(
                f"an ENN in {folder} has the {critic.reader_name} reader where enn.readers has {reader}; "
                "train it again with `grad-instructor train-enn` in another folder."
            )
        critic.reader.check(target)
        critics[name] = critic
    return critics


def enns_made_by(folder: Path, config: Config) -> dict[str, list[dict[str, Any]]]:
    """By reader (and ``before``) the commands and commits that had a part in an ENN; none where its card does not say."""
    files = {name: folder / file for name, file in enn_files(config).items() if (folder / file).exists()}
    return {name: made_by(path) for name, path in files.items()}


def made_by(enn: Path) -> list[dict[str, Any]]:
    """The commands and commits that had a part in an ENN; none where its card does not say."""
    said = card_of(enn).get("provenance")
    return distinct(said) if isinstance(said, list) else []


def populations(folder: Path, config: Config) -> dict[str, Any]:
    """The checksums of the comparison's weights, by population."""
    names = [task.name for task in final_tasks(config, config.compare.arms, {})]
    found = {}
    for name in names:
        with suppress(UserError):  # not there, or damaged: the stage that needs it says so
            found[name] = mapping(read_json(folder / "arms" / f"{name}.json")).get("weights")
    return found


def report_origin(config: Config, dataset: Dataset, critics: Mapping[str, Critic]) -> Origin:
    """What a report is made from, beside the populations."""
    return Origin.of(config, dataset, REPORTING, {name: digest_of(critic) for name, critic in critics.items()})


def _before(folder: Path, config: Config) -> Critic | None:
    """The instructing ENN as RL left it, where it is kept."""
    return load_critic(folder / UNTUNED) if config.unroll.segments and is_saved(folder / UNTUNED) else None


def _check_enns(folder: Path, config: Config, dataset: Dataset) -> list[Path]:
    learned, tuned = learned_from(config, dataset), tuned_from(config, dataset, _before(folder, config))
    silent = []
    for file in enn_files(config).values():
        path = folder / file
        if not is_saved(path):
            continue
        load_critic(path)  # whole, and with the card that belongs to it
        card = card_of(path)
        found = card.get("origin", {"settings": card.get("settings")})
        if not fits(path, found, tuned if file == INSTRUCTING and config.unroll.segments else learned):
            silent.append(path)
    return silent


def _check_training(folder: Path, config: Config, dataset: Dataset) -> list[Path]:
    training, before = folder / "training", _before(folder, config)
    learned, files = learned_from(config, dataset), ("round-*.safetensors", "state-*.safetensors")
    files += tuple(f"{RECORDED}/{pattern}" for pattern in files)
    silent = training_fits(training, "history.json", files, learned)
    if before is None:  # what is fine-tuned anew is compared then
        return silent
    tuned = tuned_from(config, dataset, before)
    return silent + training_fits(training, "unrolled.json", ("unrolled-*.safetensors",), tuned)


def _check_report(folder: Path, origin: Origin, populations: Mapping[str, Any]) -> list[Path]:
    path = folder / "report.json"
    if not os.path.lexists(path):
        return []
    report = read_report(path)
    says = fits(path, report.get("origin"), origin)
    for name, (tested, here) in _replaced(report, populations).items() if says else ():
        raise UserError(
            f"{path} was made with the population {name} of checksum {shown(tested)} and this run has one of {shown(here)}; "
            "put back what it was made with, or delete the report to have it made of what is there."
        )
    return [] if says else [path]


def is_stale(report: Any, populations: Mapping[str, Any]) -> bool:
    """Whether a report was made of other populations: one was lost since then, and trained again with other numbers."""
    return "populations" in mapping(report) and bool(_replaced(report, populations))


def _replaced(report: Mapping[str, Any], populations: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """By name, the checksums in the report and in the folder of populations that differ in them."""
    tested = mapping(report.get("populations"))
    return {name: (tested.get(name), here) for name, here in populations.items() if tested.get(name) != here}
