"""The faults that need ROS: each part a program of its own, spoken to over topics."""

from __future__ import annotations

from functools import partial

from robot_rl.bench.faults import cases_ros, cases_topics, ros_stage, wall_clock
from robot_rl.bench.faults.fault import Fault
from robot_rl.bench.faults.ros_stage import RosStage

HEARTBEAT_MS = 256.0
"""Limit of the seat's sign of life, the supervisor's look at every fourth tick, a period of the loop."""
RosFault = partial(Fault, stage=RosStage, missing=ros_stage.missing)
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
        *("R5", "ROS: controller node killed", "held", 1002.0, "ms", cases_ros.controller_killed), once=True
    ),
    RosFault(
        *("R6", "ROS: supervisor node killed", "held", HEARTBEAT_MS, "ms"), cases_ros.supervisor_killed
    ),
    RosFault(
        *("R7", "ROS: supervisor node stopped, then woken", "held, and followed again", HEARTBEAT_MS, "ms"),
        cases_ros.supervisor_stopped_and_woken,
    ),
    RosFault(
        *("R8", "ROS: camera's signs of life stop", "held", 306.0, "ms"), cases_ros.camera_stops
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
)  # fmt: skip
