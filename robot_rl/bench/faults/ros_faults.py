"""The faults that need ROS: each part a program of its own, spoken to over topics."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

from robot_rl.bench.faults import cases_programs, cases_ros, cases_topics, ros_stage, wall_clock
from robot_rl.bench.faults.fault import Fault
from robot_rl.bench.faults.ros_stage import RosStage

HEARTBEAT_MS = 256.0
"""Limit of the seat's sign of life, the supervisor's look at every fourth tick, a period of the loop."""
CAMERA_MS = 306.0
"""Likewise, for the age of the newest picture."""
RosFault = partial(Fault, stage=RosStage, missing=ros_stage.missing)
STALL_MS = 1000.0
"""A motor process without a tick for 0.5 s counts as dead; its node has as long again to end its turn and to say so."""


def _blind() -> str | None:
    """Returns why no camera node can run here, None where one can."""
    known = find_spec("pyrealsense2")
    return ros_stage.missing() or (None if known else "pyrealsense2 is not there: install the extra [realsense]")


CameraFault = partial(Fault, stage=partial(RosStage, camera="ros_nodes.camera_node"), missing=_blind)
RelayFault = partial(Fault, stage=partial(RosStage, relay=True), missing=ros_stage.missing)

ROS_FAULTS = (
    RosFault(*("R1", "ROS: stop service called", "latched", 250.0, "ms"), cases_ros.stop_service),
    RosFault(
        *("R2", "ROS: policy killed (SIGKILL)", "frozen by 250 ms, held by 1 s", 251.0, "ms"), cases_ros.policy_killed
    ),
    RosFault(
        *("R3", "ROS: policy stopped for 3 s, then woken", "no action from before is executed", 0.0, "actions"),
        cases_ros.policy_stopped_and_woken,
    ),
    RosFault(
        *("R4", "ROS: controller node stopped, then woken", "held; nothing old is followed", 1002.0, "ms"),
        cases_ros.controller_stopped_and_woken,
    ),
    RosFault(
        *("R5", "ROS: controller node killed", "held", 1002.0, "ms"), cases_ros.controller_killed
    ),
    RosFault(
        *("R6", "ROS: supervisor node killed", "held", HEARTBEAT_MS, "ms"), cases_ros.supervisor_killed
    ),
    RosFault(
        *("R7", "ROS: supervisor node stopped, then woken", "held, and followed again", HEARTBEAT_MS, "ms"),
        cases_ros.supervisor_stopped_and_woken,
    ),
    Fault(
        *("R8", "ROS: camera unplugged under its node", "held until it is back", CAMERA_MS, "ms"),
        cases_programs.camera_unplugged,
        stage=partial(RosStage, camera="ros_nodes.bench_camera"),
        missing=_blind,
    ),
    Fault(
        *("F5", "ROS: wall clock of all programs jumps by an hour, to and fro", "no age notices", 0.0, "frozen ticks"),
        cases_topics.wall_clock_steps,
        stage=partial(RosStage, clock=True),
        missing=lambda: ros_stage.missing() or wall_clock.missing(),
    ),
    RelayFault(
        *("F6a", "ROS: 1..30 % of commands lost, some twice or swapped", "never back to an older one", 0.0, "times"),
        cases_topics.commands_lost,
    ),
    RelayFault(
        *("F6b", "ROS: no command passes for 200 ms", "not held", 0.0, "held ticks"), cases_topics.partition
    ),
    RosFault(
        *("F6c", "ROS: second sender of commands", "nothing of it is followed, the first goes on", 0.0, "ticks"),
        cases_topics.second_commander,
    ),
    RosFault(
        *("F6d", "ROS: second publisher of target_pose", "soon nothing of it counts, held", 300.0, "ms"),
        cases_topics.second_publisher,
    ),
    RosFault(
        *("R9", "ROS: critic's answer is no number", "command dropped", 20.0, "ms"), cases_ros.critic_answers_nothing
    ),
    RosFault(
        *("R10", "ROS: controller starts over in motion", "reference where the arm is, no energy made", 0.0, "J"),
        cases_ros.restart_in_motion,
    ),
    RosFault(
        *("R11", "ROS: emergency stop pressed, released, pressed", "latched until a person resets", 250.0, "ms"),
        cases_ros.emergency_stop,
    ),
    CameraFault(
        *("R12", "ROS: camera node stopped, then woken", "held, and followed again", CAMERA_MS, "ms"),
        cases_programs.camera_stopped_and_woken,
    ),
    CameraFault(
        *("R13", "ROS: camera node killed", "held", CAMERA_MS, "ms"), cases_programs.camera_killed
    ),
    RosFault(
        *("R14", "ROS: camera's signs of life stop", "held", CAMERA_MS, "ms"), cases_ros.beats_stop
    ),
    RosFault(
        *("R15", "ROS: teleoperation node stopped in motion, then woken", "held; the old stick moves nothing"),
        *(HEARTBEAT_MS, "ms", cases_programs.hand_stopped_and_woken),
        stage=partial(RosStage, hand=True),
    ),
    RosFault(
        *("R16", "ROS: recorder stopped, then woken", "awake, it holds nobody up; whole, or it says what is lost"),
        *(0.0, "held ticks", cases_programs.recorder_stopped_and_woken),
        stage=partial(RosStage, recorder=True),
    ),
    RosFault(
        *("R17", "ROS: motor process stopped for 0.26..0.4 s", "nothing old is followed", 0.0, "ticks"),
        cases_programs.motor_naps,
    ),
    RosFault(
        *("R18", "ROS: motor process stopped for good", "told, and both end", STALL_MS, "ms"),
        cases_programs.motor_stalls,
    ),
)  # fmt: skip
