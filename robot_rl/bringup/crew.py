"""The processes of one bring-up: started in order, watched, started again where allowed, ended in reverse order.

One thread does it all: it reads what the processes write, and looks ten times a second who lives.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from robot_rl.bringup.child import TERM_S, Child
from robot_rl.bringup.description import AtEnd
from robot_rl.bringup.guardian import Guardian
from robot_rl.bringup.resolve import Program

START_S = 240.0
"""Longest time to become ready [s]; the first start on a machine compiles the kernels."""
_MISTAKE = 2
"""Exit status of a program that was told something wrong: it would say the same again."""
_LOOK_S, _PROGRESS_S, _DRAIN_S = 0.1, 5.0, 0.5


@dataclass
class Outcome:
    """What became of a bring-up."""

    ready_s: float | None = None
    """Time from the start until all were ready [s]; None if they never were."""
    failure: str = ""
    """Why it failed; "" if it did not."""
    restarts: dict[str, int] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    """Processes that did not end in order."""


class Crew:
    """Runs programs together. `tell(name, line)` prints a line of a process, or with "" one of its own."""

    def __init__(
        self,
        programs: Sequence[Program],
        environment: Callable[[Program], Mapping[str, str]],
        tell: Callable[[str, str], None],
        guardian: Guardian,
    ) -> None:
        self._programs, self._environment, self._tell, self._guardian = programs, environment, tell, guardian
        self._children: dict[str, Child] = {}
        self._starts: dict[str, list[float]] = {program.name: [] for program in programs}
        self._due: dict[str, float] = {program.name: 0.0 for program in programs}
        self._over = False
        self.outcome = Outcome()

    def run(self, stop: Callable[[], bool], ready: Callable[[float], None], began_s: float) -> Outcome:
        """Starts all, and returns when they have ended: after `stop()`, by themselves, or because one failed.

        ready: called once with the time since `began_s` (monotonic clock) when all are ready.
        """
        told_s = time.monotonic()
        try:
            while not (self._over or stop()):
                self._start_due()
                self._listen(_LOOK_S)
                self._look_for_ends()
                self._look_for_the_late()
                now_s = time.monotonic()
                if self.outcome.ready_s is None and self._all_ready():
                    self.outcome.ready_s = now_s - began_s
                    ready(self.outcome.ready_s)
                elif self.outcome.ready_s is None and now_s - told_s > _PROGRESS_S:
                    told_s = now_s
                    self._tell("", f"waiting for {', '.join(self._waited_for())} ({now_s - began_s:.0f} s)")
        finally:
            self._end_all()
        return self.outcome

    # Starting

    def _is_ready(self, name: str) -> bool:
        child = self._children.get(name)
        return child is not None and child.ready_s is not None

    def _all_ready(self) -> bool:
        return all(self._is_ready(program.name) for program in self._programs)

    def _waited_for(self) -> list[str]:
        return [program.name for program in self._programs if not self._is_ready(program.name)]

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for program in self._programs:
            waits = program.name in self._children or self._due[program.name] > now_s
            if waits or not all(self._is_ready(name) for name in program.after):
                continue
            child = Child(program, self._environment(program))
            self._guardian.watch(child.process.pid)
            self._children[program.name] = child
            self._starts[program.name].append(now_s)

    def _look_for_the_late(self) -> None:
        for child in self._children.values():
            if child.ready_s is None and time.monotonic() - child.started_s > START_S:
                self._fail(f"{child.program.name} was not ready within {START_S:g} s; its words stand above")

    # Watching

    def _listen(self, wait_s: float) -> None:
        """Prints what the processes write, for at most so long."""
        listening = [child for child in self._children.values() if not child.closed]
        if not listening:
            time.sleep(min(wait_s, 0.02))
            return
        for child in select.select(listening, [], [], wait_s)[0]:
            was_ready = child.ready_s is not None
            for line in child.lines():
                self._tell(child.program.name, line)
            if child.ready_s is not None and not was_ready:
                took_s = child.ready_s - child.started_s
                count = sum(self._is_ready(program.name) for program in self._programs)
                self._tell("", f"{child.program.name} is ready after {took_s:.1f} s ({count} of {len(self._programs)})")

    def _look_for_ends(self) -> None:
        for name, child in list(self._children.items()):
            status = child.status()
            if status is None or self._over:
                continue
            self._hear_out(child)
            del self._children[name]
            if status == 0 and child.program.at_end == AtEnd.DONE:
                self._tell("", f"{name} is done")
                self._over = True
            elif not self._may_start_again(child):
                self._fail(child.fate())

    def _may_start_again(self, child: Child) -> bool:
        rule, name = child.program.restart, child.program.name
        now_s = time.monotonic()
        # The first start within the window is no restart.
        recent = sum(now_s - start_s < rule.within_s for start_s in self._starts[name])
        if not rule.times or recent > rule.times or child.status() == _MISTAKE:
            return False
        self._due[name] = now_s + rule.delay_s
        self.outcome.restarts[name] = self.outcome.restarts.get(name, 0) + 1
        self._tell(
            "", f"{child.fate()}; starts again ({max(recent, 1)} of {rule.times} times within {rule.within_s:g} s)"
        )
        return True

    def _fail(self, why: str) -> None:
        self._over = True
        self.outcome.failure = self.outcome.failure or why

    def _hear_out(self, child: Child) -> None:
        """Prints what an ended process still has to say; one that it started may keep its output open."""
        deadline_s = time.monotonic() + _DRAIN_S
        while not child.closed and time.monotonic() < deadline_s:
            if select.select([child], [], [], 0.05)[0]:
                for line in child.lines():
                    self._tell(child.program.name, line)

    # Ending

    def _end_all(self) -> None:
        for program in reversed(self._programs):
            child = self._children.get(program.name)
            if child is not None:
                self._end(child)
        self._guardian.dismiss()

    def _end(self, child: Child) -> None:
        limits_s = {signal.SIGINT: child.program.stop_s, signal.SIGTERM: TERM_S, signal.SIGKILL: TERM_S}
        for number, limit_s in limits_s.items():
            if child.status() is not None:
                break
            if number == signal.SIGKILL:
                self.outcome.killed.append(child.program.name)
            child.signal(number)
            deadline_s = time.monotonic() + limit_s
            while child.status() is None and time.monotonic() < deadline_s:
                self._listen(0.05)
        self._hear_out(child)
