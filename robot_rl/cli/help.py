"""The texts of `--help`, made from the configurations."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import MISSING, Field
from typing import Any

from robot_rl.cli.compose import is_mapping, option_fields, type_name
from robot_rl.cli.verbs import VERBS, Verb, summary
from robot_rl.options import REQUIRED

_HEAD = "Robot learning from demonstrations and practice, behind a 1 kHz impedance controller."
_TAIL = """\
Settings are written key=value; `robot-rl <command> --help` lists them with their defaults. --json prints the figures as
one JSON object on the last line. A command that was stopped goes on when it is typed again. Exit status: 0 done, 1 a
check failed, 2 a mistake in what was given, 130 stopped by Ctrl-C."""


def overview() -> str:
    """Returns the text of `robot-rl --help`."""
    width = max(len(verb.name) for verb in VERBS)
    lines = [f"  {verb.name:<{width}}  {summary(verb)}" for verb in VERBS]
    return "\n".join([_HEAD, "", "usage: robot-rl <command> [key=value ...] [--json] [--help]", "", *lines, "", _TAIL])


def group_help(group: str) -> str:
    """Returns the text of `robot-rl <group> --help`: the commands of the group."""
    members = [verb for verb in VERBS if verb.name.startswith(group + " ")]
    width = max(len(verb.name) for verb in members)
    lines = [f"  {verb.name:<{width}}  {summary(verb)}" for verb in members]
    usage = f"usage: robot-rl {group} <command> [key=value ...] [--json] [--help]"
    return "\n".join([usage, "", *lines])


def _grids() -> list[str]:
    from robot_rl.workflows.grids import GRIDS
    from robot_rl.workflows.safety_grids import SAFETY_GRIDS

    questions = {name: grid.question for name, grid in GRIDS.items()}
    questions |= {name: grid.question for name, grid in SAFETY_GRIDS.items()}
    width = max(map(len, questions))
    return ["", "Experiments:", *(f"  {name:<{width}}  {question}" for name, question in questions.items())]


def command_help(verb: Verb) -> str:
    """Returns the text of `robot-rl <command> --help`: every setting with type, default, unit and a sentence."""
    entries = option_fields(verb.config)
    given = " ".join(name.upper() for name in verb.positional)
    usage = f"usage: robot-rl {verb.name} {given + ' ' if given else ''}[key=value ...] [--json]"
    lines = [summary(verb), "", usage]
    if not entries:
        return "\n".join([*lines, "", "This command has no settings."])
    lines.append("")
    columns = min(shutil.get_terminal_size((110, 24)).columns, 130)
    for entry, hint in entries:
        head = f"  {entry.name}.<key>=<value>" if is_mapping(hint) else f"  {entry.name}={_values(entry, hint)}"
        lines.append(f"{head}  ({_default(entry)})")
        lines += textwrap.wrap(entry.metadata["help"], columns - 6, initial_indent="      ", subsequent_indent="      ")
    if verb.name == "experiment":
        lines += _grids()
    return "\n".join(lines)


def _values(entry: Field[Any], hint: Any) -> str:
    choices = entry.metadata["choices"]
    text = "|".join(choices) if choices else type_name(hint)
    return f"{text} [{entry.metadata['unit']}]" if entry.metadata["unit"] else text


def _default(entry: Field[Any]) -> str:
    if entry.default is MISSING:
        value = entry.default_factory() if entry.default_factory is not MISSING else None
        return f"default {value}" if value else "default none"
    if entry.default == REQUIRED:
        return "required"
    if entry.default is None:
        return "default none"
    return f"default {str(entry.default).lower() if isinstance(entry.default, bool) else entry.default}"
