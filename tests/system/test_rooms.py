"""The rules between rooms, read from the source: who may import whom, and what nobody may use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("data", "safety", "controllers", "calibration", "robot_rl", "ros_nodes")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
NO_PICKLE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
TORCH_TRAINER = "safety/critic_training"
"""The one place left of robot_rl that may train with torch; no kernel imports it."""


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def top_level_imports(tree: ast.Module) -> Iterator[str]:
    """Imports that run when the module is imported."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_room_imports_only_rooms_to_its_left(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    allowed = ROOMS[: ROOMS.index(room) + 1]
    wrong = [
        module
        for module in imports(parse(path))
        if module.split(".")[0] in ROOMS and module.split(".")[0] not in allowed
    ]
    assert not wrong, f"{name_of(path)} imports {wrong}; {room} may import {allowed}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_torch_and_rclpy_stay_in_their_rooms(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    roots = {module.split(".")[0] for module in imports(parse(path))}
    if room != "ros_nodes":
        assert "rclpy" not in roots, f"{name_of(path)} imports rclpy, which only ros_nodes may"
    if ROOMS.index(room) < ROOMS.index("robot_rl") and not name_of(path).startswith(TORCH_TRAINER):
        assert not roots & {"torch", "diffusers"}, f"{name_of(path)} imports torch"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_pickles_or_evaluates(path: Path) -> None:
    tree = parse(path)
    assert not {module.split(".")[0] for module in imports(tree)} & NO_PICKLE
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec"), f"{name_of(path)}:{node.lineno} evaluates text"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, name_of(path)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
            assert node.attr not in ("load", "save"), f"{name_of(path)}:{node.lineno}: torch.{node.attr} pickles"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_an_error_is_never_swallowed_whole(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            silent = all(isinstance(line, ast.Pass) for line in node.body)
            assert not (broad and silent), f"{name_of(path)}:{node.lineno} swallows every error"


@pytest.mark.parametrize("name", ["main.py", "verbs.py", "compose.py", "help.py", "output.py", "__init__.py"])
def test_the_command_line_starts_without_heavy_libraries(name: str) -> None:
    heavy = {
        "torch",
        "diffusers",
        "mujoco",
        "pinocchio",
        "numba",
        "matplotlib",
        "zarr",
        "tensorboard",
        "gymnasium",
        "hydra",
    }
    roots = {module.split(".")[0] for module in top_level_imports(parse(ROOT / "robot_rl" / "cli" / name))}
    assert not roots & heavy


def test_launch_is_no_python_package_and_is_not_shipped() -> None:
    assert not (ROOT / "launch" / "__init__.py").exists(), "a module named launch would hide ROS's own"
    assert not (ROOT / "tests" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_files_stay_short_enough_to_read() -> None:
    long = {name_of(path): count for path in FILES if (count := len(path.read_text().splitlines())) > 300}
    assert not long, f"longer than 300 lines: {long}"


def test_the_test_files_that_go_first_exist() -> None:
    tree = parse(ROOT / "tests" / "conftest.py")
    assigned = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    names = ast.literal_eval(assigned["LONGEST"])
    assert set(names) <= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
