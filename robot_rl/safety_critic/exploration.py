"""A link that now and then does for a moment what a reflex might do, so that the critic learns what comes of it.

Scripted operators never drop the spring in the middle of a push. Without such data the states of a reflex would lie
outside the training box, and a recovery policy would be judged by guesswork.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.link import LockstepLink
from controllers.types import Command, FeatureLog, Source, TickReport
from safety.risk_critic import RECOVERY_REACH_M

_BLOCK_S = 0.02


@dataclass(frozen=True)
class ExplorationConfig:
    """How often and how a command is interrupted."""

    rate_free_hz: float = 0.3
    """Interruptions a second in free motion, >= 0."""
    rate_contact_hz: float = 1.5
    """Interruptions a second while something is felt, >= 0."""
    contact_n: float = 2.0
    """A force above this is felt [N]."""
    duration_s: tuple[float, float] = (0.06, 0.3)
    """Shortest and longest interruption [s]."""
    stiffness_n_m: tuple[float, float] = (45.0, 1000.0)
    """Range of the stiffness, drawn on a log scale [N/m]; as low as a softened command gets."""
    stiffness_nm_rad: tuple[float, float] = (9.0, 40.0)
    """Range of the rotational stiffness, drawn on a log scale [Nm/rad]."""
    damping_ratio: tuple[float, float] = (0.8, 1.4)
    """Range of the damping ratio."""


class ExploringLink:
    """Passes everything on to a lock-step link; interrupts the steps in between. The verbs are those of MotorLink."""

    def __init__(self, link: LockstepLink, rng: np.random.Generator, config: ExplorationConfig | None = None) -> None:
        self.link, self.rng, self.config = link, rng, config or ExplorationConfig()
        self._wish: Command | None = None

    def reset(self) -> None:
        """As the link's."""
        self._wish = None
        self.link.reset()

    def grant(self) -> float:
        """As the link's."""
        return self.link.grant()

    def send(self, command: Command) -> None:
        """As the link's; after an interruption the command is sent again."""
        self._wish = command
        self.link.send(command)

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        """As the link's, with interruptions."""
        reports: list[NDArray[Any]] = []
        left_s = duration_s
        while left_s > 1e-9:
            block_s = min(_BLOCK_S, left_s)
            if self._wish is not None and self.rng.uniform() < self._rate_hz() * block_s:
                block_s = min(self.rng.uniform(*self.config.duration_s), left_s)
                self.link.send(self._recovery())
                reports.append(self.link.step(block_s, interruptible))
                self.link.send(self._wish)
            else:
                reports.append(self.link.step(block_s, interruptible))
            ran_s = len(reports[-1]) / self.link.robot.rate_hz
            if ran_s < block_s - 1.0 / self.link.robot.rate_hz:
                break  # the reflex arbiter took the arm
            left_s -= ran_s
        return np.concatenate(reports)

    def latest(self) -> TickReport:
        """As the link's."""
        return self.link.latest()

    def now_ns(self) -> int:
        """As the link's."""
        return self.link.now_ns()

    def close(self) -> None:
        """As the link's."""
        self.link.close()

    def take_features(self) -> FeatureLog:
        """As the link's."""
        return self.link.take_features()

    def _rate_hz(self) -> float:
        felt = np.linalg.norm(self.link.latest().wrench_tool[:3]) > self.config.contact_n
        return self.config.rate_contact_hz if felt else self.config.rate_free_hz

    def _recovery(self) -> Command:
        """From the measured pose: stay, give way to what is felt, or go anywhere within a recovery's reach."""
        config, rng, here = self.config, self.rng, self.link.latest()
        way = rng.normal(size=3)
        if rng.uniform() < 0.5:
            x, y, z, w = here.quaternion_base_xyzw
            force = here.wrench_tool[:3]
            axis = np.array([x, y, z])
            way = force + 2.0 * np.cross(axis, np.cross(axis, force) + w * force)  # into the base frame
        length_m = rng.uniform(0.0, RECOVERY_REACH_M) * (rng.uniform() < 0.75)
        offset_m = way * length_m / max(float(np.linalg.norm(way)), 1e-9)
        push, turn = (np.exp(rng.uniform(*np.log(span))) for span in (config.stiffness_n_m, config.stiffness_nm_rad))
        wish = self._wish or Command(here.position_base_m, here.quaternion_base_xyzw, np.zeros(6))
        return replace(
            wish,
            position_base_m=here.position_base_m + offset_m,
            quaternion_base_xyzw=here.quaternion_base_xyzw,
            stiffness=np.array([push] * 3 + [turn] * 3),
            damping_ratio=float(rng.uniform(*config.damping_ratio)),
            source=Source.RESET if wish.source == Source.RESET else Source.RECOVERY,
        )
