"""Ends what a killed `robot-rl up` leaves behind.

`up` starts this program first and writes the process id of each child to its standard input. The kernel closes that
pipe when `up` ends, however it ends. After an ordered end no child is left and the guardian goes too. After kill -9 the
kernel has sent SIGINT to each child (see leash.py); whoever has not ended after a while is sent SIGTERM, at last
SIGKILL. A motor process needs none of this: it holds, stops and leaves by itself when its owner is gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

from data.errors import UserError

GRACE_S, TERM_S = 20.0, 3.0
"""Time to end after SIGINT and after SIGTERM [s]."""


class Guardian:
    """The guardian's process, as `up` sees it."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        """grace_s: time for the children to end by themselves after `up` was killed [s]."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(grace_s)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, text=True, bufsize=1,
        )  # fmt: skip

    def watch(self, pid: int) -> None:
        """Tells it of a child, which leads a process group of its own. Raises UserError if the guardian is dead."""
        if self._process.stdin is None:
            raise RuntimeError("the guardian has no standard input")
        try:
            self._process.stdin.write(f"{pid}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise UserError(
                "the process that would clean up after a killed `robot-rl up` is dead: start again"
            ) from None

    def dismiss(self) -> None:
        """Lets it go: no child is left."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()


def _alive(children: dict[int, int]) -> dict[int, int]:
    """Returns those of {pid: pidfd} that have not ended."""
    ended = {fd for fd in children.values() if select.select([fd], [], [], 0)[0]}
    return {pid: fd for pid, fd in children.items() if fd not in ended}


def _wait(children: dict[int, int], limit_s: float) -> dict[int, int]:
    deadline_s = time.monotonic() + limit_s
    while (children := _alive(children)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return children


def main() -> None:
    """Waits for the end of `up`, then sees to it that its children end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    children: dict[int, int] = {}
    for line in sys.stdin:
        try:
            children[int(line)] = os.pidfd_open(int(line))
        except ProcessLookupError:  # it ended at once
            continue
    children = _wait(children, float(sys.argv[1])) if _alive(children) else {}
    for number, limit_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, TERM_S)):
        for pid in children:
            os.killpg(pid, number)
        children = _wait(children, limit_s)


if __name__ == "__main__":
    main()
