"""Devices: recorded event streams through evdev's own parser, and the kernel's uinput where the machine has it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evdev import ecodes as e
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from robot_rl.teleop.devices import finding
from robot_rl.teleop.devices.base import Button, DeviceLost, DeviceState
from robot_rl.teleop.devices.calibration import Calibration
from robot_rl.teleop.devices.events import EventReader
from robot_rl.teleop.devices.finding import Found, kind_of, make_device
from robot_rl.teleop.devices.gamepad import Gamepad
from robot_rl.teleop.devices.spacemouse import REST_S, SpaceMouse
from tests.robot_rl.teleop_fakes import RecordedDevice, axis, key, moved, packet

STICK = (-32768, 32767)
STICKS = (e.ABS_X, e.ABS_Y, e.ABS_RX, e.ABS_RY)
LINEAR = Calibration(dead_zone=(0.1,) * 6, expo=(0.0,) * 6)
MS = 1_000_000


class Rig:
    """A device fed by hand, on a clock of its own."""

    def __init__(self, device: Gamepad | SpaceMouse, events: RecordedDevice) -> None:
        self.device, self.events, self.now_ns = device, events, 0

    def look(self, *packets: bytes, after_ms: float = 10.0) -> DeviceState:
        self.now_ns += round(after_ms * MS)
        if packets:
            self.events.play(*packets)
        return self.device.poll(self.now_ns)


@pytest.fixture
def pad() -> Iterator[Rig]:
    device, ranges = Gamepad(calibration=LINEAR), dict.fromkeys(STICKS, STICK) | {e.ABS_HAT0Y: (-1, 1)}
    events = RecordedDevice(ranges)
    device.attach(EventReader(events, device.axes_of("pad", {e.EV_ABS: list(ranges.items())})))
    yield Rig(device, events)
    device.close()


@pytest.fixture
def mouse() -> Iterator[Rig]:
    device, events = SpaceMouse(calibration=LINEAR), RecordedDevice({})
    device.attach(EventReader(events, ()))
    yield Rig(device, events)
    device.close()


def at(state: DeviceState, name: str) -> float:
    return float(state.axes[("x", "y", "z", "rx", "ry", "rz").index(name)])


def test_a_pad_at_rest_says_nothing(pad: Rig) -> None:
    state = pad.look()
    assert not state.moving
    assert not state.held
    assert state.pressed == ()
    assert state.stamp_ns == 10 * MS


@pytest.mark.parametrize(
    ("code", "value", "name", "sign"),
    [
        (e.ABS_Y, -32768, "x", 1.0),  # pushed away
        (e.ABS_X, -32768, "y", 1.0),  # to the left
        (e.ABS_RY, -32768, "z", 1.0),  # right stick up
        (e.ABS_RX, -32768, "rz", 1.0),  # right stick to the left: counter-clockwise from above
        (e.ABS_Y, 32767, "x", -1.0),
    ],
)
def test_sticks_speak_in_the_operators_frame(pad: Rig, code: int, value: int, name: str, sign: float) -> None:
    state = pad.look(packet(axis(code, value)))
    assert at(state, name) == pytest.approx(sign, abs=1e-4)
    assert np.count_nonzero(state.axes) == 1


def test_with_the_right_shoulder_the_left_stick_tilts(pad: Rig) -> None:
    state = pad.look(packet(key(e.BTN_TR), axis(e.ABS_Y, -32768)))
    assert at(state, "ry") == pytest.approx(1.0, abs=1e-4)
    assert at(state, "x") == 0.0
    state = pad.look(packet(axis(e.ABS_Y, 0), axis(e.ABS_X, -32768)))
    assert at(state, "rx") == pytest.approx(-1.0, abs=1e-4)


def test_a_pad_without_a_cross_works_and_one_without_sticks_is_refused() -> None:
    device, events = Gamepad(calibration=LINEAR), RecordedDevice(dict.fromkeys(STICKS, STICK))
    device.attach(EventReader(events, device.axes_of("pad", {e.EV_ABS: [(code, STICK) for code in STICKS]})))
    assert at(Rig(device, events).look(packet(axis(e.ABS_Y, -32768))), "x") == pytest.approx(1.0, abs=1e-4)
    device.close()
    with pytest.raises(UserError, match="Old Pad does not report both sticks .* switch it to that mode"):
        device.axes_of("Old Pad", {e.EV_ABS: [(e.ABS_X, STICK), (e.ABS_Y, STICK), (e.ABS_Z, STICK)]})


def test_the_dead_man_is_held_until_it_is_let_go(pad: Rig) -> None:
    assert pad.look(packet(key(e.BTN_TL))).held
    assert pad.look(after_ms=60_000.0).held
    assert not pad.look(packet(key(e.BTN_TL, down=False))).held


def test_buttons_have_meanings_and_count_once(pad: Rig) -> None:
    stream = [packet(key(code)) + packet(key(code, down=False)) for code in (e.BTN_SOUTH, e.BTN_START, e.BTN_WEST)]
    state = pad.look(*stream, packet(axis(e.ABS_HAT0Y, -1)))
    assert state.pressed == (Button.GRIPPER_CLOSE, Button.SUCCESS, Button.TAKEOVER, Button.FASTER)
    assert pad.look().pressed == ()
    assert pad.look(packet(axis(e.ABS_HAT0Y, 0)), packet(axis(e.ABS_HAT0Y, 1))).pressed == (Button.SLOWER,)


def test_a_stream_that_is_cut_anywhere_is_read_alike(pad: Rig) -> None:
    """The kernel hands over whole events, but a look may come between any two of them."""
    first = packet(axis(e.ABS_X, 12000), key(e.BTN_TL), axis(e.ABS_Y, -9000))
    size = len(first) // 4
    for begin in range(0, len(first), size):
        state = pad.look(first[begin : begin + size])
    assert state.held
    assert at(state, "y") < 0.0 < at(state, "x")


def test_after_dropped_events_the_state_is_asked_for_anew(pad: Rig) -> None:
    pad.look(packet(key(e.BTN_TL), axis(e.ABS_Y, -32768)))
    pad.events.down, pad.events.values[e.ABS_Y] = [], 0  # let go meanwhile, in events that were dropped
    dropped = packet((e.EV_SYN, e.SYN_DROPPED, 0), key(e.BTN_START), axis(e.ABS_X, 32767))
    state = pad.look(dropped)
    assert not state.held
    assert not state.moving
    assert state.pressed == (), "what stood between the gap and its report is not believed"


@pytest.mark.parametrize("rig", ["pad", "mouse"])
def test_an_unplugged_device_says_so_in_one_sentence(rig: str, request: pytest.FixtureRequest) -> None:
    found: Rig = request.getfixturevalue(rig)
    found.look()
    found.events.unplug()
    with pytest.raises(DeviceLost, match="Recorded Pad is gone .*: the arm holds where it is; connect it again"):
        found.look()


@pytest.mark.parametrize(
    ("code", "value", "name"),
    [
        (e.REL_Y, -350, "x"), (e.REL_X, -350, "y"), (e.REL_Z, -350, "z"),
        (e.REL_RY, -350, "rx"), (e.REL_RX, -350, "ry"), (e.REL_RZ, -350, "rz"),
    ],
)  # fmt: skip
def test_the_cap_speaks_in_the_operators_frame(mouse: Rig, code: int, value: int, name: str) -> None:
    state = mouse.look(packet(moved(code, value)))
    assert at(state, name) == pytest.approx(1.0)
    assert np.count_nonzero(state.axes) == 1


def test_a_silent_cap_is_at_rest(mouse: Rig) -> None:
    assert mouse.look(packet(moved(e.REL_X, 200))).moving
    assert mouse.look(after_ms=0.5 * REST_S * 1e3).moving
    assert not mouse.look(after_ms=0.7 * REST_S * 1e3).moving


def test_an_absolute_cap_stays_where_it_is() -> None:
    device, events = SpaceMouse(calibration=LINEAR), RecordedDevice({e.ABS_Z: (-350, 350)})
    device.attach(EventReader(events, (e.ABS_Z,)))
    rig = Rig(device, events)
    assert at(rig.look(packet(axis(e.ABS_Z, -350))), "z") == pytest.approx(1.0)
    assert at(rig.look(after_ms=5000.0), "z") == pytest.approx(1.0)
    device.close()


def test_two_buttons_are_dead_man_and_gripper(mouse: Rig) -> None:
    click = packet(key(e.BTN_1)) + packet(key(e.BTN_1, down=False))
    assert mouse.look(packet(key(e.BTN_0))).held
    assert mouse.look(click).pressed == (Button.GRIPPER_CLOSE,)
    assert mouse.look(click).pressed == (Button.GRIPPER_OPEN,)


shares = st.floats(-2.0, 2.0)


@given(st.lists(shares, min_size=6, max_size=6), st.floats(0.0, 0.9), st.floats(0.0, 1.0), st.floats(-1.0, 1.0))
def test_shaped_axes_are_bounded_and_rest_in_the_dead_zone(raw: list[float], d: float, e: float, s: float) -> None:
    found = Calibration((d,) * 6, (e,) * 6, (s,) * 6).shape(np.array(raw))
    assert (np.abs(found) <= abs(s) + 1e-12).all()
    assert not found[np.abs(raw) <= d].any()
    assert (found * np.array(raw) * np.sign(s) >= 0.0).all()


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.9), st.floats(0.0, 1.0))
def test_shaped_axes_rise_with_the_stick(a: float, b: float, dead: float, expo: float) -> None:
    shape = Calibration((dead,) * 6, (expo,) * 6)
    low, high = shape.shape(np.full(6, min(a, b)))[0], shape.shape(np.full(6, max(a, b)))[0]
    assert low <= high + 1e-12
    assert shape.shape(np.ones(6))[0] == pytest.approx(1.0)


def test_a_number_that_is_none_moves_nothing() -> None:
    assert not Calibration().shape(np.array([np.nan, np.inf, -np.inf, 0.0, 0.0, 0.0])).any()


@pytest.mark.parametrize("wrong", [{"dead_zone": (1.0,) * 6}, {"expo": (2.0,) * 6}, {"scale": (1.0,) * 5}])
def test_a_calibration_that_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))} needs 6 numbers"):
        Calibration(**wrong)


def test_devices_are_known_by_what_they_say_of_themselves() -> None:
    assert kind_of(0x45E, "Xbox Wireless Controller", {e.EV_KEY: [e.BTN_SOUTH, e.BTN_TL]}) == "gamepad"
    assert kind_of(0x46D, "3Dconnexion SpaceNavigator", {e.EV_KEY: [e.BTN_0]}) == "spacemouse"
    assert kind_of(0x256F, "Universal Receiver", {e.EV_REL: [e.REL_X, e.REL_RX]}) == "spacemouse"
    assert kind_of(0x46D, "USB Keyboard", {e.EV_KEY: [e.KEY_A]}) == ""


def test_no_device_names_those_found_and_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard = Found("/dev/input/event0", "USB Keyboard", "")
    pads = [Found(f"/dev/input/event{i}", f"Pad {i}", "gamepad") for i in (1, 2)]

    def complaint(found: list[Found], closed: list[str]) -> str:
        monkeypatch.setattr(finding, "look_around", lambda: (found, closed))
        with pytest.raises(UserError) as caught:
            Gamepad().open()
        return str(caught.value)

    said = complaint([keyboard], [])
    assert said.startswith("no gamepad found, but /dev/input/event0 (USB Keyboard): connect it, switch it on, or use")
    assert "1 more may not be read: add yourself to the group input (sudo usermod" in complaint(
        [], ["/dev/input/event3"]
    )
    assert "found 2 devices of the kind gamepad: /dev/input/event1 (Pad 1), " in complaint(pads, [])


def test_a_path_without_a_device_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read an input device at .*/none .*: give another one"):
        make_device("gamepad", str(tmp_path / "none")).open()
    with pytest.raises(UserError, match="unknown device wheel; expected one of: gamepad, spacemouse, keyboard"):
        make_device("wheel")
    assert finding.look_around(tmp_path) == ([], [])


@pytest.mark.skipif(not os.access("/dev/uinput", os.W_OK), reason="no right to /dev/uinput on this machine")
def test_a_pad_made_by_the_kernel_is_found_and_read() -> None:
    from evdev import AbsInfo, UInput

    stick = AbsInfo(0, *STICK, 0, 0, 0)
    events: dict[int, Any] = {
        e.EV_KEY: [e.BTN_SOUTH, e.BTN_TL, e.BTN_START],
        e.EV_ABS: [(code, stick) for code in (e.ABS_X, e.ABS_Y, e.ABS_RX, e.ABS_RY)]
        + [(e.ABS_HAT0Y, AbsInfo(0, -1, 1, 0, 0, 0))],
    }
    with UInput(events, name="Test Pad") as made:
        device = Gamepad(str(made.device.path), LINEAR)
        device.open()
        made.write(e.EV_KEY, e.BTN_TL, 1)
        made.write(e.EV_ABS, e.ABS_Y, -32768)
        made.syn()
        time.sleep(0.1)
        state = device.poll(time.monotonic_ns())
        device.close()
    assert state.held
    assert at(state, "x") == pytest.approx(1.0, abs=1e-4)
