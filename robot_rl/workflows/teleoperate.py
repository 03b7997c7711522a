"""`robot-rl teleoperate`: drive a task's arm by hand; nothing is recorded."""

from __future__ import annotations

import sys
import time
from typing import Any

from controllers.description.geometry import Pose
from robot_rl.config_teleop import TeleoperateConfig
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.teleop.config import teleop_from
from robot_rl.teleop.devices.base import Button
from robot_rl.teleop.devices.companion import with_keys
from robot_rl.teleop.devices.keyboard import HELP
from robot_rl.teleop.operator import TeleopOperator
from robot_rl.teleop.session import Session
from robot_rl.teleop.workplace import attended_workplace
from robot_rl.training.stopping import StopSwitch
from safety.reasons import Reason
from safety.reflex import Mode

_FOREVER_S = 1e6
_LINE_S = 0.2


def run(config: TeleoperateConfig) -> dict[str, Any]:
    """Drives until Ctrl-C, `seconds`, or a latch of the arm. Returns what happened."""
    settings = teleop_from(config.teleop_config)
    device = with_keys(settings.make_device(config.device))
    workplace, session = attended_workplace(vars(config), device, settings, _FOREVER_S)
    try:
        print(f"{HELP}; Ctrl-C ends", file=sys.stderr)
        workplace.env.reset(seed=config.seed)
        figures = _drive(workplace.env, session, config.seconds)
    finally:
        workplace.close()
    held = f", stopped: {figures['stopped']}" if figures["stopped"] else ""
    print(f"{figures['decisions']} decisions in {figures['seconds']:.1f} s, {figures['rate_hz']:.1f} Hz{held}")
    return figures


def _drive(env: RobotEnv, session: Session, seconds: float) -> dict[str, Any]:
    operator, line = TeleopOperator(env, session), _StatusLine()
    operator.reset()
    began, decisions, own, stopped = time.monotonic(), 0, 0, ""
    with StopSwitch() as switch:
        while not switch.pressed and not stopped and not (0.0 < seconds <= time.monotonic() - began):
            session.take(Button.SUCCESS, Button.DISCARD, Button.TAKEOVER, Button.HAND_BACK)  # nothing here to say so of
            action = operator.steer()
            env.source = operator.source
            _, _, _, _, info = env.step(action)
            decisions, own = decisions + 1, own + session.state.held
            rate_hz = decisions / max(time.monotonic() - began, 1e-9)
            line.show(_status(env, session, info, rate_hz))
            if info["held"]:
                stopped = Reason(max(info["reasons"])).name
    line.end()
    took_s = time.monotonic() - began
    return {
        "seconds": took_s,
        "decisions": decisions,
        "with_dead_man": own,
        "rate_hz": decisions / max(took_s, 1e-9),
        "stopped": stopped,
    }


def _status(env: RobotEnv, session: Session, info: dict[str, Any], rate_hz: float) -> str:
    """Pose, force, mode and rate in one line."""
    pose: Pose = env.sensed.T_base_tool
    x, y, z = 1e3 * pose.position_m
    roll, pitch, yaw = pose.rpy_rad
    hand = "HELD" if session.state.held else "free"
    return (
        f"dead-man {hand}  x {x:7.1f} y {y:7.1f} z {z:7.1f} mm  rpy {roll:5.2f} {pitch:5.2f} {yaw:5.2f} rad  "
        f"force {info['force_n']:5.1f} N  {Mode(info['mode']).name.lower():6}  "
        f"speed {session.mapping.speed:4.0%}  {rate_hz:4.1f} Hz"
    )


class _StatusLine:
    """One line that is written over on a terminal; a line every two seconds in a file."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = 0.0

    def show(self, text: str) -> None:
        """Shows the text if the last one is old enough."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_LINE_S if self._terminal else 10 * _LINE_S)
        begin, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        print(begin + text, end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the last line standing."""
        if self._terminal:
            print(file=sys.stderr)
