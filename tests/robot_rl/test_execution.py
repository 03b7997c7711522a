"""A decision that the reflex arbiter cuts short: what is told of it, and how episodes stay comparable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.link import LockstepLink
from controllers.types import REPORT, Source
from robot_rl.envs.execution import BURST_GAP_S, Interventions
from robot_rl.envs.layers import SafetyLayers
from robot_rl.envs.make import make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.tasks.registry import make_task
from safety.reflex import Mode
from tests.controllers.risk_tools import tell


def say(env: RobotEnv, risk: float) -> None:
    tell(env.link.chain, risk)  # type: ignore[attr-defined]


def zeros(env: RobotEnv, **values: float) -> np.ndarray:
    action = np.zeros(env.task.action.size, np.float32)
    for name, value in values.items():
        action[env.task.action.names.index(name)] = value
    return action


def reports_of(modes: list[int]) -> Any:
    reports = np.zeros(len(modes), REPORT)
    reports["mode"] = modes
    return reports


@pytest.fixture(scope="module")
def env() -> RobotEnv:
    return make_env(PegInsertion(), teleport=True)


def test_the_policys_decision_ends_at_the_reflex_and_the_recovery_is_one_of_its_own(env: RobotEnv) -> None:
    env.reset(seed=3)
    say(env, 0.0)
    *_, whole = env.step(zeros(env, dx=1.0))
    assert (whole["duration_s"], whole["interrupted"], whole["source"], whole["mode"]) == (0.1, False, 1, Mode.NORMAL)
    say(env, 0.9)
    *_, cut = env.step(zeros(env, dx=1.0))
    assert (cut["duration_s"], cut["interrupted"], cut["source"]) == (0.001, True, Source.POLICY)
    assert cut["mode"] == Mode.REFLEX
    assert cut["reflexes"] == cut["interventions"] == cut["bursts"] == 1
    refused = env.link.latest().refused
    *_, recovery = env.step(zeros(env, dx=1.0))
    assert (recovery["duration_s"], recovery["interrupted"]) == (0.1, False)
    assert (recovery["source"], recovery["mode"]) == (Source.RECOVERY, Mode.REFLEX)
    assert recovery["action_executed"][0] < 0.5, "not what the policy wished"
    say(env, 0.0)
    *_, end = env.step(zeros(env, dx=1.0))
    assert end["source"] == Source.RECOVERY
    assert end["duration_s"] == pytest.approx(0.04), "low for exit_s, then the arm is given back"
    assert end["recovery_s"] == pytest.approx(0.14)
    *_, again = env.step(zeros(env, dx=1.0))
    assert (again["source"], again["duration_s"]) == (Source.POLICY, 0.1)
    assert again["action_executed"][0] > 0.3
    assert env.link.latest().refused == refused, "nothing was sent meanwhile"
    assert again["reflexes"] == 1


def test_what_was_executed_until_the_drop_is_told(env: RobotEnv) -> None:
    """The reference of the tick before; the drop itself puts it at the measured pose."""
    env.reset(seed=3)
    say(env, 0.0)
    *_, free = env.step(zeros(env, dx=1.0))
    env.reset(seed=3)
    say(env, 0.9)
    *_, at_once = env.step(zeros(env, dx=1.0))
    assert free["action_executed"][0] > 0.3
    assert abs(at_once["action_executed"][0]) < 0.1, "dropped before anything of it was executed"


def test_the_stiffness_of_an_interrupted_decision_is_that_before_the_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drop itself is the first tick on the way to the recovery's stiffness."""
    env = make_env(make_task("maze"), teleport=True)
    env.reset(seed=1)
    say(env, 0.0)
    action = zeros(env, dx=1.0, k_x=1.0, k_y=1.0)
    env.step(action)
    env.step(action)
    run, blocks = LockstepLink._run, 0

    def risky_from_the_second_block(*arguments: Any) -> Any:
        nonlocal blocks
        blocks += 1
        say(env, 0.0 if blocks < 2 else 0.9)
        return run(*arguments)

    monkeypatch.setattr(LockstepLink, "_run", risky_from_the_second_block)
    *_, info = env.step(action)
    stiffness = [info["action_executed"][env.task.action.names.index(name)] for name in ("k_x", "k_y")]
    assert info["interrupted"] and info["duration_s"] == pytest.approx(0.051)
    assert stiffness == pytest.approx([1.0, 1.0], abs=1e-6)
    env.close()


def test_an_episode_lasts_as_long_whether_it_is_interrupted_or_not(env: RobotEnv) -> None:
    lengths = []
    for risky in (False, True):
        env.reset(seed=5)
        start_ns, steps = env.link.now_ns(), 0
        while True:
            say(env, 0.9 if risky and steps % 4 == 1 else 0.0)
            _, _, terminated, truncated, info = env.step(zeros(env))
            steps += 1
            if terminated or truncated:
                break
        assert truncated
        assert not info["held"]
        lengths.append((steps, (env.link.now_ns() - start_ns) * 1e-9))
    (plain, plain_s), (cut, cut_s) = lengths
    assert plain == env.task.max_steps
    assert cut > plain
    assert cut_s == pytest.approx(plain_s, abs=0.1)


def test_a_stop_ends_the_episode() -> None:
    env = make_env(PegInsertion(), teleport=True)  # holds of other tests would count
    env.reset(seed=5)
    for _ in range(60):
        mode = env.step(zeros(env))[-1]["mode"]
        say(env, 0.9 if mode < Mode.HOLD else 0.0)
        _, _, _, truncated, info = env.step(zeros(env))
        if truncated:
            break
    assert info["held"]
    assert info["holds"] == 2
    assert info["mode"] == Mode.STOP
    env.reset(seed=6)
    say(env, 0.0)
    assert env.step(zeros(env))[-1]["mode"] == Mode.NORMAL


def test_reflexes_close_to_each_other_are_one_burst() -> None:
    meter = Interventions()
    gap = round(BURST_GAP_S * 1000)
    meter.add(reports_of([0] * 5 + [1] * 10 + [2] * 60 + [0] * 100 + [2] * 600 + [3] * 50), 1000.0)
    meter.add(reports_of([3] * 100), 1000.0)
    assert (meter.interventions, meter.reflexes, meter.bursts, meter.holds) == (2, 2, 1, 1)
    meter.add(reports_of([0] * gap), 1000.0)
    meter.add(reports_of([0] * 10 + [2] * 60), 1000.0)
    assert (meter.interventions, meter.reflexes, meter.bursts, meter.holds) == (3, 3, 2, 1)
    assert meter.recovery_s == pytest.approx(0.87)
    assert meter.soft_s == pytest.approx(0.01)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 59))
def test_the_counts_do_not_depend_on_where_decisions_end(modes: list[int], cut: int) -> None:
    one, two = Interventions(), Interventions()
    one.add(reports_of(modes), 1000.0)
    for part in (modes[:cut], modes[cut:]):
        if part:
            two.add(reports_of(part), 1000.0)
    assert one.as_info() == pytest.approx(two.as_info())
    assert one.recovery_s + one.soft_s <= len(modes) / 1000.0 + 1e-9


def test_the_automatic_reset_drives_past_an_alarmed_critic() -> None:
    env = make_env(PegInsertion())
    say(env, 0.9)
    _, info = env.reset(seed=4)
    assert info["reset_attempts"] == 1
    assert env.link.latest().mode == Mode.NORMAL
    *_, info = env.step(zeros(env, dx=1.0))
    assert info["interrupted"]
    _, info = env.reset(seed=5)
    assert info["reset_attempts"] == 1, "a seed gives the arm back"


def test_a_critic_at_the_decision_rate_takes_whole_decisions() -> None:
    env = make_env(PegInsertion(), teleport=True, layers=SafetyLayers(critic="decision"))
    env.reset(seed=4)
    durations_s = []
    for risk in (0.9, 0.0, 0.0, 0.9, 0.0):
        say(env, risk)
        *_, info = env.step(zeros(env, dx=1.0))
        durations_s.append((round(info["duration_s"], 3), info["source"] == Source.RECOVERY))
    assert durations_s[0] == (0.001, False), "dropped before it moved anything"
    assert durations_s[1][0] == pytest.approx(0.1, abs=0.004) and durations_s[1][1]
    assert durations_s[2] == (0.1, False)
    assert durations_s[3] == (0.001, False)
