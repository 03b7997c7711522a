"""A person as an operator: what the device says becomes an action, a verdict ends the episode, or it is dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.types import Source
from data.errors import UserError
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.teleop.devices.base import Button
from robot_rl.teleop.lead import Lead
from robot_rl.teleop.session import AttendedLink, HeartbeatLink, Session
from safety.reasons import Reason
from safety.reflex import Mode


class EpisodeDiscarded(Exception):
    """The person dropped the episode; nothing of it shall be kept."""


class TeleopOperator:
    """An Operator, and an Attending one: each frame carries its own source, and a key may end the episode."""

    def __init__(self, env: RobotEnv, session: Session) -> None:
        """env: the environment that it acts in, whose link is attended by the session; see `attend`."""
        self.env, self.session = env, session
        self.source: int = Source.HOLD
        """Who moved the arm in the newest action: HUMAN, or HOLD while the dead-man was released."""
        self._T_base_anchor: Pose | None = None
        """Where the arm was when the stick, or the dead-man, was let go; None while it is moved."""
        self._lead = Lead(session.mapping.spec)

    def reset(self) -> None:
        """Begins an episode: the person has the arm; what was pressed before no longer counts."""
        self.session.begin()
        self.session.take_charge()
        self.let_go()
        self.session.mapping.begin(self._opening())

    def let_go(self) -> None:
        """Somebody else has the arm, or had it: the next motion begins from wherever it is."""
        self._T_base_anchor = None
        self._lead.forget()

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        """Returns a whole action (size,). Raises EpisodeDiscarded after the discard key, DeviceLost as `look`."""
        self.session.look()
        if self.session.take(Button.DISCARD) is not None:
            raise EpisodeDiscarded
        return self.steer()

    def steer(self) -> NDArray[np.float32]:
        """Returns the whole action (size,) that the device asked for when it was looked at last.

        While the stick is at rest, or the dead-man released, it is the one that keeps the arm where it was let go.
        To be called once a decision.
        """
        state, mapping = self.session.state, self.session.mapping
        self.source = Source.HUMAN if state.held else Source.HOLD
        report = self.env.link.latest()
        measured = Pose(report.position_base_m, report.quaternion_base_xyzw)
        if report.mode >= Mode.REFLEX or report.reason >= Reason.UNSEEDED:
            self.let_go()  # what it did, or did not do, is nothing to be made up for
        if state.held and state.moving:
            self._T_base_anchor = None
            action = mapping.action(state, measured.rotation)
            action[:6] = self._lead.of(action[:6].astype(np.float64), measured)
            return action
        self._lead.forget()
        self._T_base_anchor = self._T_base_anchor or measured
        return mapping.hold(self._T_base_anchor, measured)

    def verdict(self) -> bool | None:
        """True once after the success key: the episode ends there, whatever the task says."""
        return True if self.session.take(Button.SUCCESS) is not None else None

    def _opening(self) -> float:
        """The measured opening as an action in [-1, 1]; open where there is no gripper, or it tells nothing."""
        limits_m = self.env.task.scene().tool.gripper_range_m
        measured_m = self.env.link.latest().gripper_m
        if limits_m is None or not np.isfinite(measured_m):
            return 1.0
        return float(np.clip(2.0 * (measured_m - limits_m[0]) / (limits_m[1] - limits_m[0]) - 1.0, -1.0, 1.0))


def attend(env: RobotEnv, session: Session) -> AttendedLink:
    """Puts the person between an environment and its link; returns the link that environment and reset then use.

    Raises UserError for a link that passes no heartbeats on.
    """
    if not isinstance(env.link, HeartbeatLink):
        raise UserError(f"expected a link with heartbeats for the dead-man, got {type(env.link).__name__} without")
    attended = AttendedLink(env.link, session)
    env.link = env.automatic_reset.link = attended
    return attended
