"""Finds tasks by name: of this package, of the entry points "robot_rl.tasks", taught ones of the working folder."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from data.errors import UserError
from robot_rl.options import expected_names
from robot_rl.plugins import load_plugin, look_in_working_folder
from robot_rl.tasks.base import Task
from robot_rl.tasks.taught_file import read_taught, taught_names, taught_path

GROUP = "robot_rl.tasks"
_OWN = {"maze": "robot_rl.tasks.maze:Maze", "peg_insertion": "robot_rl.tasks.peg_insertion:PegInsertion"}


def task_names() -> list[str]:
    """Returns the names that `task_class` takes, sorted; imports no task."""
    return sorted({*code_names(), *taught_names()})


def code_names() -> set[str]:
    """Returns the names that are taken by code, which no taught task may have."""
    return {*_OWN, *(point.name for point in entry_points(group=GROUP))}


def task_class(name: str) -> type[Task]:
    """Returns the class of a task; `module:Class` names one of the user's own, `<path>.json` a taught one.

    Raises UserError with the closest and all valid names, for a plug-in that cannot be imported, for a file that is no
    taught task, and for a name that belongs to code and to a file of the working folder.
    """
    if name.endswith(".json"):
        return _taught(name)
    if ":" in name:
        return _own_class(name)
    if name == "gym":
        raise UserError("task=gym env_id=<id> is no task of an arm: it goes with finetune, evaluate and report only")
    if name in taught_names():
        if name in code_names():
            raise UserError(
                f"task {name} is taken by code and by the file {taught_path(name)}: rename that file and its task"
            )
        return _taught(name)
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _checked(name, load_plugin(point))
    raise UserError(f"unknown task {name!r}; {expected_names(name, [*task_names(), 'gym'])}")


def _taught(name: str) -> type[Task]:
    from robot_rl.tasks.taught import taught_class

    return taught_class(read_taught(taught_path(name)))


def _own_class(name: str) -> type[Task]:
    module, _, attribute = name.partition(":")
    look_in_working_folder()
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        cure = "expected <module>:<class> of a file in the working folder"
        raise UserError(f"task {name!r} cannot be imported ({error}): {cure}") from error
    return _checked(name, found)


def _checked(name: str, found: Any) -> type[Task]:
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise UserError(f"task {name!r} is no subclass of robot_rl.tasks.base.Task")
    return found


def make_task(name: str, variant: str = "default", settings: Mapping[str, Any] | None = None) -> Task:
    """Builds a task in a variant with some settings changed. Raises UserError for what it does not know."""
    kind = task_class(name)
    if variant not in kind.variants:
        raise UserError(f"task {name} has the variants {', '.join(kind.variants)}, got {variant!r}")
    if not settings:
        return kind(variant)  # type: ignore[call-arg]
    try:
        return kind(variant, **dict(settings))  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:  # a constructor's way to say that a name or a value does not fit
        given = ", ".join(f"task_config.{key}={value}" for key, value in settings.items())
        raise UserError(f"task {name} does not take {given}: {error}; see the arguments of its class") from error
