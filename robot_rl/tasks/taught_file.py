"""Taught tasks as files: one readable JSON file a task, whole or not at all, checked as a whole when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.options import as_declared, expected_names
from robot_rl.tasks.taught_config import TaughtConfig

FORMAT, VERSION = "robot-rl taught task", 1
"""First entries of a file. The version is raised whenever an entry changes its meaning."""
FOLDER = Path("tasks")
"""Where taught tasks are looked for, in the working folder."""


def taught_path(name: str) -> Path:
    """Returns the file of a taught task: that of its name in FOLDER, or the path itself where one is given."""
    return Path(name).expanduser() if name.endswith(".json") else FOLDER / f"{name}.json"


def taught_names() -> list[str]:
    """Returns the names of the files in FOLDER, sorted; reads none of them."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if not path.name.startswith("."))


def write_taught(path: Path, config: TaughtConfig) -> None:
    """Writes the file, whole or not at all. Raises UserError if its name is not the task's, or on a full disk."""
    _require_name(path, config)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, as_text(config))


def as_text(config: TaughtConfig) -> str:
    """Returns the content of a file: JSON, one number list a line."""
    content = {"format": FORMAT, "version": VERSION, **asdict(config)}
    return _lines(content, "") + "\n"


def _lines(value: Any, indent: str) -> str:
    """JSON with mappings spread over lines and lists of plain values on one."""
    deeper = indent + "  "
    if isinstance(value, Mapping):
        entries = [f"{deeper}{json.dumps(key)}: {_lines(entry, deeper)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(entry, Mapping) for entry in value):
        return "[\n" + ",\n".join(f"{deeper}{_lines(entry, deeper)}" for entry in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)


def read_taught(path: Path) -> TaughtConfig:
    """Returns a taught task. Raises UserError in one line for a file that is not one, naming the entry."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"expected a taught task at {path}, found none: robot-rl task teach makes one") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the taught task {path}: {error}; restore it, or teach it again") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise UserError(f"{path} is no taught task: expected a JSON object with the format {FORMAT!r}")
    version = content.pop("version", None)
    if version != VERSION:
        raise UserError(f"{path} has version {version} of taught tasks, this program reads {VERSION}: teach it again")
    try:
        config: TaughtConfig = _read(TaughtConfig, content, "")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    _require_name(path, config)
    return config


def _require_name(path: Path, config: TaughtConfig) -> None:
    if path.stem != config.name:
        raise UserError(f"{path} holds the task {config.name!r}: a file is named as its task, {config.name}.json")


def _read(kind: type[Any], values: Any, where: str) -> Any:
    """Returns the dataclass `kind` from JSON values. where: the entries that lead here, for messages."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where or 'the file'} must be an object with entries, got {json.dumps(values)[:60]}")
    known = {entry.name: entry for entry in fields(kind)}
    for key in values:
        if key not in known:
            raise UserError(f"unknown entry {_below(where, key)}; {expected_names(key, list(known))}")
    for name, entry in known.items():
        if name not in values and _is_required(entry):
            raise UserError(f"{_below(where, name)} is missing")
    hints = get_type_hints(kind)
    parts = {name: _read_part(hints[name], values[name], _below(where, name)) for name in values}
    plain = {name: value for name, value in parts.items() if not _is_part(hints[name])}
    try:
        return kind(**{**parts, **as_declared(kind, plain)})
    except UserError as error:
        raise UserError(f"{where}: {error}" if where else str(error)) from error


def _read_part(hint: Any, value: Any, where: str) -> Any:
    """Reads nested dataclasses, also optional ones and tuples of them; any other value stays as it is."""
    part = _part_of(hint)
    if part is None or (value is None and type(None) in get_args(hint)):
        return value
    if get_origin(hint) is not tuple:
        return _read(part, value, where)
    if not isinstance(value, list):
        raise UserError(f"{where} must be a list, got {json.dumps(value)[:60]}")
    return tuple(_read(part, entry, f"{where}[{index}]") for index, entry in enumerate(value))


def _part_of(hint: Any) -> type[Any] | None:
    """Returns the dataclass that a field holds, alone, optionally or in a tuple; None for plain values."""
    candidates = get_args(hint) if get_origin(hint) in (Union, UnionType, tuple) else (hint,)
    return next((kind for kind in candidates if isinstance(kind, type) and is_dataclass(kind)), None)


def _is_part(hint: Any) -> bool:
    return _part_of(hint) is not None


def _is_required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
