"""What the doctor sees around ROS, with what to do about it."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from robot_rl import doctor_ros
from robot_rl.doctor_ros import check_ros_leftovers, check_ros_libraries, check_ros_network, check_ros_pictures

PROFILE = (
    "<dds><profiles><transport_descriptors><segment_size>{}</segment_size></transport_descriptors></profiles></dds>"
)


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_ros, "find_spec", lambda name: object())


@pytest.mark.parametrize(
    ("variables", "status", "words"),
    [
        ({}, "ok", "LOCALHOST by robot-rl up"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": "42"}, "ok", "domain 42"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "warn", "SUBNET"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "fail", "OFF"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOTS"}, "fail", "LOCALHOTS"),
        ({"ROS_DOMAIN_ID": "233"}, "fail", "233"),
        ({"ROS_DOMAIN_ID": "one"}, "fail", "one"),
        ({"ROS_DOMAIN_ID": "150"}, "warn", "150"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "warn", "rmw_fastrtps_cpp"),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, "fail", "rmw_cyclonedds_cpp"),
    ],
)
def test_network(wheels: None, variables: dict[str, str], status: str, words: str) -> None:
    finding = check_ros_network(variables)
    assert finding.status == status and words in finding.text
    assert (finding.cure == "") is (status == "ok")


def test_one_variable_of_the_wheels_without_the_other(wheels: None) -> None:
    guard = {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    assert check_ros_libraries(guard, prefix="/venv").status == "fail"
    assert "unset" in check_ros_libraries({**guard, "LD_LIBRARY_PATH": "/other/lib"}, prefix="/venv").cure
    assert check_ros_libraries({**guard, "LD_LIBRARY_PATH": "/x:/venv/lib"}, prefix="/venv").status == "ok"
    assert check_ros_libraries({}, prefix="/venv").status == "ok"


def test_shared_memory_whose_lock_nobody_holds_is_a_leftover(tmp_path: Path) -> None:
    for name in ("fastdds_dead", "fastdds_live"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
        (tmp_path / f"{name}_el").touch()
    with (tmp_path / "fastdds_live_el").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        finding = check_ros_leftovers(tmp_path)
        assert finding.status == "warn" and finding.cure == "fastdds shm clean"
        assert finding.text.startswith("1 segments and ports of dead processes") and "(1.0 MiB)" in finding.text
        (tmp_path / "fastdds_dead_el").unlink()
        assert check_ros_leftovers(tmp_path).status == "ok"


def test_a_profile_must_have_room_for_pictures(tmp_path: Path) -> None:
    profile = tmp_path / "profile.xml"
    named = {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile)}
    assert check_ros_pictures({}).status == "ok"
    assert check_ros_pictures(named).status == "fail"
    for text, status in (("<dds", "fail"), (PROFILE.format("x"), "fail"), ("<dds/>", "warn")):
        profile.write_text(text)
        assert check_ros_pictures(named).status == status
    profile.write_text(PROFILE.format(1 << 19))
    assert "512 KiB" in check_ros_pictures(named).text
    profile.write_text(PROFILE.format(32 << 20))
    assert check_ros_pictures({"FASTRTPS_DEFAULT_PROFILES_FILE": str(profile)}).text.endswith("32 MiB")
