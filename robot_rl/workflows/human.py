"""Who may take over in `finetune` and `evaluate`, from `human`, `human_config` and `teleop_config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.errors import UserError
from robot_rl.agents.base import config_from
from robot_rl.teleop.config import teleop_from
from robot_rl.teleop.person import DevicePerson
from robot_rl.teleop.workplace import attended_workplace
from robot_rl.training.takeover import PersonTakeover, PlayedPerson, Takeover, TakeoverConfig
from robot_rl.training.workplace import ArmWorkplace, Workplace
from robot_rl.workflows.common import workplace_for


def takeover_config(config: Mapping[str, Any]) -> TakeoverConfig:
    """Returns when somebody takes over. Raises UserError for settings that do not fit, or that nobody would heed."""
    human = config.get("human", "none")
    for name in ("human_config", "teleop_config"):
        if config.get(name) and human == "none":
            raise UserError(f"{name} is about a person who takes over: give human=<device> or human=scripted as well")
    if config.get("teleop_config") and human == "scripted":
        raise UserError("teleop_config is about a person's device; with human=scripted leave it out")
    found: TakeoverConfig = config_from(TakeoverConfig, config.get("human_config") or {}, "human")
    return found


def workplace_with_human(config: Mapping[str, Any], seed: int) -> tuple[Workplace, Takeover | None]:
    """Returns the workplace of a run, and who may take over there; None for nobody.

    With a device the arm runs at the pace of the clock, which is the person's; it cannot be put back then.
    Raises UserError where device, task and settings do not fit.
    """
    settings, human = takeover_config(config), config.get("human", "none")
    if human == "none":
        return workplace_for(config, seed), None
    if human == "scripted":
        workplace = workplace_for(config, seed)
        return workplace, played(workplace, settings)
    hand = teleop_from(config.get("teleop_config") or {})
    attended, session = attended_workplace({**config, "seed": seed}, hand.make_device(human), hand)
    return attended, PersonTakeover(DevicePerson(attended, session, settings), settings.rlif)


def played(workplace: Workplace, settings: TakeoverConfig) -> Takeover:
    """Returns the takeover by the task's scripted operator. Raises UserError where there is none."""
    if not isinstance(workplace, ArmWorkplace):
        raise UserError("human=scripted lets the task's scripted operator take over, and task=gym has none")
    return PersonTakeover(PlayedPerson(workplace, settings), settings.rlif)
