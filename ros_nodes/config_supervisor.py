"""Configuration of the supervisor node; its fields become ROS parameters, read-only while the node is active."""

from __future__ import annotations

from dataclasses import dataclass

from controllers.motor_name import motor_name
from controllers.robots.names import ARMS, SIMULATED
from robot_rl.options import Config, option


@dataclass
class SupervisorNodeConfig(Config):
    """A person's buttons behind services: sits at the buttons of one motor process for good."""

    motor: str = option("", "Name of the motor process; by default that of an FR3, else the namespace, or `arm`.")
    robot: str = option("mujoco", "Arm: `mujoco` or `gazebo` (simulated), or `fr3`.", choices=ARMS)
    robot_ip: str = option("", "With robot=fr3: address of its control box, after which its motor process is named.")
    start_held: bool | None = option(
        None, "Whether an arm is held from its start until `arm` is called; by default every arm but a simulated one."
    )
    press_s: float = option(
        0.6, "For how long `reset` presses the reset button; the motor process asks for 0.5 s.", unit="s", low=0.1,
        high=5.0,
    )  # fmt: skip
    button_required: bool = option(
        False, "Whether a node must publish `stop`: held until it was heard; when it vanishes, the stop is pressed."
    )
    button_silence_s: float = option(
        0.0, "With button_required: after this silence of `stop` it counts as pressed; 0: it may be silent.", unit="s",
        low=0.0, high=60.0,
    )  # fmt: skip

    def motor_name(self, namespace: str) -> str:
        """Returns the name of the motor process at whose buttons to sit. Raises UserError where nothing says it."""
        return motor_name(self.robot, namespace, self.robot_ip, self.motor)

    @property
    def holds_at_start(self) -> bool:
        """Whether an arm that appears is held until somebody arms it."""
        return self.robot not in SIMULATED if self.start_held is None else self.start_held
