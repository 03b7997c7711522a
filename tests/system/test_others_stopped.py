"""Ctrl-C in the commands around training: nothing half-written stays, and no process is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.command_line import begun, content, interrupt, records, typed

pytestmark = pytest.mark.slow


def test_experiment_keeps_its_cells(tmp_path: Path) -> None:
    line = "experiment smoke out=runs/e results=results seeds=[0]"
    run = tmp_path / "runs/e/smoke/rlpd-0"
    done = interrupt(begun(line, tmp_path, lambda: bool(records(run, "episode"))))
    assert done.status == 130
    assert done.complaint == "stopped; what was recorded is kept in runs/e: type the same command to go on"
    assert list((tmp_path / "results").iterdir()) == []
    kept = content(tmp_path / "runs/e/smoke/demos-default-0.zarr/episodes")
    said = typed(line, tmp_path, status=2, largest_file=15_000).complaint
    assert said.startswith("disk full")
    assert content(tmp_path / "runs/e/smoke/demos-default-0.zarr/episodes") == kept
    assert records(run, "episode")
