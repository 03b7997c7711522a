"""The real motor process, with fake and simulated robots, under every kind of death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.description.fr3 import fr3
from controllers.link import MotorLink
from controllers.motor_config import MotorConfig
from controllers.realtime import ORDINARY
from controllers.shared_memory import SharedBlock
from controllers.shared_memory.block import block_path
from controllers.shared_memory.layout import MotorState
from controllers.shared_memory.liveness import process_start
from controllers.shared_memory.sides import ParentSide
from controllers.shared_memory_link import MotorProcessDied, SharedMemoryLink, SharedMemoryLinkConfig
from controllers.types import Command, Source
from data.errors import UserError
from safety.reasons import Reason

FAKES = Path(__file__).parents[1] / "controllers"
ENVIRONMENT = {"PYTHONPATH": f"{FAKES}{os.pathsep}{FAKES.parents[1]}"}
"""The motor process runs the very sources of these tests, whatever is installed."""
"""Tests share their machine: a SCHED_FIFO loop would starve the others."""
STIFFNESS = np.array([400.0] * 3 + [30.0] * 3)
AT_LIMIT_RAD = float(fr3().upper_rad[3]) + 2.2 - 0.01
"""From the fake arm's home to 0.01 rad before the limit of its fourth joint."""


def eventually(condition: Callable[[], bool], patience_s: float = 30.0) -> bool:
    """Waits until the condition holds; the patience is far above what any machine needs."""
    end_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    block_path(name).unlink(missing_ok=True)


def motor(name: str, builder: str = "echo", leave_after_s: float = 30.0, **options: Any) -> MotorConfig:
    return MotorConfig(name, f"motor_fakes:{builder}", options, ORDINARY, leave_after_s=leave_after_s)


def link_to(config: MotorConfig) -> SharedMemoryLink:
    return SharedMemoryLink(SharedMemoryLinkConfig(config), ENVIRONMENT)


def here(link: SharedMemoryLink, **changes: Any) -> Command:
    """A command to stay where the arm is."""
    report = link.latest()
    values = {"position_base_m": report.position_base_m, "quaternion_base_xyzw": report.quaternion_base_xyzw}
    return Command(**{**values, "stiffness": STIFFNESS, **changes})


def stepped(link: SharedMemoryLink, step_s: float = 0.1) -> Any:
    """The reports of a step, and of more until one was made well after the newest command: the loop may stall."""
    parts = [link.step(step_s)]
    while parts[-1]["stamp_ns"][-1] < link.sent_ns + 20_000_000:
        parts.append(link.step(0.02))
    return np.concatenate(parts)


def plain_command() -> Command:
    return Command(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), STIFFNESS)


class Parent:
    """A parent in a process of its own, that a test may kill or stop."""

    def __init__(self, config: MotorConfig, do: str) -> None:
        task = json.dumps({"motor": json.loads(config.to_json()), "do": do})
        self.process = subprocess.Popen(
            [sys.executable, str(FAKES / "motor_parent.py"), task],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        self.motor_pid = int(self.words()["motor_pid"])
        self.motor_start = process_start(self.motor_pid)

    def words(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())  # type: ignore[no-any-return]

    def motor_lives(self) -> bool:
        return process_start(self.motor_pid) == self.motor_start

    def end(self) -> None:
        """Ends both processes, if they are still the same ones."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self.motor_lives():
            os.kill(self.motor_pid, signal.SIGKILL)


def test_steps_return_the_reports_of_their_interval_in_order_and_none_twice(name: str) -> None:
    with link_to(motor(name)) as link:
        verbs: MotorLink = link
        ticks = np.concatenate([verbs.step(0.02) for _ in range(10)])["tick"]
        assert (np.diff(ticks) == 1).all() and link.lost_reports == 0
        begin_ns = link.now_ns()
        link.reset()
        link.step(0.1)
        assert link.now_ns() - begin_ns >= 100_000_000


def test_commands_arrive_with_growing_sequence_and_are_kept_alive_no_longer_than_meant(name: str) -> None:
    with link_to(motor(name)) as link:
        assert link.latest().sequence == -1
        link.send(plain_command())
        assert link.step(0.4)["sequence"][-1] == 1
        link.send(plain_command())
        sequences = link.step(0.4)["sequence"]
        assert (np.diff(sequences) >= 0).all() and sequences[-1] == 2, "a renewal has the sequence of its command"
        link.reset()
        assert link.latest().sequence == -1


def test_a_decision_that_took_too_long_is_as_old_as_what_it_was_made_from(name: str) -> None:
    """A policy that hangs in a computation, its process awake: what it then decides is about an arm of long ago."""
    with link_to(motor(name, "real_chain")) as link:
        link.reset()
        decision = here(link, duration_s=5.0)  # meant for long, but not renewed as if it were new
        time.sleep(1.1)
        link.send(decision)
        sent_ns = link.now_ns()  # the decision is stamped as old as it is
        assert eventually(lambda: link.step(0.02)["stamp_ns"][-1] > sent_ns + 20_000_000)
        report = link.latest()
        assert report.refused == 1 and report.sequence == -1, "seen, but not taken"
        link.send(here(link))
        assert stepped(link)["sequence"][-1] == 2


def test_a_gripper_that_the_robot_cannot_move_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(UserError, match=r"got FakeRobot without grip\(opening_m\)"):
        link_to(motor(name, "real_chain", gripper_range_m=[0.0, 0.08]))


def test_the_loop_asks_a_gripper_once_for_each_new_opening(name: str) -> None:
    with link_to(motor(name, "real_chain", gripper_range_m=[0.0, 0.08], grips=True)) as link:
        for opening_m, asked in ((float("nan"), 0), (0.03, 1), (0.03, 1), (0.5, 2)):
            link.send(here(link, gripper_m=opening_m))
            last = stepped(link)[-1]
            np.testing.assert_equal(last["gripper_m"], last["executed_gripper_m"])
            assert last["wrench_tool"][5] == asked


@pytest.mark.parametrize("step_s", [1.5, 0.02])
def test_a_command_lives_as_long_as_it_was_meant_to_and_no_longer(name: str, step_s: float) -> None:
    with link_to(motor(name, "real_chain")) as link:
        link.send(here(link, duration_s=1.0))
        reports = np.concatenate([link.step(step_s) for _ in range(round(1.5 / step_s))])
        assert reports["sequence"][-1] == 1 and reports["refused"][-1] == 0
        asked = reports["sequence"] == 1
        age_s = (reports["stamp_ns"] - reports["stamp_ns"][asked][0]) * 1e-9
        during = asked & (age_s < 0.95)
        assert np.median(reports["command_age_s"][during]) < 0.06, "kept fresh, beyond the age limit of 0.25 s"
        assert reports["reason"][age_s > 1.4].min() >= Reason.STALE


def test_the_hold_at_a_joint_limit_outlives_the_keep_alive_and_refusals_count_once(name: str) -> None:
    with link_to(motor(name, "real_chain", offset_rad=AT_LIMIT_RAD, fixed=True)) as link:
        link.send(here(link, duration_s=1.0))
        reports = link.step(0.6)
        followed = reports["sequence"] == 1
        assert (reports["reason"][followed] == Reason.JOINT_LIMIT).all() and reports["command_age_s"][-1] > 0.5
        link.send(here(link, stiffness=np.full(6, 1e6), duration_s=1.0))
        assert link.step(0.6)["refused"][-1] == 1


def test_status_tells_measures_kernels_and_counts(name: str) -> None:
    from safety.compilation import kernels_hash

    with link_to(motor(name)) as link:
        link.step(0.05)
        status = link.status()
        assert status.state == MotorState.RUNNING and not status.realtime
        assert status.kernels == kernels_hash() and status.ticks > 0
        assert "MISSING scheduler: not asked for" in status.message and "ok garbage: collector off" in status.message


def test_the_real_process_has_loaded_neither_torch_nor_rclpy(name: str, tmp_path: Path) -> None:
    with link_to(motor(name, "real_chain", log=str(tmp_path / "log.json"))):
        pass
    modules = json.loads((tmp_path / "log.json").read_text())["modules"]
    assert "controllers.chain" in modules and "pinocchio" in modules
    assert not {"torch", "rclpy"} & set(modules)


def test_a_builder_that_loads_torch_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="torch got loaded by builder .*: a motor process must do without"):
        link_to(motor(name, "loading_torch"))
    assert not block_path(name).exists()


def test_a_builders_complaint_reaches_the_parent_in_one_line(name: str) -> None:
    with pytest.raises(UserError, match=r"did not start: no arm at 10.0.0.1; switch it on$"):
        link_to(motor(name, "refusing", address="10.0.0.1"))
    with pytest.raises(UserError, match="no builder 'motor_fakes:nothing'"):
        link_to(motor(name, "nothing"))
    assert not block_path(name).exists()


def test_closing_holds_ramps_to_zero_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    link = link_to(motor(name, tau_nm=6.0, log=str(tmp_path / "log.json")))
    link.step(0.02)
    link.close()
    link.close()
    taus = np.array(json.loads((tmp_path / "log.json").read_text())["taus"])
    assert taus[0].max() == 6.0 and not taus[-1].any()
    assert np.abs(np.diff(taus, axis=0)).max() <= 0.5 + 1e-9
    assert not block_path(name).exists()
    with pytest.raises(RuntimeError, match="the link is closed"):
        link.step(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(name: str, tmp_path: Path, number: signal.Signals) -> None:
    with link_to(motor(name, tau_nm=6.0, log=str(tmp_path / "log.json"))) as link:
        os.kill(link.status().pid, number)
        with pytest.raises(MotorProcessDied, match=r"is dead \(exit status 0\); it last said: stopped in order"):
            link.step(20.0)
        assert not block_path(name).exists()
    taus = np.array(json.loads((tmp_path / "log.json").read_text())["taus"])
    assert not taus[-1].any() and np.abs(np.diff(taus, axis=0)).max() <= 0.5 + 1e-9


def test_a_killed_motor_process_raises_in_every_verb_and_its_block_is_reclaimed(name: str) -> None:
    link = link_to(motor(name))
    try:
        os.kill(link.status().pid, signal.SIGKILL)
        for verb in (lambda: link.step(20.0), link.latest, lambda: link.send(plain_command()), link.reset):
            with pytest.raises(MotorProcessDied, match="killed by SIGKILL"):
                verb()
        assert block_path(name).exists()
        with link_to(motor(name)) as successor:
            assert len(successor.step(0.05)) > 0
    finally:
        link.close()
    assert not block_path(name).exists()


def time_from_kill_to_exception_s(name: str) -> float:
    killed_s = []

    def kill(pid: int) -> None:
        killed_s.append(time.monotonic())
        os.kill(pid, signal.SIGKILL)

    with link_to(motor(name)) as link:
        killer = threading.Timer(0.2, kill, [link.status().pid])
        killer.start()
        with pytest.raises(MotorProcessDied, match="killed by SIGKILL"):
            link.step(60.0)
        raised_s = time.monotonic()
        killer.join()
    return raised_s - killed_s[0]


def test_a_motor_process_that_dies_in_the_middle_of_a_step_raises_within_50_ms(name: str) -> None:
    assert min(time_from_kill_to_exception_s(name) for _ in range(3)) < 0.05, "the best of three: a machine may be busy"


def test_a_constructor_that_fails_leaves_no_arm_armed_and_no_pulse(name: str) -> None:
    config = SharedMemoryLinkConfig(motor(name, freeze_at=0), answer_timeout_s=0.2, stop_timeout_s=0.2)
    with pytest.raises(MotorProcessDied, match="did not answer RESEED in time"):
        SharedMemoryLink(config, ENVIRONMENT)
    assert not block_path(name).exists()
    assert "motor-link-pulse" not in {thread.name for thread in threading.enumerate()}


def test_a_start_that_fails_beside_a_living_owner_tells_its_own_error(name: str) -> None:
    owner = SharedBlock.create(name)
    with pytest.raises(UserError, match=f"did not start: the motor process with pid {os.getpid()} already owns"):
        link_to(motor(name))
    assert block_path(name).exists()
    owner.close()


def test_a_motor_process_that_hangs_counts_as_dead(name: str) -> None:
    link = link_to(motor(name, freeze_at=2000))
    try:
        with pytest.raises(MotorProcessDied, match="runs no tick for"):
            link.step(60.0)
    finally:
        os.kill(link.status().pid, signal.SIGKILL)
        link.close()


def test_a_robot_that_fails_is_stopped_and_its_words_reach_the_parent(name: str, tmp_path: Path) -> None:
    with link_to(motor(name, fail_at=2000, log=str(tmp_path / "log.json"))) as link:
        with pytest.raises(MotorProcessDied, match="RuntimeError: the arm's cable was pulled"):
            link.step(60.0)
        assert (tmp_path / "log.json").exists()
        assert not block_path(name).exists()


def test_a_second_owner_and_a_second_commander_are_refused(name: str) -> None:
    with link_to(motor(name)) as link:
        with pytest.raises(UserError, match=f"pid {link.status().pid} already owns"):
            link_to(motor(name))
        with pytest.raises(UserError, match="another process already commands"):
            SharedBlock.attach(name)
        assert len(link.step(0.05)) > 0


def test_a_killed_parent_is_outlived_then_the_arm_stops_and_nothing_stays_behind(name: str, tmp_path: Path) -> None:
    parent = Parent(motor(name, leave_after_s=1.5, tau_nm=3.0, log=str(tmp_path / "log.json")), "wait")
    try:
        parent.process.kill()
        parent.process.wait()
        block = SharedBlock.attach(name, command=False)
        side = ParentSide(block)
        assert eventually(lambda: side.state == MotorState.ORPHANED), "it goes on without its parent"
        assert parent.motor_lives()
        assert eventually(lambda: not parent.motor_lives())
        assert side.status().state == MotorState.STOPPED
        side.release()
        block.close()
        assert not block_path(name).exists()
        assert not np.array(json.loads((tmp_path / "log.json").read_text())["taus"])[-1].any()
    finally:
        parent.end()


def test_a_stamp_from_the_future_keeps_no_orphan_going(name: str) -> None:
    parent = Parent(motor(name, leave_after_s=1.5), "wait")
    try:
        parent.process.kill()
        parent.process.wait()
        block = SharedBlock.attach(name, command=False)
        side = ParentSide(block)
        side.beat(2**62, os.getpid())
        assert eventually(lambda: not parent.motor_lives())
        side.release()
        block.close()
    finally:
        parent.end()


def test_what_a_stopped_parent_sends_after_it_wakes_is_refused_as_old(name: str) -> None:
    parent = Parent(motor(name, "real_chain"), "stop_before_send")
    try:
        block = SharedBlock.attach(name, command=False)
        side = ParentSide(block)
        state = Path(f"/proc/{parent.process.pid}/stat")
        assert eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "T"), "it stops itself"
        assert eventually(lambda: side.state == MotorState.ORPHANED), "a stopped parent gives no sign of life"
        time.sleep(0.3)  # longer than the age that a command may have, whatever the scheduler did
        parent.process.send_signal(signal.SIGCONT)
        words = parent.words()
        assert words["before"][1] == 0
        assert words["stale"] == [words["before"][0], 1], "refused, and the old sequence is still the one followed"
        assert words["fresh"][0] > words["stale"][0] and words["fresh"][1] == 1
        parent.process.wait()
        side.release()
        block.close()
    finally:
        parent.end()


@pytest.mark.parametrize("field", ["position_base_m", "quaternion_base_xyzw", "stiffness", "feedforward_wrench_base"])
def test_a_command_that_is_not_finite_is_refused_and_the_arm_holds(name: str, field: str) -> None:
    with link_to(motor(name, "real_chain")) as link:
        command = here(link)
        size = 6 if field == "feedforward_wrench_base" else len(getattr(command, field))
        link.send(here(link, source=Source.SCRIPTED, **{field: np.full(size, np.nan)}))
        reports = link.step(0.1)
        assert reports["refused"][-1] >= 1 and (reports["sequence"] == -1).all()
        assert np.isfinite(reports["tau_executed_nm"]).all()
        assert np.abs(reports["q_rad"] - reports["q_rad"][0]).max() < 1e-3


def test_requests_that_a_robot_cannot_fulfil_are_refused_in_words(name: str) -> None:
    with link_to(motor(name)) as link:
        with pytest.raises(ValueError, match="FakeRobot cannot teleport: only a simulated arm can"):
            link.teleport(np.zeros(7))
        assert len(link.step(0.05)) > 0
