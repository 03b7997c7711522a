"""In words, which safety layers a configuration puts between a policy and the motors."""

from __future__ import annotations

from controllers.chain import ChainConfig
from robot_rl.envs.layers import SafetyLayers
from robot_rl.envs.make import chain_of
from robot_rl.tasks.base import Task

_LEDGER = {"off": "off", "observe": "observes, limits nothing", "enforce": "on"}


def layer_table(task: Task, layers: SafetyLayers) -> dict[str, str]:
    """Returns the state of each layer by its name, in the order in which a command meets them, for lock-step."""
    chain = chain_of(task, layers)
    supervisor = layers.supervisor_config(lockstep=True)
    person = "on; a simulated person resets latches" if supervisor.simulated_person else "on"
    return {
        "measured limits": _switch(chain.watch.enabled),
        "safety critic": _critic(layers, chain),
        "reflex arbiter": _switch(chain.reflex.enabled),
        "reference limiter": "on" if layers.limiter else "opened by a factor of ten",
        "passivity ledger": _LEDGER[chain.ledger.mode],
        "supervisor": person if supervisor.enabled else "off",
    }


def unarmed(layers: SafetyLayers) -> bool:
    """Whether the reflex arbiter is on and has nothing to act on, because no critic was given."""
    return layers.reflex and layers.critic != "never" and layers.critic_file is None


def _switch(enabled: bool) -> str:
    return "on" if enabled else "off"


def _critic(layers: SafetyLayers, chain: ChainConfig) -> str:
    if layers.critic == "never":
        return "off"
    if layers.critic_file is None:
        return "none"
    period = layers.critic_period_ticks
    often = (
        "once a command" if layers.critic == "decision" else "every tick" if period == 1 else f"every {period} ticks"
    )
    gate = "" if layers.critic_gate else ", calibration gate not asked for"
    return f"on, {often}, threshold {chain.reflex.eps_hard:.3g}, {layers.critic_file}{gate}"
