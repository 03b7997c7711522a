"""The supervisor and the flight recorder beside real motor processes: latches, a person's reset, files of what was."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.flight.config import FlightConfig
from controllers.flight.file import Flight, flight_files, read_flight
from controllers.latch_memory import latch_path
from controllers.motor_config import MotorConfig
from controllers.person import PersonSeat
from controllers.realtime import ORDINARY, choose_core
from controllers.shared_memory.block import BlockInUse, block_path
from controllers.shared_memory_link import SharedMemoryLink
from data.errors import UserError
from robot_rl.cli.main import DONE, USER_ERROR, main
from safety.reasons import Reason
from safety.supervision import (
    Answer,
    GrantRefused,
    Heartbeat,
    HeartbeatConfig,
    ResetRefused,
    SupervisorConfig,
    SupervisorState,
)
from tests.system.test_motor_process import Parent, eventually, here, link_to, stepped

UP_M = np.array([0.0, 0.0, 0.05])


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    block_path(name).unlink(missing_ok=True)
    latch_path(name).unlink(missing_ok=True)


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    return tmp_path / "flights"


@pytest.fixture
def arm(name: str, flights: Path) -> Callable[..., MotorConfig]:
    """The real tick around the fake robot; options are the robot's, `changes` the motor's."""

    def config(changes: dict[str, Any] | None = None, **options: Any) -> MotorConfig:
        flight = FlightConfig(folder=str(flights), after_s=0.2)
        motor = MotorConfig(name, "motor_fakes:real_chain", options, ORDINARY, flight=flight)
        return replace(motor, **(changes or {}))

    return config


def latch(link: SharedMemoryLink) -> None:
    link.estop()
    assert eventually(lambda: link.step(0.05)["latched"][-1] == Reason.ESTOP)


def whole(flights: Path, count: int = 1) -> list[Flight]:
    assert eventually(lambda: len(flight_files(flights)) >= count), "the recorder writes"
    return [read_flight(path) for path in flight_files(flights)]


def test_after_a_stop_the_arm_is_held_and_only_a_person_lets_it_go_on(arm: Any, name: str) -> None:
    with link_to(arm()) as link:
        link.send(here(link))
        link.step(0.05)
        latch(link)
        with pytest.raises(ResetRefused, match=f"ESTOP.: a person must reset: look .* `robot-rl safety reset {name}`"):
            link.reset()
        report = link.latest()
        link.send(replace(here(link), position_base_m=report.position_base_m + UP_M))
        reports = link.step(0.3)
        assert (reports["latched"] == Reason.ESTOP).all()
        assert np.abs(reports["position_base_m"] - report.position_base_m).max() < 2e-3, "held, whatever is sent"
        assert reports["refused"][-1] > report.refused
        with PersonSeat(name) as person:
            assert person.hold_and_release(0.1) != Answer.GRANTED
            with pytest.raises(ResetRefused):
                link.reset()
            assert person.ask_reset(0.7) == Answer.GRANTED
            assert person.seen().state == SupervisorState.ESTOP, "the person's reset alone starts nothing"
        assert (link.step(0.1)["latched"] == Reason.ESTOP).all()
        link.reset()
        link.send(here(link))
        reports = stepped(link)
        assert (reports["latched"] == 0).all() and reports["sequence"][-1] > 0
        assert link.status().supervisor == SupervisorState.RUN and link.status().trips == 1


def test_a_press_of_which_a_stall_took_the_beginning_is_pressed_again(arm: Any, name: str) -> None:
    with link_to(arm({"supervisor": SupervisorConfig(press_s=2.0)})) as link, PersonSeat(name) as person:
        latch(link)
        pid = link.status().pid
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(2.0, os.kill, (pid, signal.SIGCONT)).start()
        assert person.ask_reset(3.0) == Answer.GRANTED, "the first press was seen for a second, the next one whole"
        link.reset()


def test_what_stops_the_arm_between_two_presses_is_not_reset_with_them(arm: Any, name: str) -> None:
    program = (
        "import sys\nfrom controllers.person import PersonSeat\nwith PersonSeat(sys.argv[1]) as person:\n"
        "    print('here', flush=True)\n    print(person.ask_reset(2.0).name, flush=True)\n"
    )
    with link_to(arm()) as link:
        latch(link)
        words = [sys.executable, "-c", program, name]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as presser:
            assert presser.stdout is not None and presser.stdout.readline() == "here\n"
            time.sleep(1.0)
            presser.send_signal(signal.SIGSTOP)
            time.sleep(1.0)  # its press lapses
            trips = link.status().trips
            link.estop()
            assert eventually(lambda: link.status().trips > trips)
            presser.send_signal(signal.SIGCONT)
            assert presser.stdout.readline() == "PRESSED_BEFORE\n", "nobody has looked at the second stop"
        with pytest.raises(ResetRefused):
            link.reset()


def test_a_collision_may_be_left_without_a_person_three_times(arm: Any) -> None:
    config = arm({"supervisor": SupervisorConfig(automatic_max=1)}, push_n=70.0, push_ticks=[2000, 2020])
    with link_to(config) as link:
        assert eventually(lambda: Reason.FORCE_TRIP in link.step(0.1)["latched"])
        assert link.status().supervisor == SupervisorState.PROTECTIVE_STOP
        link.reset()
        assert link.step(0.05)["latched"][-1] == 0 and link.status().recoveries_left == 0
        latch(link)
        with pytest.raises(ResetRefused):
            link.reset()


def recorder_of(motor_pid: int) -> int:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == motor_pid and b"controllers.flight.process" in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise AssertionError("the motor process has no recorder")


def wait_for_recorder(link: SharedMemoryLink) -> None:
    """Until the flight recorder has mapped the block, and a moment more for it to begin."""

    def there() -> bool:
        with contextlib.suppress(AssertionError, OSError):
            maps = Path(f"/proc/{recorder_of(link.status().pid)}/maps").read_text()
            return block_path(link.name).name in maps
        return False

    assert eventually(there)
    link.step(0.3)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_the_flight_recorder_keeps_off_the_loops_core(arm: Any) -> None:
    core = choose_core(-1)
    with link_to(arm({"realtime": replace(ORDINARY, core=core)})) as link:
        pid = link.status().pid
        assert os.sched_getaffinity(pid) == {core}
        threads = Path(f"/proc/{recorder_of(pid)}/task")
        assert eventually(lambda: all(core not in os.sched_getaffinity(int(one.name)) for one in threads.iterdir()))


def test_the_command_line_tells_and_resets(arm: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with link_to(arm()) as link:
        latch(link)
        assert main(["safety", "status", name, "--json"]) == DONE
        out = capsys.readouterr().out
        assert '"state":"ESTOP"' in out.replace(" ", "") and f"robot-rl safety reset {name}" in out
        assert main(["safety", "reset", name]) == USER_ERROR
        assert "expected a person at the terminal" in capsys.readouterr().err
        assert main(["safety", "reset", name, "--yes", "held_s=0.1"]) == USER_ERROR
        assert "the button was let go too early" in capsys.readouterr().err
        assert main(["safety", "reset", name, "--yes"]) == DONE
        link.reset()
        assert main(["safety", "reset", name, "--yes"]) == DONE
        assert "nothing is latched" in capsys.readouterr().out
        assert main(["safety", "estop", name]) == DONE
        assert eventually(lambda: link.step(0.1)["latched"][-1] == Reason.ESTOP)
        assert main(["safety", "reset", name, "--yes"]) == USER_ERROR
        assert "the emergency stop is still pressed" in capsys.readouterr().err
        assert main(["safety", "estop", name, "release=true"]) == DONE
        assert main(["safety", "reset", name, "--yes"]) == DONE
        link.reset()


@pytest.mark.parametrize(("typed", "status"), [("no", USER_ERROR), ("yes", DONE)])
def test_a_person_at_a_terminal_is_asked(arm: Any, name: str, typed: str, status: int) -> None:
    with link_to(arm()) as link:
        latch(link)
        terminal, theirs = pty.openpty()
        words = [sys.executable, "-m", "robot_rl.cli.main", "safety", "reset", name]
        with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs) as command:
            asked = b""
            while b"Type yes to reset: " not in asked:
                asked += os.read(terminal, 4096)
            assert b"was stopped: ESTOP" in asked and b"is nobody within its reach" in asked
            os.write(terminal, f"{typed}\n".encode())
            assert command.wait() == status
        os.close(terminal)
        os.close(theirs)
        if status == DONE:
            link.reset()
        else:
            with pytest.raises(ResetRefused):
                link.reset()


def test_a_latch_outlives_its_process_until_somebody_resets(
    arm: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with link_to(arm()) as link:
        latch(link)
    assert latch_path(name).exists()
    with pytest.raises(ResetRefused, match="ESTOP.: a person must reset"):
        link_to(arm())
    assert main(["safety", "status", name]) == USER_ERROR
    assert "it left a latch: robot-rl safety reset ends it" in capsys.readouterr().err
    assert main(["safety", "reset", name, "--yes"]) == DONE
    with link_to(arm()) as link:
        assert (link.step(0.05)["latched"] == 0).all()
    assert not latch_path(name).exists(), "nothing to remember"
    assert main(["safety", "reset", name, "--yes"]) == USER_ERROR


def test_a_killed_process_leaves_its_latch_too(arm: Any, name: str) -> None:
    link = link_to(arm())
    latch(link)
    os.kill(link.status().pid, signal.SIGKILL)
    link.close()
    with pytest.raises(ResetRefused):
        link_to(arm())


def test_only_one_person_at_the_buttons_and_a_dead_one_has_pressed_nothing(arm: Any, name: str) -> None:
    with link_to(arm()) as link:
        latch(link)
        with PersonSeat(name) as person:
            with pytest.raises(BlockInUse, match="somebody else is at the buttons"):
                PersonSeat(name)
            person.press()
            time.sleep(0.7)  # pressed, but not refreshed: as if the seat had died
            person.release()
            link.step(0.05)
        with pytest.raises(ResetRefused):
            link.reset()


def test_status_and_emergency_stop_need_no_seat(arm: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with link_to(arm()) as link, PersonSeat(name):
        assert main(["safety", "estop", name]) == DONE
        assert eventually(lambda: link.step(0.1)["latched"][-1] == Reason.ESTOP)
        assert main(["safety", "status", name]) == DONE
        assert "ESTOP" in capsys.readouterr().out
        for words in (["reset", name, "--yes"], ["estop", name, "release=true"]):
            assert main(["safety", *words]) == USER_ERROR
            assert "somebody else is at the buttons" in capsys.readouterr().err


def test_a_listed_reason_takes_a_person_too_once_the_process_was_restarted(arm: Any, name: str) -> None:
    with link_to(arm(push_n=70.0, push_ticks=[2000, 2020])) as link:
        assert eventually(lambda: Reason.FORCE_TRIP in link.step(0.1)["latched"])
        link.step(0.05)
        os.kill(link.status().pid, signal.SIGKILL)
    with pytest.raises(ResetRefused, match="FORCE_TRIP.: a person must reset"):
        link_to(arm({"supervisor": SupervisorConfig(automatic_max=7)}))
    assert main(["safety", "reset", name, "--yes"]) == DONE
    link_to(arm()).close()


def test_energy_in_the_middle_of_a_motion_is_refused_in_words(arm: Any) -> None:
    with link_to(arm()) as link:
        link.grant()
        link.send(here(link))
        link.step(0.05)
        with pytest.raises(GrantRefused, match="a policy's command is followed: call reset"):
            link.grant()
        link.reset()
        link.grant()


def test_a_missing_operator_holds_the_arm_and_lets_it_go_when_back(arm: Any) -> None:
    config = SupervisorConfig(heartbeats=HeartbeatConfig(operator_s=(0.25, 0.25)), release_s=0.1)
    with link_to(arm({"supervisor": config})) as link:

        def followed() -> bool:
            link.heartbeat(Heartbeat.OPERATOR)
            link.send(here(link))
            return bool((link.step(0.1)["reason"] < Reason.HEARTBEAT).all())

        assert eventually(lambda: all(followed() for _ in range(3))), "beats a tenth of a second apart hold nothing"
        link.send(here(link, duration_s=1.0))
        assert eventually(lambda: link.step(0.1)["reason"][-1] == Reason.HEARTBEAT)
        assert link.latest().latched == 0 and link.status().late_heartbeats == ("OPERATOR",)
        assert eventually(followed), "back for the time that releases it"
        with pytest.raises(ValueError, match="expected one of .*CAMERA"):
            link.heartbeat(Heartbeat.LOOP)


def test_a_simulated_person_is_refused_beside_a_real_arm(arm: Any) -> None:
    with pytest.raises(UserError, match="expected a simulated arm with SupervisorConfig.simulated_person"):
        link_to(arm({"supervisor": SupervisorConfig(simulated_person=True)}))


def test_a_flight_holds_what_was_before_and_after_and_which_commands_came(arm: Any, flights: Path, name: str) -> None:
    with link_to(arm(push_n=70.0, push_ticks=[6000, 6020])) as link:
        wait_for_recorder(link)
        for _ in range(5):  # the recorder looks every 50 ms for the newest one
            link.send(here(link))
            link.step(0.4)
        assert eventually(lambda: Reason.FORCE_TRIP in link.step(0.1)["latched"])
        [flight] = whole(flights)
    header, reports = flight.header, flight.reports
    assert (header.motor, header.reason_name, header.lost, header.cut_short) == (name, "FORCE_TRIP", 0, False)
    assert (np.diff(reports["tick"]) == 1).all(), "every tick"
    tripped = int(np.flatnonzero(reports["latched"])[0])
    assert reports["stamp_ns"][tripped] == header.trip_ns and tripped > 300
    assert reports["wrench_tool"][tripped - 5 : tripped + 1, 2].max() == 70.0
    assert 0.2 <= (reports["stamp_ns"][-1] - header.trip_ns) * 1e-9 < 2.0
    assert flight.commands["sequence"].tolist() == [1, 2, 3, 4, 5]


def test_the_recorder_works_when_the_policys_process_is_killed(arm: Any, flights: Path) -> None:
    parent = Parent(arm({"leave_after_s": 10.0}), "estop")
    try:
        assert parent.words() == {"estop": True}
        parent.process.kill()
        parent.process.wait()
        [flight] = whole(flights)
        assert flight.header.reason == Reason.ESTOP and len(flight.reports) > 100
        assert parent.motor_lives()
    finally:
        parent.end()


def test_a_killed_motor_process_leaves_its_last_ticks(arm: Any, flights: Path) -> None:
    link = link_to(arm())
    wait_for_recorder(link)
    link.step(0.3)
    os.kill(link.status().pid, signal.SIGKILL)
    [flight] = whole(flights)
    link.close()
    assert flight.header.reason_name == "DIED" and flight.header.cut_short and len(flight.reports) > 100


def test_a_recorder_that_cannot_write_warns_and_the_arm_goes_on(
    arm: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    with link_to(arm({"flight": FlightConfig(folder=str(tmp_path / "file" / "flights"), after_s=0.1)})) as link:
        latch(link)
        said = ""

        def warned() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "cannot write to" in said

        assert eventually(warned)
        assert "the arm goes on" in said
        assert len(link.step(0.2)) > 100


def test_a_replay_shows_it_and_bad_files_are_one_line(
    arm: Any, flights: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with link_to(arm(push_n=70.0, push_ticks=[2000, 2020])) as link:
        assert eventually(lambda: Reason.FORCE_TRIP in link.step(0.1)["latched"])
        whole(flights)
    [path] = flight_files(flights)
    assert main(["safety", "replay", str(path)]) == DONE
    text = path.with_suffix(".html").read_text()
    assert "The contact force exceeded its limit; latched." in text and "<script" not in text and "http" not in text
    for content in (b"", b"PK\x03\x04 nothing", path.read_bytes()[:20_000]):
        (tmp_path / "bad.npz").write_bytes(content)
        capsys.readouterr()
        assert main(["safety", "replay", str(tmp_path / "bad.npz")]) == USER_ERROR
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["safety", "replay", str(tmp_path / "none.npz")]) == USER_ERROR
