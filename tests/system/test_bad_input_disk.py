"""A full disk: one line, exit status 2, what was recorded stays, and the same command goes on once there is space."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.training import checkpoint as checkpoints
from tests.system.command_line import COLLECT, PRETRAIN, QUICKSTART, RLPD, content, records, typed
from tests.system.conftest import Practice

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [100, 3000])
def test_collect(practice: Practice, tmp_path: Path, size: int) -> None:
    said = typed(COLLECT, tmp_path, status=2, largest_file=size).complaint
    assert said.startswith("disk full while ")
    assert not list(tmp_path.glob("demos.zarr/episodes/0*"))
    typed(COLLECT, tmp_path)
    assert content(tmp_path / "demos.zarr") == content(practice.folder / "demos.zarr")


def test_pretrain(practice: Practice, tmp_path: Path) -> None:
    practice.copy(tmp_path)
    line = PRETRAIN.replace("runs/base", "runs/full")
    said = typed(line, tmp_path, status=2, largest_file=10_000).complaint
    assert said.startswith("disk full while writing runs/full/policy.safetensors")
    typed(line, tmp_path)
    policies = [(tmp_path / "runs" / run / "policy.safetensors").read_bytes() for run in ("base", "full")]
    assert policies[0] == policies[1]


@pytest.mark.parametrize("size", [100, 1000, 20_000])
def test_finetune(practice: Practice, tmp_path: Path, size: int) -> None:
    practice.copy(tmp_path)
    line = RLPD.replace("out=runs/x", "out=runs/full checkpoint_every=50")
    said = typed(line, tmp_path, status=2, largest_file=size).complaint
    assert said.startswith("disk full while ")
    typed(line, tmp_path)
    ends = [checkpoints.newest(tmp_path / "runs" / run / "checkpoints") for run in ("x", "full")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].step == ends[1].step == 120


def test_evaluate_and_report(practice: Practice, tmp_path: Path) -> None:
    practice.copy(tmp_path)
    size = (tmp_path / "runs/x/metrics.jsonl").stat().st_size
    before = content(tmp_path)
    for line in ("evaluate run=runs/x episodes=1", "report run=runs/x"):
        assert typed(line, tmp_path, status=2, largest_file=size).complaint.startswith("disk full")
    assert content(tmp_path) == before


def test_quickstart(tmp_path: Path) -> None:
    said = typed(QUICKSTART, tmp_path, status=2, largest_file=20_000).complaint
    assert said.startswith("disk full while ")
    kept = content(tmp_path / "runs/q/demos.zarr")
    typed(QUICKSTART, tmp_path)
    assert content(tmp_path / "runs/q/demos.zarr") == kept
    assert records(tmp_path / "runs/q", "summary")
