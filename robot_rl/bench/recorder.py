"""The recorder node measured from outside: minutes at full rate, and kills at random times.

An arm and a camera that number what they publish (`ros_nodes.recorder_source`) and the recorder are programs of their
own, in a ROS domain that nobody else here uses. What was lost is counted in the bags and in the store.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.bench.recorder_programs import END_S, domain, recorder, sleep_beside, source
from robot_rl.config_recorder import BenchRecorderConfig

_MARK = "of-bench-recorder"
_KILL_S = (0.1, 5.0)
"""A recorder is killed at a random time in this range after its first episode began; one takes a good second."""
_DISCOVERY_S = 5.0
"""Until the recorder has found the publishers: what they published before counts for nothing."""


def run(config: BenchRecorderConfig) -> dict[str, Any]:
    """Runs what is missing in the file `out`; returns the figures, `ok` tells whether nothing was lost."""
    if missing := [name for name in ("rclpy", "mcap") if find_spec(name) is None]:
        raise UserError(f"bench recorder needs {', '.join(missing)}: pip install -e .[ros,record]")
    path, work = Path(config.out).expanduser(), Path(config.work).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(work)
    with domain() as settings:
        if config.seconds and not _of(path, "endurance", seconds=config.seconds):
            _append(path, {"part": "endurance", "seconds": config.seconds, **endurance(config, work, settings)})
        done = {line["repeat"] for line in _of(path, "kill")}
        todo = [repeat for repeat in range(config.repeats) if repeat not in done]
        if todo:
            for line in kills(config, todo, work, settings):
                _append(path, {"part": "kill", **line})
    shutil.rmtree(work)  # after a failure it stays, with the logs, until the next start
    return summary(path, config)


def endurance(config: BenchRecorderConfig, work: Path, settings: dict[str, str]) -> dict[str, Any]:
    """Records for `seconds`, an episode in every ten; returns what was lost and what it cost."""
    out = work / "long"
    with source(work, settings, 4.0, 6.0) as arm, recorder(out, work / "recorder.log", settings) as node:
        process = psutil.Process(node.pid)
        before, began_s = process.cpu_times(), time.monotonic()
        sleep_beside(config.seconds, node, arm)
        after, seconds = process.cpu_times(), time.monotonic() - began_s
        memory_mib = process.memory_info().rss / 2**20
        node.send_signal(signal.SIGINT)
        status = node.wait(END_S)
    bag = next((out / "bags").iterdir())
    told, own = audit(bag, settings), _final_figures(work / "recorder.log")
    return {
        "reports": told["reports"],
        "images": told["images"],
        "lost_reports": told["lost_reports"],
        "lost_images": told["lost_images"],
        "short": min(told["reports"] / 1000.0, told["images"] / 30.0) < 0.99 * (seconds - _DISCOVERY_S),
        "cpu_share": (after.user + after.system - before.user - before.system) / seconds,
        "memory_mib": memory_mib,
        "mb_per_min": 60e-6 * sum(file.stat().st_size for file in bag.iterdir()) / seconds,
        "exit_status": status,
        "episodes_lost": len(stored(work / "source.jsonl")) - _episodes(out),
        "episodes": _episodes(out),
        **{name: own[name] for name in ("lost_in_queues", "lost_by_dds", "queue_peak_mb", "refused")},
    }


def _final_figures(log: Path) -> dict[str, Any]:
    """Returns what the recorder said of itself as it ended."""
    (line,) = [line for line in log.read_text().splitlines() if "in the end: " in line]
    return dict(json.loads(line.partition("in the end: ")[2]))


def kills(
    config: BenchRecorderConfig, repeats: list[int], work: Path, settings: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Kills one recorder after the other, all with one store; yields what each left behind."""
    from data.bag_repair import repair_bag

    out, log = work / "killed", work / "source.jsonl"
    with source(work, settings, 1.0, 0.2) as arm:
        before = 0
        for repeat in repeats:
            rng = np.random.default_rng([config.seed, repeat])
            known = set((out / "bags").iterdir()) if (out / "bags").exists() else set()
            arm.send_signal(signal.SIGUSR1)
            told = len(stored(log))
            with recorder(out, work / "recorder.log", settings) as node:
                begun = _begun(log)
                while _begun(log) == begun:
                    sleep_beside(0.02, node, arm)
                lived_s = float(rng.uniform(*_KILL_S))
                sleep_beside(lived_s, node, arm)
                node.kill()
                killed_ns = time.monotonic_ns()
                node.wait()
            time.sleep(0.1)  # an answer that was sent before is written down by now
            answered = before + len(stored(log)) - told
            (bag,) = set((out / "bags").iterdir()) - known
            line: dict[str, Any] = {"repeat": repeat, "lived_s": lived_s, "answered": answered - before}
            try:
                repair_bag(bag)
                found = audit(bag, settings)
            except (UserError, OSError, RuntimeError) as error:
                found = {"problem": str(error), "lost_reports": 0, "last_stamp_ns": 0}
            there = _episodes(out, before)
            line |= {
                "problem": found.get("problem"),
                "reports": found.get("reports", 0),
                "gaps": found["lost_reports"] + found.get("lost_images", 0),
                "tail_ms": 1e-6 * (killed_ns - found["last_stamp_ns"]) if found["last_stamp_ns"] else None,
                "episodes_lost": max(0, answered - there),
                "unanswered": max(0, there - answered),
            }
            before = there
            yield line


def stored(log: Path) -> list[str]:
    """Returns the recorder's answers that an episode was stored, as the arm wrote them down."""
    return [line["words"] for line in _said(log) if line["event"] == "success" and line["ok"]]


def _begun(log: Path) -> int:
    """Returns how many episodes began."""
    return sum(line["event"] == "start" and line["ok"] for line in _said(log))


def _said(log: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in log.read_text().splitlines(keepends=True) if text.endswith("\n")]


def audit(bag: Path, settings: dict[str, str]) -> dict[str, Any]:
    """Returns what `ros_nodes.recorded` counts in a bag. Raises RuntimeError where it cannot be read."""
    done = subprocess.run(
        [sys.executable, "-m", "ros_nodes.recorded", str(bag)], capture_output=True, text=True, env=settings
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _episodes(out: Path, known: int = 0) -> int:
    """Opens the store as the next writer does, reads all episodes but those known, returns how many there are."""
    with EpisodeStore.open(out / "episodes.zarr", writable=True) as store:
        return known + sum(len(store[number]) > 0 for number in range(known, len(store)))


def _clear(work: Path) -> None:
    """Makes the folder anew. Raises UserError where it holds what is not of an earlier benchmark."""
    if work.exists() and any(work.iterdir()) and not (work / _MARK).exists():
        raise UserError(f"{work} holds other things, and would be removed in the end: choose another work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / _MARK).touch()


# Results


def summary(path: Path, config: BenchRecorderConfig) -> dict[str, Any]:
    """Returns the figures of the results so far."""
    long = _of(path, "endurance", seconds=config.seconds)[-1:]
    killed = [line for line in _of(path, "kill") if line["repeat"] < config.repeats]
    figures: dict[str, Any] = {}
    for line in long:
        names = (
            "reports",
            "images",
            "lost_reports",
            "lost_images",
            "cpu_share",
            "mb_per_min",
            "memory_mib",
            "episodes",
        )
        figures |= {"recorder_seconds": line["seconds"]} | {f"recorder_{name}": line[name] for name in names}
    unreadable = sum(line["problem"] is not None for line in killed)
    lost = sum(line["episodes_lost"] for line in killed)
    tails_ms = [line["tail_ms"] for line in killed if line["tail_ms"] is not None]
    figures |= {
        "recorder_kills": len(killed),
        "recorder_episodes_answered": sum(line["answered"] for line in killed),
        "recorder_episodes_lost_beyond_the_open_one": lost,
        "recorder_bags_unreadable": unreadable,
        "recorder_gaps_in_bags": sum(line["gaps"] for line in killed),
        "recorder_tail_lost_ms": max(tails_ms, default=None),
    }
    wrong = [line["lost_reports"] or line["lost_images"] or line["episodes_lost"] or line["short"] for line in long]
    figures["ok"] = not (any(wrong) or lost or unreadable or figures["recorder_gaps_in_bags"])
    return figures


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _of(path: Path, part: str, **wanted: Any) -> list[dict[str, Any]]:
    """Returns the results of one part; a last line that was torn is passed over, and run again."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return [line for line in lines if line["part"] == part and all(line[k] == v for k, v in wanted.items())]
