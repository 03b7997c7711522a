"""Which layers stand between a policy and the motors: all of them, unless a configuration says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from controllers.chain import ChainConfig
from data.errors import UserError
from robot_rl.options import as_declared, expected_names
from robot_rl.safety_critic.files import Critic, load_critic
from safety.ledger import LedgerMode
from safety.reflex import ReflexConfig
from safety.risk_critic import CriticMode
from safety.supervision import SupervisorConfig

_LEDGER_MODES = tuple(mode.name.lower() for mode in LedgerMode)
_CRITIC_MODES = tuple(mode.name.lower() for mode in CriticMode)
_WIDE = 10.0
"""Factor on leash, speeds and accelerations where the reference limiter is switched off."""
_WIDE_BOX_M = 2.0


@dataclass(frozen=True)
class SafetyLayers:
    """Layers of the motor chain. Torque and torque-rate limits stay whatever is said here: no drive bears more."""

    limiter: bool = True
    """Reference limiter: workspace box, leash, speed and acceleration; false opens each of them by a factor of ten."""
    watch: bool = True
    """Limits on the measured force, speed, power and workspace, which stop the arm."""
    reflex: bool = True
    """Reflex arbiter: what the safety critic's risk does to the arm."""
    ledger: str = "enforce"
    """Passivity ledger: off, observe (keeps books, limits nothing) or enforce."""
    supervisor: bool = True
    """Heartbeats, a person's reset after a latch, a budget of automatic ones; false lets every reset through."""
    simulated_person: bool = True
    """In lock-step simulation latches are reset as if a person had looked, so that training goes on alone; counted."""
    critic: str = "control"
    """Safety critic: never, decision (asked once a command) or control (asked in the tick)."""
    critic_period_ticks: int = 1
    """Ticks between two questions to the critic in the mode control."""
    critic_file: str | None = None
    """File critic.safetensors of `safety train`; its threshold is where the reflex acts. None: no critic, no reflex."""
    critic_gate: bool = True
    """Refuse a critic that was not calibrated or does not pass; false for experiments only."""
    tank_start_j: float | None = None
    """Energy budget of an episode [J]; None: the task's own."""

    def __post_init__(self) -> None:
        # YAML reads a bare `off` as false
        if self.ledger not in _LEDGER_MODES:
            raise UserError(
                f"safety_config.ledger={self.ledger} is unknown; {expected_names(self.ledger, _LEDGER_MODES)}"
            )
        if self.critic not in _CRITIC_MODES:
            raise UserError(
                f"safety_config.critic={self.critic} is unknown; {expected_names(self.critic, _CRITIC_MODES)}"
            )
        if self.critic_file is not None and self.critic != "never" and not self.limiter:
            raise UserError(
                "safety_config.limiter=false opens the leash and the speeds by which the safety critic's features were "
                "scaled in its training: leave limiter on, or give safety_config.critic=never"
            )

    def load_critic(self) -> Critic | None:
        """Returns the critic of critic_file, None without one. Raises UserError for one that does not pass its gate."""
        if self.critic_file is None or self.critic == "never":
            return None
        return load_critic(Path(self.critic_file).expanduser(), override_gate=not self.critic_gate)

    def apply_to(self, chain: ChainConfig) -> ChainConfig:
        """Returns the chain's configuration with the layers switched as said."""
        ledger = replace(chain.ledger, mode=self.ledger)
        if self.tank_start_j is not None:
            try:
                ledger = replace(
                    ledger,
                    tank_start_j=self.tank_start_j,
                    tank_min_j=min(ledger.tank_min_j, 0.1 * self.tank_start_j),
                    tank_max_j=max(ledger.tank_max_j, self.tank_start_j),
                )
            except ValueError as error:
                raise UserError(f"safety_config.tank_start_j={self.tank_start_j} does not fit: {error}") from error
        try:
            critic = replace(chain.critic, mode=self.critic, period_ticks=self.critic_period_ticks)
        except ValueError as error:
            raise UserError(f"safety_config.critic_{error}") from error
        watch = replace(chain.watch, enabled=chain.watch.enabled and self.watch)
        reflex = replace(chain.reflex, enabled=chain.reflex.enabled and self.reflex)
        threshold = None if (loaded := self.load_critic()) is None else loaded.threshold
        if threshold is not None:
            reflex = reflex_at(reflex, threshold)
        chain = replace(chain, ledger=ledger, watch=watch, critic=critic, reflex=reflex)
        return chain if self.limiter else replace(chain, limiter=_opened(chain.limiter))

    def supervisor_config(self, lockstep: bool) -> SupervisorConfig:
        """Returns the supervisor's configuration; only an arm in lock-step simulation has a simulated person.

        It may also begin an episode of any length anew: a reset takes 0.1 s and asks for at most two grants.
        """
        config = SupervisorConfig(enabled=self.supervisor, simulated_person=self.simulated_person and lockstep)
        return replace(config, grants_per_minute=1200) if lockstep else config


def reflex_at(reflex: ReflexConfig, threshold: float) -> ReflexConfig:
    """Returns the arbiter's settings with a critic's threshold: it acts above that and softens above half of it."""
    return replace(reflex, eps_hard=threshold, eps_soft=0.5 * threshold)


def layers_from(settings: Mapping[str, Any]) -> SafetyLayers:
    """Returns the layers that `safety_config.<key>=<value>` asks for. Raises UserError for what there is none of."""
    known = [entry.name for entry in fields(SafetyLayers)]
    for key in settings:
        if key not in known:
            raise UserError(f"unknown setting safety_config.{key}; {expected_names(key, known)}")
    values = {key: ("off" if key == "ledger" and value is False else value) for key, value in settings.items()}
    return SafetyLayers(**as_declared(SafetyLayers, values))


def _opened(limiter: Any) -> Any:
    return replace(
        limiter,
        box_min_base_m=(-_WIDE_BOX_M,) * 3,
        box_max_base_m=(_WIDE_BOX_M,) * 3,
        leash=tuple(_WIDE * value for value in limiter.leash),
        max_speed_m_s=_WIDE * limiter.max_speed_m_s,
        max_acceleration_m_s2=_WIDE * limiter.max_acceleration_m_s2,
        max_angular_speed_rad_s=_WIDE * limiter.max_angular_speed_rad_s,
        max_angular_acceleration_rad_s2=_WIDE * limiter.max_angular_acceleration_rad_s2,
    )
