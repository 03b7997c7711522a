"""Finds agents by name: modules of this package with an `AGENT`, and entry points of the group "robot_rl.agents"."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import robot_rl.agents
from data.errors import UserError
from robot_rl.plugins import load_plugin

if TYPE_CHECKING:
    from robot_rl.agents.base import Agent, AgentSpec
    from robot_rl.policies.base import BasePolicy

GROUP = "robot_rl.agents"
_NOT_AGENTS = {"base", "on_base", "registry"}


def agent_names() -> list[str]:
    """Returns the names that `make_agent` takes, sorted; imports no agent."""
    return sorted({*_modules(), *_plugins()})


def agent_class(name: str) -> Any:
    """Returns the class of agent `name`.

    Raises:
        UserError: there is none (tells the valid names), or it is a plug-in that cannot be imported.
    """
    if name in _modules():
        return importlib.import_module(f"robot_rl.agents.{name}").AGENT
    plugins = _plugins()
    if name in plugins:
        return load_plugin(plugins[name])
    close = difflib.get_close_matches(name, agent_names(), 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UserError(f"unknown agent {name!r}: {hint}valid ones: {', '.join(agent_names())}")


def make_agent(
    name: str, spec: AgentSpec, options: Mapping[str, Any] | None = None, base: BasePolicy | None = None, seed: int = 0
) -> Agent:
    """Builds agent `name` with the named options of its config.

    Raises:
        UserError: unknown agent or option, a value that does not fit, or a missing base policy.
    """
    from robot_rl.agents.base import config_from

    kind = agent_class(name)
    agent: Agent = kind(spec, config_from(kind.config_class, options or {}), base, seed)
    return agent


def _modules() -> list[str]:
    names = (module.name for module in pkgutil.iter_modules(robot_rl.agents.__path__))
    return [name for name in names if name not in _NOT_AGENTS]


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
