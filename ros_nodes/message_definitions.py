"""Definitions of message types as bags keep them, from the .msg files of whatever ROS is installed here.

A distribution names its folders in AMENT_PREFIX_PATH; the wheels have theirs below the Python environment.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from data.errors import UserError

_BUILT_IN = {
    *("bool", "byte", "char", "float32", "float64", "string", "wstring"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
_FIELD = re.compile(r"\s*([A-Za-z][\w/]*)\S*\s+[A-Za-z]")
_RULE = "=" * 80


@cache
def message_class(kind: str) -> Any:
    """Returns the class of a type such as `sensor_msgs/msg/Image`. Raises `UserError` if it is not installed."""
    package, _, name = kind.replace("/msg/", "/").partition("/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"the message type {kind} is not installed here: install its package {package}") from error


@cache
def definition(kind: str) -> str:
    """Returns the definition of a type with those of all that it is made of, in the encoding `ros2msg` of MCAP.

    Raises `UserError` where a .msg file is missing.
    """
    done: dict[str, str] = {}
    waiting = [kind.replace("/msg/", "/")]
    while waiting:
        name = waiting.pop(0)
        if name not in done:
            done[name] = _file(name).read_text(encoding="utf-8")
            waiting += _parts(name, done[name])
    first, *others = done.items()
    return first[1] + "".join(f"\n{_RULE}\nMSG: {name}\n{text}" for name, text in others)


@cache
def begins_with_header(kind: str) -> bool:
    """Tells whether the first field of a type is a std_msgs/Header, so that its stamp is the first of its bytes."""
    name = kind.replace("/msg/", "/")
    return next(_types(name, _file(name).read_text(encoding="utf-8")), "") == "std_msgs/Header"


def _file(name: str) -> Path:
    package, _, message = name.partition("/")
    prefixes = [path for path in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if path]
    for prefix in (*prefixes, sys.prefix):
        path = Path(prefix) / "share" / package / "msg" / f"{message}.msg"
        if path.is_file():
            return path
    raise UserError(
        f"expected the definition of {name} as share/{package}/msg/{message}.msg below AMENT_PREFIX_PATH or "
        f"{sys.prefix}, found none: install the package, or source its setup file"
    )


def _parts(name: str, text: str) -> list[str]:
    return [kind for kind in _types(name, text) if "/" in kind]


def _types(name: str, text: str) -> Iterator[str]:
    """Yields the type of each field in order, built-in ones as they are, others with their package."""
    package = name.partition("/")[0]
    for line in text.splitlines():
        field = _FIELD.match(line.partition("#")[0])
        if field is None or re.match(r"\s*\S+\s+\w+\s*=", line):  # nothing, or a constant
            continue
        kind = field[1]
        if kind in _BUILT_IN or "/" in kind:
            yield kind
        else:
            yield "std_msgs/Header" if kind == "Header" else f"{package}/{kind}"
