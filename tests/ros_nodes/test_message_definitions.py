"""Definitions of message types, put together from the .msg files that are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from data.errors import UserError
from ros_nodes.message_definitions import begins_with_header, definition, message_class

KINDS = [
    *("sensor_msgs/msg/Image", "sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseStamped", "std_msgs/msg/String"),
    *("geometry_msgs/msg/WrenchStamped", "diagnostic_msgs/msg/DiagnosticArray", "std_msgs/msg/UInt8MultiArray"),
    *("std_msgs/msg/Float64MultiArray", "diagnostic_msgs/msg/DiagnosticStatus", "sensor_msgs/msg/CameraInfo"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_definition_is_whole_and_names_the_fields_of_the_class(kind: str) -> None:
    text = definition(kind)
    first, *others = text.split("=" * 80 + "\nMSG: ")
    names = {part.partition("\n")[0] for part in others}
    assert len(names) == len(others), "each of them once"
    fields = message_class(kind).get_fields_and_field_types()
    for field, type_name in fields.items():
        assert field in first
        base = type_name.removeprefix("sequence<").partition("[")[0].partition(">")[0].partition(",")[0]
        assert "/" not in base or base in names, f"{base} is not defined"


@pytest.mark.parametrize("kind", KINDS)
def test_other_peoples_parser_takes_it(kind: str) -> None:
    rosbags = pytest.importorskip("rosbags.typesys")
    found = rosbags.get_types_from_msg(definition(kind), kind)
    assert kind in found and len(found) == definition(kind).count("\nMSG: ") + 1


def test_whether_a_type_begins_with_a_header() -> None:
    assert begins_with_header("sensor_msgs/msg/Image") and begins_with_header("geometry_msgs/msg/PoseStamped")
    assert not begins_with_header("std_msgs/msg/String") and not begins_with_header("std_msgs/msg/UInt8MultiArray")


def test_types_of_ones_own_are_found_below_ament_prefix_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "share" / "own_msgs" / "msg"
    folder.mkdir(parents=True)
    (folder / "Outer.msg").write_text("# words\nuint8 KIND=3\nInner[] parts\nstd_msgs/Header header # late\n")
    (folder / "Inner.msg").write_text('string<=10 name "x"\nfloat64[3] values\n')
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    text = definition("own_msgs/msg/Outer")
    assert [line for line in text.splitlines() if line.startswith("MSG: ")] == [
        "MSG: own_msgs/Inner", "MSG: std_msgs/Header", "MSG: builtin_interfaces/Time",
    ]  # fmt: skip
    assert not begins_with_header("own_msgs/msg/Outer")
    with pytest.raises(UserError, match=r"share/own_msgs/msg/Nothing.msg below AMENT_PREFIX_PATH or .*, found none"):
        definition("own_msgs/msg/Nothing")
    with pytest.raises(UserError, match="own_msgs/msg/Outer is not installed here: install its package own_msgs"):
        message_class("own_msgs/msg/Outer")
