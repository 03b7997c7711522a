"""Starts the flight recorder's process beside a motor process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

from controllers.flight.config import FlightConfig


def start_recorder(name: str, config: FlightConfig, kernels: str, rate_hz: float, off_core: int | None) -> None:
    """Starts the recorder of the motor process `name`; it leaves by itself soon after that one has gone.

    off_core: the loop's, which it keeps off: where the kernel cannot be preempted, a call of it would delay ticks.
    A recorder that cannot be started costs its files, not the arm: there is a line on standard error.
    """
    settings = {"name": name, "flight": asdict(config), "kernels": kernels, "rate_hz": rate_hz, "off_core": off_core}
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "controllers.flight.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C and the terminal's end are not for it
        )
        if process.stdin is not None:
            process.stdin.write(json.dumps(settings).encode())
            process.stdin.close()
    except OSError as error:
        print(f"motor {name}: no flight recorder ({error.strerror}); latches leave no file", file=sys.stderr)
