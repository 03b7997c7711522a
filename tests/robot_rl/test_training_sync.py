from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import UserError
from robot_rl.training import checkpoint as checkpoints
from robot_rl.training.settings import EVALUATION_SEED, WALL_CLOCK, StopRequested, TrainSettings, episode_seed
from robot_rl.training.sync import SyncTrainer
from tests.robot_rl.training_fakes import LIMIT, Line, line_trainer, seeds_of


def final(folder: Path) -> bytes:
    """The newest checkpoint, byte for byte."""
    return max((folder / "checkpoints").glob("step_*.safetensors")).read_bytes()


def without_clocks(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    clocks = {"wall_s", "eval_wall_s", "update_s"}
    return [{key: value for key, value in record.items() if key not in clocks} for record in records]


def run(folder: Path, **changes: Any) -> tuple[SyncTrainer, list[dict[str, Any]]]:
    records: list[dict[str, Any]] = []
    trainer = line_trainer(folder, log=records.append, **changes)
    trainer.resume()
    trainer.run()
    return trainer, records


class Crash(Exception):
    """Ends a run in the midst of a step, as a kill would, without a process of its own."""


def crash_at(trainer: SyncTrainer, step: int) -> None:
    def tick(counters: Any, metrics: Any) -> None:
        if counters.step == step:
            raise Crash

    trainer.tick = tick
    trainer.resume()
    with pytest.raises(Crash):
        trainer.run()


def test_trap_15_two_runs_give_the_same_numbers_and_the_same_bytes(tmp_path: Path) -> None:
    (_, first), (_, second) = run(tmp_path / "a"), run(tmp_path / "b")
    assert without_clocks(first) == without_clocks(second)
    assert final(tmp_path / "a") == final(tmp_path / "b")
    assert (tmp_path / "a/replay/replay.log").read_bytes() == (tmp_path / "b/replay/replay.log").read_bytes()
    _, other = run(tmp_path / "c", seed=1)
    assert without_clocks(first) != without_clocks(other)


@pytest.mark.parametrize("step", [1, 19, 31, 65, 119, 120])
def test_trap_14_a_run_that_crashed_resumes_to_the_same_bytes(tmp_path: Path, step: int) -> None:
    run(tmp_path / "whole")
    crash_at(line_trainer(tmp_path / "crashed"), step)
    trainer, _ = run(tmp_path / "crashed")
    assert trainer.counters.step == 120
    assert final(tmp_path / "whole") == final(tmp_path / "crashed")


def test_trap_14_metrics_after_the_checkpoint_are_written_again_alike(tmp_path: Path) -> None:
    _, whole = run(tmp_path / "whole")
    crash_at(line_trainer(tmp_path / "crashed"), 80)
    trainer = line_trainer(tmp_path / "crashed")
    trainer.resume()
    later = [record for record in without_clocks(whole) if record["step"] > trainer.counters.step]
    _, rest = run(tmp_path / "crashed")
    assert 0 < len(later) < len(whole)
    assert without_clocks(rest) == later


AGENTS = ["rlpd", "residual", "expo", "dsrl"]


@pytest.mark.parametrize("agent", AGENTS)
def test_evaluations_change_nothing_that_training_depends_on(tmp_path: Path, agent: str) -> None:
    often, _ = run(tmp_path / "often", agent=agent, eval_every=7)
    never, _ = run(tmp_path / "never", agent=agent, eval_every=0)
    for name, array in often.agent.state().items():
        np.testing.assert_array_equal(array, never.agent.state()[name], err_msg=name)
    assert seeds_of(often) == seeds_of(never)


@pytest.mark.parametrize("agent", AGENTS[1:])
def test_trap_14_agents_on_a_base_policy_resume_to_the_same_bytes(tmp_path: Path, agent: str) -> None:
    run(tmp_path / "whole", agent=agent)
    crash_at(line_trainer(tmp_path / "crashed", agent=agent), 77)
    run(tmp_path / "crashed", agent=agent)
    assert final(tmp_path / "whole") == final(tmp_path / "crashed")


def test_evaluation_seeds_are_never_training_seeds() -> None:
    seeds = {episode_seed(seed, episode) for seed in (0, 1, 10, 999_999) for episode in range(500)}
    assert min(seeds) >= 0
    assert max(seeds) < EVALUATION_SEED
    assert len(seeds) > 1900


def test_evaluation_asks_the_same_episodes_each_time(tmp_path: Path) -> None:
    trainer, records = run(tmp_path)
    evaluations = [record for record in records if record["kind"] == "eval"]
    assert [record["step"] for record in evaluations] == sorted({record["step"] for record in evaluations})
    for record in evaluations:
        assert [episode["seed"] for episode in record["episodes"]] == [EVALUATION_SEED + i for i in range(3)]
    once, again = trainer.evaluate(5, name="final"), trainer.evaluate(5, name="final")
    assert without_clocks([once]) == without_clocks([again])
    assert once["episodes"][:3] == evaluations[-1]["episodes"]


def test_trap_1_a_time_limit_is_a_truncation_that_bootstraps(tmp_path: Path) -> None:
    trainer, _ = run(tmp_path)
    batch = trainer.replay.sample(500, np.random.default_rng(0), 1, 0.97)
    timeouts = trainer.replay.truncated & trainer.replay.has_action
    assert timeouts.any()
    assert not (trainer.replay.terminated & trainer.replay.truncated).any()
    assert set(batch.mask[batch.reward == 0.0]) == {1.0}


def test_trap_2_success_at_the_last_step_does_not_bootstrap(tmp_path: Path) -> None:

    class LastMoment(Line):
        def step(self, action: Any, source: int = 0) -> Any:
            outcome = super().step(action, source)
            last = self.t >= self.length
            return dataclasses.replace(outcome, terminated=last, truncated=last, reward=float(last), success=last)

    trainer = line_trainer(tmp_path, workplace=LastMoment(), steps=30, eval_every=0)
    trainer.run()
    ends = np.flatnonzero(trainer.replay.terminated)
    assert len(ends) == 2
    assert not trainer.replay.truncated[ends].any()
    batch = trainer.replay.sample(500, np.random.default_rng(0), 1, 0.97)
    assert set(batch.mask[batch.reward == 1.0]) == {0.0}


def test_trap_4_the_executed_action_is_stored_and_not_the_proposed_one(tmp_path: Path) -> None:
    trainer, records = run(tmp_path)
    stored = trainer.replay.action[trainer.replay.has_action]
    assert np.abs(stored).max() == pytest.approx(LIMIT)
    assert max(record["limited_share"] for record in records if record["kind"] == "episode") > 0.0


def test_trap_18_no_success_is_claimed_before_the_first_step(tmp_path: Path) -> None:
    _, records = run(tmp_path)
    assert all(record["length"] >= 1 for record in records if record["kind"] == "episode")
    assert all(record["length"] > 1 for record in records if record["kind"] == "episode" and record["success"])


def test_an_episode_that_is_cut_by_the_end_of_the_run_is_a_truncation(tmp_path: Path) -> None:
    trainer, records = run(tmp_path, steps=30, eval_every=0)
    newest = trainer.replay.head - 2
    assert trainer.replay.truncated[newest]
    assert not trainer.replay.terminated[newest]
    episodes = [record for record in records if record["kind"] == "episode"]
    assert episodes[-1]["end"] == "cut"
    assert sum(record["length"] for record in episodes) == 30


def test_a_finished_run_is_resumed_to_nothing_and_can_be_made_longer(tmp_path: Path) -> None:
    run(tmp_path)
    before = final(tmp_path)
    trainer, records = run(tmp_path)
    assert (trainer.counters.step, records, final(tmp_path)) == (120, [], before)
    longer, _ = run(tmp_path, steps=150)
    assert (longer.counters.step, longer.replay.added, longer.counters.updates) == (150, 150, 131)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [5, 44])
def test_a_signal_finishes_the_episode_saves_and_resumes_to_the_same_bytes(
    tmp_path: Path, number: signal.Signals, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "whole")
    trainer, handlers = (
        line_trainer(tmp_path / "stopped"),
        [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
    )

    def tick(counters: Any, metrics: Any) -> None:
        if counters.step == step:
            os.kill(os.getpid(), number)

    trainer.tick = tick
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert step <= trainer.counters.step < step + 12
    assert "stopping: saving first" in capsys.readouterr().err
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    run(tmp_path / "stopped")
    assert final(tmp_path / "whole") == final(tmp_path / "stopped")


def test_a_signal_during_an_evaluation_ends_it_and_it_is_done_again(tmp_path: Path) -> None:
    run(tmp_path / "whole")

    class Interrupting(Line):
        def reset(self, seed: int) -> Any:
            if len(self.seeds) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().reset(seed)

    evaluation = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        line_trainer(tmp_path / "stopped", evaluation=evaluation).run()
    assert len(evaluation.seeds) == 2
    _, records = run(tmp_path / "stopped")
    assert records[0]["kind"] == "eval"
    assert final(tmp_path / "whole") == final(tmp_path / "stopped")


def test_a_signal_while_a_reset_waits_for_a_person_leaves_it_and_the_episode_is_begun_again(tmp_path: Path) -> None:
    run(tmp_path / "whole")

    class Waiting(Line):
        """Its third reset waits until somebody wants to stop."""

        def reset(self, seed: int) -> Any:
            if len(self.seeds) == 2:
                os.kill(os.getpid(), signal.SIGINT)
                while not self.leave():
                    pass
                raise StopRequested
            return super().reset(seed)

    trainer = line_trainer(tmp_path / "stopped", workplace=Waiting())
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.counters.episode == 2
    run(tmp_path / "stopped")
    assert final(tmp_path / "whole") == final(tmp_path / "stopped")


def test_a_second_signal_stops_at_once_and_the_last_checkpoint_holds(tmp_path: Path) -> None:
    trainer = line_trainer(tmp_path)

    def tick(counters: Any, metrics: Any) -> None:
        if counters.step >= 70:
            os.kill(os.getpid(), signal.SIGINT)

    trainer.tick = tick
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert found is not None
    assert found.step < 70


def test_trap_20_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_leads_to_the_same_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "hurt")
    newest = max((tmp_path / "hurt/checkpoints").glob("step_*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1  # a single bit of a weight
    newest.write_bytes(bytes(content))
    run(tmp_path / "hurt")
    assert f"damaged checkpoint: {newest} is damaged" in capsys.readouterr().err
    assert newest.with_name(newest.name + ".damaged").is_file()
    assert final(tmp_path / "whole") == final(tmp_path / "hurt")


def test_trap_20_if_no_checkpoint_is_whole_the_run_says_so(tmp_path: Path) -> None:
    run(tmp_path)
    for path in (tmp_path / "checkpoints").glob("step_*.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        line_trainer(tmp_path).resume()


def test_trap_20_replay_left_by_a_run_that_never_reached_a_checkpoint_is_begun_anew(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    crash_at(line_trainer(tmp_path / "early", checkpoint_every=10), 40)
    for path in (tmp_path / "early/checkpoints").iterdir():  # killed between the replay's write and the checkpoint's
        path.unlink()
    assert (tmp_path / "early/replay/replay.log").stat().st_size > 1000
    run(tmp_path / "early")
    assert (tmp_path / "whole/replay/replay.log").read_bytes() == (tmp_path / "early/replay/replay.log").read_bytes()


def test_wall_clock_times_go_on_but_stand_in_no_checkpoint(tmp_path: Path) -> None:
    trainer, _ = run(tmp_path)
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert found is not None
    assert not set(WALL_CLOCK) & set(found.counters)
    again = line_trainer(tmp_path)
    again.resume()
    assert again.counters == trainer.counters
    assert again.counters.train_s > 0.0
    assert set(json.loads((tmp_path / "checkpoints/clock.json").read_text())) == set(WALL_CLOCK)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"warmup": 0}, {"eval_every": -1}, {"checkpoint_every": 0}])
def test_settings_out_of_bounds_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(changes))}=.* does not fit: expected at least"):
        TrainSettings(**{"steps": 10} | changes)
