"""Safety critic: how likely, and how soon, what is being done will violate a limit. Inference only.

    Q(s, a) = E[gamma^T],  T: time until the violation

with absorption at the first violation, so that Q lies in [0, 1]; the greater of two networks counts (Thananjeyan et al.
2021, "Recovery RL"). Evaluated in the control loop on the fresh state and on what the controller will do next: Bresa,
arXiv:2503.21989. Features hold no position, so that walls cannot be learned by heart (SRL-VIC, arXiv:2406.13744),
unless a task names the surface that it works on: then depth and tilt about that plane, and nothing along it.

What the networks have not seen counts as certain risk: a feature outside the training box, a number that is not
finite, a force sensor that stands still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.compilation import Floats, Record, kernel
from safety.reference_limiter import ReferenceLimiterConfig
from safety.risk_memory import FEATURES, WIDTH
from safety.risk_weights import CRITIC_WEIGHTS, RECOVERY_OUTPUTS

WRENCH_HZ = 50.0
"""Corner of the second-order low-pass of the wrench."""
RATE_HZ = 10.0
"""Band of the force's rate."""
SPEED_M_S, TURN_RAD_S = 0.25, 0.5
"""Scales of the twist."""
RATE_PER_S = 20.0
"""The scale of the force's rate is the violation limit times this."""
MIDDLE_STIFFNESS, STIFFNESS_DECADE = (100.0, 10.0), 10.0
"""Stiffness that maps to 0 [N/m, Nm/rad]; ten times of it maps to 1."""
DEPTH_M, TILT_RAD = 0.05, 0.1
"""Scales of depth and tilt about a task's surface."""
RECOVERY_REACH_M = 0.02
"""Farthest that the recovery policy moves the reference from the measured position."""
RECOVERY_STIFFNESS = ((50.0, 150.0), (9.0, 15.0))
"""Least and greatest stiffness of the recovery policy [N/m, Nm/rad]: soft, as the reflex arbiter's bound."""

_ZERO = np.float32(0.0)

CRITIC_CONFIG = np.dtype(
    [
        ("mode", "i8"),  # CriticMode
        ("period_ticks", "i8"),
        ("lookahead_s", "f8"),
        ("max_force_n", "f8"),
        ("max_moment_nm", "f8"),
        ("sees_surface", "i8"),
        ("surface", "f8", 6),  # a point on it [m] and the unit vector into it, base frame
        ("travel", "f8", 6),  # how far the reference gets from rest within the look-ahead [m x3, rad x3]
        ("smooth_b", "f8", 3),  # second-order low-pass: numerator and denominator
        ("smooth_a", "f8", 2),
        ("slow_gain", "f8"),  # first-order low-pass behind the rate, share a tick
        ("weights", CRITIC_WEIGHTS),
    ],
    align=True,
)


class CriticMode(IntEnum):
    """When the critic is asked."""

    NEVER = 0
    """Not at all."""
    DECISION = 1
    """Once in the tick in which a command is accepted; the answer stands until the next."""
    CONTROL = 2
    """Every period_ticks ticks."""


@dataclass(frozen=True)
class RiskCriticConfig:
    """When the critic is asked, and what counts as a violation."""

    mode: str = "control"
    """never, decision (once a command) or control (every period_ticks ticks)."""
    period_ticks: int = 1
    """Ticks from one evaluation to the next in the mode control, 1..100."""
    lookahead_s: float = 0.3
    """How far ahead the motion still to come counts as part of the action [s], in (0, 5]."""
    max_force_n: float = 30.0
    """A contact force beyond this is a violation [N], > 0."""
    max_moment_nm: float = 3.0
    """A contact moment beyond this is a violation [Nm], > 0."""
    surface: tuple[float, ...] | None = None
    """A point [m] on the surface that the task works on and the unit vector into it, base frame; None: unseen."""

    def __post_init__(self) -> None:
        if self.mode not in {mode.name.lower() for mode in CriticMode}:
            raise ValueError(f"mode must be never, decision or control, got {self.mode!r}")
        if not 1 <= self.period_ticks <= 100:
            raise ValueError(f"period_ticks must be 1..100, got {self.period_ticks}")
        if not 0.0 < self.lookahead_s <= 5.0:
            raise ValueError(f"lookahead_s must be in (0, 5], got {self.lookahead_s}")
        for name in ("max_force_n", "max_moment_nm"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number > 0, got {getattr(self, name)}")
        if self.surface is not None and not _is_surface(self.surface):
            raise ValueError(f"surface must be a point (3) [m] and a unit vector (3) into it, got {self.surface}")

    def to_record(self, limiter: ReferenceLimiterConfig, dt_s: float) -> NDArray[Any]:
        """Returns the () CRITIC_CONFIG record, without weights, for a reference under these limits and this tick."""
        record = np.zeros((), CRITIC_CONFIG)
        for name in ("period_ticks", "lookahead_s", "max_force_n", "max_moment_nm"):
            record[name] = getattr(self, name)
        record["mode"] = CriticMode[self.mode.upper()]
        record["sees_surface"], record["surface"] = self.surface is not None, self.surface or 0.0
        turn = (limiter.max_angular_speed_rad_s, limiter.max_angular_acceleration_rad_s2)
        record["travel"][:3] = travel(limiter.max_speed_m_s, limiter.max_acceleration_m_s2, self.lookahead_s)
        record["travel"][3:] = travel(*turn, self.lookahead_s)
        record["smooth_b"], record["smooth_a"] = low_pass(WRENCH_HZ, dt_s)
        record["slow_gain"] = 1.0 - math.exp(-2.0 * math.pi * RATE_HZ * dt_s)
        return record


def _is_surface(values: tuple[float, ...]) -> bool:
    finite = len(values) == 6 and all(math.isfinite(value) for value in values)
    return finite and math.isclose(math.hypot(*values[3:]), 1.0, abs_tol=1e-6)


def travel(max_speed: float, max_acceleration: float, duration_s: float) -> float:
    """Returns how far something at rest gets within a time under these bounds."""
    ramp_s = min(duration_s, max_speed / max_acceleration)
    return max_acceleration * ramp_s * (duration_s - 0.5 * ramp_s)


def low_pass(corner_hz: float, dt_s: float) -> tuple[tuple[float, float, float], tuple[float, float]]:
    """Returns numerator (3) and denominator (2, after the leading 1) of a second-order Butterworth low-pass.

    By the bilinear transform with the corner pre-warped (Oppenheim and Schafer, "Discrete-time signal processing").
    """
    k = math.tan(math.pi * corner_hz * dt_s)
    norm = 1.0 / (1.0 + math.sqrt(2.0) * k + k * k)
    b = k * k * norm
    return (b, 2.0 * b, b), (2.0 * (k * k - 1.0) * norm, (1.0 - math.sqrt(2.0) * k + k * k) * norm)


def stopping_time_s(
    limiter: ReferenceLimiterConfig, max_torque_rate_nm_s: float, lever_m: float = 0.6, latency_s: float = 0.010
) -> float:
    """Returns how long the arm needs to stop pushing, once the risk is seen: the least useful look-ahead [s].

    Latency, plus the time to brake from the largest speed of the reference, v / a, plus the time in which the torque
    of the largest spring force (stiffness_max x leash at a lever arm) falls at the torque-rate limit.
    """
    force_n = max(k * d for k, d in zip(limiter.stiffness_max[:3], limiter.leash[:3], strict=True))
    braking_s = limiter.max_speed_m_s / limiter.max_acceleration_m_s2
    return latency_s + braking_s + force_n * lever_m / max_torque_rate_nm_s


@kernel
def dense(x: Floats, weights: Floats, bias: Floats, out: Floats) -> None:
    """out (WIDTH,) <- ramp(x weights + bias); weights (inputs, WIDTH).

    The inner loop runs over the outputs: additions keep their order, so strict arithmetic still fills vector lanes.
    Two inputs a pass halve the traffic of `out`; the number of inputs must be even.
    """
    for j in range(WIDTH):
        out[j] = bias[j]
    for i in range(0, weights.shape[0], 2):
        one, two = x[i], x[i + 1]
        for j in range(WIDTH):
            out[j] = out[j] + one * weights[i, j] + two * weights[i + 1, j]
    for j in range(WIDTH):
        value = out[j]
        out[j] = _ZERO if value < _ZERO else value  # NaN stays NaN


@kernel
def forward(net: int, weights: Record, risk: Record) -> None:
    """Fills risk.hidden[1] with the last hidden layer of network `net` for risk.standard."""
    dense(risk.standard, weights.first[net], weights.first_bias[net], risk.hidden[0])
    dense(risk.hidden[0], weights.second[net], weights.second_bias[net], risk.hidden[1])


@kernel
def sigmoid(z: float) -> float:
    """1 / (1 + e^-z)."""
    return 1.0 / (1.0 + math.exp(-z))


@kernel
def standardise(weights: Record, risk: Record) -> bool:
    """Fills risk.standard; whether every feature lies inside the training box. NaN never does."""
    inside = True
    for i in range(FEATURES):
        value = risk.features[i]
        if not (weights.box_low[i] <= value <= weights.box_high[i]):
            inside = False
        risk.standard[i] = (value - weights.centre[i]) * weights.inverse_scale[i]
    return inside


@kernel
def risk_of_features(weights: Record, risk: Record) -> float:
    """The greater of the two networks' risks for risk.features; 1 outside the training box and for NaN."""
    risk.outside = 0
    if not standardise(weights, risk):
        risk.outside = 1
        return 1.0
    value = 0.0
    for net in range(2):
        forward(net, weights, risk)
        z = float(weights.risk_bias[net])
        for j in range(WIDTH):
            z += risk.hidden[1, j] * weights.risk_head[net, j]
        if not math.isfinite(z):
            return 1.0
        value = max(value, sigmoid(z))
    return value


@kernel
def recover(weights: Record, risk: Record) -> None:
    """Asks the recovery policy: offset in base axes and stiffness of the RISK record; after `risk_of_features`.

    offset = reach tanh(z), stiffness = low (high / low)^sigmoid(z). An answer that is not finite counts as no policy:
    the arbiter then falls back to its script.
    """
    risk.has_recovery = weights.has_recovery
    if weights.has_recovery == 0:
        return
    forward(2, weights, risk)
    for c in range(3):
        risk.recovery_offset_base_m[c] = 0.0
    scale = 0.0
    for output in range(RECOVERY_OUTPUTS):
        z = float(weights.recovery_bias[output])
        for j in range(WIDTH):
            z += risk.hidden[1, j] * weights.recovery_head[j, output]
        if not math.isfinite(z):
            risk.has_recovery = 0
            return
        if output == 3:
            scale = sigmoid(z)
        else:
            for c in range(3):
                risk.recovery_offset_base_m[c] += RECOVERY_REACH_M * math.tanh(z) * risk.axes[output, c]
    for i in range(6):
        low, high = RECOVERY_STIFFNESS[i // 3]
        risk.recovery_stiffness[i] = low * (high / low) ** scale


@kernel
def smooth(sample: float, b: Floats, a: Floats, memory: Floats) -> float:
    """One step of the second-order low-pass (transposed direct form II); memory (2,)."""
    value = b[0] * sample + memory[0]
    memory[0] = b[1] * sample - a[0] * value + memory[1]
    memory[1] = b[2] * sample - a[1] * value
    return float(value)


@kernel
def prime(sample: float, b: Floats, a: Floats, memory: Floats) -> None:
    """Puts the low-pass where a constant sample would have brought it."""
    memory[1] = (b[2] - a[1]) * sample
    memory[0] = (b[1] - a[0]) * sample + memory[1]


@kernel
def forget(risk: Record) -> None:
    """Starts over at a seed: no risk is known, and the filters begin with the next wrench."""
    risk.value = math.nan
    risk.fresh = risk.primed = risk.outside = risk.has_recovery = 0
    risk.sequence = -1
