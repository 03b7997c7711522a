"""`robot-rl up <name>`: starts the processes of a bring-up, watches them, and ends them in order."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import fields
from types import FrameType
from typing import Any

import psutil

from robot_rl.bringup import table
from robot_rl.bringup.crew import Crew, Outcome
from robot_rl.bringup.description import BringUp
from robot_rl.bringup.environment import child_environment, living_motors, require_free, require_ros, require_simulator
from robot_rl.bringup.guardian import Guardian
from robot_rl.bringup.resolve import Program, fill, motor_of, programs
from robot_rl.options import Config

_OWN = ("name", "for_s")
"""Settings of the command itself; all others are arguments of the bring-up."""


class Stop:
    """Whether the end was asked for: by a signal, by time, or because nobody reads the output any more."""

    def __init__(self, for_s: float) -> None:
        """for_s: time after which the end is asked for, once `began` was called [s]; 0: never."""
        self._for_s, self._until_s = for_s, float("inf")
        self.why = ""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # suspended, it would read nothing, and the nodes would block

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.why = self.why or signal.Signals(number).name

    def began(self) -> None:
        """All is up."""
        if self._for_s:
            self._until_s = time.monotonic() + self._for_s

    def __call__(self) -> bool:
        """Tells whether the end was asked for."""
        if time.monotonic() > self._until_s:
            self.why = self.why or f"for_s={self._for_s:g}"
        return bool(self.why)


class Screen:
    """Lines of all processes, each with the name of whoever wrote it."""

    def __init__(self, names: list[str], stop: Stop) -> None:
        self._width, self._stop, self._gone = max(map(len, [*names, "up"])), stop, False

    def tell(self, name: str, line: str) -> None:
        """Prints a line; with "" one of `up` itself. A reader that went away (`| head`) asks for the end."""
        if self._gone:
            return
        try:
            print(f"{name or 'up':<{self._width}} | {line}", flush=True)
        except BrokenPipeError:
            self._gone = True
            self._stop.why = "nobody reads the output"
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(config: Config) -> dict[str, Any]:
    """Brings something up until it is asked to end; `ok` is false if a process failed."""
    settings = {entry.name: getattr(config, entry.name) for entry in fields(config)}
    if not settings["name"]:
        print(describe())
        return {"ok": True, "bringups": [bringup.name for bringup in table.BRINGUPS]}
    began_s = _typed_s()
    bringup = table.find(settings["name"])
    values = fill(bringup, {key: text for key, text in settings.items() if key not in _OWN and text is not None})
    chosen = programs(bringup, values)
    require_simulator(values)
    require_ros(os.environ)
    require_free(chosen)
    stop = Stop(settings["for_s"])
    screen = Screen([program.name for program in chosen], stop)
    outcome = _supervise(bringup, chosen, values, stop, screen, began_s)
    if outcome.failure:
        print(f"robot-rl: {outcome.failure}; all others were ended", file=sys.stderr)
    if outcome.killed:
        print(f"robot-rl: did not end in order and were killed: {', '.join(outcome.killed)}", file=sys.stderr)
    return {
        "ok": not (outcome.failure or outcome.killed),
        "bringup": bringup.name,
        "ready_s": outcome.ready_s,
        "failure": outcome.failure,
        "restarts": outcome.restarts,
        "killed": outcome.killed,
    }


def _supervise(
    bringup: BringUp, chosen: list[Program], values: Mapping[str, str], stop: Stop, screen: Screen, began_s: float
) -> Outcome:
    def ready(took_s: float) -> None:
        screen.tell("", f"all is up after {took_s:.1f} s; Ctrl-C ends it in order. In another terminal:")
        for line in bringup.next:
            screen.tell("", "  " + line.format_map({**values, "motor": motor_of(values)}))
        stop.began()

    screen.tell("", f"starts {', '.join(program.name for program in chosen)}")
    crew = Crew(chosen, lambda program: child_environment(program, os.environ), screen.tell, Guardian())
    outcome = crew.run(stop, ready, began_s)
    for name, _ in living_motors(chosen):  # its controller was killed
        screen.tell(
            "", f"motor process {name!r} lost its controller: it holds the arm and leaves by itself within 30 s"
        )
    screen.tell("", f"all has ended ({stop.why})" if stop.why and not outcome.failure else "all has ended")
    return outcome


def _typed_s() -> float:
    """Returns when this process began, on the monotonic clock [s]: what was imported until now counts too."""
    return time.monotonic() - max(time.time() - psutil.Process().create_time(), 0.0)


def describe() -> str:
    """Returns what can be brought up, with the arguments of each."""
    lines = ["usage: robot-rl up NAME [key=value ...]"]
    for bringup in table.BRINGUPS:
        lines += ["", f"{bringup.name}: {bringup.sentence}"]
        if bringup.missing:
            lines.append(f"  (not yet: {bringup.missing})")
        for argument in bringup.arguments:
            value = "|".join(argument.choices) or "..."
            default = "must be given where it is used" if argument.needed else argument.default or "empty"
            lines.append(f"  {argument.name}={value}  {argument.sentence} ({default})")
    return "\n".join(lines)
