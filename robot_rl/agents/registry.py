"""Finds agents by name: modules of this package with an `AGENT`, and entry points of the group "robot_rl.agents"."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Mapping
from importlib.abc import InspectLoader
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import robot_rl.agents
from data.errors import UserError
from robot_rl.options import expected_names
from robot_rl.plugins import load_plugin

if TYPE_CHECKING:
    from robot_rl.agents.base import Agent, AgentSpec
    from robot_rl.policies.base import BasePolicy

GROUP = "robot_rl.agents"
_DECLARES_AGENT = re.compile(r"^AGENT\b", re.MULTILINE)


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
    raise UserError(f"unknown agent {name!r}; {expected_names(name, agent_names())}")


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
    """Names of the modules whose source declares an `AGENT`: read, as importing them all would load torch."""
    names = (module.name for module in pkgutil.iter_modules(robot_rl.agents.__path__))
    return [name for name in names if _DECLARES_AGENT.search(_source(f"robot_rl.agents.{name}"))]


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    loader = spec.loader if spec is not None else None
    return (loader.get_source(module) or "") if isinstance(loader, InspectLoader) else ""


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
