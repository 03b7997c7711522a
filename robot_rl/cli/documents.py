"""`robot-rl report`, `robot-rl data play` and `robot-rl doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robot_rl.config import DoctorConfig, PlayConfig, ReportConfig


def report(config: ReportConfig) -> dict[str, Any]:
    """Writes report.html of a run and says where it lies."""
    from robot_rl.report.html import write_report

    path = write_report(Path(config.run))
    print(f"report: {path}")
    return {"report": str(path)}


def play(config: PlayConfig) -> dict[str, Any]:
    """Writes film strips and plots of recorded episodes and says where they lie."""
    from robot_rl.report.play import play as write_page

    store = Path(config.path)
    out = Path(config.out) if config.out else store.with_suffix(".html")
    path = write_page(store, out, episodes=config.episodes, frames=config.frames)
    print(f"episodes: {path}")
    return {"page": str(path)}


def doctor(config: DoctorConfig) -> dict[str, Any]:
    """Prints what is here and what is missing; `ok` is false if something that is needed is."""
    from robot_rl.doctor import run

    return run()
