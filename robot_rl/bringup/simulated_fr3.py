"""A simulated FR3 that speaks the robot's own protocol, until Ctrl-C: `python -m robot_rl.bringup.simulated_fr3`.

For rehearsing `robot-rl up robot` without an arm; see controllers/robots/franka_simulator.py for what is simulated.
"""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType

import psutil

from controllers.description.fr3 import fr3
from controllers.robots.franka_simulator import simulated_robot
from data.errors import UserError
from robot_rl.tasks.registry import make_task

_LOOK_S = 0.2


def run(task: str) -> None:
    """Serves an FR3 with the tool of a task. Raises UserError if the server does not come up, or ends by itself.

    Late commands end no motion, as they would on a real robot: this one shares its processor with us.
    """
    tool = make_task(task).scene().tool
    with simulated_robot(fr3(), tool, gripper=tool.gripper_range_m is not None, punctual=False) as robot:
        print(f"a simulated FR3 answers at {robot.ip}; Ctrl-C ends it", flush=True)
        server = psutil.Process(robot.pid)
        while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
            time.sleep(_LOOK_S)
        said = robot.log().strip().splitlines()[-1:]
        raise UserError(f"franka-sim has ended by itself: {' '.join(said) or 'it said nothing'}")


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Status 0 after Ctrl-C or SIGTERM, 2 with one line for a mistake."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) > 1 or any(word.startswith("-") for word in words):
        print("usage: python -m robot_rl.bringup.simulated_fr3 [TASK]", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        run(words[0] if words else "peg_insertion")
    except KeyboardInterrupt:
        return 0
    except UserError as error:
        print(f"simulated_fr3: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
