"""All faults: those of the motor process, the policy and the arm, and those over ROS topics."""

from __future__ import annotations

import math

from controllers.chain import ChainConfig
from robot_rl.bench.faults import cases_critic, cases_energy, cases_policy, cases_processor, cases_robot
from robot_rl.bench.faults.fault import Fault
from robot_rl.bench.faults.ros_faults import ROS_FAULTS
from safety.ledger import LedgerConfig
from safety.reference_limiter import ReferenceLimiterConfig

_WIDE_BOX = {"box_min_base_m": (-1.0, -1.0, -0.5), "box_max_base_m": (1.0, 1.0, 1.5)}


FAULTS = (
    Fault(
        *("F1", "policy killed (SIGKILL) in contact", "frozen by 250 ms, held by 1 s, no more force", 251.0, "ms"),
        *(cases_policy.killed_in_contact, True, True),
    ),
    Fault(
        *("F2", "policy stopped for 3 s (SIGSTOP), then woken", "no action from before is executed", 0.0, "actions"),
        *(cases_policy.stopped_and_woken, True),
    ),
    Fault(
        *("F3", "NaN, infinity, 1e9, wrong norm, random bytes, another version", "refused, counted", 1.0, "ticks"),
        cases_policy.nonsense_commands,
    ),
    Fault(
        *("F7", "1..25 lost packets", "no more energy than the budget; the drive brakes at 20", 0.0, "J"),
        cases_robot.lost_packets,
        chain=ChainConfig(ledger=LedgerConfig(repeat_ticks=20)),
    ),
    Fault(*("F8", "a tick of 2..10 ms", "counted, the torque goes on without a step", 2.0, "ms"), cases_robot.overrun),
    Fault(
        *("F8b", "five ticks of 4..10 ms within a second", "held", 10.0, "ms", cases_robot.too_many_overruns),
        realtime=True,
    ),
    Fault(*("F9a", "force sensor stands still", "hold after 50 samples alike", 53.0, "ms"), cases_robot.stuck_sensor),
    Fault(*("F9b", "force sensor saturated at 80 N", "stopped, latched", 10.0, "ms"), cases_robot.saturated_sensor),
    Fault(*("F9c", "one force sample of 65..85 N", "ignored", 0.0, "held ticks"), cases_robot.spike),
    Fault(
        *("F9d", "force off by 10 N, or of the wrong sign", "no torque changes", 0.2, "Nm"), cases_robot.biased_sensor
    ),
    Fault(
        *("F10", "wall pushed into the arm at 0.1 m/s", "stopped where 60 N are reached, peak below 80 N", 20.0, "ms"),
        cases_robot.pushed,
    ),
    Fault(
        *("F11", "tank runs dry while pressing", "no jump, no more force than asked", 2.0, "N"),
        cases_energy.empty_tank,
        chain=ChainConfig(ledger=LedgerConfig(tank_start_j=0.06)),
    ),
    Fault(
        *("F12", "stiffness 100, 3000, 100 N/m at 100 Hz", "no more energy than the budget", 0.0, "J"),
        cases_energy.pump,
        chain=ChainConfig(
            limiter=ReferenceLimiterConfig(
                stiffness_max=(3000.0,) * 3 + (60.0,) * 3, stiffness_slew_per_s=(1e6,) * 3 + (1e4,) * 3
            ),
            ledger=LedgerConfig(tank_start_j=0.5),
        ),
    ),
    Fault(
        *("F15a", "controller starts over in motion", "reference where the arm is, no energy made", 0.0, "J"),
        cases_energy.restart_in_motion,
    ),
    Fault(
        *("F13a", "critic's answer is no number", "command dropped, held in the end", 20.0, "ms"),
        cases_critic.critic_that_answers_nothing,
    ),
    Fault(
        *("F13b", "critic always answers 0", "the limits trip all the same", 10.0, "ms"),
        cases_critic.critic_that_sees_nothing,
    ),
    Fault(
        *("F14", "recovery presses into the wall", "ends after 0.6 s in a hold, the third one latches", 600.0, "ticks"),
        cases_critic.adversarial_recovery,
    ),
    Fault(
        *("F15b", "emergency stop pressed, released, pressed", "latched until a person resets", 6.0, "ms"),
        cases_energy.emergency_stop,
        person=True,
    ),
    Fault(
        *("F16", "target jumps 1 m, half a turn, 0.25 m", "refused, or no faster than 0.25 m/s", 0.251, "m/s"),
        cases_policy.far_targets,
    ),
    Fault(
        *("F17", "0.7 kg more payload than declared", "sags no more than its spring says", 15.0, "mm"),
        cases_robot.undeclared_payload,
    ),
    Fault(
        *("F18", "two busy processes on the policy's cores, ring not read", "ticks begin in time (p99.9)", 300.0, "us"),
        cases_processor.starved_policy,
        realtime=True,
    ),
    Fault(
        *("F18a", "two busy processes on any core, the motor's too", "for comparison", math.inf, "us"),
        cases_processor.starved_machine,
        realtime=True,
    ),
    Fault(
        *("F18e", "none: an empty loop beside two busy processes on any core", "for comparison", math.inf, "us"),
        cases_processor.empty_loop,
        realtime=True,
    ),
    Fault(
        *("F19", "critic's weights damaged, NaN, of an old version", "refused, the old ones stay", 0.0, "swaps"),
        cases_critic.bad_weights,
    ),
    Fault(
        *("F20", "driven to joint limits and the stretched arm", "joint speeds below the limit", 1.0, "of rated"),
        cases_robot.joint_limit,
        chain=ChainConfig(limiter=ReferenceLimiterConfig(**_WIDE_BOX)),  # type: ignore[arg-type]
    ),
    Fault(
        *("F4", "camera's frames stop (its heartbeat)", "held, and followed again when they are back", 306.0, "ms"),
        cases_robot.camera_that_stops,
    ),
    *ROS_FAULTS,
)
