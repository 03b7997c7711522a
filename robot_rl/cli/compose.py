"""From words such as `steps=2000 agent_config.utd=4` to a checked configuration, by hydra's compose API.

Hydra's grammar and OmegaConf's type checks do the work; this file turns their refusals into one line that says what was
expected.
"""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any, cast, get_args, get_origin, get_type_hints

from data.errors import UserError
from robot_rl.cli.verbs import VERBS, Verb
from robot_rl.options import Config, expected_names


def type_name(annotation: Any) -> str:
    """Returns what a person should type for a field of this type, such as "integer" or "list of integers"."""
    plain: dict[Any, str] = {int: "integer", float: "number", str: "text", bool: "true|false"}
    if annotation in plain:
        return plain[annotation]
    if get_origin(annotation) is list:
        return f"[{type_name(get_args(annotation)[0])},...]"
    if get_origin(annotation) is dict:
        return "key=value"
    inner = [part for part in get_args(annotation) if part is not type(None)]
    return type_name(inner[0]) if inner else str(annotation)


def is_mapping(annotation: Any) -> bool:
    """Tells whether a field takes any keys (`agent_config.<key>=<value>`)."""
    return get_origin(annotation) is dict


def option_fields(kind: type[Config]) -> list[tuple[Field[Any], Any]]:
    """Returns the fields of a configuration, each with its resolved type."""
    hints = get_type_hints(kind)
    return [(entry, hints[entry.name]) for entry in fields(kind)]


def _override(word: str, kind: type[Config]) -> str:
    """Checks the key of one override and returns it as hydra wants it."""
    if word.startswith("-"):
        raise UserError(f"unknown flag {word}; settings are written key=value, flags are --json and --help")
    key, sign, value = word.partition("=")
    key = key.lstrip("+~")
    types = {entry.name: hint for entry, hint in option_fields(kind)}
    if not types:
        raise UserError(f"unknown setting '{word}'; this command has no settings")
    root, dot, rest = key.partition(".")
    if not sign:
        raise UserError(f"expected key=value, got '{word}'; {expected_names(root, list(types))}")
    if root not in types:
        raise UserError(f"unknown setting '{root}'; {expected_names(root, list(types))}")
    if dot and not (rest and is_mapping(types[root])):
        raise UserError(f"unknown setting '{key}'; write {root}={type_name(types[root])}")
    # ++ lets hydra add keys that the defaults of a mapping do not hold.
    return f"++{key}={value}" if is_mapping(types[root]) else f"{key}={value}"


def compose_config(verb: Verb, words: list[str]) -> Config:
    """Returns the configuration of a command with the given overrides.

    Raises `UserError`: one line that says what was expected, what came and what to do.
    """
    import hydra
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    store = ConfigStore.instance()
    for known in VERBS:
        store.store(known.name.replace(" ", "_"), known.config)
    values, overrides = _split(verb, words)
    try:
        with hydra.initialize(config_path=None, version_base=None):
            composed = hydra.compose(verb.name.replace(" ", "_"), overrides=overrides)
        for key, value in values.items():
            OmegaConf.update(composed, key, value)
        _require_all(verb, composed)
        config = cast(Config, OmegaConf.to_object(composed))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(verb, error)) from error
    return _expand_home(config)


def _split(verb: Verb, words: list[str]) -> tuple[dict[str, str | None], list[str]]:
    """Separates texts, which are taken as they are (a path may hold anything), from overrides in hydra's grammar."""
    free = list(verb.positional)
    texts = {entry.name for entry, hint in option_fields(verb.config) if type_name(hint) == "text"}
    values: dict[str, str | None] = {}
    overrides = []
    for word in words:
        if "=" not in word and free and not word.startswith("-"):
            values[free.pop(0)] = word
            continue
        override = _override(word, verb.config)
        key, _, value = override.partition("=")
        if key in texts and value[:1] not in ("'", '"'):
            values[key] = None if value == "null" else value
        else:
            overrides.append(override)
    return values, overrides


def _require_all(verb: Verb, composed: Any) -> None:
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        needed = " ".join(f"{name}=..." for name in missing)
        raise UserError(f"robot-rl {verb.name} needs {needed}; `robot-rl {verb.name} --help` explains each setting")


def _one_line(verb: Verb, error: Exception) -> str:
    """Explains a refusal of hydra or OmegaConf by the field that it names."""
    cause = error.__cause__ or error
    key = str(getattr(cause, "full_key", "") or "").partition(".")[0].partition("[")[0]
    for entry, hint in option_fields(verb.config):
        if entry.name == key:
            reason = str(cause).splitlines()[0]
            return f"{key} takes {type_name(hint)}: {entry.metadata['help']} ({reason})"
    lines = [line for line in str(error).splitlines() if line and not line.startswith("See http")]
    return lines[0].rstrip(".") + "; quote values that hold spaces, commas or brackets: \"key='a, b'\""


def _expand_home(config: Config) -> Config:
    from pathlib import Path

    for entry in fields(config):
        value = getattr(config, entry.name)
        if isinstance(value, str) and value.startswith("~/"):
            setattr(config, entry.name, str(Path(value).expanduser()))
    return config
