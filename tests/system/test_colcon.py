"""The thin ROS package as colcon builds it: one package, its executables, marker and launch files; one node started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.bringup.table import BRINGUPS, node_modules

pytest.importorskip("rclpy", reason="install the extra [ros]")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "robot_rl_bringup"


@pytest.fixture(scope="module")
def colcon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with colcon and an old enough setuptools, which sees what the tests' own one has."""
    home = tmp_path_factory.mktemp("colcon") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    packages = ["colcon-common-extensions", "colcon-ros", "setuptools<80"]
    words = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "ros" / "constraints-colcon.txt"), *packages]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


def build(python: Path, base: str, out: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    places = [f"--{kind}-base={out / kind}" for kind in ("build", "install")]
    words = [str(python), "-m", "colcon", f"--log-base={out / 'log'}", "build", f"--base-paths={base}", *places]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=False, env={**environment, **variables}
    )


@pytest.fixture(scope="module")
def installed(colcon: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The install folder of a build in the repository's root."""
    out = tmp_path_factory.mktemp("ws")
    done = build(colcon, ".", out, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "install"


def test_a_build_in_the_root_finds_this_package_alone(installed: Path) -> None:
    assert [path.name for path in installed.iterdir() if path.is_dir()] == [PACKAGE]


def test_a_build_in_ros_finds_it_too(colcon: Path, tmp_path: Path) -> None:
    done = build(colcon, "ros", tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "install" / PACKAGE / "share" / PACKAGE / "package.xml").is_file()


def test_executables_marker_and_launch_files_are_installed(installed: Path) -> None:
    home = installed / PACKAGE
    scripts = home / "lib" / PACKAGE
    assert sorted(path.name for path in scripts.iterdir()) == [name.rpartition(".")[2] for name in node_modules()]
    assert all(os.access(path, os.X_OK) for path in scripts.iterdir())
    assert (home / "share" / "ament_index" / "resource_index" / "packages" / PACKAGE).is_file()
    launch = home / "share" / PACKAGE / "launch"
    assert sorted(path.name for path in launch.iterdir()) == sorted(f"{one.name}.launch.py" for one in BRINGUPS)


def test_after_sourcing_the_table_is_found_and_a_node_starts(installed: Path, tmp_path: Path) -> None:
    """The node's executable as launch would start it, told to work with no such task: it says so in one line."""
    line = f"source {installed}/setup.bash && exec {sys.executable} {installed}/{PACKAGE}/lib/{PACKAGE}/controller_node"
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    environment |= {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_LOG_DIR": str(tmp_path), "ROS_DOMAIN_ID": "98"}
    done = subprocess.run(
        ["bash", "-c", f"{line} --ros-args -p task:=nosuch"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "nosuch" in done.stderr and "Traceback" not in done.stderr
    program = "import robot_rl.bringup.table as table; print(table.__file__)"
    found = subprocess.run(
        ["bash", "-c", f"source {installed}/setup.bash && python3 -c '{program}'"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.strip() == str(ROOT / "robot_rl" / "bringup" / "table.py"), found.stderr


def test_a_build_without_robot_rl_says_what_to_do(colcon: Path, tmp_path: Path) -> None:
    lone = tmp_path / "src" / PACKAGE
    shutil.copytree(ROOT / "ros" / "src" / PACKAGE, lone, ignore=shutil.ignore_patterns("build_hook"))
    done = build(colcon, str(tmp_path / "src"), tmp_path)
    assert done.returncode != 0
    assert "robot-rl is not installed for" in done.stdout + done.stderr
