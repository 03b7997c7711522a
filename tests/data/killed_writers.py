"""Program that kills its own children in the midst of writing, and checks what they leave. Started by test_kill.py.

`operations FOLDER STRIDE` kills just before the n-th file operation, for the last eight of them and each STRIDE-th of
the others: a stride of 1 visits every state that a kill can leave. `times FOLDER REPEATS` kills a child that appends
without end after a random time.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data.atomic import write_atomic
from data.episode import Episode
from data.maintenance import repair, verify
from data.store import EpisodeStore
from data.synthetic import synthetic_episode, synthetic_spec

SPEC = synthetic_spec()
OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def episode(number: int) -> Episode:
    return synthetic_episode(SPEC, 34 + number % 3, np.random.default_rng(number))


def fork(work: Callable[[], Any], kill_at_operation: int = 0, told: int | None = None) -> int:
    """Runs `work` in a child that is killed just before its n-th file operation, if it comes so far; returns its id.

    A child that gets through writes the number of its operations to the file descriptor `told`.
    """
    child = os.fork()
    if child:
        return child
    done = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event in OPERATIONS:  # the kill below is an event too
            done += 1
            if done == kill_at_operation:
                os.kill(os.getpid(), signal.SIGKILL)

    status = 1
    try:
        sys.addaudithook(count)
        work()
        if told is not None:
            os.write(told, str(done).encode())
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def was_killed(child: int) -> bool:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a child failed by itself (status {code})")
    return code == -signal.SIGKILL


def visit(
    name: str, prepare: Callable[[Path], None], work: Callable[[Path], Any], check: Callable[[Path], str]
) -> None:
    """Kills `work` at each of its file operations in turn, each time on a fresh folder, and checks what is left."""
    path, stride = Path(sys.argv[2]) / f"{name}.zarr", int(sys.argv[3])
    reader, writer = os.pipe()
    prepare(path)
    assert not was_killed(fork(lambda: work(path), told=writer))
    total = int(os.read(reader, 20))
    seen = {check(path)}
    operations = {*range(1, total + 1, stride), *range(max(total - 7, 1), total + 1)}
    for operation in sorted(operations):
        shutil.rmtree(path)
        prepare(path)
        assert was_killed(fork(lambda: work(path), operation)), operation
        seen.add(check(path))
    print(f"{name}: {len(operations)} kills in {total} operations, {sorted(seen)}", flush=True)


def stored(path: Path, expected: list[Episode]) -> int:
    """Checks that the store is whole, holds the first of `expected` and goes on; returns how many it held."""
    assert verify(path).ok, str(verify(path))
    with EpisodeStore.open(path, writable=True) as store:
        count = len(store)
        assert all(found.equals(expected[number]) for number, found in enumerate(store))
        assert not list((path / ".incoming").iterdir())
        assert store.append(expected[count]) == count
    return count


def kill_at_each_operation() -> None:
    first, second, third = (episode(number) for number in range(3))
    base = Path(sys.argv[2]) / "base"
    with EpisodeStore.create(base, SPEC) as store:
        store.append(first)

    def append(path: Path) -> None:
        with EpisodeStore.open(path, writable=True) as store:
            store.append(second)

    def after_creation(path: Path) -> str:
        EpisodeStore.create_or_open(path, SPEC).close()
        return f"{stored(path, [first])} episodes"

    def after_append(path: Path) -> str:
        return f"{stored(path, [first, second, third])} episodes"

    visit("create", lambda path: None, lambda path: EpisodeStore.create(path, SPEC), after_creation)
    visit("append", lambda path: void(shutil.copytree(base, path)), append, after_append)
    append(base)
    with EpisodeStore.open(base, writable=True) as store:
        store.append(third)
    kill_during_repair(base, third)
    kill_during_replacement()


def kill_during_repair(base: Path, third: Episode) -> None:
    """Damages the second of the three episodes in `base`, loses the first, and kills the repair."""
    shard = base / "episodes/000001/reward/c/0"
    shard.write_bytes(shard.read_bytes()[:-10])
    shutil.rmtree(base / "episodes/000000")

    def after_repair(path: Path) -> str:
        repair(path)
        assert verify(path).ok
        with EpisodeStore.open(path) as store:
            saved, whole = store
        assert len(saved) == 32 and whole.equals(third)
        assert len(list((path / "quarantine").iterdir())) == 1
        return "repaired"

    visit("repair", lambda path: void(shutil.copytree(base, path)), repair, after_repair)


def kill_during_replacement() -> None:
    """Kills the replacement of a single file."""

    def old_or_new(path: Path) -> str:
        assert path.with_suffix("").read_text() in ("old", "new")
        path.mkdir()
        return path.with_suffix("").read_text()

    visit(
        "file",
        lambda path: void(path.with_suffix("").write_text("old")),
        lambda path: write_atomic(path.with_suffix(""), "new"),
        old_or_new,
    )


def void(value: object) -> None:
    """Drops a result."""


def kill_at_random_times() -> None:
    repeats = int(sys.argv[3])
    path, rng = Path(sys.argv[2]) / "a.zarr", np.random.default_rng(0)
    EpisodeStore.create(path, SPEC).close()
    cycle = [episode(number) for number in range(20)]
    total = 0
    for _ in range(repeats):
        reader, writer = os.pipe()
        child = fork(lambda writer=writer: append_without_end(path, cycle, writer))  # type: ignore[misc]
        os.close(writer)
        time.sleep(float(rng.uniform(0.02, 0.6)))
        os.kill(child, signal.SIGKILL)
        was_killed(child)
        with os.fdopen(reader, "rb") as told:
            acknowledged = total + len(told.read())
        with EpisodeStore.open(path, writable=True) as store:  # takes in one that was finished but not told
            assert acknowledged <= len(store) <= acknowledged + 1
            assert all(store[number].equals(cycle[number % 20]) for number in range(total, len(store)))
            total = len(store)
    assert verify(path).ok
    print(f"times: {repeats} kills, {total} episodes", flush=True)


def append_without_end(path: Path, cycle: list[Episode], told: int) -> None:
    with EpisodeStore.open(path, writable=True) as store:
        while True:
            store.append(cycle[len(store) % 20])
            os.write(told, b".")


if __name__ == "__main__":
    if sys.argv[1] == "operations":
        kill_at_each_operation()
    else:
        kill_at_random_times()
