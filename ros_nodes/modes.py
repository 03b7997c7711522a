"""What the controller does by itself: nothing (impedance: it follows targets), hand guiding, homing.

Guiding: the reference follows the measured pose with a weak spring, so that a hand leads the arm and feels damping.
Homing: the reference walks in a straight line to where the tool is in the home configuration, or as near to it as the
workspace box allows. Every limit of the tick
holds in both; a hold or latch ends them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from std_srvs.srv import Trigger

from controllers.arm_model import ArmModel
from controllers.description.geometry import Pose
from controllers.guiding import GUIDE_COMMAND_S, GUIDE_PERIOD_S, guide_command
from controllers.shared_memory_link import SharedMemoryLink
from controllers.types import Command, Source
from data.errors import UserError
from ros_nodes.command_gate import CommandGate
from ros_nodes.wire import draw_sender
from ros_nodes.workspace import require_inside
from safety.reasons import Reason

if TYPE_CHECKING:
    from ros_nodes.controller_node import ControllerNode

_INSIDE_M = 0.005
HOME_STEP_M, HOME_STEP_RAD = 0.1, 0.4
"""How far ahead of the measured pose the way home is asked for: nearer than the farthest jump that is accepted."""
HOME_M, HOME_RAD, HOME_REST_S, HOME_TIMEOUT_S = 0.003, 0.03, 0.5, 60.0


class Modes:
    """The present mode; `look` is to be called often while the controller is active."""

    def __init__(self, node: ControllerNode, link: SharedMemoryLink, gate: CommandGate) -> None:
        self._node, self._link, self._gate = node, link, gate
        self._sender = draw_sender()
        self.name = "impedance"
        self._sent_s = self._began_s = self._near_s = 0.0
        model = ArmModel(node.arm, node.task.scene().tool)
        home, limiter = model.forward(node.arm.home_rad), node.task.chain_config().limiter
        low, high = np.array(limiter.box_min_base_m), np.array(limiter.box_max_base_m)
        self._home = Pose(home.position_m.clip(low + _INSIDE_M, high - _INSIDE_M), home.quaternion_xyzw)
        if not hasattr(node, "mode_services"):
            node.mode_services = [  # type: ignore[attr-defined]
                node.create_service(Trigger, f"~/{name}", self._server(node, name))
                for name in ("impedance", "guide", "home")
            ]

    @staticmethod
    def _server(node: ControllerNode, name: str) -> Any:
        def serve(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.success, response.message = (
                (False, "the controller is not active") if node.link is None else node.modes.enter(name)
            )
            return response

        return serve

    def enter(self, name: str) -> tuple[bool, str]:
        """Changes the mode. Returns whether it did, and words."""
        newest = self._link.side.ring.newest()
        if name != "impedance" and (newest is None or newest["latched"][0] or newest["reason"][0] >= Reason.HOLD):
            return False, f"the arm is held or stopped: {name} needs an arm that may move"
        holder = self._gate.holder(time.monotonic_ns())
        if name != "impedance" and holder not in (None, self._sender):
            return False, f"somebody commands the arm: stop that first, then ask for {name}"
        if name == "guide" and newest is not None:
            try:
                require_inside(Pose(newest["position_base_m"][0], newest["quaternion_base_xyzw"][0]), self._node.task)
            except UserError as error:
                return False, str(error)
        self.name = name
        self._began_s = time.monotonic()
        self._sent_s = self._near_s = 0.0
        self._gate.drop()
        self._gate.only = None if name == "impedance" else self._sender
        return True, f"mode {name}"

    def look(self, report: Any) -> None:
        """Sends what the mode asks for. report: the newest REPORT record (), None before the first."""
        if self.name == "impedance" or report is None:
            return
        if report["latched"] or report["reason"] >= Reason.HOLD:
            self._node.get_logger().warning(f"mode {self.name} ended: the arm is held or stopped")
            self.enter("impedance")
            return
        now_s = time.monotonic()
        if now_s - self._sent_s < GUIDE_PERIOD_S:
            return
        self._sent_s = now_s
        here = Pose(report["position_base_m"], report["quaternion_base_xyzw"])
        if self.name == "guide":
            self._send(guide_command(here))
        else:
            self._go_home(here, now_s)

    def _go_home(self, here: Pose, now_s: float) -> None:
        config = self._node.config
        distance_m, angle_rad = here.distance(self._home)
        share = min(1.0, HOME_STEP_M / max(distance_m, 1e-9), HOME_STEP_RAD / max(angle_rad, 1e-9))
        target = here.towards(self._home, share)
        stiffness = np.array([*config.k_pos, *config.k_rot])
        self._send(
            Command(
                target.position_m,
                target.quaternion_xyzw,
                stiffness,
                damping_ratio=config.damping_ratio,
                duration_s=GUIDE_COMMAND_S,
                source=Source.RESET,
            )
        )
        if distance_m > HOME_M or angle_rad > HOME_RAD:
            self._near_s = 0.0
        elif not self._near_s:
            self._near_s = now_s
        if self._near_s and now_s - self._near_s > HOME_REST_S:
            self._node.get_logger().info(f"home, {1000.0 * distance_m:.1f} mm off")
            self.enter("impedance")
        elif now_s - self._began_s > HOME_TIMEOUT_S:
            self._node.get_logger().warning(f"not home after {HOME_TIMEOUT_S:g} s, {distance_m:.3f} m off: given up")
            self.enter("impedance")

    def _send(self, command: Command) -> None:
        self._gate.offer_lasting(self._sender, command, time.monotonic_ns())
