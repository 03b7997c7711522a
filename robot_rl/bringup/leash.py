"""Starts a program that does not outlive its parent: `python -m robot_rl.bringup.leash <parent's pid> <program> ...`.

PR_SET_PDEATHSIG (prctl(2)) has the kernel send SIGINT, the order to end, when the thread that started this process is
gone, however it went. It is asked for by the child itself, because only then it holds for the child; the program that
takes this process's place by execve inherits it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def leashed(words: Sequence[str]) -> list[str]:
    """Returns the command line that starts the program `words` on a leash held by this process's main thread."""
    return [sys.executable, "-P", "-m", "robot_rl.bringup.leash", str(os.getpid()), *words]


def main() -> None:
    """Ties this process to its parent, then becomes the program."""
    parent, words = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) != 0:
        sys.exit(f"{words[0]}: prctl refused: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
