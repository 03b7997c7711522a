"""What the commands `robot-rl safety ...` can be told: one dataclass a command, one sentence a field."""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.options import REQUIRED, Config, option

_MOTOR = "Name of the motor process, as the message that stopped you says; for a real arm the arm's own name."


@dataclass
class SafetyReplayConfig(Config):
    """Show what happened around a latch: a flight file as one HTML file."""

    path: str = option(REQUIRED, "Flight file (.npz) that the flight recorder wrote.")
    out: str | None = option(None, "HTML file to write; by default beside the flight file, with the ending .html.")


@dataclass
class SafetyStatusConfig(Config):
    """Say whether an arm is latched, why, and what it takes to go on."""

    motor: str = option(REQUIRED, _MOTOR)


@dataclass
class SafetyResetConfig(Config):
    """Reset an arm that was stopped, after you have looked at it; the program that commands it may then start over."""

    motor: str = option(REQUIRED, _MOTOR)
    yes: bool = option(False, "You have looked: ask nothing (also written --yes).")
    held_s: float = option(0.7, "For how long the button is pressed.", unit="s", low=0.0, high=10.0)


@dataclass
class SafetyEstopConfig(Config):
    """Press the emergency stop of an arm in software, or release it; no replacement for the real one."""

    motor: str = option(REQUIRED, _MOTOR)
    release: bool = option(False, "Release it; the arm stays stopped until somebody resets it.")
