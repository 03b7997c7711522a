"""Keys through a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.training.keys import Keys, Pressed
from robot_rl.training.settings import StopRequested
from robot_rl.training.sync import SyncTrainer
from tests.robot_rl.training_fakes import line_trainer

Terminal = tuple[int, int]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """(the person's side, the program's side)."""
    person, program = pty.openpty()
    yield person, program
    for descriptor in (person, program):
        try:
            os.close(descriptor)
        except OSError:
            continue  # a test that hung up has closed it


def test_keys_are_read_singly_and_without_waiting(terminal: Terminal) -> None:
    person, program = terminal
    with Keys(program) as keys:
        assert keys.available
        assert keys.poll() == Pressed()
        os.write(person, b"s")
        assert keys.poll(1.0) == Pressed(mark=True)
        os.write(person, b"xfq")
        assert keys.poll(1.0) == Pressed(stop=True, mark=False)


def test_the_terminal_is_left_as_it_was(terminal: Terminal) -> None:
    _, program = terminal
    before = termios.tcgetattr(program)
    with Keys(program):
        assert termios.tcgetattr(program) != before
    assert termios.tcgetattr(program) == before


def test_p_holds_until_p_and_takes_a_mark_meanwhile(terminal: Terminal) -> None:
    person, program = terminal
    with Keys(program) as keys:
        os.write(person, b"p")
        time.sleep(0.05)
        threading.Timer(0.3, os.write, (person, b"f")).start()
        threading.Timer(0.6, os.write, (person, b"p")).start()
        pressed, paused_s = keys.poll_and_pause(lambda: False)
    assert pressed.mark is False
    assert not pressed.stop
    assert paused_s >= 0.3


@pytest.mark.parametrize("end", ["q", "interrupted"])
def test_a_pause_can_be_ended_by_stopping(terminal: Terminal, end: str) -> None:
    person, program = terminal
    with Keys(program) as keys:
        os.write(person, b"p" if end == "interrupted" else b"pq")
        time.sleep(0.05)
        pressed, _ = keys.poll_and_pause(lambda: end == "interrupted")
    assert pressed.stop == (end == "q")


def test_a_terminal_that_hangs_up_gives_no_more_keys(terminal: Terminal) -> None:
    person, program = terminal
    with Keys(program) as keys:
        os.close(person)
        assert keys.poll(0.1) == Pressed()
        assert not keys.available
        assert keys.poll_and_pause(lambda: False)[0] == Pressed()


def test_no_terminal_no_keys(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, Keys(file.fileno()) as keys:
        assert not keys.available
    with Keys(-1) as keys:
        assert keys.poll(5.0) == Pressed()


@pytest.mark.parametrize("verdict", [True, False])
def test_a_persons_mark_ends_the_episode_as_terminated(tmp_path: Path, terminal: Terminal, verdict: bool) -> None:
    person, program = terminal
    records: list[dict[str, Any]] = []
    trainer = line_trainer(tmp_path, keys=Keys(program), log=records.append, eval_every=0, steps=10)

    def tick(counters: Any, metrics: Any) -> None:
        if counters.step == 3:
            os.write(person, b"s" if verdict else b"f")
            time.sleep(0.05)

    trainer.tick = tick
    trainer.run()
    assert trainer.replay.terminated[3]
    assert not trainer.replay.truncated[3]
    assert trainer.replay.reward[3] == float(verdict)
    first = next(record for record in records if record["kind"] == "episode")
    assert (first["end"], first["success"], first["length"], first["return"]) == ("marked", verdict, 4, float(verdict))


def test_q_saves_and_the_run_goes_on_from_there(tmp_path: Path, terminal: Terminal) -> None:
    person, program = terminal
    trainer = line_trainer(tmp_path, keys=Keys(program))

    def tick(counters: Any, metrics: Any) -> None:
        if counters.step == 50:
            os.write(person, b"q")
            time.sleep(0.05)

    trainer.tick = tick
    with pytest.raises(StopRequested):
        trainer.run()
    again = line_trainer(tmp_path)
    assert again.resume()
    assert again.counters.step == trainer.counters.step >= 51
    again.run()
    assert again.counters.step == 120


class Holding(SyncTrainer):
    """Waits, before its fourth decision, as for a learner: until `holds` looks have passed."""

    holds, looks, person, press = 3, 0, -1, b""

    def _before_step(self) -> bool:
        if self.counters.step != 3 or self.looks >= self.holds:
            return True
        self.looks += 1
        if self.looks == 1:
            os.write(self.person, self.press)
            time.sleep(0.05)
        return False


def holding(folder: Path, terminal: Terminal, press: bytes, **changes: Any) -> tuple[Holding, list[dict[str, Any]]]:
    plain, records = line_trainer(folder, **changes), list[dict[str, Any]]()
    parts = (plain.agent, plain.workplace, None, None, folder, plain.settings, records.append)
    trainer = Holding(*parts, keys=Keys(terminal[1]))
    trainer.person, trainer.press = terminal[0], press
    return trainer, records


def test_q_stops_also_while_the_actor_waits_for_the_learner(tmp_path: Path, terminal: Terminal) -> None:
    trainer, _ = holding(tmp_path, terminal, b"q", eval_every=0)
    trainer.journalled = True  # ends at once, as the asynchronous trainer does
    trainer.holds = 10**9
    with pytest.raises(StopRequested):
        trainer.run()
    assert (trainer.counters.step, trainer.looks) == (3, 1)


def test_a_pause_while_the_actor_waits_is_no_training_time(tmp_path: Path, terminal: Terminal) -> None:
    trainer, _ = holding(tmp_path, terminal, b"p", eval_every=0, steps=10)
    threading.Timer(1.5, os.write, (terminal[0], b"p")).start()
    began = time.monotonic()
    trainer.run()
    assert trainer.counters.step == 10
    assert time.monotonic() - began - trainer.counters.train_s > 1.0


def test_a_mark_while_the_actor_waits_counts_for_the_next_decision(tmp_path: Path, terminal: Terminal) -> None:
    trainer, records = holding(tmp_path, terminal, b"s", eval_every=0, steps=10)
    trainer.run()
    assert np.flatnonzero(trainer.replay.terminated)[0] == 3
    first = next(record for record in records if record["kind"] == "episode")
    assert (first["end"], first["success"], first["length"]) == ("marked", True, 4)


def test_a_persons_verdict_ends_an_episode_of_an_evaluation(tmp_path: Path, terminal: Terminal) -> None:
    person, program = terminal
    trainer = line_trainer(tmp_path, keys=Keys(program))
    with trainer.keys:
        os.write(person, b"s")
        record = trainer.evaluate(episodes=2)
    marked, other = record["episodes"]
    assert (marked["end"], marked["success"], marked["return"], marked["length"]) == ("marked", True, 1.0, 1)
    assert other["end"] != "marked"
