"""`robot-rl data info|verify|repair`."""

from __future__ import annotations

from typing import Any

from data import maintenance
from robot_rl.cli.output import table
from robot_rl.config import DataConfig


def info(config: DataConfig) -> dict[str, Any]:
    """Prints and returns what a store holds."""
    from controllers.types import SOURCE_NAMES

    found = maintenance.info(config.path)
    spec = found.spec
    figures = {
        "path": str(found.path),
        "task": spec.task,
        "text": spec.task_text,
        "robot": spec.robot,
        "rate_hz": spec.rate_hz,
        "episodes": found.episodes,
        "successes": found.successes,
        "steps": found.steps,
        "minutes": found.seconds / 60.0,
        "size_mib": found.size_bytes / 2**20,
        "quarantined": found.quarantined,
        "cameras": ", ".join(spec.cameras) or "none",
        "actions": ", ".join(spec.action_names),
        "observations": {name: str(array) for name, array in spec.observations.items()},
        "executed_actions_by_source": {
            SOURCE_NAMES.get(code, str(code)): count for code, count in found.sources.items()
        },
    }
    print(table(figures))
    return figures


def verify(config: DataConfig) -> dict[str, Any]:
    """Prints and returns what is damaged; `ok` is false where something is."""
    report = maintenance.verify(config.path)
    print(report)
    return {"ok": report.ok, "episodes": report.episodes, "findings": [str(finding) for finding in report.findings]}


def repair(config: DataConfig) -> dict[str, Any]:
    """Mends a store; prints and returns what was done."""
    report = maintenance.repair(config.path)
    print(report)
    return {
        "episodes": report.episodes,
        "actions": report.actions,
        "quarantined": [str(path) for path in report.quarantined],
    }
