"""The automatic reset frees the tool from anything within the leash's force, and says so when it cannot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from controllers.description.geometry import Box, Pose
from controllers.description.scene import Fixture, Scene
from controllers.types import REPORT, Command, TickReport
from data.errors import UserError
from robot_rl.envs.make import make_env
from robot_rl.envs.reset import AutomaticReset, ResetConfig, ResetFailedError, ResetResult
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.training.settings import StopRequested
from robot_rl.training.workplace import ArmWorkplace
from safety.reasons import Reason

INTO = np.array([1.0, 0.0, 0.0, 0.0])
LEASH_N = 1000.0 * 0.02
WAYS = ("pushed sideways", "tilted", "twisted and pushed", "pressed to the bottom")


def put_tool(env: RobotEnv, pose: Pose) -> None:
    model: Any = env.link.model  # type: ignore[attr-defined]
    env.world.teleport(model.inverse_kinematics(pose, env.world.arm.home_rad))
    env.link.reset()


def jam(env: RobotEnv, way: str, rng: np.random.Generator) -> None:
    """Leaves the peg somewhere in the true hole, then pushes, tilts and twists it with the whole leash."""
    true = env.draw.fixtures["plate"].compose(Pose(quaternion_xyzw=INTO))
    put_tool(env, true.compose(Pose(np.array([*rng.uniform(-0.0004, 0.0004, 2), rng.uniform(0.012, 0.029)]))))
    push = {"tilted": (0.005, -0.01), "pressed to the bottom": (0.002, -0.03)}.get(way, (0.03, -0.02))
    for _ in range(int(rng.integers(3, 8))):
        report = env.link.latest()
        here = Pose(report.position_base_m, report.quaternion_base_xyzw)
        aside = np.array([*rng.uniform(-1.0, 1.0, 2) * push[0], push[1] * rng.uniform(0.0, 1.0)])
        turn = rng.uniform(-0.15, 0.15, 3) * (way in ("tilted", "twisted and pushed"))
        target = here.compose(Pose.from_rpy(np.zeros(3), turn.tolist()))
        stiffness = np.array([1000.0] * 3 + [60.0] * 3)
        env.link.send(Command(here.position_m + aside, target.quaternion_xyzw, stiffness))
        env.link.step(0.1)


@dataclass
class Freed:
    """What came of jamming again and again: one number a trial, of the good ones except for the depth."""

    depth_m: list[float] = field(default_factory=list)
    """Of the tip below the observed plate, when the reset begins."""
    pull_n: list[float] = field(default_factory=list)
    wiggles: list[int] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)


def height_m(env: RobotEnv) -> float:
    """Height of the tip above the observed plate."""
    goal = env.draw.T_base_goal
    return -float(goal.rotation[:, 2] @ (env.link.latest().position_base_m - goal.position_m))


def freed(env: RobotEnv, count: int) -> Freed:
    """Jams `count` times and resets each time."""
    rng, found = np.random.default_rng(5), Freed()
    for trial in range(count):
        jam(env, WAYS[trial % len(WAYS)], rng)
        found.depth_m.append(-height_m(env))
        try:
            _, info = env.reset(seed=1000 + trial)
        except ResetFailedError:
            put_tool(env, Pose(env.draw.T_base_goal.position_m + np.array([0.0, 0.0, 0.05]), INTO))
            continue
        found.pull_n.append(info["reset_pull_n"])
        found.wiggles.append(info["reset_wiggles"])
        found.time_s.append(info["reset_s"])
    return found


@pytest.mark.parametrize(
    ("count", "variant"),
    [
        (20, "default"),
        pytest.param(200, "default", marks=pytest.mark.slow),
        pytest.param(200, "tight", marks=pytest.mark.slow),
    ],
)
def test_a_jammed_peg_is_freed_within_the_leashs_force(count: int, variant: str) -> None:
    env = make_env(PegInsertion(variant), seed=0)
    in_air_n = max(env.reset(seed=seed)[1]["reset_pull_n"] for seed in range(10))
    found = freed(env, count)
    good, pull_n = len(found.pull_n), np.array(found.pull_n)
    print(
        f"{good} of {count} freed from {1e3 * min(found.depth_m):.0f} .. {1e3 * max(found.depth_m):.0f} mm depth, "
        f"pull {np.median(pull_n):.1f}, at most {pull_n.max():.1f} N (in air {in_air_n:.1f} N), "
        f"{np.count_nonzero(found.wiggles)} wiggled, time {np.median(found.time_s):.1f} .. {max(found.time_s):.1f} s"
    )
    assert min(found.depth_m) > env.automatic_reset.config.lift_m, "the peg is in the hole"
    assert np.mean((pull_n > in_air_n) | (np.array(found.wiggles) > 0)) >= 0.9, "and held there"
    assert np.median(pull_n) > 2.0 * in_air_n
    assert good >= 0.99 * count
    assert pull_n.max() <= LEASH_N + 2.0


class HookedArm:
    """A motor link whose tool follows at once, but rises off its hook only while turned and moved aside."""

    def __init__(self, pose: Pose) -> None:
        self.pose, self.rest, self.asked = pose, pose, pose

    def reset(self) -> None:
        self.asked = self.pose

    def grant(self) -> float:
        return 0.0  # no tank here

    def send(self, command: Command) -> None:
        self.asked = Pose(command.position_base_m, command.quaternion_base_xyzw)

    def step(self, duration_s: float, interruptible: bool = False) -> Any:
        position_m = self.asked.position_m.copy()
        if self.pose.position_m[2] < self.rest.position_m[2] + 0.005:  # not yet past the hook
            aside_m = float(np.linalg.norm(position_m[:2] - self.rest.position_m[:2]))
            if aside_m < 0.001 or self.rest.distance(self.asked)[1] < 0.001:
                position_m[2] = min(position_m[2], self.pose.position_m[2])
            position_m[:2] = self.rest.position_m[:2]
        self.pose = Pose(position_m, self.asked.quaternion_xyzw)
        return self._reports(max(1, round(duration_s * 1000.0)))

    def _reports(self, count: int) -> Any:
        reports = np.zeros(count, REPORT)
        reports["position_base_m"] = self.pose.position_m
        reports["quaternion_base_xyzw"] = self.pose.quaternion_xyzw
        return reports

    def latest(self) -> TickReport:
        return TickReport.from_record(self._reports(1)[0])

    def now_ns(self) -> int:
        return 0

    def close(self) -> None:
        self.asked = self.pose


def unhook(config: ResetConfig) -> tuple[ResetResult, float]:
    """Returns how the reset went, and how far from the drawn start the tool then is [m]."""
    task = PegInsertion()
    draw = task.draw(np.random.default_rng(0))
    arm = HookedArm(draw.T_base_goal.compose(Pose(np.array([0.0, 0.0, 0.010]))))
    result = AutomaticReset(arm, task, config).run(draw, np.random.default_rng(0))
    return result, arm.pose.distance(draw.T_base_start)[0]


def test_a_hooked_tool_comes_free_by_the_wiggle_and_only_by_it() -> None:
    result, distance_m = unhook(ResetConfig())
    assert result.wiggles > 0
    assert result.attempts == 1
    assert distance_m < 0.002
    with pytest.raises(ResetFailedError):
        unhook(ResetConfig(wiggle_m=0.0, wiggle_rad=0.0, timeout_s=2.0))


class CagedTask(PegInsertion):
    """The peg insertion with a block that can be put over the holder, so that nothing rises."""

    def scene(self) -> Scene:
        scene = super().scene()
        block = Box(size_m=(0.02, 0.2, 0.02))
        lid = Fixture(name="lid", geoms=(block,), T_base_fixture=Pose(np.array([0.0, 0.6, 0.8])), movable=True)
        return replace(scene, fixtures=(*scene.fixtures, lid))


def test_a_tool_that_is_held_fast_ends_in_one_clear_line_in_bounded_time() -> None:
    task = CagedTask()
    env = make_env(task, seed=0)
    env.reset(seed=0)
    patient = env.automatic_reset
    env.automatic_reset = AutomaticReset(env.link, task, ResetConfig(timeout_s=1.0, attempts=2))
    put_tool(env, env.draw.fixtures["plate"].compose(Pose(np.array([0.0, 0.0, -0.001]), INTO)))
    flange = env.world.data.body("flange").xpos
    env.world.place("lid", Pose(flange + np.array([0.0, 0.0, 0.16])))  # just above the hand
    before = env.link.latest()
    with pytest.raises(
        ResetFailedError, match="reset failed 2 times within 1 s each: the arm holds; free the tool by hand"
    ):
        env.reset(seed=1)
    assert (env.link.latest().stamp_ns - before.stamp_ns) * 1e-9 < 2.5
    assert height_m(env) < patient.config.lift_m, "it never came free"
    with pytest.raises(UserError, match=r"call reset\(\) before the first step"):
        env.step(np.zeros(7, np.float32))
    env.world.place("lid", Pose(np.array([0.0, 0.6, 0.8])))
    env.automatic_reset = patient
    _, info = env.reset(seed=1)
    assert info["reset_attempts"] == 1


def test_a_latched_hold_is_no_obstacle() -> None:
    env = make_env(PegInsertion(), seed=0)
    env.reset(seed=0)
    env.link.step(6.0)
    _, info = env.reset(seed=1)
    assert info["reset_attempts"] == 1


def test_the_arm_stands_at_the_drawn_start_and_the_old_plate_stays_until_it_is_free() -> None:
    env = make_env(PegInsertion(), seed=0)
    env.reset(seed=0)
    for seed in range(1, 6):
        env.reset(seed=seed)
        report = env.link.latest()
        distance_m, angle_rad = env.draw.T_base_start.distance(
            Pose(report.position_base_m, report.quaternion_base_xyzw)
        )
        assert distance_m < 0.003
        assert angle_rad < 0.025
    old = env.draw
    jam(env, WAYS[3], np.random.default_rng(0))
    placed = []
    plain_place = env.world.place

    class Watch:
        """The world, with a look at how high the tool is when fixtures move."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world, name)

        def place(self, name: str, pose: Pose) -> None:
            placed.append(env.link.latest().position_base_m[2] - old.T_base_goal.position_m[2])
            plain_place(name, pose)

    world, env.world = env.world, Watch()
    env.reset(seed=99)
    assert placed
    assert min(placed) >= 0.005


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timeout_s": 0.0}, "timeout_s must be"),
        ({"attempts": 0}, "attempts must be"),
        ({"stiffness": (1.0,)}, "stiffness needs 6"),
        ({"patience_s": -0.1}, "patience_s must be a finite number >= 0, got -0.1"),
        ({"progress_m": float("nan")}, "progress_m must be"),
        ({"wiggle_m": float("inf")}, "wiggle_m must be"),
        ({"wiggle_rad": -1.0}, "wiggle_rad must be"),
        ({"creep_s": -1.0}, "creep_s must be"),
        ({"creep_share": 1.5}, r"creep_share must be a number in \[0, 1\], got 1.5"),
        ({"creep_max": -0.1}, "creep_max must be"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ResetConfig(**changes)


def test_a_reset_waits_for_a_person_who_holds_the_arm_and_uses_no_attempts() -> None:
    env = make_env(PegInsertion())
    link: Any = env.link
    said: list[str] = []

    def let_go(words: str) -> None:
        said.append(words)
        if len(said) == 3:
            link.supervisor.person_hold(False)

    env.automatic_reset.tell = let_go
    link.supervisor.person_hold(True)
    _, info = env.reset(seed=0)
    assert said == ["the reset waits: a person holds the arm (supervisor/arm lets it go on)"] * 3
    assert info["reset_attempts"] == 1 and info["reset_s"] < 8.0
    assert link.now_ns() > 20e9, "said every ten seconds"
    env.close()


def test_a_reset_that_waits_for_a_person_is_left_on_request_and_the_arm_stays_held() -> None:
    workplace = ArmWorkplace(make_env(PegInsertion()))
    link: Any = workplace.env.link
    link.supervisor.person_hold(True)
    asked = iter([False] * 4 + [True])
    workplace.leave_resets(lambda: next(asked))
    with pytest.raises(StopRequested):
        workplace.reset(0)
    assert next(asked, None) is None, "it was asked until it left"
    assert link.step(0.1)["reason"][-1] == Reason.PERSON_HOLD
    link.supervisor.person_hold(False)
    _, info = workplace.reset(0)
    assert info["reset_attempts"] == 1
    workplace.close()
