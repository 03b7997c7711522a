"""Atomic files and folder locks: whole or not at all, one owner, freed by any death."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data.atomic import FolderLock, load_arrays, save_arrays_atomic, write_atomic
from data.errors import UserError


def test_write_atomic_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "old")
    write_atomic(tmp_path / "a", "né".encode())
    assert (tmp_path / "a").read_text() == "né"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_full_disk_keeps_the_old_content(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UserError, match="disk full while writing .*a: its former content is intact"):
            write_atomic(tmp_path / "a", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_arrays_round_trip_with_metadata(tmp_path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "scalar": np.array(3, np.int64),
        "empty": np.zeros(0, np.uint8),
    }
    save_arrays_atomic(tmp_path / "a.safetensors", arrays, {"kind": "test"})
    loaded, metadata = load_arrays(tmp_path / "a.safetensors")
    assert metadata == {"kind": "test"}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_arrays_missing_or_cut_short_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a safetensors file at .*found none"):
        load_arrays(tmp_path / "a")
    save_arrays_atomic(tmp_path / "a", {"w": np.ones(100)})
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:300])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_arrays(tmp_path / "a")


def test_a_locked_folder_names_its_owner_and_a_kill_frees_it(tmp_path: Path) -> None:
    code = """
        import sys, time
        from data.atomic import FolderLock
        lock = FolderLock(sys.argv[1])
        print("locked", flush=True)
        time.sleep(60)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout is not None and owner.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=f"in use by process {owner.pid};"):
            FolderLock(tmp_path)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    with FolderLock(tmp_path), pytest.raises(UserError, match=f"in use by process {os.getpid()};"):
        FolderLock(tmp_path)
    lock = FolderLock(tmp_path)
    lock.release()
    lock.release()
    assert not lock.held


def test_equal_arrays_and_texts_give_an_equal_file(tmp_path: Path) -> None:
    arrays, texts = {"b": np.arange(3), "a": np.ones((2, 2))}, {key: key for key in "tuvwxyz"}
    for number in range(8):  # the library orders the texts anew at each call
        save_arrays_atomic(tmp_path / str(number), arrays, texts)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1
    loaded, told = load_arrays(tmp_path / "0")
    assert told == texts and np.array_equal(loaded["a"], arrays["a"]) and np.array_equal(loaded["b"], arrays["b"])
