"""A person at a terminal, played by a program that types: the commands of teleoperation as processes, in real time."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from controllers.types import Source
from data.store import EpisodeStore
from robot_rl.learning import journal
from robot_rl.report.html import render
from robot_rl.report.run_data import RunData
from tests.system.command_line import PROGRAM, SHORT, TINY_AGENT, Done, decisions_of, kill, records, start, typed
from tests.system.conftest import Practice

pytestmark = pytest.mark.slow
PATIENCE_S = 120.0
HAND = "teleop_config.realtime=false"
COLLECT = f"collect task=peg_insertion source=keyboard episodes=2 out=by_hand.zarr {HAND}"


class Terminal:
    """A command in a terminal of its own; standard error is read line by line as it comes."""

    def __init__(self, line: str, folder: Path) -> None:
        self.person, program = pty.openpty()
        self.said = (folder / "said.txt").open("w+b")
        self.process = subprocess.Popen(
            [str(PROGRAM), *line.split()], cwd=folder, start_new_session=True, stdin=program, stdout=subprocess.PIPE,
            stderr=self.said, text=True,
        )  # fmt: skip
        os.close(program)

    def types(self, keys: str, seconds: float = 0.0) -> None:
        """Types once, or holds the keys down: repeated every 30 ms."""
        until = time.monotonic() + seconds
        while True:
            os.write(self.person, keys.encode())
            if time.monotonic() >= until:
                return
            time.sleep(0.03)

    @property
    def text(self) -> str:
        return Path(self.said.name).read_text()

    def waits_for(self, words: str, count: int = 1) -> None:
        self.waits(lambda: self.text.count(words) >= count, words)

    def waits(self, when: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not when():
            assert self.process.poll() is None, f"ended before it said {what!r}: {self.finish()}"
            assert time.monotonic() < until, f"never said {what!r}: {self.text}"
            time.sleep(0.02)

    def finish(self) -> Done:
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        return Done(self.process.returncode, out, self.text)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        self.said.close()
        self.hangs_up()

    def hangs_up(self) -> None:
        """Closes the window, once: the number of a closed descriptor soon belongs to somebody else."""
        person, self.person = self.person, -1
        if person >= 0:
            os.close(person)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[str], Terminal]]:
    opened: list[Terminal] = []

    def open_one(line: str) -> Terminal:
        opened.append(Terminal(line, tmp_path))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_demonstrations_are_collected_at_the_keyboard(terminal: Callable[[str], Terminal], tmp_path: Path) -> None:
    """One episode is dropped, one called a success, one ended by hanging up: the store holds what was kept."""
    desk = terminal(COLLECT)
    desk.waits_for("ready: hold the dead-man and move")
    desk.types(" ")
    desk.types("r", 0.6)
    desk.types("\x7f")
    desk.waits_for("dropped: nothing of it is kept; the same start again")
    desk.waits_for("ready", 2)
    time.sleep(0.6)  # nobody holds the dead-man
    desk.types(" ")
    desk.types("r", 1.5)
    desk.types("\r")
    desk.waits_for("kept: marked")
    desk.waits_for("ready", 3)
    desk.hangs_up()  # in the midst of the second episode
    done = desk.finish()
    assert done.status == 2
    assert "keyboard is gone (unplugged, out of power, or its terminal was closed): the arm holds" in done.complaint
    with EpisodeStore.open(tmp_path / "by_hand.zarr") as store:
        assert len(store) == 1
        episode = store[0]
    assert episode.success
    assert episode.terminated[-1]
    assert episode.reward[-1] == 1.0
    held = episode.source == Source.HUMAN
    assert held.sum() >= 5
    assert set(episode.source.tolist()) <= {Source.HUMAN, Source.HOLD}
    assert held[0]
    assert episode.info["waited"] >= 2, "what came before the dead-man was held is left out"
    assert episode.info["end"] == "marked"
    assert 0.09e9 < np.median(np.diff(episode.stamp_ns)) < 0.11e9, "decisions keep the pace of the clock"
    moved_up_m = -0.01 * episode.observations["state"][:, 2]  # goal axes point into the table, scaled by 10 mm
    assert moved_up_m[-1] - moved_up_m[0] > 0.001

    again = typed("data replay by_hand.zarr episode=0 --json", tmp_path)
    assert again.figures["decisions"] == again.figures["recorded"] == len(episode)
    assert again.figures["position_m"] < 0.01


def test_the_arm_is_driven_by_hand_and_nothing_is_recorded(terminal: Callable[[str], Terminal], tmp_path: Path) -> None:
    desk = terminal(f"teleoperate task=peg_insertion seconds=6 --json {HAND}")
    desk.waits_for("dead-man free")
    desk.types(" ")
    desk.types("r+", 1.5)
    desk.waits_for("dead-man HELD")
    done = desk.finish()
    assert done.status == 0, done
    assert 0 < done.figures["with_dead_man"] < done.figures["decisions"]
    assert 8.0 < done.figures["rate_hz"] < 11.0
    assert done.figures["stopped"] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["said.txt"]


def test_ctrl_c_leaves_the_terminal_as_it_was(terminal: Callable[[str], Terminal]) -> None:
    import termios

    desk = terminal(f"teleoperate task=peg_insertion {HAND}")
    before = termios.tcgetattr(desk.person)
    desk.waits_for("dead-man free")
    during = termios.tcgetattr(desk.person)
    os.killpg(desk.process.pid, signal.SIGINT)
    assert desk.finish().status == 0
    assert during[3] != before[3]
    assert termios.tcgetattr(desk.person)[3] == before[3]


HUMAN = (
    f"finetune task=peg_insertion data=demos.zarr agent=rlpd steps=120 out=runs/{{name}} {SHORT} {TINY_AGENT} "
    "human=scripted human_config.patience_steps=3 human_config.hold_steps=5 {more}"
)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_played_person_takes_over_while_the_policy_learns(practice: Practice, tmp_path: Path, mode: str) -> None:
    folder = practice.copy(tmp_path / "copy")
    typed(HUMAN.format(name=mode, more=f"mode={mode} human_config.rlif=true"), folder)
    run = folder / "runs" / mode
    log = decisions_of(run)
    assert {Source.POLICY, Source.SCRIPTED} <= set(log["source"].tolist())
    punished = np.flatnonzero(log["reward"] == -1.0)
    assert punished.size
    assert (log["source"][punished] == Source.POLICY).all()
    followers = punished[punished + 1 < len(log)] + 1
    assert (log["source"][followers] == Source.SCRIPTED).all()
    episodes = records(run, "episode")
    assert sum(episode["takeovers"] for episode in episodes) >= punished.size
    assert "A person took over" in render(RunData.read(run))
    typed(f"evaluate run=runs/{mode} episodes=2 human=scripted --json", folder)
    assisted = records(run, "eval")[-1]
    assert assisted["human"] == "scripted"
    assert assisted["mean_takeovers"] > 0.0


def test_a_person_at_the_keyboard_takes_over_while_the_policy_learns(practice: Practice, tmp_path: Path) -> None:
    """In real time, actor and learner apart: what was typed is in the replay, and training goes on afterwards."""
    folder = practice.copy(tmp_path / "copy")
    line = HUMAN.format(name="hand", more=f"mode=async {HAND}").replace("human=scripted", "human=keyboard")
    line = " ".join(word for word in line.split() if not word.startswith("human_config."))
    desk = Terminal(line, folder)
    run = folder / "runs/hand"
    try:
        replay = run / "replay" / journal.FILE
        desk.waits(lambda: replay.is_file() and len(decisions_of(run)) > 5, "its first decisions")
        desk.types(" ")
        desk.types("r", 2.0)
        done = desk.finish()
    finally:
        desk.close()
    assert done.status == 0, done
    log = decisions_of(run)
    assert len(log) == 120
    own = np.flatnonzero(log["source"] == Source.HUMAN)
    assert own.size >= 10
    assert set(log["source"].tolist()) <= {Source.POLICY, Source.HUMAN, Source.HOLD, Source.RECOVERY}
    assert own[-1] < 119, "the policy got the arm back"
    assert sum(episode["takeovers"] for episode in records(run, "episode")) >= 1


def test_a_killed_run_with_a_played_person_goes_on_to_the_same_numbers(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path / "copy")
    line = "{} checkpoint_every=40"
    typed(line.format(HUMAN.format(name="whole", more="")), folder)
    process = start(line.format(HUMAN.format(name="killed", more="")), folder)
    while len(list((folder / "runs/killed/checkpoints").glob("step_*"))) < 1:
        assert process.poll() is None
        time.sleep(0.02)
    kill(process)
    typed(line.format(HUMAN.format(name="killed", more="")), folder)
    whole, killed = (decisions_of(folder / "runs" / name) for name in ("whole", "killed"))
    np.testing.assert_array_equal(whole, killed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("collect task=peg_insertion source=gamepad out=x.zarr", "no gamepad found, but no readable input device"),
        ("collect task=peg_insertion source=keyboard out=x.zarr", "the keyboard needs a terminal on standard input"),
        ("collect task=peg_insertion source=joystick out=x.zarr", "source=joystick is unknown"),
        ("teleoperate task=peg_insertion teleop_config.frame=world", "frame=world is unknown"),
        ("teleoperate task=peg_insertion teleop_config.fram=tool", "unknown setting teleop_config.fram; did you mean"),
        ("teleoperate task=peg_insertion device=wheel", "device=wheel is unknown"),
        ("data replay demos.zarr episode=99", "demos.zarr holds 8 episodes, numbered from 0: there is no 99"),
        ("data replay demos.zarr task=maze", "demos.zarr does not fit: task is 'peg_insertion', needed 'maze'"),
        ("finetune task=peg_insertion out=y human_config.rlif=true", "human_config is about a person who takes over"),
        ("finetune task=gym env_id=Pendulum-v1 out=y human=scripted", "task=gym has none"),
        ("evaluate run=runs/x human=scripted human_config.rlif=true", "human_config.rlif is a reward to learn from"),
    ],
)
def test_mistakes_are_told_in_one_line(practice: Practice, line: str, said: str) -> None:
    if "gamepad" in line and Path("/dev/input").is_dir():
        pytest.skip("this machine has input devices")
    assert said in typed(line, practice.folder, status=2).complaint
