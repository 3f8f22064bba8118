"""Where results come from, in words."""

from collections.abc import Mapping
from typing import Any

from pipeline.results.origin import mapping

VERSIONS = ("python", "torch", "ray", "mlflow", "numpy")


def source_facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Commit, date, versions, machine and seed, as :func:`pipeline.results.provenance.provenance` notes them."""
    hardware, commit = mapping(provenance.get("hardware")), str(provenance.get("commit"))
    dirty = " (with changes that were not committed)" if commit.endswith("-dirty") else ""
    versions = [f"grad-instructor {provenance.get('version')}", *(f"{name} {provenance.get(name)}" for name in VERSIONS)]
    machine = [str(provenance.get("platform")), str(hardware.get("cpu")), f"{hardware.get('cores')} cores"]
    machine += [f"{hardware.get('ram_gib')} GiB", *map(str, hardware.get("gpus") or [])]
    return [
        ("commit", f"{commit}{dirty}"),
        ("date", str(provenance.get("date"))),
        ("versions", ", ".join(versions)),
        ("machine", ", ".join(machine)),
        ("seed", str(provenance.get("seed"))),
    ]


def checkout(provenance: Mapping[str, Any]) -> str:
    """The line that brings back the commit."""
    return f"git checkout {str(provenance.get('commit', 'unknown')).removesuffix('-dirty')}"
