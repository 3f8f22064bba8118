"""Training an ENN: rounds of collecting runs under the current ENN and learning from all of them, with RLlib's DQN.

Everything random in a round depends on (seed, round) alone, and everything else that a round needs (the critics, their target
copies, the optimiser, the recordings) is written after it, atomically. So a training that was killed continues with the round
that it was in and ends with the same numbers.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.compare.folder import INSTRUCTING, RECORDED, enn_file, made_by, unlearned
from pipeline.config import Config, coarsened, to_dotted
from pipeline.data.dataset import Dataset
from pipeline.enn import load_critic, save_critic
from pipeline.enn.files import is_saved
from pipeline.files import write_json
from pipeline.results.checkpoints import begun, read_history
from pipeline.results.origin import Origin, distinct, learned_from, tuned_from
from rl.algorithm import ENNTraining, build, critics_of
from rl.critics import at_home, first_critic
from rl.offline.training import learn_from_recordings
from rl.rounds import checkpoints, play_round, restore
from rl.unrolled import fine_tune


def train_enn(
    config: Config,
    dataset: Dataset,
    folder: Path,
    on_round: Callable[[dict[str, Any]], None] | None = None,
    device: str = "cpu",
    gpus: float = 0.0,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train the ENNs of ``config`` and export each to ``folder``/enn*.safetensors; return the history and the files.

    Continues where an earlier call in the same folder stopped; returns at once where it had finished. Ray must be running.

    Args:
        on_round: called after every round with its row of the history (also for rounds that were done earlier).
        device: of the environment and learner in this process.
        gpus: GPUs per env runner, where the runs are collected in processes of their own.
        provenance: command, commit and date, which the results carry.

    Raises:
        UserError: what ``folder`` holds was made from other data, settings or ENNs.
    """
    origin = learned_from(config, dataset, provenance)
    if config.unroll.start:
        return _start_from(config, dataset, folder, origin)
    if not config.rl.rounds:
        return _from_recordings(config, dataset, folder, origin)
    real, config, training = config, coarsened(config), folder / "training"
    history = read_history(training / "history.json", origin)
    learns = len(history) < config.rl.rounds or bool(unlearned(folder, real))
    if learns:
        history = begun(history, lambda rounds: checkpoints(training, rounds))
    for row in history:
        if on_round:
            on_round(row)
    if learns:
        algorithm = build(config, dataset, device, gpus)
        try:
            restore(algorithm, training, len(history), origin)
            for number in range(len(history), config.rl.rounds):
                history.append(play_round(algorithm, config, training, number, origin))
                write_json(training / "history.json", history)
                if on_round:
                    on_round(history[-1])
            _export(algorithm, real, folder, history, origin)
        finally:
            algorithm.stop()
    files = {name: f"{enn_file(config, name)}" for name in config.enn.readers}
    return {"history": history, "files": files}


def _export(algorithm: ENNTraining, config: Config, folder: Path, history: list[dict[str, Any]], origin: Origin) -> None:
    """Each ENN as safetensors + JSON; the instructing one last, so that its presence means that all are there."""
    for name, critic in reversed(critics_of(algorithm).items()):
        card = {
            "settings": to_dotted(config),
            "rounds": len(history),
            "error": history[-1][f"error/{name}"],
            "kendall": history[-1][f"kendall/{name}"],
            "instructs": name == config.enn.readers[0],
            **_card(origin, history),
        }
        save_critic(at_home(critic, config), folder / enn_file(config, name), card)


def _start_from(config: Config, dataset: Dataset, folder: Path, origin: Origin) -> dict[str, Any]:
    """The ENN that ``unroll.start`` names, as if RL had trained it."""
    reader, file = config.enn.readers[0], folder / enn_file(config, config.enn.readers[0])
    if not is_saved(file):
        critic = first_critic(config, dataset)
        write_json(folder / "training" / "history.json", [])
        save_critic(critic, file, {"settings": to_dotted(config), "start": config.unroll.start} | _card(origin, []))
    return {"history": [], "files": {reader: file.name}}


def _from_recordings(config: Config, dataset: Dataset, folder: Path, origin: Origin) -> dict[str, Any]:
    """The ENNs that learn from recorded populations, one reader after the other; the instructing one last, as everywhere."""
    for reader in reversed(config.enn.readers):
        file = folder / enn_file(config, reader)
        if not is_saved(file):
            critic = learn_from_recordings(config, dataset, reader, folder / "training" / RECORDED, origin)
            card = {"settings": to_dotted(config), "instructs": reader == config.enn.readers[0]} | _card(origin, [])
            save_critic(at_home(critic, config), file, card)
    write_json(folder / "training" / "history.json", [])
    return {"history": [], "files": {reader: enn_file(config, reader) for reader in config.enn.readers}}


def fine_tune_enn(
    config: Config,
    dataset: Dataset,
    folder: Path,
    on_segment: Callable[[dict[str, Any]], None] | None = None,
    device: str = "cpu",
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fine-tune the instructing ENN of ``folder`` (see :mod:`rl.unrolled`); the history and the file that was written."""
    if device == "cpu":
        torch.set_num_threads(1)  # sums depend on their number, and a search judges with one
    path, tuned = folder / enn_file(config, config.enn.readers[0]), folder / INSTRUCTING
    if is_saved(tuned) and not (folder / "training" / "unrolled.json").exists():
        return {"history": [], "file": tuned.name}  # it was done, and populations know this ENN: it is not made anew
    before = load_critic(path)
    origin = tuned_from(config, dataset, before, provenance)
    critic, history = fine_tune(coarsened(config), dataset, before, folder / "training", on_segment, device, origin)
    card = {"settings": to_dotted(config), "rounds": config.rl.rounds, "segments": len(history) and history[-1]["segment"]}
    card |= {"error": history[-1]["error"], "instructs": True} | _card(origin, history)
    card["provenance"] = distinct([*made_by(path), *card["provenance"]])
    save_critic(at_home(critic, config), tuned, card)
    return {"history": history, "file": tuned.name}


def _card(origin: Origin, history: list[dict[str, Any]]) -> dict[str, Any]:
    """What an ENN was made from, and the commands and commits that had a part in it."""
    made_by = [row.get("provenance", {}) for row in history]
    return {"origin": origin.as_json(), "provenance": distinct(made_by or [origin.provenance])}
