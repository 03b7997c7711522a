"""What `robot-rl up` refuses before anything starts, and the variables that nodes start with."""

from __future__ import annotations

import sys

import pytest

from controllers.shared_memory.block import SharedBlock
from data.errors import UserError
from robot_rl.bringup import environment, table
from robot_rl.bringup.environment import child_environment, require_free, require_ros
from robot_rl.bringup.resolve import Program, fill, programs
from robot_rl.bringup.up import describe
from robot_rl.cli.main import main

ANY = Program("controller", ("true",))


def test_two_installations_of_ros_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "find_spec", lambda name: object())
    with pytest.raises(UserError, match="ROS wheels in this environment and /opt/ros sourced: open a shell without"):
        from robot_rl import doctor_ros

        monkeypatch.setattr(doctor_ros, "find_spec", lambda name: object())
        require_ros({"AMENT_PREFIX_PATH": "/opt/ros/kilted"})


def test_without_rclpy_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"no rclpy in this Python environment: pip install .* or, with a ROS"):
        require_ros({})


def test_an_arm_that_is_up_already_is_refused() -> None:
    sim = table.find("sim")
    chosen = programs(sim, fill(sim, {"namespace": "test_up/twice"}))
    require_free(chosen)
    block = SharedBlock.create("test_up-twice")
    try:
        with pytest.raises(UserError, match=r"up already: the motor process with pid \d+ already owns .*namespace="):
            require_free(chosen)
    finally:
        block.close()
    require_free(chosen)


def test_discovery_stays_on_this_machine_unless_somebody_said_otherwise() -> None:
    assert child_environment(ANY, {})["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    wider = child_environment(ANY, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "ROS_DOMAIN_ID": "7"})
    assert (wider["ROS_AUTOMATIC_DISCOVERY_RANGE"], wider["ROS_DOMAIN_ID"]) == ("SUBNET", "7")


def test_the_wheels_index_is_named_only_where_wheels_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "has_wheels", lambda: True)
    assert child_environment(ANY, {})["AMENT_PREFIX_PATH"] == sys.prefix
    assert child_environment(ANY, {"AMENT_PREFIX_PATH": "/my/ws"})["AMENT_PREFIX_PATH"] == "/my/ws"
    monkeypatch.setattr(environment, "has_wheels", lambda: False)
    assert "AMENT_PREFIX_PATH" not in child_environment(ANY, {})


def test_without_a_name_all_bringups_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up"]) == 0
    text = capsys.readouterr().out
    assert text.rstrip("\n") == describe()
    for bringup in table.BRINGUPS:
        assert f"\n{bringup.name}: {bringup.sentence}\n" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("up simm", "unknown bring-up 'simm'; did you mean sim?"),
        ("up sim robot_ip=1.2.3.4", "robot-rl up sim takes no 'robot_ip'; did you mean robot?"),
        ("up sim robt=x", "unknown setting 'robt'; did you mean robot or robot_ip?"),
        ("up sim for_s=-1", "for_s=-1.0 is out of bounds"),
    ],
)
def test_a_mistake_is_answered_in_one_line(words: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"robot-rl: {expected}") and error.count("\n") == 1
