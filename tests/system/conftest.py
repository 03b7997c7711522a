"""What the system tests share: the first commands of a user, done once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.command_line import COLLECT, PRETRAIN, RESIDUAL, RLPD, Done, typed


@dataclass(frozen=True)
class Practice:
    """A folder in which a user has collected, imitated and fine-tuned, with very small settings."""

    folder: Path
    done: dict[str, Done]

    def copy(self, folder: Path) -> Path:
        """A copy that a test may spoil."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return folder


@pytest.fixture(scope="session")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Practice:
    """Runs collect, pretrain and finetune (RLPD, residual) once."""
    folder = tmp_path_factory.mktemp("practice")
    lines = {"collect": COLLECT, "pretrain": PRETRAIN, "rlpd": RLPD, "residual": RESIDUAL}
    return Practice(folder, {name: typed(line, folder) for name, line in lines.items()})
