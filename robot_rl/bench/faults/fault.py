"""What a fault is: a row of the table of docs/faults.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from controllers.chain import ChainConfig
from robot_rl.bench.faults.judging import Outcome


@dataclass(frozen=True)
class Fault:
    """One fault: what is done, what must follow, within which limit."""

    name: str
    what: str
    expected: str
    limit: float
    unit: str
    run: Callable[[Any, np.random.Generator], Outcome]
    policy: bool = False
    """Whether it needs a policy in a process of its own."""
    once: bool = False
    """Whether the stage is spent afterwards."""
    chain: ChainConfig | None = None
    realtime: bool = False
    """Whether it says nothing without the measures against late ticks."""
    person: bool = False
    """Whether a person is there, so that none is simulated."""
    stage: Callable[[bool], Any] | None = None
    """Makes a stage of its own, told whether the motor process takes its measures against late ticks."""
    missing: Callable[[], str | None] = lambda: None
    """Why it cannot be run on this machine, None where it can."""
