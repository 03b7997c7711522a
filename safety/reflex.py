"""The reflex arbiter: from a risk to a mode of the arm, with hysteresis and dwell.

NORMAL -> SOFT -> REFLEX -> HOLD -> STOP (latched). A rising risk acts at once; a mode is left again only after it has
lasted its dwell and the risk has stayed low meanwhile. A reflex lasts at most max_reflex_s: if the risk is not low by
then, whatever the recovery did, the arm holds; several holds in a short time latch.

Preempting a policy in the middle of its action, on the word of a critic that runs faster than the policy, follows
"Bresa"; task and recovery policy switched by a risk threshold: Recovery RL (Thananjeyan et al. 2021, arXiv:2010.15920)
and SRL-VIC (Zhang et al. 2024, arXiv:2406.13744).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.compilation import Record, kernel
from safety.retreat import PATH

MAX_HOLDS = 8

REFLEX_CONFIG = np.dtype(
    [
        ("enabled", "i8"),
        ("resets", "i8"),
        ("learned", "i8"),
        ("eps_soft", "f8"),
        ("eps_hard", "f8"),
        ("exit_soft", "f8"),  # below this the risk counts as low in SOFT
        ("exit_hard", "f8"),  # and below this in REFLEX
        ("dwell_ticks", "i8"),
        ("exit_ticks", "i8"),
        ("max_reflex_ticks", "i8"),
        ("hold_exit_ticks", "i8"),
        ("hold_exit_n", "f8"),
        ("holds_to_stop", "i8"),
        ("hold_window_ticks", "i8"),
        ("soft_stiffness_share", "f8"),
        ("soft_damping_ratio", "f8"),
        ("soft_speed_share", "f8"),
        ("retreat_m", "f8"),
        ("max_offset_m", "f8"),
        ("recovery_stiffness", "f8", 6),
        ("max_recovery_stiffness", "f8", 6),
    ],
    align=True,
)

REFLEX = np.dtype(
    [
        ("mode", "i8"),  # Mode
        ("tick", "i8"),  # since the chain was made
        ("mode_ticks", "i8"),  # since the mode was entered
        ("calm_ticks", "i8"),  # for how many ticks in a row the risk has been low in this mode
        ("age_ticks", "i8"),  # since the risk was evaluated
        ("dropped", "i8"),  # reflexes since a command was accepted; above 0 nothing is followed
        ("holds", "i8"),  # entered since the chain was made
        ("hold_tick", "i8", MAX_HOLDS),  # when the newest holds were entered, as a ring; 0: none
        ("speed_share", "f8"),  # of the reference's speed limits, in (0, 1]
        ("path", PATH),
    ],
    align=True,
)


class Mode(IntEnum):
    """Who has the arm; a greater one is stronger."""

    NORMAL = 0
    """The command is followed."""
    SOFT = 1
    """The command is followed, softer, better damped and slower."""
    REFLEX = 2
    """The command was dropped; the recovery moves the arm. No command is accepted."""
    HOLD = 3
    """The recovery did not help in time: soft hold. No command is accepted."""
    STOP = 4
    """Latched: only a reseed ends it."""


_NORMAL, _SOFT, _REFLEX = int(Mode.NORMAL), int(Mode.SOFT), int(Mode.REFLEX)
_HOLD, _STOP = int(Mode.HOLD), int(Mode.STOP)


@dataclass(frozen=True)
class ReflexConfig:
    """Thresholds and times of the reflex arbiter, and what its modes do. Without a critic it does nothing."""

    enabled: bool = True
    """Whether the arbiter acts on the critic's risk."""
    eps_soft: float = 0.15
    """Above this risk the arm becomes softer and slower, in (0, eps_hard)."""
    eps_hard: float = 0.3
    """Above this risk the command is dropped, in (eps_soft, 1)."""
    dwell_s: float = 0.06
    """Shortest time in SOFT and in REFLEX [s], > 0."""
    exit_share: float = 0.7
    """The risk counts as low below this share of the threshold, in (0, 1]."""
    exit_s: float = 0.04
    """It must be low for this long before SOFT or REFLEX is left [s], > 0."""
    max_reflex_s: float = 0.6
    """Longest time in REFLEX; then the arm holds [s], > dwell_s."""
    hold_exit_s: float = 0.5
    """The hold ends after this long of a risk below eps_soft and a small force [s], > 0."""
    hold_exit_share: float = 0.5
    """The force counts as small below this share of max_force_n, in (0, 1]."""
    max_force_n: float = 30.0
    """Contact force that the task allows [N], > 0."""
    holds_to_stop: int = 3
    """The hold of this number within hold_window_s latches instead, 1..8."""
    hold_window_s: float = 60.0
    """Time over which holds are counted [s], > 0."""
    soft_stiffness_share: float = 0.3
    """Share of the commanded stiffness that SOFT leaves at eps_hard, in (0, 1]."""
    soft_damping_ratio: float = 1.3
    """Damping ratio of SOFT at eps_hard, and of the recovery; a greater one that was commanded stays."""
    soft_speed_share: float = 0.5
    """Share of the reference's speed limits that SOFT leaves, in (0, 1]."""
    recovery: str = "learned"
    """learned: the critic's recovery policy, where its weights hold one; scripted: back along the path."""
    retreat_m: float = 0.01
    """How far the scripted recovery goes back along the measured path [m], 0.005..0.02."""
    max_offset_m: float = 0.02
    """Farthest that the learned recovery may put the goal from the measured position [m], > 0."""
    recovery_stiffness: tuple[float, ...] = (150.0, 150.0, 150.0, 15.0, 15.0, 15.0)
    """Stiffness of the scripted recovery [N/m x3, Nm/rad x3]."""
    max_recovery_stiffness: tuple[float, ...] = (150.0, 150.0, 150.0, 15.0, 15.0, 15.0)
    """Largest stiffness of the learned recovery [N/m x3, Nm/rad x3]; it pushes with at most this x max_offset_m."""
    resets: bool = False
    """Whether it also acts on the automatic reset, whose motions no critic was trained on."""

    def __post_init__(self) -> None:
        if not 0.0 < self.eps_soft < self.eps_hard < 1.0:
            raise ValueError(f"expected 0 < eps_soft < eps_hard < 1, got {self.eps_soft}, {self.eps_hard}")
        for name in ("exit_share", "hold_exit_share", "soft_stiffness_share", "soft_speed_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")
        for name in ("exit_s", "hold_exit_s", "hold_window_s", "max_force_n", "soft_damping_ratio", "max_offset_m"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number > 0, got {getattr(self, name)}")
        if not 0.0 < self.dwell_s < self.max_reflex_s < math.inf:
            raise ValueError(f"expected 0 < dwell_s < max_reflex_s, got {self.dwell_s}, {self.max_reflex_s}")
        if not 1 <= self.holds_to_stop <= MAX_HOLDS:
            raise ValueError(f"holds_to_stop must be 1..{MAX_HOLDS}, got {self.holds_to_stop}")
        if not 0.005 <= self.retreat_m <= 0.02:
            raise ValueError(f"retreat_m must be 0.005..0.02, got {self.retreat_m}")
        if self.recovery not in ("learned", "scripted"):
            raise ValueError(f"recovery must be learned or scripted, got {self.recovery!r}")
        for name in ("recovery_stiffness", "max_recovery_stiffness"):
            values = getattr(self, name)
            if len(values) != 6 or not all(0.0 <= value < math.inf for value in values):
                raise ValueError(f"{name} needs 6 finite numbers >= 0 (x, y, z, rx, ry, rz), got {values}")

    def to_record(self, dt_s: float) -> NDArray[Any]:
        """Returns the () REFLEX_CONFIG record for this tick [s]."""
        record = np.zeros((), REFLEX_CONFIG)
        for name in ("enabled", "resets", "eps_soft", "eps_hard", "holds_to_stop", "retreat_m", "max_offset_m"):
            record[name] = getattr(self, name)
        for name in ("soft_stiffness_share", "soft_damping_ratio", "soft_speed_share"):
            record[name] = getattr(self, name)
        for name in ("recovery_stiffness", "max_recovery_stiffness"):
            record[name] = getattr(self, name)
        for name in ("dwell", "exit", "max_reflex", "hold_exit", "hold_window"):
            record[f"{name}_ticks"] = max(1, round(getattr(self, f"{name}_s") / dt_s))
        record["learned"] = self.recovery == "learned"
        record["exit_soft"], record["exit_hard"] = self.exit_share * self.eps_soft, self.exit_share * self.eps_hard
        record["hold_exit_n"] = self.hold_exit_share * self.max_force_n
        return record


@kernel
def next_mode(memory: Record, config: Record, risk: float, force_n: float) -> int:
    """Moves a REFLEX memory on by one tick and returns its Mode.

    risk in [0, 1], force_n: norm of the measured contact force [N].
    """
    memory.tick += 1
    memory.mode_ticks += 1
    mode = memory.mode
    if mode == _STOP:
        return _STOP
    if mode == _HOLD:
        if calm_for(memory, risk < config.eps_soft and force_n < config.hold_exit_n) >= config.hold_exit_ticks:
            return enter(memory, _NORMAL)
        return _HOLD
    if mode == _REFLEX:
        calm_ticks = calm_for(memory, risk < config.exit_hard)
        if calm_ticks >= config.exit_ticks and memory.mode_ticks >= config.dwell_ticks:
            return enter(memory, _SOFT if risk > config.eps_soft else _NORMAL)
        if memory.mode_ticks >= config.max_reflex_ticks:
            return hold_or_stop(memory, config)
        return _REFLEX
    if risk > config.eps_hard:
        return enter(memory, _REFLEX)
    if mode == _NORMAL:
        return enter(memory, _SOFT) if risk > config.eps_soft else _NORMAL
    calm_ticks = calm_for(memory, risk < config.exit_soft)
    if calm_ticks >= config.exit_ticks and memory.mode_ticks >= config.dwell_ticks:
        return enter(memory, _NORMAL)
    return _SOFT


@kernel
def arm_taken(mode: int) -> bool:
    """Whether the arbiter has the arm in this mode, and no command is accepted."""
    return mode >= _REFLEX


@kernel
def enter(memory: Record, mode: int) -> int:
    """Begins a mode."""
    memory.mode = mode
    memory.mode_ticks = memory.calm_ticks = 0
    return mode


@kernel
def calm_for(memory: Record, calm: bool) -> int:
    """Counts one tick; for how many in a row it has been calm."""
    memory.calm_ticks = memory.calm_ticks + 1 if calm else 0
    return int(memory.calm_ticks)


@kernel
def hold_or_stop(memory: Record, config: Record) -> int:
    """Begins a hold, or latches if it is the one too many within the window."""
    recent = 1
    for i in range(MAX_HOLDS):
        entered = memory.hold_tick[i]
        if entered > 0 and memory.tick - entered <= config.hold_window_ticks:
            recent += 1
    if recent >= config.holds_to_stop:
        return enter(memory, _STOP)
    memory.hold_tick[memory.holds % MAX_HOLDS] = memory.tick
    memory.holds += 1
    return enter(memory, _HOLD)


@kernel
def rearm_reflex(memory: Record, config: Record) -> int:
    """A seed: back to NORMAL, nothing followed, no path; returns the mode.

    Holds stay counted, unless a stop was what the seed ends. A seed in the middle of a reflex counts as a hold of its
    own (one in a hold was counted when that began), so that no program resets its way past them: the one too many
    within the window is STOP.
    """
    before, mode = memory.mode, _NORMAL
    if before == _STOP:
        for i in range(MAX_HOLDS):
            memory.hold_tick[i] = 0
    elif before == _REFLEX and hold_or_stop(memory, config) == _STOP:
        mode = _STOP
    enter(memory, mode)
    memory.dropped = memory.age_ticks = 0
    memory.speed_share = 1.0
    memory.path.count = 0
    return mode
