"""A world that cannot be put back, as a robot's: every transition is kept at once, and none is done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.learning import journal
from tests.robot_rl.training_fakes import Line, line_trainer, seeds_of


class Crash(Exception):
    pass


def crashed(folder: Path, step: int, **changes: Any) -> Any:
    """A run that ended just after its `step`-th step was taken."""
    trainer = line_trainer(folder, restorable=False, **changes)

    def tick(counters: Any, metrics: Any) -> None:
        if counters.step == step:
            raise Crash

    trainer.tick = tick
    trainer.resume()
    with pytest.raises(Crash):
        trainer.run()
    return trainer


@pytest.mark.parametrize("step", [1, 25, 50, 119])
def test_a_crash_at_any_step_loses_none(tmp_path: Path, step: int) -> None:
    before = crashed(tmp_path, step)
    trainer = line_trainer(tmp_path, restorable=False)
    assert trainer.resume()
    assert trainer.counters.step == trainer.replay.added == step
    for name in ("obs", "action", "reward", "terminated", "has_action"):
        np.testing.assert_array_equal(getattr(trainer.replay, name), getattr(before.replay, name), err_msg=name)
    assert trainer.counters.episode == before.counters.episode
    assert trainer.counters.robot_s == pytest.approx(0.1 * step)


def test_the_updates_that_were_due_are_made_up(tmp_path: Path) -> None:
    before = crashed(tmp_path, 50)
    assert before.counters.updates == 31
    trainer = line_trainer(tmp_path, restorable=False)
    trainer.resume()
    assert trainer.counters.updates == 31
    trainer.run()
    assert (trainer.counters.step, trainer.counters.updates, trainer.replay.added) == (120, 101, 120)


def test_the_cut_episode_is_a_truncation_and_no_transition_crosses_the_crash(tmp_path: Path) -> None:
    crashed(tmp_path, 5, eval_every=0)
    trainer = line_trainer(tmp_path, restorable=False, eval_every=0)
    trainer.resume()
    assert trainer.replay.truncated[4]
    assert not trainer.replay.terminated[4]
    trainer.run()
    rows = np.flatnonzero(trainer.replay.has_action)
    step = trainer.replay.obs[rows + 1, 0] - trainer.replay.obs[rows, 0]
    np.testing.assert_allclose(step, 0.1 * trainer.replay.action[rows, 0], atol=1e-6)


def test_a_torn_last_record_is_the_step_in_flight_and_only_that_is_lost(tmp_path: Path) -> None:
    trainer = crashed(tmp_path, 50)
    path = tmp_path / "replay" / journal.FILE
    path.write_bytes(path.read_bytes()[:-3])
    again = line_trainer(tmp_path, restorable=False)
    again.resume()
    assert again.counters.step == 49
    again.run()
    assert again.replay.added == trainer.settings.steps


def test_several_crashes_in_a_row(tmp_path: Path) -> None:
    for step in (3, 4, 33, 34, 80):
        crashed(tmp_path, step)
    trainer = line_trainer(tmp_path, restorable=False)
    trainer.resume()
    trainer.run()
    assert (trainer.counters.step, trainer.replay.added, trainer.counters.updates) == (120, 120, 101)
    again = line_trainer(tmp_path, restorable=False)
    assert again.resume()
    assert again.replay.added == 120


def test_episodes_after_a_crash_are_new_ones(tmp_path: Path) -> None:
    before = crashed(tmp_path, 50)
    trainer = line_trainer(tmp_path, restorable=False)
    trainer.resume()
    trainer.run()
    seeds = [*seeds_of(before), *seeds_of(trainer)]
    assert len(set(seeds)) == len(seeds) == trainer.counters.episode


def test_one_workplace_may_both_train_and_evaluate(tmp_path: Path) -> None:
    bench = Line(restorable=False)
    line_trainer(tmp_path, workplace=bench, evaluation=bench).run()
    assert min(bench.seeds) < 1_000_000 <= max(bench.seeds)
