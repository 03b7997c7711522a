"""The keyboard through a real pseudo-terminal, on a clock of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from robot_rl.teleop.devices.base import Button, DeviceLost, DeviceState
from robot_rl.teleop.devices.calibration import Calibration
from robot_rl.teleop.devices.companion import WithTerminalKeys, with_keys
from robot_rl.teleop.devices.keyboard import DEAD_MAN_S, MOVES, RELEASE_S, Keyboard
from tests.robot_rl.teleop_fakes import Hand


class Typist:
    """Types into a terminal and asks the device."""

    def __init__(self, person: int, program: int) -> None:
        self.person, self.program, self.now_s = person, program, 100.0
        self.keyboard = Keyboard(program)

    def hangs_up(self) -> None:
        """Once: the number of a closed descriptor soon belongs to somebody else."""
        person, self.person = self.person, -1
        if person >= 0:
            os.close(person)

    def types(self, keys: bytes, after_s: float = 0.01) -> DeviceState:
        self.now_s += after_s
        if keys:
            os.write(self.person, keys)
        return self.keyboard.poll(round(self.now_s * 1e9))


@pytest.fixture
def typist() -> Iterator[Typist]:
    person, program = pty.openpty()
    found = Typist(person, program)
    found.keyboard.open()
    yield found
    found.keyboard.close()
    found.hangs_up()
    os.close(program)


def test_each_key_moves_one_axis(typist: Typist) -> None:
    for key, (axis, direction) in MOVES.items():
        state = typist.types(key.encode(), after_s=1.0)
        assert state.axes[axis] == direction
        assert np.count_nonzero(state.axes) == 1


def test_keys_in_turn_act_together_and_opposite_ones_cancel(typist: Typist) -> None:
    assert typist.types(b"wa").axes.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert typist.types(b"s").axes.tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_a_key_that_is_not_repeated_counts_as_released(typist: Typist) -> None:
    assert typist.types(b"w").moving
    for _ in range(20):
        assert typist.types(b"w", after_s=0.03).moving
    assert typist.types(b"", after_s=RELEASE_S - 0.01).moving
    assert not typist.types(b"", after_s=0.02).moving


def test_the_dead_man_is_a_toggle_that_falls_off_by_itself(typist: Typist) -> None:
    assert not typist.types(b"w").held
    assert typist.types(b" ").held
    assert typist.types(b"", after_s=DEAD_MAN_S - 0.1).held
    assert typist.types(b"w").held, "a key of any kind shows that somebody is there"
    assert not typist.types(b"", after_s=DEAD_MAN_S + 0.1).held
    assert not typist.types(b"w").held, "it does not come back by itself"
    assert typist.types(b" ").held
    assert not typist.types(b" ").held


def test_the_dead_man_falls_off_when_an_episode_begins(typist: Typist) -> None:
    assert typist.types(b" w").held
    typist.keyboard.let_go()
    assert not typist.types(b"w").held


def test_keys_with_a_meaning(typist: Typist) -> None:
    state = typist.types(b"cv\r\x7fth-+")
    assert state.pressed == (
        Button.GRIPPER_CLOSE, Button.GRIPPER_OPEN, Button.SUCCESS, Button.DISCARD, Button.TAKEOVER, Button.HAND_BACK,
        Button.SLOWER, Button.FASTER,
    )  # fmt: skip
    assert typist.types(b"").pressed == ()


def test_arrow_and_function_keys_hold_no_letters(typist: Typist) -> None:
    state = typist.types(b"\x1b[A\x1b[D\x1bOS\x1b[15~\x1bw")  # up, left, F4, F5, Alt-w
    assert not state.moving
    assert state.pressed == ()
    assert typist.types(b"W").moving, "caps lock does not matter"


def test_the_terminal_is_left_as_it_was(typist: Typist) -> None:
    during = termios.tcgetattr(typist.program)
    typist.keyboard.close()
    before = termios.tcgetattr(typist.program)
    assert during != before
    assert before[3] & termios.ICANON
    typist.keyboard.close()
    assert termios.tcgetattr(typist.program) == before


PROGRAM = """
import os, sys
from robot_rl.teleop.devices.keyboard import Keyboard
Keyboard(0).open()
print("open", flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["raise RuntimeError('a bug')", "sys.exit(3)", "os.read(0, 1)"])
def test_however_a_program_ends_the_terminal_is_left_as_it_was(end: str) -> None:
    person, program = pty.openpty()
    before = termios.tcgetattr(program)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(end=end)], stdin=program, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    os.write(person, b"x")
    process.wait(30.0)
    process.stdout.close()
    assert termios.tcgetattr(program) == before
    os.close(person)
    os.close(program)


def test_a_terminal_that_hangs_up_is_a_lost_device(typist: Typist) -> None:
    typist.hangs_up()
    with pytest.raises(DeviceLost, match="keyboard is gone"):
        typist.types(b"")
    typist.keyboard.close()


def test_without_a_terminal_it_says_what_to_do(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(UserError, match="needs a terminal on standard input"):
        Keyboard(file.fileno()).open()


def test_scale_turns_an_axis_round(typist: Typist) -> None:
    turned = Keyboard(typist.program, Calibration(dead_zone=(0.5,) * 6, scale=(-0.5, 1.0, 1.0, 1.0, 1.0, 1.0)))
    turned.open()
    os.write(typist.person, b"w")
    assert turned.poll(10**9).axes[0] == -0.5
    turned.close()


def test_a_device_with_few_buttons_is_helped_by_the_terminal(typist: Typist) -> None:
    hand = Hand(held=True)
    hand.press(Button.GRIPPER_OPEN)
    both = WithTerminalKeys(hand, typist.keyboard)
    os.write(typist.person, b"w \r")
    state = both.poll(10**9)
    assert state.held
    assert not state.moving, "the arm is moved by the device alone"
    assert state.pressed == (Button.GRIPPER_OPEN, Button.SUCCESS)
    assert with_keys(typist.keyboard) is typist.keyboard
