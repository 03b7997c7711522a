"""In words, which safety layers stand between a policy and the motors."""

from __future__ import annotations

from collections.abc import Mapping

from controllers.chain import ChainConfig
from robot_rl.envs.layers import SafetyLayers

_CRITIC, _REFLEX = "safety critic", "reflex arbiter"
_LEDGER = {"off": "off", "observe": "observes, limits nothing", "enforce": "on"}


def layer_table(chain: ChainConfig, layers: SafetyLayers, lockstep: bool = True) -> dict[str, str]:
    """Returns the state of each layer by its name, in the order in which a command meets them.

    chain: what `layers` made of the task's own chain; lockstep: for a simulation in lock-step, else for a real arm.
    """
    supervisor = layers.supervisor_config(lockstep)
    person = "on; a simulated person resets latches" if supervisor.simulated_person else "on"
    return {
        "measured limits": _switch(chain.watch.enabled),
        _CRITIC: _critic(chain, layers),
        _REFLEX: _switch(chain.reflex.enabled),
        "reference limiter": "on" if layers.limiter else "opened by a factor of ten",
        "passivity ledger": _LEDGER[chain.ledger.mode],
        "supervisor": person if supervisor.enabled else "off",
    }


def unarmed(table: Mapping[str, str]) -> bool:
    """Whether, by its `layer_table`, the reflex arbiter is on and has nothing to act on: no critic was given."""
    return (table.get(_CRITIC), table.get(_REFLEX)) == ("none", "on")


def _switch(enabled: bool) -> str:
    return "on" if enabled else "off"


def _critic(chain: ChainConfig, layers: SafetyLayers) -> str:
    if layers.critic == "never":
        return "off"
    if layers.critic_file is None:
        return "none"
    period = layers.critic_period_ticks
    asked = "every tick" if period == 1 else f"every {period} ticks"
    asked = "once a command" if layers.critic == "decision" else asked
    gate = "" if layers.critic_gate else ", calibration gate not asked for"
    return f"on, {asked}, threshold {chain.reflex.eps_hard:.3g}, {layers.critic_file}{gate}"
