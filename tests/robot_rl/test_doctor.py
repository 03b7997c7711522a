"""Each check of the doctor sees what it is for, and every finding that is not ok says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.realtime import choose_core
from robot_rl import doctor
from robot_rl.doctor import (
    CHECKS,
    check_dependencies,
    check_disk,
    check_names,
    check_python,
    check_shared_memory,
)
from robot_rl.doctor_hardware import check_motor_core
from robot_rl.doctor_ros import check_ros


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 12), "ok"), ((3, 13), "fail")]
)
def test_python(version: tuple[int, int], status: str) -> None:
    assert check_python(version).status == status


def test_dependencies_against_constraints(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text("# tested\nnumpy==2.4.6\ntorch==2.13.0\nhydra_core==1.3.8\n")
    tested = doctor.read_constraints(path)
    assert tested == {"numpy": "2.4.6", "torch": "2.13.0", "hydra-core": "1.3.8"}
    assert check_dependencies({"numpy": "2.4.6", "torch": "2.13.0+cpu"}, tested).status == "ok"
    other = check_dependencies({"numpy": "2.5.0", "torch": "2.13.0"}, tested)
    assert (other.status, other.text) == ("warn", "other versions than tested: numpy 2.5.0 (tested: 2.4.6)")
    missing = check_dependencies({"numpy": None, "torch": "2.13.0"}, tested)
    assert (missing.status, missing.text) == ("fail", "not installed: numpy")


def test_foreign_owners_of_our_names() -> None:
    assert check_names({"data": ["robot-rl"], "controllers": ["robot-rl", "robot-rl"]}).status == "ok"
    finding = check_names({"data": ["robot-rl", "data-py"], "safety": ["safety"]})
    assert (finding.status, finding.text) == ("fail", "other packages own data (of data-py), safety (of safety)")


def test_ros_of_two_kinds_is_refused() -> None:
    sourced = {"AMENT_PREFIX_PATH": "/opt/ros/kilted", "ROS_DISTRO": "kilted"}
    assert check_ros(sourced, wheels=True).status == "fail"
    assert check_ros(sourced, wheels=False).text == "ROS 2 kilted from the system"
    assert check_ros({}, wheels=True).status == "ok"
    assert check_ros({}, wheels=False).status == "ok"


def test_a_motor_core_is_isolated_or_interruptible() -> None:
    core = choose_core(-1)
    assert check_motor_core({core}, "PREEMPT_DYNAMIC").status == "ok"
    assert check_motor_core({core + 1}, "PREEMPT_RT").status == "ok"
    shared = check_motor_core(set(), "PREEMPT_DYNAMIC")
    assert (shared.status, shared.cure.split(" ")[0]) == ("warn", f"isolcpus={core}")


def test_missing_shared_memory_fails(tmp_path: Path) -> None:
    assert check_shared_memory(tmp_path / "none").status == "fail"
    assert check_shared_memory(tmp_path).status in ("ok", "fail")
    assert check_disk(tmp_path).status in ("ok", "warn")


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_runs_here_and_a_problem_has_a_cure(name: str) -> None:
    finding = CHECKS[name]()
    assert finding.status in ("ok", "warn", "fail")
    assert finding.text
    assert finding.status == "ok" or finding.cure
