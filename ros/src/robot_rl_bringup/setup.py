"""Installs the launch files, and an executable for each node that the installed robot-rl has.

robot-rl must be installed for the Python that runs colcon: `python -m colcon build` in its virtual environment. Where
it lies is kept in an environment hook, so that `ros2 launch`, which the system's Python runs, finds it too.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from setuptools import setup

NAME = "robot_rl_bringup"
_spec = find_spec("robot_rl")
if _spec is None or _spec.origin is None:
    # colcon shows errors, but swallows SystemExit
    raise RuntimeError(
        f"robot-rl is not installed for {sys.executable}: activate its environment, then `python -m colcon build`"
    )

from robot_rl.bringup.table import node_modules  # noqa: E402 - not before it is known to be there

HOOK = Path("build_hook") / "robot_rl.dsv"
HOOK.parent.mkdir(exist_ok=True)
HOOK.write_text(f"prepend-non-duplicate;PYTHONPATH;{Path(_spec.origin).resolve().parent.parent}\n")

setup(
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", sorted(map(str, Path("launch").glob("*.launch.py")))),
        (f"share/{NAME}/hook", [str(HOOK)]),
    ],
    entry_points={"console_scripts": [f"{module.rpartition('.')[2]} = {module}:main" for module in node_modules()]},
)
