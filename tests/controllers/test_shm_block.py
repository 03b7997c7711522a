from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from controllers.shared_memory import BlockError, BlockInUse, SharedBlock
from controllers.shared_memory.block import block_path, remove_stale
from controllers.shared_memory.layout import BLOCK_BYTES, HEADER, REGIONS, layout_hash
from controllers.shared_memory.liveness import OWNER_BYTE, process_start, try_lock


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    block_path(name).unlink(missing_ok=True)


def patch_header(name: str, **fields: object) -> None:
    """Changes the file as another version, boot or process would have left it."""
    with block_path(name).open("r+b") as file:
        header = np.frombuffer(file.read(HEADER.itemsize), HEADER).copy()
        for field, value in fields.items():
            header[field] = value
        file.seek(0)
        file.write(header.tobytes())


def leave_behind(name: str) -> None:
    """Lets a process make the block and die by SIGKILL."""
    script = (
        "import os, signal, sys; from controllers.shared_memory import SharedBlock;"
        "block = SharedBlock.create(sys.argv[1]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script, name], check=False).returncode == -signal.SIGKILL
    assert block_path(name).exists()


def test_both_ends_see_the_same_memory_and_closing_removes_the_file(name: str) -> None:
    owner = SharedBlock.create(name)
    parent = SharedBlock.attach(name)
    there, here = owner.region("parent"), parent.region("parent")
    here[:3] = b"abc"
    assert bytes(there[:3]) == b"abc"
    for view in (there, here):
        view.release()
    parent.close()
    assert block_path(name).exists()
    owner.close()
    assert not block_path(name).exists()


def test_regions_lie_apart_inside_the_block() -> None:
    end = 0
    for start, size in REGIONS.values():
        assert start >= end and start % 64 == 0
        end = start + size
    assert end <= BLOCK_BYTES


def test_a_second_owner_is_refused_while_the_first_lives(name: str) -> None:
    owner = SharedBlock.create(name)
    with pytest.raises(BlockInUse, match=f"the motor process with pid {os.getpid()} already owns"):
        SharedBlock.create(name)
    with pytest.raises(BlockInUse):
        remove_stale(name)
    owner.close()
    SharedBlock.create(name).close()


def test_a_second_commander_is_refused_but_an_observer_is_not(name: str) -> None:
    owner = SharedBlock.create(name)
    parent = SharedBlock.attach(name)
    with pytest.raises(BlockInUse, match="another process already commands"):
        SharedBlock.attach(name)
    SharedBlock.attach(name, command=False).close()
    parent.close()
    SharedBlock.attach(name).close()
    owner.close()


def test_the_block_of_a_killed_owner_is_reclaimed(name: str) -> None:
    leave_behind(name)
    with pytest.raises(BlockError, match="is dead"):
        SharedBlock.attach(name)
    SharedBlock.create(name).close()


def test_a_reused_pid_does_not_count_as_the_owner(name: str) -> None:
    leave_behind(name)
    patch_header(name, owner_pid=os.getpid(), owner_start=(process_start(os.getpid()) or 0) - 1)
    assert remove_stale(name)


def test_a_block_of_another_boot_is_reclaimed(name: str) -> None:
    leave_behind(name)
    patch_header(name, owner_pid=os.getpid(), owner_start=process_start(os.getpid()), boot=b"another boot")
    assert remove_stale(name)


def test_a_living_owner_without_a_lock_is_left_alone(name: str) -> None:
    leave_behind(name)
    patch_header(name, owner_pid=os.getpid(), owner_start=process_start(os.getpid()))
    with pytest.raises(BlockInUse):
        SharedBlock.create(name)


def test_another_version_is_refused_with_both_hashes(name: str) -> None:
    owner = SharedBlock.create(name)
    patch_header(name, layout=b"0123456789abcdef")
    with pytest.raises(BlockError, match=rf"'0123456789abcdef', this version expects '{layout_hash().decode()}'"):
        SharedBlock.attach(name)
    owner.close()


def test_a_foreign_or_short_file_is_refused_and_then_replaced(name: str) -> None:
    block_path(name).write_bytes(b"something else entirely" * 20)
    with pytest.raises(BlockError, match="is no motor block"):
        SharedBlock.attach(name)
    block_path(name).write_bytes(b"")
    with pytest.raises(BlockError, match="is no motor block"):
        SharedBlock.attach(name)
    SharedBlock.create(name).close()


def test_a_truncated_block_is_refused(name: str) -> None:
    owner = SharedBlock.create(name)
    copy = block_path(name).read_bytes()[: BLOCK_BYTES // 2]
    Path(block_path(name)).unlink()
    block_path(name).write_bytes(copy)
    with pytest.raises(BlockError, match=f"expected {BLOCK_BYTES}"):
        SharedBlock.attach(name)
    owner.close()
    assert block_path(name).exists(), "the owner takes away only its own file"


def test_no_block_tells_what_to_start(name: str) -> None:
    with pytest.raises(BlockError, match="no motor process named .* runs"):
        SharedBlock.attach(name)
    assert not remove_stale(name)


@pytest.mark.parametrize("bad", ["", "../x", "a b", "x" * 101, "-x"])
def test_names_that_are_no_file_names_are_refused(bad: str) -> None:
    with pytest.raises(BlockError, match="letters, digits"):
        SharedBlock.create(bad)


def test_too_little_room_is_told_before_anything_is_written(name: str) -> None:
    script = (
        "import resource, sys; from controllers.shared_memory import SharedBlock;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); SharedBlock.create(sys.argv[1])"
    )
    ended = subprocess.run([sys.executable, "-c", script, name], check=False, capture_output=True, text=True)
    said = f"a motor process needs {BLOCK_BYTES >> 10} KiB in /dev/shm, got: File too large; free or enlarge it"
    assert ended.stderr.splitlines()[-1].endswith(said)
    assert not block_path(name).exists()


def test_two_starters_over_a_dead_owners_block_wait_for_each_other(name: str) -> None:
    leave_behind(name)
    fd = os.open(block_path(name), os.O_RDWR)
    assert try_lock(fd, OWNER_BYTE), "the quicker starter is about to take the block away"

    def take_away() -> None:
        block_path(name).unlink()
        os.close(fd)

    slower = threading.Timer(0.02, take_away)
    slower.start()
    SharedBlock.create(name).close()
    slower.join()


def test_a_lock_that_stays_on_a_dead_owners_block_is_not_blamed_on_the_dead(name: str) -> None:
    leave_behind(name)
    fd = os.open(block_path(name), os.O_RDWR)
    assert try_lock(fd, OWNER_BYTE)
    with pytest.raises(BlockInUse, match="another process keeps the lock of .*, whose owner is dead; end it"):
        SharedBlock.create(name)
    os.close(fd)


def test_a_file_system_without_locks_is_told_and_no_descriptor_stays_open(name: str) -> None:
    script = """
import os, sys
from controllers.shared_memory import BlockError, SharedBlock

def no_locks(event, arguments):
    if event == "fcntl.fcntl":
        raise PermissionError("no locks here")

before = os.listdir("/proc/self/fd")
sys.addaudithook(no_locks)
try:
    SharedBlock.create(sys.argv[1])
except BlockError as error:
    print(error)
assert os.listdir("/proc/self/fd") == before
"""
    ended = subprocess.run([sys.executable, "-c", script, name], check=True, capture_output=True, text=True)
    assert ended.stdout == "the file system of /dev/shm grants no locks; mount /dev/shm as tmpfs\n"
