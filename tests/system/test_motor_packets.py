"""A motor process whose robot paces the loop by its packets, loses some, and stops by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.latch_memory import forget_latch, latch_path, take_leave
from controllers.motor_child import MotorProcessDied
from controllers.motor_config import MotorConfig
from controllers.pacing import ClockPace, PacketPace, pace_of
from controllers.realtime import ORDINARY
from controllers.shared_memory_link import SharedMemoryLink
from data.errors import UserError
from robot_rl.cli.main import DONE, main
from safety.reasons import Reason
from safety.supervision import ResetRefused, SupervisorState
from tests.controllers.motor_fakes import FakeRobot
from tests.controllers.packet_robot import PacketRobot
from tests.system.test_motor_process import eventually, link_to, name

__all__ = ["name"]
PERIOD_NS = 1_000_000


@pytest.fixture
def packets(name: str) -> Iterator[Any]:
    def config(**options: Any) -> MotorConfig:
        return MotorConfig(name, "packet_robot:paced", options, ORDINARY)

    yield config
    latch_path(name).unlink(missing_ok=True)
    leave_of(name).unlink(missing_ok=True)


def leave_of(name: str) -> Path:
    return latch_path(name).with_name(f"robot-rl.leave-{name}")


class Packets:
    """Arrival times of packets, as a robot's; `read` takes the next."""

    rate_hz, paces = 1000.0, True

    def __init__(self, arrivals_ns: list[int]) -> None:
        self.packet_ns, self._arrivals = 0, iter(arrivals_ns)

    def read(self) -> None:
        self.packet_ns = next(self._arrivals)


def test_a_tick_begins_with_its_packet_and_is_as_late_as_the_gap_before_it_is_too_long() -> None:
    robot = Packets([5_000_000, 6_000_000, 7_300_000, 8_000_000, 11_500_000, 12_000_000])
    pace = PacketPace(robot, PERIOD_NS)
    begun = [pace.begin(robot.read) for _ in range(5)]
    assert begun == [(5_000_000, 0), (6_000_000, 0), (7_300_000, 300_000), (8_000_000, 0), (11_500_000, 2_500_000)]
    assert pace.overruns == 1
    pace.restart()
    assert pace.begin(robot.read) == (12_000_000, 0)


def test_only_a_robot_that_says_so_paces_the_loop() -> None:
    assert isinstance(pace_of(PacketRobot({}), 150_000), PacketPace)
    assert isinstance(pace_of(FakeRobot({}), 150_000), ClockPace)


def test_the_loop_runs_at_the_pace_of_the_packets_and_counts_those_that_are_lost(packets: Any) -> None:
    lost = [400 + 20 * i for i in range(10)] + [700, 701, 702]
    with link_to(packets(lose=lost)) as link:
        first = link.status()
        assert eventually(lambda: link.status().lost_packets == len(lost))
        link.step(0.3)
        seen = link.status()
        assert seen.overruns >= 1, "three packets in a row are missing"
        assert seen.success_rate == 1.0
        assert seen.ticks > first.ticks
        reports = link.step(0.2)
        assert (np.diff(reports["stamp_ns"]) > 0).all(), "stamped when the packet came"


def test_a_poor_connection_ends_control_in_order_and_says_why(packets: Any, name: str) -> None:
    link = link_to(packets(poor_from=500))
    with pytest.raises(MotorProcessDied, match=r"stopped in order \(only 50% arrive: look at the cable\)"):
        run_on(link)
    link.close()
    assert not latch_path(name).exists(), "nothing tripped"


def test_a_robot_that_stops_itself_ends_the_process_in_plain_words_and_latches(packets: Any, name: str) -> None:
    link = link_to(packets(fault_at=2000))
    with pytest.raises(MotorProcessDied, match=rf"cartesian_reflex\): push less; .*`robot-rl safety reset {name}`"):
        run_on(link)
    link.close()
    with pytest.raises(ResetRefused, match=r"ROBOT_FAULT\): a person must reset") as refused:
        link_to(packets(tau_nm=0.0))
    assert refused.value.reason == Reason.ROBOT_FAULT


def test_a_robot_that_stands_still_goes_on_only_after_a_persons_reset(
    packets: Any, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "recovered"
    standing = packets(standing=True, recovered=str(mark))
    for _ in range(2):  # a script in a loop gets no farther
        with pytest.raises(UserError, match=rf"somebody pushed; look at the arm, then `robot-rl safety reset {name}`"):
            link_to(standing)
        assert not mark.exists()
    assert main(["safety", "reset", name, "--yes"]) == DONE
    assert leave_of(name).exists()
    with link_to(standing) as link:
        assert mark.exists() and link.status().supervisor == SupervisorState.ARMED
    mark.unlink()
    with pytest.raises(UserError, match="look at the arm"):  # one reset is one leave
        link_to(standing)
    assert not mark.exists()


def test_a_leave_does_not_last(name: str) -> None:
    now_ns = time.monotonic_ns()
    assert not take_leave(name, now_ns, 60.0)
    for age_s, valid in ((0.0, True), (59.0, True), (61.0, False), (-5.0, False)):
        leave_of(name).write_text(str(now_ns - round(age_s * 1e9)), encoding="ascii")
        assert take_leave(name, now_ns, 60.0) is valid
        assert not leave_of(name).exists()
    assert not forget_latch(name) and not leave_of(name).exists(), "where nothing was latched nobody gave leave"


def run_on(link: SharedMemoryLink) -> None:
    for _ in range(100):
        link.step(0.1)
