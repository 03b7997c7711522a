"""From a bring-up and what was typed to the programs to start. Nothing starts here."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controllers.motor_name import motor_name
from data.errors import UserError
from robot_rl.bringup.description import Argument, AtEnd, BringUp, Node, Process, Restart, uses
from robot_rl.options import expected_names


@dataclass(frozen=True)
class Program:
    """One program as it is started and watched; see `description.Process` for the fields."""

    name: str
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = ""
    after: tuple[str, ...] = ()
    restart: Restart = field(default_factory=Restart)
    at_end: AtEnd = AtEnd.FAILURE
    stop_s: float = 5.0
    terminal: bool = False
    motor: str = ""
    """Name of the motor process that it starts; "" if none."""


def fill(bringup: BringUp, given: Mapping[str, str]) -> dict[str, str]:
    """Returns the value of each argument. Raises UserError for an unknown one or a value that does not fit."""
    arguments = {argument.name: argument for argument in bringup.arguments}
    for name in given:
        if name not in arguments:
            raise UserError(f"robot-rl up {bringup.name} takes no '{name}'; {expected_names(name, list(arguments))}")
    values = {name: given.get(name, argument.default) for name, argument in arguments.items()}
    for name, argument in arguments.items():
        _check(argument, values[name])
    return values


def _check(argument: Argument, value: str) -> None:
    name = argument.name
    if argument.choices and value not in argument.choices:
        raise UserError(f"{name}={value} is unknown; {expected_names(value, argument.choices)}")
    if argument.pattern and not re.fullmatch(argument.pattern, value):
        raise UserError(f"{name}={value} is {argument.form}")
    if argument.kind in (int, float):
        try:
            argument.kind(value)
        except ValueError:
            words = {int: "a whole number", float: "a number"}[argument.kind]
            raise UserError(f"{name}={value}: expected {words}. {argument.sentence}") from None


def programs(bringup: BringUp, values: Mapping[str, str]) -> list[Program]:
    """Returns the programs of a bring-up in the order of their start.

    Raises UserError if this installation lacks what the bring-up is for, or a needed argument was not given.
    """
    if bringup.missing:
        raise UserError(f"robot-rl up {bringup.name} cannot start: {bringup.missing}")
    for refusal in bringup.refusals:
        if all(condition.holds(values) for condition in refusal.when):
            raise UserError(refusal.sentence)
    chosen = [process for process in bringup.present if process.belongs(values)]
    for process in bringup.processes:
        asked = [condition.argument for condition in process.when if not condition.equal]
        if asked and process.belongs(values) and process.program.missing:
            raise UserError(f"{asked[0]}={values[asked[0]]}: {process.program.missing}")
    for process in chosen:
        for name in sorted(uses(process)):
            argument = bringup.argument(name)
            if argument.needed and not values[name]:
                raise UserError(f"robot-rl up {bringup.name} needs {name}=... ({argument.sentence})")
    here = {process.name for process in chosen}
    return [_program(bringup, process, values, here) for process in chosen]


def _program(bringup: BringUp, process: Process, values: Mapping[str, str], here: set[str]) -> Program:
    if isinstance(process.program, Node):
        words = ("-m", process.program.module, *_ros_arguments(bringup, process.name, process.program, values))
    else:
        words = ("-m", "robot_rl.cli.main", *(word.format_map(values) for word in process.program.words))
    return Program(
        name=process.name,
        words=(sys.executable, "-P", *words),  # -P: a folder `data` of the working directory shall not hide ours
        environment={name: text.format_map(values) for name, text in process.environment.items()},
        ready=process.ready,
        after=tuple(name for name in process.after if name in here),
        restart=process.restart,
        at_end=process.at_end,
        stop_s=process.stop_s,
        terminal=process.terminal,
        motor=motor_of(values) if process.owns_motor else "",
    )


def _ros_arguments(bringup: BringUp, name: str, node: Node, values: Mapping[str, str]) -> list[str]:
    namespace = node.namespace.format_map(values)
    words = ["--ros-args", "-r", f"__node:={name}", "-r", f"__ns:=/{namespace.strip('/')}"]
    for source, target in node.remappings.items():
        words += ["-r", f"{source}:={target.format_map(values)}"]
    for parameter, template in node.parameters.items():
        words += ["-p", f"{parameter}:={_yaml(bringup.kind(template), template.format_map(values))}"]
    return words


def _yaml(kind: Any, value: str) -> str:
    """Writes a value as rcl reads it: a text in quotes stays a text, whatever it looks like."""
    if kind is float:
        return repr(float(value))  # without the point it would be an integer, which a parameter of floats refuses
    return value if kind in (int, bool, list[str]) else json.dumps(value, ensure_ascii=False)


def motor_of(values: Mapping[str, str]) -> str:
    """Returns the name of the motor process of a bring-up's arm. Raises UserError for an address that is none."""
    return motor_name(values.get("robot", "mujoco"), values["namespace"], values.get("robot_ip", ""))
