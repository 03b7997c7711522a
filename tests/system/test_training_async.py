"""Actor and learner as two processes: neither outlives the other, and nothing that was recorded is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import UserError
from robot_rl.metrics import read_metrics
from robot_rl.training import checkpoint as checkpoints
from robot_rl.training.asynchronous import AsyncTrainer
from robot_rl.training.pacing import Pacing
from robot_rl.training.recipe import AgentRecipe
from robot_rl.training.seam import Weights
from robot_rl.training.settings import TrainSettings
from robot_rl.training.workplace import Outcome
from tests.robot_rl.training_fakes import TINY, Line, line_trainer
from tests.system.training_runs import Run, gone, whole


def async_trainer(
    folder: Path, workplace: Line | None = None, pacing: Pacing | None = None, **changes: Any
) -> AsyncTrainer:
    figures: dict[str, Any] = {"steps": 200, "warmup": 20, "eval_every": 60, "eval_episodes": 2, "checkpoint_every": 50}
    settings = TrainSettings(**figures | changes)
    recipe = AgentRecipe("rlpd", 2, ("dx",), TINY)
    records: list[dict[str, Any]] = []
    place = workplace or Line()
    trainer = AsyncTrainer(
        recipe.build(), place, Line(), None, folder, settings, records.append, recipe=recipe, pacing=pacing
    )
    trainer.records = records  # type: ignore[attr-defined]
    return trainer


def test_a_whole_run_does_all_its_updates_and_ends_its_learner(tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    trainer = async_trainer(tmp_path)
    assert not trainer.resume()
    trainer.run()
    assert (trainer.counters.step, trainer.counters.updates) == (200, 181)
    assert not trainer.running
    assert os.sched_getaffinity(0) == cores
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert found is not None
    assert found.agent["updates"][0] == 181
    for name, array in trainer.agent.state().items():
        np.testing.assert_array_equal(array, found.agent[name], err_msg=name)
    sync = line_trainer(tmp_path, steps=200)
    assert sync.resume()
    assert sync.counters.step == 200


def test_updates_a_step_keep_their_bounds_all_the_way(tmp_path: Path) -> None:
    pacing = Pacing(updates_per_step=2.0, max_ahead_steps=3)
    trainer = async_trainer(tmp_path, pacing=pacing, eval_every=0)
    seen: list[tuple[int, int]] = []
    trainer.tick = lambda counters, metrics: seen.append((counters.step, trainer.seam.credit.updates))
    trainer.run()
    for step, updates in seen:
        due = 2.0 * max(0, step - 19)
        assert due - 2.0 * (pacing.max_ahead_steps + 1) <= updates <= due
    assert trainer.counters.updates == 362


def test_demonstrations_reach_the_learner(tmp_path: Path) -> None:
    demos = line_trainer(tmp_path / "demos", eval_every=0)
    demos.run()
    trainer = async_trainer(tmp_path / "run", eval_every=0, steps=60)
    trainer.demos = demos.replay
    trainer.run()
    updates = [record for record in trainer.records if record["kind"] == "update"]  # type: ignore[attr-defined]
    assert "td_error_demo" in updates[-1]


def test_an_unknown_setting_in_the_recipe_is_told_by_the_learner_in_one_line(tmp_path: Path) -> None:
    trainer = async_trainer(tmp_path)
    trainer.recipe = AgentRecipe("rlpd", 2, ("dx",), {"hiden": (8,)})
    with pytest.raises(UserError, match="the learner stopped: unknown agent option 'hiden'; did you mean hidden"):
        trainer.run()
    assert not trainer.running


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_hung_learner_stops_the_actor_within_seconds_and_nothing_is_lost(
    tmp_path: Path, end: signal.Signals
) -> None:
    run = Run("line", "async", tmp_path, 100_000)
    run.until(150)
    os.kill(run.learner, end)
    began = time.monotonic()
    status, error = run.end()
    assert time.monotonic() - began < 30.0
    assert status == 2
    told = "ended (killed by SIGKILL)" if end is signal.SIGKILL else "has been silent for"
    assert told in error
    assert "what was recorded is kept; type the same command to go on" in error
    assert len(error.splitlines()) == 1
    assert gone(run.learner)
    again = whole("line", "async", tmp_path, run.last_step + 20)
    assert again.began >= run.last_step  # recorded, but its line not printed any more


def test_a_killed_actor_takes_its_learner_along(tmp_path: Path) -> None:
    run = Run("line", "async", tmp_path, 100_000)
    run.until(100)
    run.kill()
    assert gone(run.learner)


def test_ctrl_c_ends_both(tmp_path: Path) -> None:
    run = Run("line", "async", tmp_path, 100_000)
    run.until(60)
    run.interrupt()
    status, _ = run.end()
    assert status == 130
    assert gone(run.learner)


class Forging(Line):
    """Puts weights of its own making in place of the learner's, as a broken learner would."""

    trainer: AsyncTrainer
    forged: Weights
    from_step = 60

    def step(self, action: Any, source: int = 0) -> Outcome:
        seam = self.trainer.seam
        if self.trainer.counters.step == self.from_step:
            genuine = seam._take_weights
            seam._take_weights = lambda weights: genuine(self.forged)  # type: ignore[method-assign]
        return super().step(action, source)


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (
            Weights.of(10**6, {"actor": np.full(3, np.nan, np.float32)}),
            "version 1000000 has numbers that are not finite in actor",
        ),
        (Weights(10**6, {"actor": np.zeros(3, np.float32)}, 1), "version 1000000 does not fit its checksum"),
        (Weights.of(1, {"actor": np.zeros(3, np.float32)}), "version 1 is older than version "),
    ],
)
def test_trap_13_bad_or_older_weights_never_act_and_a_stale_policy_stops(
    tmp_path: Path, forged: Weights, message: str
) -> None:
    place = Forging()
    pacing = Pacing(max_ahead_steps=10, max_policy_age_steps=30)
    place.forged = forged
    place.trainer = trainer = async_trainer(tmp_path, place, pacing, eval_every=0, checkpoint_every=1000)
    with pytest.raises(UserError, match=rf"the policy is \d+ steps old, more than 30: {message}"):
        trainer.run()
    assert trainer.counters.step < 120
    again = async_trainer(tmp_path)
    assert again.resume()
    assert again.counters.step == trainer.counters.step


@pytest.mark.slow
@pytest.mark.parametrize("world", ["pendulum", "peg"])
def test_real_tasks_train_and_resume_asynchronously(tmp_path: Path, world: str) -> None:
    run = Run(world, "async", tmp_path, 300, "eval_every=150")
    run.until(120)
    run.kill()
    assert gone(run.learner)
    end = whole(world, "async", tmp_path, 300, "eval_every=150")
    assert end.began >= 120
    evaluations = [record["step"] for record in read_metrics(tmp_path) if record["kind"] == "eval"]
    assert evaluations
    assert evaluations[-1] >= 150
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert found is not None
    assert (found.step, found.counters["updates"]) == (300, 281)
