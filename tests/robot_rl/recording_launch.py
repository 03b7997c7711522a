"""A stand-in for ROS's `launch` and `launch_ros` where they are not installed: the classes used here, which record.

Only what the public documentation of launch promises is offered; an argument that the real classes do not take is
refused here too.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

_SHARED = """
    name additional_env output sigterm_timeout respawn respawn_delay respawn_max_retries on_exit condition
"""
_PROCESS = {"cmd", *_SHARED.split()}
_NODE = {"package", "executable", "namespace", "parameters", "remappings", *_SHARED.split()}
_CLASSES: dict[str, dict[str, tuple[tuple[str, ...], set[str]]]] = {
    "launch": {"LaunchDescription": (("entities",), {"entities"})},
    "launch.actions": {
        "DeclareLaunchArgument": (("name",), {"name", "default_value", "description", "choices"}),
        "ExecuteProcess": ((), _PROCESS),
        "SetEnvironmentVariable": (("name", "value"), {"name", "value"}),
        "Shutdown": ((), {"reason"}),
    },
    "launch.conditions": {"IfCondition": (("predicate",), {"predicate"})},
    "launch.substitutions": {
        "AndSubstitution": (("left", "right"), {"left", "right"}),
        "EnvironmentVariable": (("name",), {"name", "default_value"}),
        "EqualsSubstitution": (("left", "right"), {"left", "right"}),
        "LaunchConfiguration": (("name",), {"name", "default"}),
        "NotEqualsSubstitution": (("left", "right"), {"left", "right"}),
        "TextSubstitution": ((), {"text"}),
    },
    "launch_ros": {},
    "launch_ros.actions": {"LifecycleNode": ((), _NODE)},
    "launch_ros.parameter_descriptions": {"ParameterValue": (("value",), {"value", "value_type"})},
}


def _recorder(name: str, positional: tuple[str, ...], known: set[str]) -> type:
    def build(self: Any, *values: Any, **named: Any) -> None:
        given = {**dict(zip(positional, values, strict=False)), **named}
        if len(values) > len(positional) or not set(given) <= known:
            raise TypeError(f"{name} takes {sorted(known)}, got {len(values)} positional and {sorted(named)}")
        self.given = given

    return type(name, (), {"__init__": build})


def install(patch: pytest.MonkeyPatch) -> None:
    """Puts the stand-ins where `import launch` finds them, until the test ends."""
    for path, classes in _CLASSES.items():
        module = ModuleType(path)
        module.__path__ = []
        for name, (positional, known) in classes.items():
            setattr(module, name, _recorder(name, positional, known))
        patch.setitem(sys.modules, path, module)
