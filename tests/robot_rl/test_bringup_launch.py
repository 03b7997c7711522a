"""Each launch file loads and says what the table says: with ROS's launch where it is installed, else a stand-in."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from robot_rl.bringup import table
from robot_rl.bringup.description import BringUp, Node, pieces
from tests.robot_rl import recording_launch

ROOT = Path(table.__file__).parents[2]
REAL = find_spec("launch_ros") is not None  # a folder named launch lies here, so that `launch` proves nothing


@pytest.fixture(params=table.BRINGUPS, ids=lambda bringup: bringup.name)
def bringup(request: pytest.FixtureRequest) -> BringUp:
    found: BringUp = request.param
    return found


@pytest.fixture
def entities(bringup: BringUp, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the launch file describes."""
    if REAL:
        pytest.skip("ROS's launch is installed: its own classes are read by the test below")
    recording_launch.install(monkeypatch)
    sys.modules.pop("robot_rl.bringup.launching", None)
    names = runpy.run_path(str(ROOT / "launch" / f"{bringup.name}.launch.py"))
    yield names["generate_launch_description"]().given["entities"]
    sys.modules.pop("robot_rl.bringup.launching", None)


def of_kind(entities: list[Any], name: str) -> list[dict[str, Any]]:
    return [entity.given for entity in entities if type(entity).__name__ == name]


def template(parts: Any) -> str:
    """Writes substitutions as the template that they came from."""
    texts = {"TextSubstitution": "text", "LaunchConfiguration": "name"}
    found = [(type(part).__name__, part.given[texts[type(part).__name__]]) for part in parts]
    return "".join(text if kind == "TextSubstitution" else f"<{text}>" for kind, text in found)


def expected(text: str) -> str:
    return "".join(part if name is None else f"<{name}>" for part, name in pieces(text))


def test_arguments_are_those_of_the_table(bringup: BringUp, entities: list[Any]) -> None:
    declared = of_kind(entities, "DeclareLaunchArgument")
    assert [entry["name"] for entry in declared] == [argument.name for argument in bringup.arguments]
    for entry, argument in zip(declared, bringup.arguments, strict=True):
        assert (entry["default_value"], entry["description"]) == (argument.default, argument.sentence)
        assert entry.get("choices", []) == list(argument.choices)


def test_nodes_are_those_of_the_table(bringup: BringUp, entities: list[Any]) -> None:
    nodes = of_kind(entities, "LifecycleNode")
    processes = [process for process in bringup.present if isinstance(process.program, Node)]
    assert [node["name"] for node in nodes] == [process.name for process in processes]
    for given, process in zip(nodes, processes, strict=True):
        node = process.program
        assert isinstance(node, Node)
        assert (given["package"], given["executable"]) == ("robot_rl_bringup", node.module.rpartition(".")[2])
        assert template(given["namespace"]) == expected(node.namespace)
        (parameters,) = given["parameters"]
        told = {name: template(value.given["value"]) for name, value in parameters.items()}
        assert told == {name: expected(text) for name, text in node.parameters.items()}
        kinds = {name: value.given["value_type"] for name, value in parameters.items()}
        assert kinds == {name: bringup.kind(text) for name, text in node.parameters.items()}
        assert [(source, template(target)) for source, target in given["remappings"]] == [
            (source, expected(target)) for source, target in node.remappings.items()
        ]


def test_commands_are_those_of_the_table(bringup: BringUp, entities: list[Any]) -> None:
    commands = of_kind(entities, "ExecuteProcess")
    processes = [process for process in bringup.present if not isinstance(process.program, Node)]
    for given, process in zip(commands, processes, strict=True):
        assert not isinstance(process.program, Node)
        assert given["cmd"][:4] == [sys.executable, "-P", "-m", "robot_rl.cli.main"]
        assert [template(word) for word in given["cmd"][4:]] == [expected(word) for word in process.program.words]


def test_conditions_restarts_and_ends_are_those_of_the_table(bringup: BringUp, entities: list[Any]) -> None:
    actions = {id(entity.given): entity.given for entity in entities if "respawn" in entity.given}
    assert len(actions) == len(bringup.present)
    for given, process in zip(actions.values(), bringup.present, strict=True):
        assert given["respawn"] is (process.restart.times > 0)
        assert given["respawn_max_retries"] == process.restart.times
        assert ("on_exit" in given) is (process.restart.times == 0)
        assert given["sigterm_timeout"] == str(process.stop_s)
        if not process.when:
            assert "condition" not in given
            continue
        rest = given["condition"].given["predicate"]
        for number, condition in enumerate(process.when, 1):
            last = number == len(process.when)
            assert (type(rest).__name__ == "AndSubstitution") is not last
            predicate, rest = (rest, None) if last else (rest.given["left"], rest.given["right"])
            assert type(predicate).__name__ == ("EqualsSubstitution" if condition.equal else "NotEqualsSubstitution")
            assert predicate.given["left"].given["name"] == condition.argument
            assert predicate.given["right"] == condition.value


def test_discovery_stays_on_this_machine_by_default(entities: list[Any]) -> None:
    (variable,) = of_kind(entities, "SetEnvironmentVariable")
    assert variable["name"] == "ROS_AUTOMATIC_DISCOVERY_RANGE"
    assert variable["value"].given["default_value"] == "LOCALHOST"


@pytest.mark.skipif(not REAL, reason="ROS's launch is not installed")
def test_the_real_launch_reads_arguments_and_processes(bringup: BringUp) -> None:
    file = runpy.run_path(str(ROOT / "launch" / f"{bringup.name}.launch.py"))
    description = file["generate_launch_description"]()
    declared = description.get_launch_arguments()
    assert [argument.name for argument in declared] == [argument.name for argument in bringup.arguments]
    actions = importlib.import_module("launch.actions")
    processes = [entity for entity in description.entities if isinstance(entity, actions.ExecuteProcess)]
    assert len(processes) == len(bringup.present)


def test_launch_files_hold_no_logic_and_are_all_there() -> None:
    files = {path.name.partition(".")[0]: path.read_text() for path in (ROOT / "launch").glob("*.launch.py")}
    assert set(files) == {bringup.name for bringup in table.BRINGUPS}
    for name, text in files.items():
        code = [line for line in text.splitlines() if line and not line.lstrip().startswith(('"""', "from "))]
        assert code == [
            "def generate_launch_description() -> LaunchDescription:",
            f'    return launch_description("{name}")',
        ]
