"""``grad-instructor doctor``: what is here."""

from collections.abc import Mapping
from typing import Any

from pipeline.command_line.options import DoctorCommand
from pipeline.data import found
from pipeline.progress import console
from pipeline.results.mlflow import health
from pipeline.results.provenance import provenance


def command(look: DoctorCommand, _line: str) -> int:
    """What is here."""
    facts = provenance("grad-instructor doctor", 0)
    for name, value in facts.items():
        if name not in ("command", "seed"):
            console.print(f"{name:<16} {_fact(value)}")
    import torch

    devices = [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    console.print(f"{'devices':<16} cpu{''.join(', ' + device for device in devices)}")
    for name, state in found(look.data_folder).items():
        console.print(f"{'data ' + name:<16} {state}")
    console.print(f"{'tracking':<16} {health(look.tracking_uri, look.output)}")
    return 0


def _fact(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, Mapping) else str(value)
