"""`robot-rl data info|verify|repair`, of episode stores and of bags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data import maintenance
from data.errors import UserError
from robot_rl.cli.output import table
from robot_rl.config import DataConfig


def info(config: DataConfig) -> dict[str, Any]:
    """Prints and returns what a store holds."""
    from controllers.types import SOURCE_NAMES

    if _is_bag(config.path):
        return _bag_info(config.path)
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
    if _is_bag(config.path):
        figures = _bag_info(config.path)
        return {"ok": figures["closed"] and not figures["damaged_chunks"], **figures}
    report = maintenance.verify(config.path)
    print(report)
    return {"ok": report.ok, "episodes": report.episodes, "findings": [str(finding) for finding in report.findings]}


def repair(config: DataConfig) -> dict[str, Any]:
    """Mends a store; prints and returns what was done."""
    if _is_bag(config.path):
        return _bag_repair(config.path)
    report = maintenance.repair(config.path)
    print(report)
    return {
        "episodes": report.episodes,
        "actions": report.actions,
        "quarantined": [str(path) for path in report.quarantined],
    }


def _is_bag(path: str) -> bool:
    """Tells whether there is a bag, which other libraries are needed for. Raises UserError where they are missing."""
    try:
        from data.bag_reading import is_bag
    except ModuleNotFoundError as error:
        folder = Path(path).expanduser()
        if folder.suffix == ".mcap" or any(folder.glob("*.mcap")):
            raise UserError(f"{path} is a bag, which needs {error.name}: pip install -e .[record]") from error
        return False
    return is_bag(path)


def _bag_info(path: str) -> dict[str, Any]:
    """Prints and returns what a bag holds, read from its first byte to its last."""
    from data.bag_reading import survey, totals

    figures = {"path": path, **totals(survey(path))}
    print(table(figures))
    if not figures["closed"]:
        print(f"its recorder did not close it: robot-rl data repair {path}")
    return figures


def _bag_repair(path: str) -> dict[str, Any]:
    """Completes a bag; prints and returns what was done."""
    from data.bag_repair import repair_bag

    report = repair_bag(path)
    print(report)
    return {"messages": sum(file.summary.total for file in report.files), "actions": list(report.actions)}
