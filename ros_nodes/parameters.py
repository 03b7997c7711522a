"""ROS parameters from the same dataclasses as the command line: name, type, default, bounds and sentence of each field.

A parameter may change while the node runs only if its field says so (`may_change`); all that bound or loosen motion do
not. Mappings (`safety_config` and its like) are a text such as `ledger=observe tank_start_j=2`, as ROS has no type for
them.
"""

from __future__ import annotations

import array
import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from data.errors import UserError
from robot_rl.options import REQUIRED, Config, as_declared

C = TypeVar("C", bound=Config)
_HUGE = 1e18


def declare(node: Node, kind: type[C]) -> None:
    """Declares one parameter a field. A field that must be given has the default "" and is asked for by `read`."""
    for field in dataclasses.fields(kind):
        default = _default(field)
        if isinstance(default, dict):
            default = text_of(default)
        elif default is None or (isinstance(default, str) and default == REQUIRED):
            default = ""
        # An empty list has no type in ROS: it is declared as a list of texts.
        value = list(map(str, default)) if isinstance(default, list | tuple) and not default else default
        node.declare_parameter(field.name, value, _descriptor(field, value))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _descriptor(field: dataclasses.Field[Any], value: Any) -> ParameterDescriptor:
    rule = field.metadata
    unit = f" [{rule['unit']}]" if rule.get("unit") else ""
    choices = f" One of: {', '.join(rule['choices'])}." if rule.get("choices") else ""
    # A field that may be None has the text "" for it, and another type once it is given.
    open_type = _default(field) is None
    descriptor = ParameterDescriptor(description=f"{rule.get('help', '')}{unit}{choices}", dynamic_typing=open_type)
    low, high = rule.get("low"), rule.get("high")
    if low is None and high is None:
        return descriptor
    if isinstance(value, bool) or not isinstance(value, int | float):
        return descriptor
    if isinstance(value, int):
        bounds = IntegerRange(
            from_value=int(-_HUGE if low is None else low), to_value=int(_HUGE if high is None else high)
        )
        descriptor.integer_range = [bounds]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=float(-_HUGE if low is None else low), to_value=float(_HUGE if high is None else high)
            )
        ]
    return descriptor


def read(node: Node, kind: type[C]) -> C:
    """Returns the configuration that the node's parameters make. Raises UserError as the command line would."""
    values = {field.name: _value(node, field) for field in dataclasses.fields(kind)}
    return kind(**as_declared(kind, values))


def _value(node: Node, field: dataclasses.Field[Any]) -> Any:
    return _value_as(field, node.get_parameter(field.name).value)


def _value_as(field: dataclasses.Field[Any], value: Any) -> Any:
    default = _default(field)
    if isinstance(default, dict):
        return mapping_of(value, field.name)
    if value == "" and (default is None or (isinstance(default, str) and default == REQUIRED)):
        return default
    return _plain(value)


def _plain(value: Any) -> Any:
    """ROS hands numbers over as array.array."""
    return list(value) if isinstance(value, tuple | array.array) else value


def mapping_of(text: str, name: str) -> dict[str, Any]:
    """Returns the mapping that a text such as `ledger=observe tank_start_j=2` stands for. Raises UserError."""
    mapping = {}
    for word in shlex.split(text):
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise UserError(f"{name} must be words such as key=value, got {word!r}")
        try:
            mapping[key] = json.loads(value)
        except ValueError:
            mapping[key] = value
    return mapping


def text_of(mapping: Mapping[str, Any]) -> str:
    """Returns the text that `mapping_of` turns into this mapping."""
    words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in mapping.items()}
    return " ".join(shlex.quote(f"{key}={value}") for key, value in words.items())


def lock(node: Node, kind: type[C], running: Callable[[], bool], changed: Callable[[C], None]) -> None:
    """While `running()`, refuses to change parameters that are not meant to; calls `changed` with the new ones else."""
    changeable = {field.name for field in dataclasses.fields(kind) if field.metadata.get("may_change")}
    fields = {field.name: field for field in dataclasses.fields(kind)}

    def decide(wished: list[Parameter[Any]]) -> SetParametersResult:
        mine = [parameter for parameter in wished if parameter.name in fields]
        fixed = sorted(parameter.name for parameter in mine if parameter.name not in changeable)
        if fixed and running():
            why = f"{', '.join(fixed)} cannot change while the node is active: deactivate and clean it up first"
            return SetParametersResult(successful=False, reason=why)
        try:
            values = {field.name: _value(node, field) for field in dataclasses.fields(kind)}
            config = kind(
                **as_declared(
                    kind,
                    values | {parameter.name: _value_as(fields[parameter.name], parameter.value) for parameter in mine},
                )
            )
        except (UserError, TypeError, ValueError) as error:
            return SetParametersResult(successful=False, reason=" ".join(str(error).split()))
        if running():
            changed(config)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(decide)
