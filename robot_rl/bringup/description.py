"""What a bring-up is made of. Data only, neither processes nor ROS: launch files read the same as `robot-rl up`.

Texts are templates: `{namespace}` stands for the value of the argument of that name, `{{` for a brace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec
from string import Formatter
from typing import Any

SCRIPTS = "robot_rl_bringup"
"""The ROS package that has one executable a node."""


@dataclass(frozen=True)
class Argument:
    """One thing that a bring-up can be told."""

    name: str
    sentence: str
    default: str = ""
    """"" with `needed`: must be given where a process that starts uses it."""
    choices: tuple[str, ...] = ()
    kind: type[str] | type[int] | type[float] | type[bool] = str
    """What the value becomes where it is a parameter by itself."""
    needed: bool = False
    pattern: str = ""
    """Regular expression that a value matches as a whole; "" for any."""
    form: str = ""
    """With a pattern: what a value that does not match is told to be."""


@dataclass(frozen=True)
class Condition:
    """Whether a process belongs to a bring-up, by one argument."""

    argument: str
    value: str
    equal: bool = True
    """Whether it belongs where the argument has this value, or where it has another."""

    def holds(self, values: Mapping[str, str]) -> bool:
        """Tells whether it does with these values of the arguments."""
        return (values[self.argument] == self.value) is self.equal


class AtEnd(Enum):
    """What the end of a process that nobody asked to end means for the others."""

    FAILURE = "failure"
    """All end; the bring-up failed."""
    DONE = "done"
    """With status 0 all end, and the bring-up is done; with another status it failed."""


@dataclass(frozen=True)
class Restart:
    """How often a process that ended by itself is started again."""

    times: int = 0
    within_s: float = 60.0
    """Starts longer ago than this no longer count [s]."""
    delay_s: float = 1.0
    """Time from its end to its next start [s]."""


@dataclass(frozen=True)
class Node:
    """A node's program: a module with a `main`, run as `python -m <module>` or as an executable of the ROS package."""

    module: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "{namespace}"

    @property
    def executable(self) -> str:
        """Its name in the ROS package."""
        return self.module.rpartition(".")[2]

    @property
    def missing(self) -> str:
        """Says what this installation lacks for it; "" if nothing."""
        return "" if find_spec(self.module) else f"this version has no {self.module}"


@dataclass(frozen=True)
class Command:
    """A command `robot-rl <words>`."""

    words: tuple[str, ...]

    @property
    def missing(self) -> str:
        """Says what this installation lacks for it; "" if nothing. Only settings without arguments are looked at."""
        from robot_rl.cli.verbs import VERBS

        verb = next((verb for verb in VERBS if verb.name == self.words[0]), None)
        if verb is None:
            return f"this version has no command {self.words[0]}"
        for word in self.words[1:]:
            key, _, value = word.partition("=")
            known = verb.config.__dataclass_fields__.get(key.partition(".")[0])
            if known is None:
                return f"robot-rl {verb.name} has no setting {key}"
            choices = known.metadata.get("choices")
            if choices and not any(names(value)) and value not in choices:
                return f"robot-rl {verb.name} takes no {word} yet"
        return ""


@dataclass(frozen=True)
class Process:
    """One process of a bring-up."""

    name: str
    """Of the node; it also stands before each line that the process writes."""
    program: Node | Command
    when: tuple[Condition, ...] = ()
    """It belongs to the bring-up where all of these hold."""
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = ""
    """Text in a line that it writes once it works; "" if it counts as ready at once."""
    after: tuple[str, ...] = ()
    """Processes that must be ready before it starts; those of other bring-ups do not count."""
    restart: Restart = Restart()
    at_end: AtEnd = AtEnd.FAILURE
    stop_s: float = 5.0
    """Time to end in order after SIGINT, before SIGTERM follows [s]."""
    owns_motor: bool = False
    """Whether it starts the arm's motor process."""
    terminal: bool = False
    """Whether it reads the terminal, as a keyboard does."""

    def belongs(self, values: Mapping[str, str]) -> bool:
        """Tells whether it belongs to the bring-up with these values of the arguments."""
        return all(condition.holds(values) for condition in self.when)


@dataclass(frozen=True)
class Refusal:
    """Values of arguments that exclude each other."""

    when: tuple[Condition, ...]
    sentence: str


@dataclass(frozen=True)
class BringUp:
    """A set of processes under one name."""

    name: str
    sentence: str
    arguments: tuple[Argument, ...]
    processes: tuple[Process, ...]
    """In the order of their start; they end in the reverse order."""
    purpose: tuple[str, ...]
    """Processes without which the bring-up makes no sense; others that this version lacks are left out."""
    next: tuple[str, ...] = ()
    """What to type next; `{motor}` stands for the name of the arm's motor process."""
    refusals: tuple[Refusal, ...] = ()

    @property
    def present(self) -> tuple[Process, ...]:
        """Returns the processes whose program this installation has."""
        return tuple(process for process in self.processes if not process.program.missing)

    @property
    def missing(self) -> str:
        """Says why this installation cannot start it at all; "" if it can."""
        lacking = {process.name: process.program.missing for process in self.processes if process.program.missing}
        here = {process.name for process in self.present}
        return "; ".join(lacking[name] for name in self.purpose if name not in here)

    def argument(self, name: str) -> Argument:
        """Returns the argument of a name, which must exist."""
        return next(argument for argument in self.arguments if argument.name == name)

    def kind(self, template: str) -> Any:
        """Returns the type of a parameter: the argument's if it is one argument by itself, else as it is written.

        `true` and `false` are truth values, what begins with `[` is a list of texts, all else is a text.
        """
        if template in ("true", "false"):
            return bool
        if template.startswith("["):
            return list[str]
        parts = list(pieces(template))
        if len(parts) == 1 and parts[0][1] is not None:
            return self.argument(parts[0][1]).kind
        return str


def pieces(template: str) -> Iterator[tuple[str, str | None]]:
    """Yields the parts of a template: (text, None) or ("", name of an argument)."""
    for text, name, _, _ in Formatter().parse(template):
        if text:
            yield text, None
        if name is not None:
            yield "", name


def names(template: str) -> Iterator[str]:
    """Yields the arguments that a template uses."""
    return (name for _, name in pieces(template) if name is not None)


def uses(process: Process) -> set[str]:
    """Returns the arguments that a process needs a value of, its condition aside."""
    templates = list(process.environment.values())
    if isinstance(process.program, Node):
        node = process.program
        templates += [node.namespace, *node.parameters.values(), *node.remappings.values()]
    else:
        templates += process.program.words
    return {name for template in templates for name in names(template)}
