"""The table of bring-ups says only what the rest of the project has, and becomes the programs that it says."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from robot_rl.bringup import table
from robot_rl.bringup.description import BringUp, Command, Node, Process, names, pieces, uses
from robot_rl.bringup.resolve import Program, fill, motor_of, programs
from robot_rl.config_bringup import UpConfig

ROOT = Path(table.__file__).parents[2]
GIVEN = {"robot_ip": "127.0.0.1", "out": "runs/x"}
EACH = [(bringup, process) for bringup in table.BRINGUPS for process in bringup.processes]


def source_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


def title(value: object) -> str:
    return str(getattr(value, "name", value))


def values_of(bringup: BringUp, **given: str) -> dict[str, str]:
    known = {argument.name for argument in bringup.arguments}
    return fill(bringup, {**{name: value for name, value in GIVEN.items() if name in known}, **given})


@pytest.mark.parametrize("bringup", table.BRINGUPS, ids=title)
def test_every_argument_explains_itself_and_has_a_valid_default(bringup: BringUp) -> None:
    assert bringup.sentence.endswith(".")
    assert len({argument.name for argument in bringup.arguments}) == len(bringup.arguments)
    for argument in bringup.arguments:
        assert argument.sentence.endswith(".")
        assert not argument.choices or argument.default in argument.choices
    assert fill(bringup, {})["namespace"] == "arm"


@pytest.mark.parametrize(("bringup", "process"), EACH, ids=title)
def test_a_process_uses_only_arguments_of_its_bringup(bringup: BringUp, process: Process) -> None:
    known = {argument.name for argument in bringup.arguments}
    assert uses(process) <= known
    assert {condition.argument for condition in process.when} <= known
    assert {condition.argument for refusal in bringup.refusals for condition in refusal.when} <= known
    assert {name for line in bringup.next for name in names(line)} <= known | {"motor"}
    assert set(process.after) <= {other.name for other in bringup.processes}
    assert process.stop_s > 0.0


@pytest.mark.parametrize("bringup", table.BRINGUPS, ids=title)
def test_with_any_arguments_no_two_processes_share_a_name(bringup: BringUp) -> None:
    robots = [argument.choices for argument in bringup.arguments if argument.name == "robot"]
    for robot in robots[0] if robots else ("",):
        values = values_of(bringup, **({"robot": robot} if robot else {}))
        here = [process.name for process in bringup.processes if process.belongs(values)]
        assert len(here) == len(set(here))
        assert here.count("controller") == 1


NODES = sorted(
    {(process.program.module, name) for _, process in EACH if isinstance(process.program, Node)
     for name in process.program.parameters}
)  # fmt: skip


@pytest.mark.parametrize(("module", "parameter"), NODES)
def test_a_parameter_of_the_table_is_a_field_of_the_nodes_configuration(module: str, parameter: str) -> None:
    if not source_of(module).is_file():
        pytest.skip(f"this version has no {module}")
    pytest.importorskip("rclpy", reason="install the extra [ros]")
    tree = ast.parse(source_of(module).read_text())
    (kind,) = {
        line.value.id for line in ast.walk(tree)
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Name)
        and [getattr(target, "id", "") for target in line.targets] == ["config_class"]
    }  # fmt: skip
    config = getattr(import_module(module), kind)
    assert parameter in {entry.name for entry in dataclasses.fields(config)}


@pytest.mark.parametrize("module", sorted({module for module, _ in NODES}))
def test_a_node_has_the_name_that_the_table_gives_it(module: str) -> None:
    if not source_of(module).is_file():
        pytest.skip(f"this version has no {module}")
    source = source_of(module).read_text()
    (name,) = {process.name for _, process in EACH if getattr(process.program, "module", "") == module}
    assert f'super().__init__("{name}"' in source
    assert "\ndef main(" in source


def test_a_command_of_the_table_is_looked_up_in_the_command_line() -> None:
    assert not Command(("finetune", "task={task}", "robot=mujoco", "robot_config.namespace={namespace}")).missing
    assert Command(("finetoon",)).missing == "this version has no command finetoon"
    assert Command(("finetune", "robot=nosuch")).missing == "robot-rl finetune takes no robot=nosuch yet"
    assert Command(("finetune", "nosuch={x}")).missing == "robot-rl finetune has no setting nosuch"


def one(chosen: list[Program], name: str) -> Program:
    (found,) = [program for program in chosen if program.name == name]
    return found


def told(program: Program, parameter: str) -> str | None:
    """What a program is told about a parameter, as rcl reads it."""
    words = [word.removeprefix(f"{parameter}:=") for word in program.words if word.startswith(f"{parameter}:=")]
    return words[0] if words else None


def test_sim_starts_a_controller_of_a_simulated_arm() -> None:
    sim = table.find("sim")
    values = values_of(sim, namespace="left/arm", seed="7", realtime="false")
    program = one(programs(sim, values), "controller")
    words = list(program.words)
    assert words[1:4] == ["-P", "-m", "ros_nodes.controller_node"]
    assert words[4:9] == ["--ros-args", "-r", "__node:=controller", "-r", "__ns:=/left/arm"]
    assert [words[index + 1] for index, word in enumerate(words) if word == "-p"] == [
        'robot:="mujoco"', 'task:="peg_insertion"', 'variant:="default"', "seed:=7", "realtime:=false"
    ]  # fmt: skip
    assert program.motor == "left-arm" == motor_of(values)
    assert program.restart.times == 0, "an arm that was lost is looked at first"


def test_a_real_arm_needs_its_address() -> None:
    robot = table.find("robot")
    with pytest.raises(UserError, match=r"needs robot_ip=\.\.\. \(Address of the FR3"):
        programs(robot, fill(robot, {}))
    settings = {"robot_ip": "172.16.0.2", "robot_config": "wrench=observer gripper=false"}
    driver = told(one(programs(robot, fill(robot, settings)), "controller"), "robot_config")
    assert json.loads(driver or "") == "ip=172.16.0.2 wrench=observer gripper=false"
    simulated = one(programs(robot, fill(robot, {"robot": "mujoco", "robot_config": "wrench=observer"})), "controller")
    assert told(simulated, "robot_config") == '"wrench=observer"', "its node refuses it: nothing is dropped in silence"


@pytest.mark.parametrize("bringup", [each for each in table.BRINGUPS if each.name != "sim"], ids=title)
def test_an_fr3_is_named_after_its_address_wherever_its_motor_process_is_named(bringup: BringUp) -> None:
    values = values_of(bringup, robot="fr3", robot_ip="172.16.0.2")
    chosen = programs(bringup, values)
    assert one(chosen, "controller").motor == motor_of(values) == "fr3-172-16-0-2"
    assert any("robot-rl safety estop {motor}" in line for line in bringup.next)
    assert not any("safety" in line and "{namespace}" in line for line in bringup.next)
    with pytest.raises(UserError, match="robot_ip must be an address or host name"):
        programs(bringup, {**values, "robot_ip": "no address"})


@pytest.mark.parametrize(("bringup", "robot"), [
    (bringup, robot) for bringup in table.BRINGUPS for robot in ("mujoco", "fr3")
    if robot == "mujoco" or bringup.name != "sim"
], ids=title)  # fmt: skip
def test_nobody_may_drive_before_the_supervisor_is_there(bringup: BringUp, robot: str) -> None:
    known = {argument.name for argument in bringup.arguments}
    given = {"run": "runs/x", "human": "keyboard", "robot": robot}
    chosen = programs(bringup, values_of(bringup, **{name: text for name, text in given.items() if name in known}))
    order = [program.name for program in chosen]
    assert order.index("supervisor") < order.index("controller")
    assert ("supervisor" in one(chosen, "controller").after) is (robot == "fr3")
    drivers = [program for program in chosen if program.name in ("policy", "teleop", "finetune")]
    assert drivers and all({"controller", "supervisor"} <= set(program.after) for program in drivers)
    assert all(told(program, "drive") in (None, "false") for program in drivers)
    assert all(told(program, "begin") in (None, "false") for program in drivers)


def test_what_a_camera_shows_is_recorded_and_only_then() -> None:
    sim = table.find("sim")
    seeing = programs(sim, values_of(sim, record="runs/r", camera="mujoco", camera_name="side"))
    assert told(one(seeing, "recorder"), "cameras") == '["side=side/image_raw"]'
    assert told(one(seeing, "camera"), "source") == '"mujoco"'
    assert told(one(programs(sim, values_of(sim, record="runs/r")), "recorder"), "cameras") is None


def test_a_policy_knows_whether_a_person_may_take_over() -> None:
    sim = table.find("sim")
    watched = programs(sim, values_of(sim, run="runs/x", human="keyboard"))
    assert told(one(watched, "policy"), "human") == "true"
    assert told(one(watched, "teleop"), "device") == '"keyboard"'
    assert "teleop" in one(watched, "policy").after
    alone = programs(sim, values_of(sim, run="runs/x"))
    assert told(one(alone, "policy"), "human") is None
    assert "teleop" not in [program.name for program in alone]


def test_a_person_beside_the_learner_may_take_over() -> None:
    train = table.find("train")
    watched = programs(train, values_of(train, human="gamepad", namespace="left/arm"))
    learner = one(watched, "finetune")
    assert {"human=ros", "teleop_config.device=/left/arm"} <= set(learner.words)
    assert "teleop" in learner.after and told(one(watched, "teleop"), "device") == '"gamepad"'
    alone = programs(train, values_of(train))
    assert not any(word.startswith("human=") for word in one(alone, "finetune").words)
    assert "teleop" not in [program.name for program in alone]


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("simm", {}, "unknown bring-up 'simm'; did you mean sim?"),
        ("sim", {"robot_ip": "x"}, "robot-rl up sim takes no 'robot_ip'; did you mean robot?"),
        ("sim", {"camra": "x"}, "robot-rl up sim takes no 'camra'; did you mean"),
        (
            "robot",
            {"robot_ip": "1.2.3.4", "camera": "mujoco"},
            "camera=mujoco shows a simulated arm: with robot=fr3 give",
        ),
        ("robot", {"robot_config": "wrench=observer ip=1.2.3.4"}, "the address is robot_ip=..., not ip=..."),
        ("sim", {"camera_name": 'a"b'}, "is no name for topics"),
        ("robot", {"robot": "fr33"}, "robot=fr33 is unknown; did you mean fr3?"),
        ("sim", {"seed": "one"}, "seed=one: expected a whole number"),
        ("sim", {"namespace": "my arm"}, "namespace=my arm is no name for topics"),
        ("sim", {"namespace": "/arm"}, "is no name for topics"),
        ("sim", {"realtime": "yes"}, "realtime=yes is unknown; expected one of: false, true"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name: str, given: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        bringup = table.find(name)
        programs(bringup, fill(bringup, given))
    assert "\n" not in str(caught.value)


def test_what_this_version_lacks_is_left_out_or_refused_where_it_was_asked_for() -> None:
    lacking = Process("ghost", Node("ros_nodes.nosuch_node"))
    sim = table.find("sim")
    without = dataclasses.replace(sim, processes=(*sim.processes, lacking))
    assert "ghost" not in [program.name for program in programs(without, values_of(without))]
    central = dataclasses.replace(without, purpose=("ghost",))
    with pytest.raises(UserError, match="cannot start: this version has no ros_nodes.nosuch_node"):
        programs(central, values_of(central))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30))
def test_a_text_reaches_its_node_as_a_text(value: str) -> None:
    sim = table.find("sim")
    program = one(programs(sim, {**values_of(sim), "task": value}), "controller")
    assert json.loads(told(program, "task") or "") == value


def test_templates() -> None:
    parts = list(pieces('{{"ip": "{robot_ip}"}}'))
    assert "".join(text if name is None else f"<{name}>" for text, name in parts) == '{"ip": "<robot_ip>"}'
    sim = table.find("sim")
    assert (sim.kind("{seed}"), sim.kind("a{seed}"), sim.kind("fr3")) == (int, str, str)


def test_the_command_takes_every_argument_of_the_table_and_no_other() -> None:
    arguments = {argument.name for bringup in table.BRINGUPS for argument in bringup.arguments}
    assert {entry.name for entry in dataclasses.fields(UpConfig)} == arguments | {"name", "for_s"}
