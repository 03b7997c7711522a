"""What the report says of a command: as proposed, as executed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from controllers.types import Command, TickReport
from safety.reasons import Reason
from tests.controllers.chain_rig import WIDE, Rig

WISH: dict[str, Any] = {
    "stiffness": [500.0] * 3 + [20.0] * 3,
    "damping_ratio": 0.4,
    "feedforward_wrench_base": [10.0, -5.0, 2.0, 0.5, -1.0, 1.5],
    "gripper_m": 0.03,
    "duration_s": 0.2,
}


def proposed(report: Any) -> dict[str, Any]:
    """What a report calls proposed, under the names of the command."""
    return {
        "stiffness": report["proposed_stiffness"].tolist(),
        "damping_ratio": report["proposed_damping_ratio"],
        "feedforward_wrench_base": report["proposed_wrench_base"].tolist(),
        "gripper_m": report["proposed_gripper_m"],
        "duration_s": report["duration_s"],
    }


def test_before_the_first_command_the_hold_is_what_is_proposed() -> None:
    report = Rig().tick()
    limiter = WIDE.limiter
    assert report["proposed_damping_ratio"] == report["executed_damping_ratio"] == limiter.hold_damping_ratio
    assert (
        report["proposed_stiffness"].tolist() == report["executed_stiffness"].tolist() == list(limiter.hold_stiffness)
    )
    assert not report["proposed_wrench_base"].any() and not report["executed_wrench_base"].any()
    assert np.isnan(report["proposed_gripper_m"]) and report["duration_s"] == 0.0


def test_every_wish_stands_in_the_report_at_once_and_is_executed_at_its_rate() -> None:
    rig = Rig()
    rig.send(**WISH)
    report = rig.tick(20)
    assert proposed(report) == WISH
    slewed = np.clip(WISH["feedforward_wrench_base"], -2.0, 2.0)  # 20 ticks of 100 N/s
    np.testing.assert_allclose(report["executed_wrench_base"], slewed, atol=1e-9)
    assert report["executed_damping_ratio"] == pytest.approx(1.2 - 20 * 0.01)
    report = rig.tick(180)
    np.testing.assert_allclose(report["executed_wrench_base"], WISH["feedforward_wrench_base"])
    assert report["executed_damping_ratio"] == 0.4
    assert report["executed_stiffness"].tolist() == WISH["stiffness"]


@pytest.mark.parametrize(
    ("wish_m", "executed_m"), [(0.03, 0.03), (-1.0, 0.01), (0.5, 0.08), (0.01, 0.01), (np.nan, np.nan)]
)
def test_an_opening_is_brought_into_the_tools_range_and_reported_beside_the_wish(
    wish_m: float, executed_m: float
) -> None:
    rig = Rig(gripper_range_m=(0.01, 0.08))
    rig.send(gripper_m=wish_m)
    report = rig.tick()
    np.testing.assert_equal([report["proposed_gripper_m"], report["executed_gripper_m"]], [wish_m, executed_m])
    report = rig.tick(1500)
    assert report["reason"] == Reason.HOLD
    np.testing.assert_equal(report["executed_gripper_m"], executed_m, err_msg="a hold does not let go of the object")
    rig.chain.reseed(rig.state, rig.terms)
    assert np.isnan(rig.tick()["executed_gripper_m"]), "a reseed leaves the gripper alone"


def test_without_a_gripper_no_opening_is_executed() -> None:
    rig = Rig()
    rig.send(**WISH)
    report = rig.tick()
    assert report["proposed_gripper_m"] == 0.03 and np.isnan(report["executed_gripper_m"])


def test_a_refused_command_proposes_nothing() -> None:
    rig = Rig()
    rig.send(**WISH)
    rig.tick()
    rig.send(gripper_m=0.05, duration_s=0.1, damping_ratio=99.0)
    assert proposed(rig.tick()) == WISH


def test_in_a_hold_the_wish_stays_on_record_and_the_hold_is_executed() -> None:
    rig = Rig()
    rig.send(**WISH)
    report = rig.tick(1500)
    assert report["reason"] == Reason.HOLD
    assert proposed(report) == WISH
    assert not report["executed_wrench_base"].any()
    assert report["executed_damping_ratio"] == WIDE.limiter.hold_damping_ratio
    np.testing.assert_allclose(report["executed_stiffness"], WIDE.limiter.hold_stiffness)
    rig.chain.reseed(rig.state, rig.terms)
    assert np.isnan(rig.tick()["proposed_gripper_m"]), "a reseed forgets it"


def test_a_report_hands_over_plain_numbers() -> None:
    rig = Rig()
    rig.aim()
    wish = Command(rig.command["position_base_m"][0], rig.command["quaternion_base_xyzw"][0], **WISH, sequence=1)
    wish.write_to(rig.command[0])
    rig.tick()
    report = TickReport.from_record(rig.report[0])
    assert (report.proposed_damping_ratio, report.proposed_gripper_m, report.duration_s) == (0.4, 0.03, 0.2)
    assert report.executed_wrench_base.shape == (6,)
    rig.tick()
    assert report.executed_wrench_base[0] == pytest.approx(0.1), "the caller's own copy"
