"""The lock-step link: keep-alive, snapshots, and one result whether ticks run one by one or as a compiled loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from controllers.arm_model import ArmModel
from controllers.chain import ChainConfig
from controllers.description import Pose, Scene, fr3, square_peg_tool
from controllers.description.fixtures import square_hole_plate
from controllers.link import LockstepLink
from controllers.robots.mujoco_arm import MujocoArm, WristSensorConfig
from controllers.types import Command
from data.errors import UserError
from safety.reasons import Reason
from safety.watch import WatchConfig

ARM = fr3()
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
PLATE = square_hole_plate(0.022, stand_m=0.08, T_base_fixture=Pose(np.array([0.45, 0.0, 0.12])))
SCENE = Scene(tool=square_peg_tool(), fixtures=(PLATE,))


class OneByOne:
    """The same simulated arm without its compiled loop."""

    def __init__(self, arm: MujocoArm) -> None:
        self.rate_hz, self.start, self.read, self.write, self.stop = (
            arm.rate_hz,
            arm.start,
            arm.read,
            arm.write,
            arm.stop,
        )


def make(compiled: bool = True, seed: int = 0, config: ChainConfig | None = None) -> LockstepLink:
    arm, model = MujocoArm(ARM, SCENE, WristSensorConfig(), seed), ArmModel(ARM, SCENE.tool)
    arm.teleport(model.inverse_kinematics(Pose(np.array([0.452, 0.003, 0.125]), DOWN), ARM.home_rad))
    return LockstepLink(arm if compiled else OneByOne(arm), model, config)


def press(link: LockstepLink, rng: np.random.Generator, decisions: int) -> np.ndarray:
    """Presses onto the plate and slides about: rich in contact."""
    parts = []
    for _ in range(decisions):
        here = link.latest().position_base_m
        link.send(
            Command(here + np.array([*rng.uniform(-0.01, 0.01, 2), -0.012]), DOWN, np.array([600.0] * 3 + [30.0] * 3))
        )
        parts.append(link.step(0.1))
    return np.concatenate(parts)


def test_compiled_loop_and_single_ticks_are_one_controller() -> None:
    fast = press(make(), np.random.default_rng(0), 10)
    slow = press(make(compiled=False), np.random.default_rng(0), 10)
    assert np.abs(fast["wrench_tool"][:, 2]).max() > 4.0, "there is contact"
    for name in ("q_rad", "qd_rad_s", "tau_executed_nm", "position_base_m"):
        np.testing.assert_allclose(fast[name], slow[name], atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(fast["stamp_ns"], slow["stamp_ns"])


def test_a_snapshot_continues_to_the_bit() -> None:
    link = make()
    arm = link.robot
    assert isinstance(arm, MujocoArm)
    press(link, np.random.default_rng(1), 4)
    saved = {**link.snapshot(), **arm.snapshot()}
    arm.reseed(5)
    want = press(link, np.random.default_rng(2), 4)
    other = make(seed=9)
    press(other, np.random.default_rng(3), 2)
    assert isinstance(other.robot, MujocoArm)
    other.robot.restore(saved)
    other.restore(saved)
    other.robot.reseed(5)
    got = press(other, np.random.default_rng(2), 4)
    for name in got.dtype.names or ():
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def test_a_snapshot_of_another_version_is_refused_and_changes_nothing() -> None:
    link = make()
    saved = link.snapshot()
    before = link.chain.record.copy()
    with pytest.raises(UserError, match="expected .* bytes of link.chain, the snapshot holds 3: it was written by"):
        link.restore({**saved, "link.chain": np.zeros(3, np.uint8)})
    assert link.chain.record.tobytes() == before.tobytes()


def test_a_command_lives_as_long_as_it_was_meant_to_and_no_longer() -> None:
    link = make()
    here = link.latest().position_base_m
    link.send(Command(here, DOWN, np.full(6, 50.0), duration_s=1.0))
    reports = link.step(1.5)
    assert reports["reason"][:1000].max() < Reason.REFUSED
    assert Reason.STALE in reports["reason"][1200:]
    assert reports["command_age_s"][:1000].max() <= 0.06


def test_steps_shorter_than_the_interval_of_renewals_keep_a_command_alive_too() -> None:
    link = make()
    here = link.latest().position_base_m
    link.send(Command(here, DOWN, np.full(6, 50.0), duration_s=1.0))
    reports = np.concatenate([link.step(0.033) for _ in range(45)])
    assert reports["reason"][:1000].max() < Reason.REFUSED
    assert Reason.STALE in reports["reason"][1300:]


def test_the_hold_at_a_joint_limit_outlives_the_keep_alive_and_refusals_count_once() -> None:
    link = make(config=ChainConfig(watch=WatchConfig(enabled=False)))  # the repulsion drives the tool out of the box
    arm, q = link.robot, ARM.home_rad.copy()
    assert isinstance(arm, MujocoArm)
    q[3] = ARM.upper_rad[3] - 0.01
    arm.teleport(q)
    link.reset()
    here = link.latest()
    wide = np.array([200.0] * 3 + [20.0] * 3)
    link.send(Command(here.position_base_m, here.quaternion_base_xyzw, wide, duration_s=1.0))
    reports = link.step(1.0)
    assert (reports["reason"] == Reason.JOINT_LIMIT).all()
    assert reports["command_age_s"][-1] > 0.9, "held: no renewal refreshes it"
    link.send(Command(here.position_base_m, here.quaternion_base_xyzw, wide * 1e3, duration_s=1.0))
    assert link.step(1.0)["refused"][-1] == 1


def test_a_reset_forgets_a_command_that_no_tick_has_seen() -> None:
    link = make()
    link.send(Command(link.latest().position_base_m, DOWN, np.full(6, 50.0)))
    link.reset()
    reports = link.step(0.1)
    assert (reports["sequence"] == -1).all() and (reports["reason"] == Reason.UNSEEDED).all()


def test_stamps_rise_by_one_tick_and_reports_are_the_callers() -> None:
    link = make()
    first, second = link.step(0.01), link.step(0.01)
    stamps = np.concatenate([first, second])["stamp_ns"]
    assert set(np.diff(stamps)) == {1_000_000}
    assert not np.shares_memory(first, second)
    assert link.latest().stamp_ns == stamps[-1]


def test_chain_and_robot_must_tick_together() -> None:
    with pytest.raises(ValueError, match="chain and robot must tick at one rate, got 500 and 1000 Hz"):
        LockstepLink(MujocoArm(ARM, SCENE), ArmModel(ARM, SCENE.tool), ChainConfig(rate_hz=500.0))


def test_commands_of_the_wrong_size_do_not_come_into_being() -> None:
    bad: Any = np.zeros(2)
    with pytest.raises(ValueError, match="position_base_m needs 3 numbers"):
        Command(bad, DOWN, np.zeros(6))
