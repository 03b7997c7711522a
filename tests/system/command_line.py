"""The command `robot-rl` as people type it: a process of its own in a folder of their own."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.learning import journal
from robot_rl.learning.replay import Replay

PROGRAM = Path(sys.executable).with_name("robot-rl")
TINY_POLICY = "policy_config.steps=200 policy_config.width=16 policy_config.blocks=1"
TINY_AGENT = "agent_config.hidden=[16,16] agent_config.batch_size=16"
SHORT = "warmup=60 eval_every=60 eval_episodes=1 final_episodes=2"
COLLECT = "collect task=peg_insertion source=scripted episodes=8 out=demos.zarr"
PRETRAIN = f"pretrain task=peg_insertion data=demos.zarr out=runs/base eval_episodes=2 {TINY_POLICY}"
RLPD = f"finetune task=peg_insertion data=demos.zarr agent=rlpd steps=120 out=runs/x {SHORT} {TINY_AGENT}"
RESIDUAL = (
    f"finetune task=peg_insertion data=demos.zarr base=runs/base agent=residual steps=120 out=runs/r {SHORT} "
    f"{TINY_AGENT}"
)
QUICKSTART = (
    f"quickstart episodes=8 steps=120 eval_every=60 eval_episodes=1 final_episodes=2 out=runs/q {TINY_POLICY} "
    f"{TINY_AGENT} ablation=false critic=false"
)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    error: str

    @property
    def figures(self) -> dict[str, Any]:
        """The JSON object of the last line."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found

    @property
    def complaint(self) -> str:
        """The last line on standard error; asserts that the program explained itself instead of breaking."""
        assert "Traceback" not in self.out + self.error, self.error
        lines = [line for line in self.error.splitlines() if line.startswith("robot-rl: ")]
        assert len(lines) == 1, self.error
        assert self.error.splitlines()[-1] == lines[0]
        return lines[0].removeprefix("robot-rl: ")


def start(line: str, folder: Path, largest_file: int | None = None) -> subprocess.Popen[str]:
    """Starts a command; `largest_file` [bytes] makes every longer file fail as on a full disk."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.Popen(
        [str(PROGRAM), *shlex.split(line)], cwd=folder, text=True, start_new_session=True, preexec_fn=limit,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> Done:
    """Waits for the end of a command."""
    out, error = process.communicate()
    return Done(process.returncode, out, error)


def typed(line: str, folder: Path, status: int = 0, largest_file: int | None = None) -> Done:
    """Runs a command to its end, which must be the given one."""
    done = finish(start(line, folder, largest_file))
    assert done.status == status, f"robot-rl {line}\nended with {done.status}\n{done.out}{done.error}"
    return done


def begun(line: str, folder: Path, when: Callable[[], bool]) -> subprocess.Popen[str]:
    """Starts a command and waits until it has come so far."""
    process = start(line, folder)
    while not when():
        if process.poll() is not None:
            raise AssertionError(f"robot-rl {line}\nended too early: {finish(process)}")
        time.sleep(0.01)
    return process


def interrupt(process: subprocess.Popen[str]) -> Done:
    """Ctrl-C: to all processes of the command, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)
    return finish(process)


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9."""
    process.kill()
    process.communicate()


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """The whole lines of a run's metrics that are of this kind."""
    path = run / "metrics.jsonl"
    content = path.read_bytes() if path.is_file() else b""
    lines = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    return [line for line in lines if line["kind"] == kind]


def decisions_of(run: Path) -> NDArray[np.void]:
    """The decisions in a run's replay file, as they were journalled by an agent without extras."""
    head, _, body = (run / "replay" / journal.FILE).read_bytes().partition(b"\n")
    about = json.loads(head)
    found = np.frombuffer(body, journal.record_type(Replay(2, about["obs"], about["action"])))
    decisions: NDArray[np.void] = found[found["kind"] == journal.TRANSITION]
    return decisions


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but not those that tell of each start."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.parent.name != "tensorboard"}
