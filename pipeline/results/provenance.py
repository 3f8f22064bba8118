"""Where a result comes from: command, commit, seed, versions, hardware, date."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "ray", "mlflow", "numpy")
FOUND = "benchmarks/results"


def provenance(command: str, seed: int) -> dict[str, Any]:
    """What is printed beside a result so that it can be doubted; imports no heavy package."""
    return {
        "command": command,
        "seed": seed,
        "commit": commit(PACKAGE),
        "version": _version("grad-instructor"),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "hardware": hardware(),
        "platform": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit(package: Path) -> str:
    """The commit of the checkout that ``package`` lies in, with "-dirty" after changes to tracked files; else "unknown".

    What a benchmark found (``benchmarks/results``) changes no number that the next one finds, and does not count. A package
    that is merely installed somewhere below another repository (its .venv, say) is no checkout.
    """
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != package.parent:
        return "unknown"
    head = _git(package, "rev-parse", "HEAD")
    counted = ("--", ".", f":(exclude){FOUND}")
    changes = _git(package.parent, "status", "--porcelain", "--untracked-files=no", *counted)
    return "unknown" if not head else head + ("-dirty" if changes else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where git is absent or knows nothing of ``folder``."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, memory in GiB, and GPUs if torch is already imported and sees any."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _processor(), "cores": cores, "ram_gib": round(_memory() / 2**30, 1), "gpus": _gpus()}


def _memory() -> int:
    """In bytes; also where only torch and numpy are installed."""
    try:
        import psutil
    except ImportError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return psutil.virtual_memory().total


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
