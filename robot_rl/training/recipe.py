"""How to build an agent anew in another process, as plain JSON values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class AgentRecipe:
    """Everything that an agent is made from."""

    agent: str
    """Name of the agent."""
    obs_size: int
    """Width of a flat observation."""
    action_names: tuple[str, ...]
    """Name of each action dimension; one called gripper is not counted in the target entropy."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of the agent."""
    base: str | None = None
    """File of the imitated policy, for agents that fine-tune one."""
    seed: int = 0
    """Seed of the initial weights and of all that the agent draws."""
    obs_keys: tuple[str, ...] = ()
    """Names of what a flat observation is made of, as the imitated policy must have seen it; () leaves it unchecked."""

    def build(self) -> Any:
        """Returns the agent. Raises UserError where name, settings or the policy's widths do not fit."""
        from robot_rl.agents.base import AgentSpec
        from robot_rl.agents.registry import make_agent

        base = None
        if self.base is not None:
            from robot_rl.policies.diffusion import DiffusionPolicy

            base = DiffusionPolicy.load(self.base, self.obs_size, self.action_names, self.obs_keys or None)
        names = self.action_names
        gripper = names.index("gripper") if "gripper" in names else None
        return make_agent(self.agent, AgentSpec(self.obs_size, len(names), gripper), self.options, base, self.seed)

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> AgentRecipe:
        """Returns the recipe of `to_json`'s values."""
        names = {name: tuple(value.get(name, ())) for name in ("action_names", "obs_keys")}
        return cls(**{**value, **names})
