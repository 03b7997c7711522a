"""A task is taught at a terminal, the simulated arm led by keys; then it is trained on like any other task."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controllers.person import PersonSeat, press_estop
from robot_rl.tasks.taught_file import read_taught, write_taught
from robot_rl.tasks.taught_parts import SuccessRule
from safety.supervision import Answer
from tests.system.command_line import PROGRAM, TINY_AGENT, TINY_POLICY, typed

TOP_M = 0.35
"""Height of the plate: near to where the arm is at home."""
WORDS = [
    "task",
    "teach",
    "name=press",
    "robot=mujoco",
    f"plate_m=[0.45,0.0,{TOP_M}]",
    "text=press the plate",
    "max_steps=60",
]
_TOOL = re.compile(r"tool +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) mm +force +([\d.]+) N")
_KEYS = ("ws", "ad", "rf")


class Operator:
    """Sits at the terminal of `robot-rl task teach`, looks at the live line and types keys."""

    def __init__(self, folder: Path) -> None:
        self.person, program = pty.openpty()
        self.process = subprocess.Popen(
            [str(PROGRAM), *WORDS], cwd=folder, stdin=program, stdout=program, stderr=program, start_new_session=True
        )
        os.close(program)
        self.screen = ""
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            try:
                content = os.read(self.person, 65536)
            except OSError:  # the program has gone
                return
            self.screen += content.decode(errors="replace")

    def sees(self, words: str, timeout_s: float = 90.0) -> None:
        """Waits until the words are on the screen."""
        deadline_s = time.monotonic() + timeout_s
        while words not in self.screen:
            assert self.process.poll() is None or words in self.screen, self.screen[-3000:]
            assert time.monotonic() < deadline_s, f"{words!r} is not in:\n{self.screen[-3000:]}"
            time.sleep(0.02)

    def types(self, keys: str) -> None:
        os.write(self.person, keys.encode())

    def _fresh(self) -> tuple[np.ndarray, float]:
        """Position [m] and force [N] of the next live line."""
        begin = len(self.screen)
        deadline_s = time.monotonic() + 30.0
        while True:
            found = _TOOL.search(self.screen, begin)
            if found is not None:
                numbers = [float(text) for text in found.groups()]
                return 1e-3 * np.array(numbers[:3]), numbers[3]
            assert time.monotonic() < deadline_s, self.screen[-3000:]
            time.sleep(0.02)

    def leads(self, x: float, y: float, z: float, near_m: float = 0.003) -> None:
        """Types keys until the tool stands still near a place [m]."""
        deadline_s, before = time.monotonic() + 120.0, np.zeros(3)
        while time.monotonic() < deadline_s:
            here, _ = self._fresh()
            error = np.array([x, y, z]) - here
            still = np.abs(here - before).max() < 0.0005
            if np.abs(error).max() < near_m and still:
                return
            if still or np.abs(error).max() > 0.04:
                self._nudge(error, near_m)
            before = here
        raise AssertionError(f"not led to {x}, {y}, {z}:\n{self.screen[-1000:]}")

    def _nudge(self, error: np.ndarray, near_m: float) -> None:
        for axis, size in enumerate(error):
            if abs(size) > near_m:
                key = _KEYS[axis][int(size < 0.0)]
                self.types(key.upper() if abs(size) > 0.022 else key)

    def presses(self, least_n: float, most_n: float) -> None:
        """Pushes down until the force is right, and lets it come to rest."""
        for _ in range(60):
            time.sleep(0.5)
            _, force_n = self._fresh()
            if least_n <= force_n <= most_n:
                return
            self.types("f" if force_n < least_n else "r")
        raise AssertionError(f"no press of {least_n} to {most_n} N:\n{self.screen[-1000:]}")

    def takes(self, then: str) -> None:
        """Presses Enter until it was taken."""
        for _ in range(5):
            begin = self.screen.count("not taken")
            self.types("\n")
            deadline_s = time.monotonic() + 10.0
            while time.monotonic() < deadline_s and self.screen.count("not taken") == begin:
                if then in self.screen:
                    return
                time.sleep(0.05)
            time.sleep(1.0)
        raise AssertionError(f"{then!r} is not in:\n{self.screen[-3000:]}")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30.0)
        os.close(self.person)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which a press was taught."""
    folder = tmp_path_factory.mktemp("lesson")
    operator = Operator(folder)
    try:
        teach_a_press(operator, folder)
        assert operator.process.wait(30.0) == 0
    finally:
        operator.close()
    yield folder


def teach_a_press(operator: Operator, folder: Path) -> None:
    operator.sees("1 of 6  GOAL")
    operator.leads(0.45, 0.0, TOP_M + 0.004)
    operator.presses(1.0, 6.0)
    operator.takes("goal at ")
    x_m, y_m = (1e-3 * float(text) for text in re.findall(r"goal at ([+-]\d+) ([+-]\d+)", operator.screen)[0])
    operator.leads(0.47, 0.02, TOP_M + 0.04)
    operator.takes("start 1: ")
    operator.leads(0.43, -0.02, TOP_M + 0.06)
    operator.takes("start 2: ")
    operator.types("n")
    operator.sees("3 of 6  WORKSPACE")
    operator.leads(0.48, 0.03, TOP_M + 0.08)
    operator.takes("   workspace ")
    operator.sees("4 of 6  WAY BACK")
    operator.leads(0.45, 0.0, TOP_M + 0.05)
    operator.takes("way-point 1: ")
    operator.types("n")
    operator.sees("5 of 6  SUCCESS")
    operator.leads(x_m, y_m, TOP_M + 0.003, near_m=0.0015)
    operator.types("2")
    operator.sees("Press the tool against the part")
    operator.presses(3.0, 6.0)
    operator.takes("   success: ")
    operator.sees("6 of 6  LOOK")
    assert not (folder / "tasks").exists()
    operator.types("\n")
    operator.sees("written: tasks/press.json")


def test_what_was_shown_is_what_is_stored(lesson: Path) -> None:
    task = read_taught(lesson / "tasks" / "press.json")
    assert abs(task.goal.position_m[2] - TOP_M) < 0.003
    assert task.free_direction_goal == (0.0, 0.0, -1.0)
    assert task.workspace.high_base_m[2] > TOP_M + 0.08
    assert len(task.waypoints) == 1
    assert task.success.force_n is not None
    assert task.success.force_n[0] >= 1.0
    assert task.action.push_n() >= task.success.force_n[1]


def test_the_commands_know_it(lesson: Path) -> None:
    assert "press the plate" in typed("tasks", lesson).out
    shown = typed("task show press", lesson).out
    assert "success     within" in shown
    assert "file        tasks/press.json" in shown
    assert typed("task check press", lesson).out == "press: all checks passed\n"
    again = typed("task teach name=press", lesson, status=2)
    assert again.complaint == "tasks/press.json exists: choose another name, or give replace=true"


def test_a_taught_task_is_a_task_like_any_other(lesson: Path) -> None:
    done = typed("collect task=press source=scripted episodes=4 out=demos.zarr", lesson)
    assert re.search(r"4 episodes, [2-4] of them successful", done.out)
    typed(f"pretrain task=press data=demos.zarr out=runs/base eval_episodes=0 {TINY_POLICY}", lesson)
    common = f"task=press data=demos.zarr steps=40 warmup=20 eval_every=0 eval_episodes=1 final_episodes=1 {TINY_AGENT}"
    typed(f"finetune {common} agent=residual base=runs/base out=runs/r", lesson)
    figures = typed("evaluate run=runs/r episodes=2 --json", lesson).figures
    assert figures["episodes"] == 2


def test_actor_and_learner_of_their_own_find_it_too(lesson: Path) -> None:
    common = "task=press steps=40 warmup=20 eval_every=0 eval_episodes=1 final_episodes=1"
    assert (
        typed(f"finetune {common} agent=rlpd mode=async out=runs/x {TINY_AGENT} --json", lesson).figures["step"] == 40
    )


def test_where_a_person_judges_there_must_be_one(lesson: Path) -> None:
    config = read_taught(lesson / "tasks" / "press.json")
    judged = replace(config, name="judged", success=SuccessRule(operator=True))
    write_taught(lesson / "tasks" / "judged.json", judged)
    done = typed(f"finetune task=judged steps=40 warmup=20 agent=rlpd out=runs/j {TINY_AGENT}", lesson, status=2)
    assert "task judged is judged by a person: run this in a terminal and press s for success" in done.complaint


def test_an_emergency_stop_while_teaching_is_explained_and_teaching_goes_on(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    try:
        operator.sees("1 of 6  GOAL")
        (motor,) = set(re.findall(r"motor (sim-[0-9a-f]+)", operator.screen))
        press_estop(motor)
        operator.sees("The arm stopped: ")
        operator.types("\n")
        operator.sees(f"In another terminal: robot-rl safety reset {motor}")
        with PersonSeat(motor) as seat:
            seat.estop(False)
            assert seat.ask_reset(0.7) == Answer.GRANTED
        operator.types("\n")
        operator.sees("The arm can be led again.")
        operator.leads(0.44, 0.0, 0.41)
        operator.takes("goal at ")
        operator.types("q")
        operator.sees("quit: nothing was written")
        assert operator.process.wait(30.0) == 0
        assert not (tmp_path / "tasks").exists()
    finally:
        operator.close()


def test_what_cannot_be_taught_is_said_in_one_line(tmp_path: Path) -> None:
    taken = typed("task teach name=maze", tmp_path, status=2)
    assert taken.complaint == "the name maze belongs to a task of code: choose another"
    alone = typed("task teach name=press", tmp_path, status=2)
    assert alone.complaint.startswith("expected a person at a terminal")
    absent = typed("task show press", tmp_path, status=2)
    assert absent.complaint.startswith("expected a taught task at tasks/press.json, found none")
