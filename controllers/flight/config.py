"""Where the flight recorder writes, and how much."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FlightConfig:
    """The flight recorder of one arm."""

    enabled: bool = True
    """Whether flights are recorded at all."""
    folder: str = ""
    """Where the files go, made when the first is written; empty: $XDG_STATE_HOME/robot-rl/flights."""
    before_s: float = 10.0
    """Time before the latch that is kept [s], 0.1..60."""
    after_s: float = 0.5
    """Time after it that is waited for [s], 0..5."""
    keep: int = 20
    """Files that are kept in the folder; the oldest make room, >= 1."""
    pause_s: float = 5.0
    """A latch this soon after the last file gets none of its own [s], unless its reason is worse; >= 0."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.before_s <= 60.0:
            raise ValueError(f"before_s must be 0.1..60, got {self.before_s}")
        if not 0.0 <= self.after_s <= 5.0:
            raise ValueError(f"after_s must be 0..5, got {self.after_s}")
        if self.keep < 1:
            raise ValueError(f"keep must be 1 or more, got {self.keep}")
        if not self.pause_s >= 0.0:
            raise ValueError(f"pause_s must be 0 or more, got {self.pause_s}")

    @property
    def path(self) -> Path:
        """The folder that is meant."""
        if self.folder:
            return Path(self.folder).expanduser()
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(base) / "robot-rl" / "flights"
