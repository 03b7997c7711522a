"""The table of bring-ups. A new process or argument is one entry here; nothing else names processes.

The controller is never started again by itself: its end is the end of torque control, and somebody looks at the arm
first. Nor is the supervisor, without which an arm holds. What only watches may be, a few times.
"""

from __future__ import annotations

from data.errors import UserError
from robot_rl.bringup.description import Argument, AtEnd, BringUp, Command, Condition, Node, Process, Restart
from robot_rl.options import expected_names

ACTIVE = "node is active"
"""What a node of this project writes when its lifecycle reaches the state `active` (ros_nodes/lifecycle.py)."""
_AGAIN = Restart(times=3, within_s=60.0)
_NAME = r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*"

NAMESPACE = Argument("namespace", "Namespace of all topics; the motor process is named after it.", "arm", pattern=_NAME)
TASK = Argument("task", "Task whose tool, fixtures and limits the arm works with.", "peg_insertion")
VARIANT = Argument("variant", "Variant of the task.", "default")
SEED = Argument("seed", "Seed of the simulated sensor.", "0", kind=int)
REALTIME = Argument(
    "realtime", "Whether the motor process takes its measures against late ticks.", "true", ("true", "false"), bool
)
ROBOT = Argument("robot", "Arm: simulated, or a Franka FR3.", "fr3", ("mujoco", "fr3"))
SIMULATED = Argument("robot", "Arm: simulated, or a Franka FR3.", "mujoco", ("mujoco", "fr3"))
ROBOT_IP = Argument("robot_ip", "Address of the FR3's control box, such as 172.16.0.2.", needed=True)
CAMERA = Argument("camera", "Camera: `none`, `mujoco`, `software`, `serial:<number>` or `file:<path>`.", "none")
CAMERA_NAME = Argument("camera_name", "Name of that camera, as the task's scene calls it.", "wrist")
DEVICE = Argument("device", "What the person holds.", "gamepad", ("gamepad", "spacemouse", "keyboard"))
PATH = Argument("path", "Path of the device such as /dev/input/event5; empty: the only one of its kind.")
DRIVE = Argument("drive", "Whether the arm follows the device as soon as all is up.", "true", ("true", "false"), bool)
RUN = Argument("run", "Run folder of a trained policy that acts; empty: nobody does.")
BEGIN = Argument("begin", "Whether that policy acts as soon as all is up.", "false", ("true", "false"), bool)
RECORD = Argument("record", "Folder to record into (episodes.zarr and bags); empty: nothing is recorded.")
ARM = (NAMESPACE, TASK, VARIANT, SEED, REALTIME)
_OF_ARM = {name: f"{{{name}}}" for name in ("task", "variant", "seed", "realtime")}
_CONTROLLER = "ros_nodes.controller_node"


def _controller(robot: str, when: Condition | None = None, **parameters: str) -> Process:
    return Process(
        "controller",
        Node(_CONTROLLER, {"robot": robot, **_OF_ARM, **parameters}),
        when=when,
        ready=ACTIVE,
        stop_s=15.0,  # hold, ramp to zero torque, and the motor process's own time to leave (5 s, then 5 s)
        owns_motor=True,
    )


_EITHER_ARM = (
    _controller("mujoco", Condition("robot", "fr3", equal=False)),
    _controller("fr3", Condition("robot", "fr3"), robot_config='{{"ip": "{robot_ip}"}}'),
)


def _supervisor(robot: str) -> Process:
    return Process("supervisor", Node("ros_nodes.supervisor_node", {"robot": robot}), ready=ACTIVE)


def _recorder(robot: str) -> Process:
    return Process(
        "recorder",
        Node("ros_nodes.recorder_node", {"out": "{record}", "task": "{task}", "variant": "{variant}", "robot": robot}),
        when=Condition("record", "", equal=False),
        ready=ACTIVE,
        after=("controller",),
        restart=_AGAIN,
        stop_s=20.0,  # the episode in progress is closed
    )


_CAMERA = Process(
    "camera",
    Node(
        "ros_nodes.camera_node",
        {"source": "{camera}", "name": "{camera_name}", "task": "{task}", "variant": "{variant}"},
    ),
    when=Condition("camera", "none", equal=False),
    ready=ACTIVE,
    restart=_AGAIN,
)
_POLICY = Process(
    "policy",
    Node("ros_nodes.policy_node", {"run": "{run}", "begin": "{begin}"}),
    when=Condition("run", "", equal=False),
    ready=ACTIVE,
    after=("controller",),
)
_TELEOP = Process(
    "teleop",
    Node(
        "ros_nodes.teleop_node",
        {"device": "{device}", "path": "{path}", "drive": "{drive}", "task": "{task}", "variant": "{variant}"},
    ),
    ready=ACTIVE,
    after=("controller",),
    at_end=AtEnd.DONE,
    terminal=True,
)
_FINETUNE = """
    finetune robot=ros robot_config.namespace={namespace} mode=async task={task} variant={variant}
    data={data} base={base} agent={agent} steps={steps} out={out}
"""
_LEARNER = Process(
    "finetune",
    Command(tuple(_FINETUNE.split())),
    after=("controller",),
    at_end=AtEnd.DONE,
    stop_s=60.0,  # a checkpoint is written
)
_LEARNING = (
    Argument("out", "Run folder; an existing one is resumed.", needed=True),
    Argument("data", "Episode store of demonstrations; null: none.", "null"),
    Argument("base", "Run folder of the imitated policy; null: none.", "null"),
    Argument("agent", "How the policy is improved.", "residual"),
    Argument("steps", "Environment steps in the end.", "6000", kind=int),
)
_LOOK = (
    "python -m ros_nodes.first_action {namespace}   # one command that stays where the arm is",
    "robot-rl safety status {namespace}             # what the supervisor says",
    "robot-rl safety estop {namespace}              # the emergency stop in software",
)

BRINGUPS = (
    BringUp(
        "sim",
        "A simulated arm behind the topics of a real one.",
        (*ARM, CAMERA, CAMERA_NAME, RUN, BEGIN, RECORD),
        (_controller("mujoco"), _supervisor("mujoco"), _CAMERA, _recorder("mujoco"), _POLICY),
        purpose=("controller",),
        next=_LOOK,
    ),
    BringUp(
        "robot",
        "The arm of this robot PC, with its supervisor; camera, recorder and policy if asked for.",
        (ROBOT, ROBOT_IP, *ARM, CAMERA, CAMERA_NAME, RUN, BEGIN, RECORD),
        (*_EITHER_ARM, _supervisor("{robot}"), _CAMERA, _recorder("{robot}"), _POLICY),
        purpose=("controller",),
        next=_LOOK,
    ),
    BringUp(
        "teleop",
        "An arm driven by hand, recorded if asked for.",
        (SIMULATED, ROBOT_IP, *ARM, DEVICE, PATH, DRIVE, CAMERA, CAMERA_NAME, RECORD),
        (*_EITHER_ARM, _supervisor("{robot}"), _CAMERA, _recorder("{robot}"), _TELEOP),
        purpose=("controller", "teleop"),
    ),
    BringUp(
        "train",
        "An arm and the learner that practises with it.",
        (SIMULATED, ROBOT_IP, *ARM, CAMERA, CAMERA_NAME, *_LEARNING),
        (*_EITHER_ARM, _supervisor("{robot}"), _CAMERA, _LEARNER),
        purpose=("controller", "finetune"),
        next=("robot-rl report {out}",),
    ),
)


def find(name: str) -> BringUp:
    """Returns a bring-up. Raises UserError for an unknown name, naming the closest ones."""
    for bringup in BRINGUPS:
        if bringup.name == name:
            return bringup
    raise UserError(f"unknown bring-up '{name}'; {expected_names(name, [bringup.name for bringup in BRINGUPS])}")


def node_modules() -> list[str]:
    """Returns the modules of all nodes in the table that this installation has, sorted."""
    programs = [process.program for bringup in BRINGUPS for process in bringup.processes]
    return sorted({node.module for node in programs if isinstance(node, Node) and not node.missing})
