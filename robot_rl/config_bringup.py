"""What `robot-rl up` and `robot-rl bench up` can be told. The arguments of `up` are those of the table of bring-ups."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, make_dataclass
from typing import Any

from robot_rl.bringup.table import BRINGUPS
from robot_rl.options import Config, option


@dataclass
class _Up(Config):
    """Bring up an arm with all that belongs to it; without a name: say what there is."""

    name: str | None = option(None, f"What to bring up: {', '.join(bringup.name for bringup in BRINGUPS)}.")
    for_s: float = option(0.0, "Ends by itself so long after all is up; 0: with Ctrl-C.", unit="s", low=0.0)


def _arguments() -> list[tuple[str, Any, dataclasses.Field[Any]]]:
    """Returns one field for each argument in the table, a text that the bring-up itself checks."""
    users: dict[str, dict[str, list[str]]] = {}
    for bringup in BRINGUPS:
        for argument in bringup.arguments:
            users.setdefault(argument.name, {}).setdefault(argument.sentence, []).append(bringup.name)
    return [
        (name, str | None, option(None, " ".join(f"{', '.join(where)}: {text}" for text, where in sentences.items())))
        for name, sentences in users.items()
    ]


UpConfig: type[Config] = make_dataclass("UpConfig", _arguments(), bases=(_Up,), namespace={"__doc__": _Up.__doc__})
"""`name` and `for_s`, and one field for each argument of a bring-up, null where its own default holds."""


@dataclass
class BenchUpConfig(Config):
    """Measure the time from typing `robot-rl up sim` to the first command's torque."""

    starts: int = option(3, "Starts, of which the median counts; one more before warms the kernels' cache.", low=1)
    realtime: bool = option(True, "Whether the motor process takes its measures against late ticks.")
