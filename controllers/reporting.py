"""The last step of the tick: what it saw, was asked and did, as one REPORT record."""

from __future__ import annotations

import math

from controllers.types import JOINTS
from safety import so3
from safety.compilation import Floats, Record, kernel


@kernel
def write_report(
    state: Record,
    terms: Floats,
    config: Record,
    chain: Record,
    reason: int,
    quaternion: so3.Quaternion,
    report: Record,
) -> None:
    """Fills the REPORT record from what the tick left in the chain; tau_executed_nm stands there already."""
    report.tick, report.stamp_ns, report.reason, report.latched = chain.tick, state.stamp_ns, reason, chain.latched
    report.sequence, report.source = (chain.goal_sequence, chain.goal_source) if chain.commanded != 0 else (-1, 0)
    report.refused = chain.refused
    report.command_age_s = (state.stamp_ns - chain.goal_stamp_ns) * 1e-9
    for i in range(JOINTS):
        report.q_rad[i], report.qd_rad_s[i] = state.q_rad[i], state.qd_rad_s[i]
        report.tau_proposed_nm[i] = chain.tau_wish[i]
        chain.tau_previous[i] = report.tau_executed_nm[i]
    for i in range(3):
        report.position_base_m[i] = terms[0][i]
        report.proposed_position_base_m[i] = chain.proposed_position[i]
        report.executed_position_base_m[i] = chain.reference_position[i]
    for i in range(4):
        report.quaternion_base_xyzw[i] = quaternion[i]
        report.proposed_quaternion_base_xyzw[i] = chain.proposed_quaternion[i]
        report.executed_quaternion_base_xyzw[i] = chain.reference_quaternion[i]
    for i in range(6):
        report.twist_base[i] = chain.work.twist[i]
        report.wrench_tool[i] = state.wrench_tool[i]
        report.proposed_stiffness[i], report.executed_stiffness[i] = chain.proposed_stiffness[i], chain.stiffness[i]
        report.proposed_wrench_base[i] = chain.proposed_wrench[i]
        report.executed_wrench_base[i] = chain.ledger.active_share * chain.wrench[i]
    report.proposed_damping_ratio, report.executed_damping_ratio = chain.proposed_damping_ratio, chain.damping_ratio
    report.proposed_gripper_m, report.executed_gripper_m = chain.proposed_gripper_m, chain.goal_gripper_m
    report.duration_s = chain.proposed_duration_s
    report.mode, report.risk = chain.reflex.mode, chain.risk.value
    report.gripper_m = state.gripper_m
    write_energy(config.ledger, chain.ledger, report)


@kernel
def write_energy(config: Record, ledger: Record, report: Record) -> None:
    """The ledger's part of a report; NaN where it keeps no books."""
    if config.mode == 0:
        report.tank_energy_j = report.spring_energy_j = report.work_j = report.energy_spent_j = math.nan
        report.energy_granted_j = report.energy_lost_j = math.nan
        report.stiffness_share = report.reference_share = report.active_share = report.gate_share = math.nan
        return
    report.tank_energy_j, report.spring_energy_j, report.work_j = ledger.tank_j, ledger.spring_j, ledger.work_j
    report.energy_spent_j = ledger.spent_j
    report.energy_granted_j, report.energy_lost_j = ledger.granted_j, ledger.lost_j
    report.stiffness_share, report.reference_share = ledger.stiffness_share, ledger.reference_share
    report.active_share, report.gate_share = ledger.active_share, ledger.gate_share
