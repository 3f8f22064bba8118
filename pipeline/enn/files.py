"""An ENN as two files: ``NAME.safetensors`` (weights) and ``NAME.json`` (what they mean). No pickle, no Ray.

The .json holds one checksum over the weights and over what it says about them, so that no damaged ENN is ever used.
safetensors is imported when it is used, so that the core runs where only torch and numpy are installed.
"""

import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import torch

from pipeline.config import ENNConfig, from_dotted
from pipeline.enn.critic import Critic, Home
from pipeline.errors import UserError, nearest, shown
from pipeline.files import NO_JSON, PARSED, parse_json, plain_bytes, write_atomic, write_json
from pipeline.targets import MLP

FORMAT = 2
AGAIN = "copy both files of the ENN again, or delete them in the run's folder where `train-enn` made them, and does so again"
_MALFORMED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError, MemoryError, UserError)
"""what building an ENN from a description that makes none may raise"""


def save_critic(critic: Critic, path: str | Path, card: dict[str, Any]) -> None:
    """Write ``path`` (.safetensors) and, last, its .json, each atomically.

    Args:
        card: where the ENN comes from, in JSON's types; for readers, never used.

    Raises:
        UserError: the folder cannot be written to.
    """
    path, weights, description = Path(path), _weights(critic), _description(critic)
    description = {"format": FORMAT, "sha256": _checksum(weights, description), **description, "card": card}
    write_atomic(path, weights)
    write_json(path.with_suffix(".json"), description)


def is_saved(path: Path) -> bool:
    """Whether an ENN is there with both of its files: a kill between them leaves one, and one may be lost."""
    return os.path.lexists(path) and os.path.lexists(path.with_suffix(".json"))


def digest_of(critic: Critic) -> str:
    """16 hexadecimal digits of the SHA-256 of an ENN: its weights and what they mean, wherever it is kept."""
    return _checksum(_weights(critic), _description(critic))[:16]


def card_of(path: Path) -> dict[str, Any]:
    """Where the ENN at ``path`` says that it comes from.

    Raises:
        UserError: its .json is missing or damaged.
    """
    card = read_description(path).get("card")
    return card if isinstance(card, dict) else {}


def _weights(critic: Critic) -> bytes:
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in critic.state_dict().items()})


def _description(critic: Critic) -> dict[str, Any]:
    own = {"enn": dataclasses.asdict(critic.config), "home": dataclasses.asdict(critic.home)}
    return {"reader": critic.reader_name, **own}


SHIPPED = Path(__file__).parent / "shipped"


def shipped() -> list[str]:
    """Names of the ENNs that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def _shipped(name: str) -> Path:
    return SHIPPED / f"{name}.safetensors"


def load_critic(path: str | Path, device: str = "cpu") -> Critic:
    """The ENN saved at ``path`` (.safetensors, with its .json beside it), or one that comes with the package, by its name.

    Raises:
        UserError: a file is missing, truncated, of another version, or the two do not belong together; or there is no such
            device.
    """
    place = checked_device(device)
    path = _shipped(path) if isinstance(path, str) and path in shipped() else Path(path)
    description = read_description(path)
    try:
        weights = plain_bytes(path, times=2)
    except OSError as error:
        raise UserError(f"cannot read the ENN {path} ({error.strerror}); give the path of an enn.safetensors.") from error
    if _checksum(weights, description) != description.get("sha256"):
        raise UserError(f"{path} is damaged or does not belong to {path.stem}.json; {AGAIN}.")
    return _build(description, weights, path).to(place).eval().requires_grad_(False)


def checked_device(name: str | torch.device) -> torch.device:
    """The device of this name.

    Raises:
        UserError: there is none.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch says so by either
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise UserError(
            f"device is {shown(name)}, which this machine or this torch has not; give one of {', '.join(there)}."
        ) from error
    return device


def read_description(path: Path) -> dict[str, Any]:
    """What ``path``'s .json says, with its format checked."""
    beside = path.with_suffix(".json")
    try:
        description = parse_json(plain_bytes(beside, PARSED))
    except OSError as error:
        raise UserError(
            f"cannot read {beside} ({error.strerror}); an ENN is two files, {path.name} and {beside.name}: train one with "
            f"`grad-instructor train-enn`, give the path of one, or the name of one of the package: {', '.join(shipped())}"
            f"{_meant(path)}."
        ) from error
    except NO_JSON as error:
        raise UserError(f"{beside} is damaged (it is not JSON); {AGAIN}.") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(f"{beside} is not an ENN of format {FORMAT}; train it again with this version of grad-instructor.")
    return description


def _meant(path: Path) -> str:
    """The ENN of the package that was probably meant, where a name was given and no path."""
    is_name = path.parent == Path() and path.suffix == ""
    return f" (did you mean {nearest(path.name, shipped())!r}?)" if is_name else ""


def _checksum(weights: bytes, description: dict[str, Any]) -> str:
    """Of the weights and of all that decides what they mean."""
    meaning = json.dumps([description.get(key) for key in ("reader", "enn", "home")], sort_keys=True)
    return hashlib.sha256(hashlib.sha256(weights).digest() + meaning.encode()).hexdigest()


def _build(description: dict[str, Any], weights: bytes, path: Path) -> Critic:
    """The ENN that the description and the weights make. Both were written by us or by somebody who can make checksums."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        config: ENNConfig = from_dotted({f"enn.{key}": value for key, value in description["enn"].items()}).enn
        if min(config.probes, config.hidden, config.depth, config.width, config.kernel) < 1:
            raise ValueError("a size is below 1")
        home = dict(description["home"])
        target = MLP(tuple(home["target"]["widths"]), home["target"]["activation"])
        home |= {"target": target, "ladder": tuple(home["ladder"])}
        tensors = load(weights)
        if description["reader"] == "convnet" and config.depth > len(tensors):  # or it might take for ever to build
            raise ValueError("more layers than tensors")
        if len({tensor.dtype for tensor in tensors.values()}) != 1:
            raise ValueError("tensors of several types")
        with torch.device("meta"):  # so that a size which does not fit the weights is found out before it takes memory
            critic = Critic(description["reader"], config, _home(home))
        critic.load_state_dict(tensors, assign=True)
        return critic
    except (*_MALFORMED, SafetensorError) as error:
        raise UserError(f"{path.with_suffix('.json')} does not describe an ENN of this version; train it again.") from error


def _home(values: dict[str, Any]) -> Home:
    """Raises TypeError or ValueError where a value is none that instruction could use."""
    home = Home(**values)
    numbers = (home.learning_rate, home.trust_region, home.strength, home.scale, *home.ladder)
    if not home.ladder or not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise TypeError("a number is none")
    if not all(type(count) is int and count >= 1 for count in (home.steps, home.period, home.refresh, *home.target.widths)):
        raise ValueError("a count is below 1")
    return home
