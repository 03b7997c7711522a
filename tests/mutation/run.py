"""Deletes each guard line in a copy of the sources and prints the test that notices: `make mutants`.

Exit status 1 if a guard survives. Kernels run as plain Python, so that nothing is compiled anew for each guard.
"""

from __future__ import annotations

import os
import sys

os.environ["NUMBA_DISABLE_JIT"] = "1"  # before Numba is imported

import contextlib
import io
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import hypothesis
import mujoco
import numba
import pinocchio
import pytest
import scipy.signal
import scipy.spatial.transform

from tests.mutation.guards import GUARDS, Guard

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("safety", "controllers", "data", "robot_rl", "tests", "docs")
_LIMIT_S = 300.0
LOADED = (hypothesis, mujoco, numba, pinocchio, scipy)
"""Imported once here; each run is a fork that has them at hand."""


def main(words: list[str]) -> int:
    """words: parts of paths, to run their guards only."""
    guards = [guard for guard in GUARDS if not words or any(word in guard.path for word in words)]
    tests = sorted({test for guard in guards for test in guard.tests})
    with copies(os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))) as free:
        folder = free.get()
        noticed = first_failure(folder, tests, 10.0 * _LIMIT_S)
        free.put(folder)
        if noticed is not None:
            print(f"the tests fail without any change: {noticed}")
            return 1
        with ThreadPoolExecutor(free.maxsize) as pool:
            survivors = sum(pool.map(lambda guard: survives(guard, free), guards))
    print(f"{len(guards)} guards, {survivors} survive")
    return int(survivors > 0)


@contextlib.contextmanager
def copies(count: int) -> Iterator[Queue[Path]]:
    """Copies of the sources, one for each guard that is tried at a time."""
    with tempfile.TemporaryDirectory(prefix="robot-rl-mutants-") as folder:
        free: Queue[Path] = Queue(count)
        for number in range(count):
            copy = Path(folder) / str(number)
            for name in FOLDERS:
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "pyproject.toml", copy)
            free.put(copy)
        yield free


def survives(guard: Guard, free: Queue[Path]) -> bool:
    """Deletes one guard, runs its tests, puts it back; says what came of it."""
    folder, begun_s = free.get(), time.monotonic()
    path = folder / guard.path
    source = path.read_text()
    try:
        if source.count(guard.line) != 1:
            print(f"{guard.path}: found {source.count(guard.line)} times, expected once: {guard.line!r}")
            return True
        path.write_text(source.replace(guard.line, guard.without))
        noticed = first_failure(folder, guard.tests)
    finally:
        path.write_text(source)
        free.put(folder)
    name = f"{guard.path}: {' '.join(guard.line.split())}"
    print(f"{name}\n    {noticed or 'SURVIVES'} ({time.monotonic() - begun_s:.0f} s)", flush=True)
    return noticed is None


def first_failure(folder: Path, tests: list[str] | tuple[str, ...], limit_s: float = _LIMIT_S) -> str | None:
    """Runs tests in a folder until one fails; returns its name, None if all pass."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(folder, tests, writer))
    process.start()
    writer.close()
    answer = "a run that does not end" if not reader.poll(limit_s) else None
    if answer is None:
        with contextlib.suppress(EOFError):
            answer = reader.recv_bytes().decode()
    process.kill()
    process.join()
    return (answer or None) if answer is not None else "a run that dies"


class _FirstFailure:
    """A pytest plug-in that remembers which test failed."""

    name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each phase of each test."""
        if report.failed and not self.name:
            self.name = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Called by pytest for each file."""
        if report.failed and not self.name:
            self.name = f"{report.nodeid} (import)"


def _run(folder: Path, tests: list[str] | tuple[str, ...], writer: multiprocessing.connection.Connection) -> None:
    """In the fork: leaves everything of this project behind and imports it from the folder."""
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    sys.dont_write_bytecode = True
    sys.path[:] = [str(folder), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]
    for name in [name for name in sys.modules if name.split(".")[0] in FOLDERS]:
        del sys.modules[name]
    plugin = _FirstFailure()
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore", *tests], [plugin])
    writer.send_bytes(plugin.name.encode())
    writer.close()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
