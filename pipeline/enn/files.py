"""An ENN as two files: ``NAME.safetensors`` (weights) and ``NAME.json`` (what they mean). No pickle, no Ray.

safetensors is imported when it is used, so that the core runs where only torch and numpy are installed.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pipeline.config import ENNConfig, from_dotted
from pipeline.enn.critic import Critic, Home
from pipeline.errors import UserError
from pipeline.targets import MLP

FORMAT = 1


def save_critic(critic: Critic, path: Path, card: dict[str, Any]) -> None:
    """Write ``path`` (.safetensors) and, last, its .json, each atomically. ``card`` says where the ENN comes from."""
    from safetensors.torch import save

    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in critic.state_dict().items()})
    description = {
        "format": FORMAT,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "reader": critic.reader_name,
        "enn": dataclasses.asdict(critic.config),
        "home": dataclasses.asdict(critic.home),
        "card": card,
    }
    _replace(path, weights)
    _replace(path.with_suffix(".json"), (json.dumps(description, indent=1) + "\n").encode())


def load_critic(path: str | Path, device: str = "cpu") -> Critic:
    """The ENN saved at ``path`` (.safetensors, with its .json beside it).

    Raises:
        UserError: a file is missing, truncated, of another version, or the two do not belong together.
    """
    path = Path(path)
    description = read_description(path)
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the ENN {path} ({error.strerror}); give the path of an enn.safetensors.") from error
    if hashlib.sha256(weights).hexdigest() != description["sha256"]:
        raise UserError(f"{path} is damaged or does not belong to {path.stem}.json; copy both files of the ENN again.")
    critic = _build(description, path)
    from safetensors.torch import load

    critic.load_state_dict(load(weights))
    return critic.to(device).eval().requires_grad_(False)


def read_description(path: Path) -> dict[str, Any]:
    """What ``path``'s .json says, with its format checked."""
    beside = path.with_suffix(".json")
    try:
        description = json.loads(beside.read_text())
    except OSError as error:
        raise UserError(
            f"cannot read {beside} ({error.strerror}); an ENN is two files, {path.name} and {beside.name}: train one with "
            "`grad-instructor train-enn` or give the path of one."
        ) from error
    except ValueError as error:
        raise UserError(f"{beside} is damaged (it is not JSON); copy both files of the ENN again.") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(f"{beside} is not an ENN of format {FORMAT}; train it again with this version of grad-instructor.")
    return description


def _build(description: dict[str, Any], path: Path) -> Critic:
    try:
        config: ENNConfig = from_dotted({f"enn.{key}": value for key, value in description["enn"].items()}).enn
        home = dict(description["home"])
        target = MLP(tuple(home["target"]["widths"]), home["target"]["activation"])
        home |= {"target": target, "ladder": tuple(home["ladder"])}
        return Critic(description["reader"], config, Home(**home))
    except (KeyError, TypeError, AttributeError, ValueError, UserError) as error:
        raise UserError(f"{path.with_suffix('.json')} does not describe an ENN of this version; train it again.") from error


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path} ({error.strerror}); free some space or choose another --output.") from error
