"""Training as a process that is killed, interrupted, or left without disk space."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from robot_rl.training import checkpoint as checkpoints
from tests.system.training_runs import Run, final, whole


@pytest.mark.slow
@pytest.mark.parametrize("world", ["pendulum", "peg"])
def test_trap_14_kills_at_random_moments_lead_to_the_same_bytes(tmp_path: Path, world: str) -> None:
    chance = random.Random(11)
    steps, changes = 250, ("checkpoint_every=60", "eval_every=120")
    whole(world, "sync", tmp_path / "whole", steps, *changes)
    for _ in range(3):
        run = Run(world, "sync", tmp_path / "killed", steps, *changes)
        run.until(chance.randrange(20, 240))
        time.sleep(chance.uniform(0.0, 0.02))
        run.kill()
    last = whole(world, "sync", tmp_path / "killed", steps, *changes)
    assert last.began > 0
    assert final(tmp_path / "whole") == final(tmp_path / "killed")
    logs = [(tmp_path / name / "replay/replay.log").read_bytes() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_world_that_cannot_be_put_back_loses_at_most_the_step_in_flight(tmp_path: Path, mode: str) -> None:
    chance, last = random.Random(12), 0
    for _ in range(3):
        run = Run("line", mode, tmp_path, 400)
        run.until(last + chance.randrange(5, 80))
        time.sleep(chance.uniform(0.0, 0.02))
        run.kill()
        assert run.began >= last
        last = run.last_step
    end = whole("line", mode, tmp_path, 400)
    assert end.began >= last
    assert end.last_step == 400
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert found is not None
    assert (found.step, found.counters["replay_added"], found.counters["updates"]) == (400, 400, 381)


@pytest.mark.parametrize("mode", ["sync", pytest.param("async", marks=pytest.mark.slow)])
def test_ctrl_c_saves_and_the_run_goes_on(tmp_path: Path, mode: str) -> None:
    run = Run("line", mode, tmp_path, 300)
    run.until(100)
    run.interrupt()
    status, error = run.end()
    assert status == 130
    assert error.strip() == "stopping: saving first (once more: at once, going back to the last checkpoint)"
    again = whole("line", mode, tmp_path, 300)
    assert again.began == run.last_step >= 100


@pytest.mark.slow
def test_trap_20_a_full_disk_gives_one_line_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    whole("pendulum", "sync", tmp_path / "whole", 420)
    size = len(final(tmp_path / "whole"))
    run = Run("pendulum", "sync", tmp_path / "full", 420)
    run.until(210)
    run.kill()
    before = checkpoints.newest(tmp_path / "full/checkpoints")
    assert before is not None
    status, error = Run("pendulum", "sync", tmp_path / "full", 420, f"largest_file={size - 1}").end()
    assert status == 2
    assert error.startswith("program: disk full while ")
    assert len(error.splitlines()) == 1
    after = checkpoints.newest(tmp_path / "full/checkpoints")
    assert after is not None
    assert after.step == before.step
    whole("pendulum", "sync", tmp_path / "full", 420)
    assert final(tmp_path / "whole") == final(tmp_path / "full")
