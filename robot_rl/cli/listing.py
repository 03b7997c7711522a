"""`robot-rl tasks`."""

from __future__ import annotations

from typing import Any

from data.errors import UserError
from robot_rl.config import TasksConfig


def tasks(config: TasksConfig) -> dict[str, Any]:
    """Prints one line a task and returns what they say; broken plug-ins are named, not hidden."""
    from robot_rl.tasks.registry import task_class, task_names

    found: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for name in task_names():
        try:
            kind = task_class(name)
        except UserError as error:
            broken[name] = str(error)
            continue
        found[name] = {"text": kind.text, "variants": list(kind.variants)}
    found["gym"] = {
        "text": "any Gymnasium environment with Box spaces: env_id=Pendulum-v1 or env_id=Module:Id",
        "variants": [],
    }
    width = max(map(len, found))
    for name, entry in found.items():
        variants = f" (variants: {', '.join(entry['variants'])})" if entry["variants"] else ""
        print(f"{name:<{width}}  {entry['text']}{variants}")
    for name, reason in broken.items():
        print(f"{name:<{width}}  broken: {reason}")
    return {"tasks": found, "broken": broken}
