"""Optuna's studies without their files, where it does not matter where they lie: SQLite takes longer than all proposals."""

from pathlib import Path

import optuna
import pytest

from pipeline.search import propose


def keep_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies by their folder, kept from one search in it to the next."""
    kept: dict[Path, optuna.Study] = {}

    def study(plan, group, folder: Path) -> optuna.Study:
        directions = [propose.DIRECTIONS[direction] for _, direction in plan.objectives]
        return kept.setdefault(folder, optuna.create_study(directions=directions))

    monkeypatch.setattr(propose, "_study", study)
