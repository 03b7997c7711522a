"""Joint torque and torque-rate limits: the last layer before the drive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.compilation import Floats, Record, kernel

TORQUE_LIMITS = np.dtype([("max_torque_nm", "f8", 7), ("max_step_nm", "f8")], align=True)


@dataclass(frozen=True)
class TorqueLimitConfig:
    """Bounds on the commanded joint torque, gravity compensation (done inside the drive) not included."""

    share_of_rated: float = 0.8
    """Largest commanded torque as a share of the joint's rated torque, in (0, 1]."""
    max_rate_nm_s: float = 500.0
    """Largest change of a joint's torque [Nm/s]; the FR3 itself refuses more than 1000."""

    def __post_init__(self) -> None:
        if not 0.0 < self.share_of_rated <= 1.0:
            raise ValueError(f"share_of_rated must be in (0, 1], got {self.share_of_rated}")
        if not 0.0 < self.max_rate_nm_s <= 1000.0:
            raise ValueError(f"max_rate_nm_s must be in (0, 1000], got {self.max_rate_nm_s}")

    def to_record(self, rated_nm: tuple[float, ...], dt_s: float) -> NDArray[Any]:
        """Returns the () TORQUE_LIMITS record for joints of these rated torques and this tick."""
        record = np.zeros((), TORQUE_LIMITS)
        record["max_torque_nm"] = np.array(rated_nm) * self.share_of_rated
        record["max_step_nm"] = self.max_rate_nm_s * dt_s
        return record


@kernel
def limit_torque(tau_wish: Floats, tau_previous: Floats, limits: Record, tau_out: Floats) -> int:
    """Bounds |tau| by one factor for all joints and |tau - tau_previous| joint by joint, into tau_out (7,).

    Returns 0, 1 (rate bit), 2 (bound bit) or 3 (a wish was not finite). Such a wish counts as zero torque: the arm is
    let go at the rate limit rather than thrown. One factor, since a single joint that is cut takes away what balanced
    the others: the tool could then press harder along another axis than the spring asked for. Where both limits bite,
    the rate wins: a torque that starts outside its bound comes back no faster than the drive bears.
    """
    code = 0
    share = 1.0
    for i in range(tau_out.shape[0]):
        if not math.isfinite(tau_wish[i]):
            code = 3
        elif abs(tau_wish[i]) * share > limits.max_torque_nm[i]:
            share = limits.max_torque_nm[i] / abs(tau_wish[i])
            code = max(code, 2)
    for i in range(tau_out.shape[0]):
        bound = limits.max_torque_nm[i]
        wish = 0.0
        if code != 3:
            wish = min(bound, max(-bound, share * tau_wish[i]))  # share x wish may round to just above the bound
        step = wish - tau_previous[i]
        if abs(step) > limits.max_step_nm:
            wish = tau_previous[i] + (limits.max_step_nm if step > 0.0 else -limits.max_step_nm)
            code = max(code, 1)
        tau_out[i] = wish
    return code
