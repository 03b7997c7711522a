"""The table of bring-ups. A new process or argument is one entry here; nothing else names processes.

The controller is never started again by itself: its end is the end of torque control, and somebody looks at the arm
first. Nor is the supervisor, without which an arm holds. What only watches may be, a few times.

Whoever drives waits for the supervisor as well as for the controller, and a real arm's controller for the supervisor:
an arm that is to be held at its start is held before anybody may drive it.
"""

from __future__ import annotations

from controllers.robots.names import ARMS, SIMULATED
from data.errors import UserError
from robot_rl.bringup.description import (
    Argument,
    AtEnd,
    BringUp,
    Command,
    Condition,
    Node,
    Process,
    Refusal,
    Restart,
)
from robot_rl.options import expected_names

ACTIVE = "node is active"
"""What a node of this project writes when its lifecycle reaches the state `active` (ros_nodes/lifecycle.py)."""
_AGAIN = Restart(times=3, within_s=60.0)
_NAME = r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*"

_FORM = "no name for topics: letters, digits and _, such as arm"
_WORDS = r"(?!(.*\s)?ip=).*"

NAMESPACE = Argument(
    "namespace", "Namespace of all topics; a simulated arm's motor process is named after it.", "arm", pattern=_NAME,
    form=_FORM,
)  # fmt: skip
TASK = Argument("task", "Task whose tool, fixtures and limits the arm works with.", "peg_insertion")
VARIANT = Argument("variant", "Variant of the task.", "default")
SEED = Argument("seed", "Seed of the simulated sensor.", "0", kind=int)
REALTIME = Argument(
    "realtime", "Whether the motor process takes its measures against late ticks.", "true", ("true", "false"), bool
)
_ROBOT = "Arm: simulated by MuJoCo or Gazebo, or a Franka FR3."
ROBOT = Argument("robot", _ROBOT, "fr3", ARMS)
EITHER = Argument("robot", _ROBOT, "mujoco", ARMS)
SIMULATOR = Argument("robot", _ROBOT, "mujoco", SIMULATED)
ROBOT_IP = Argument("robot_ip", "Address of the FR3's control box, such as 172.16.0.2.", needed=True)
ROBOT_CONFIG = Argument(
    "robot_config", "Further settings of the FR3's driver as words, such as `wrench=observer`; empty: none.",
    pattern=_WORDS, form="not further settings: the address is robot_ip=..., not ip=... among these",
)  # fmt: skip
CAMERA = Argument(
    "camera",
    "Camera: `none`, `mujoco` (of a simulated arm), `software`, `serial:<number>` or `file:<path>`; recorded as well.",
    "none",
)
CAMERA_NAME = Argument(
    "camera_name", "Name of that camera, as the task's scene calls it.", "wrist", pattern=_NAME, form=_FORM
)
HUMAN = Argument(
    "human", "Device with which a person may take over from the policy.", "none",
    ("none", "gamepad", "spacemouse", "keyboard"),
)  # fmt: skip
DEVICE = Argument("device", "What the person holds.", "gamepad", ("gamepad", "spacemouse", "keyboard"))
PATH = Argument("path", "Path of the device such as /dev/input/event5; empty: the only one of its kind.")
DRIVE = Argument("drive", "Whether the arm follows the device as soon as all is up.", "false", ("true", "false"), bool)
RUN = Argument("run", "Run folder of a trained policy that acts; empty: nobody does.")
BEGIN = Argument("begin", "Whether that policy acts as soon as all is up.", "false", ("true", "false"), bool)
RECORD = Argument("record", "Folder to record into (episodes.zarr and bags); empty: nothing is recorded.")
ARM = (NAMESPACE, TASK, VARIANT, SEED, REALTIME)
_OF_ARM = {name: f"{{{name}}}" for name in ("task", "variant", "seed", "realtime")}
_CONTROLLER = "ros_nodes.controller_node"


_FR3, _OTHER = Condition("robot", "fr3"), Condition("robot", "fr3", equal=False)
_RECORDS = Condition("record", "", equal=False)
_SEES, _BLIND = Condition("camera", "none", equal=False), Condition("camera", "none")
_WATCHED, _ALONE = Condition("human", "none", equal=False), Condition("human", "none")
_ACTS = Condition("run", "", equal=False)
_MANNED = ("controller", "supervisor")
"""Both are ready before anybody may drive."""


def _controller(robot: str, *when: Condition, after: tuple[str, ...] = (), **parameters: str) -> Process:
    return Process(
        "controller",
        Node(_CONTROLLER, {"robot": robot, **_OF_ARM, **parameters}),
        when=when,
        ready=ACTIVE,
        after=after,
        stop_s=15.0,  # hold, ramp to zero torque, and the motor process's own time to leave (5 s, then 5 s)
        owns_motor=True,
    )


def _supervisor(robot: str, *when: Condition, **parameters: str) -> Process:
    node = Node("ros_nodes.supervisor_node", {"robot": robot, **parameters})
    return Process("supervisor", node, when=when, ready=ACTIVE)


_SIMULATED_ARM = (_supervisor("{robot}"), _controller("{robot}"))
_EITHER_ARM = (
    _supervisor("{robot}", _OTHER),
    _supervisor("fr3", _FR3, robot_ip="{robot_ip}"),
    _controller("{robot}", _OTHER, robot_config="{robot_config}"),  # which refuses any
    _controller(
        "fr3", _FR3, after=("supervisor",), robot_config="ip={robot_ip} {robot_config}", supervisor_required="true"
    ),
)


def _recorder(robot: str, *when: Condition, **parameters: str) -> Process:
    told = {"out": "{record}", "task": "{task}", "variant": "{variant}", "robot": robot, **parameters}
    return Process(
        "recorder",
        Node("ros_nodes.recorder_node", told),
        when=(_RECORDS, *when),
        ready=ACTIVE,
        after=("controller",),
        restart=_AGAIN,
        stop_s=20.0,  # the episode in progress is closed
    )


def _recorders(robot: str) -> tuple[Process, Process]:
    pictures = '["{camera_name}={camera_name}/image_raw"]'
    return _recorder(robot, _BLIND), _recorder(robot, _SEES, cameras=pictures)


_CAMERA = Process(
    "camera",
    Node(
        "ros_nodes.camera_node",
        {"source": "{camera}", "name": "{camera_name}", "task": "{task}", "variant": "{variant}"},
    ),
    when=(_SEES,),
    ready=ACTIVE,
    after=("controller",),  # a simulated one looks at the motor process, which is named after the same namespace
    restart=_AGAIN,
)
_NOT_RENDERED = Refusal(
    (_FR3, Condition("camera", "mujoco")),
    "camera=mujoco shows a simulated arm: with robot=fr3 give camera=serial:<number>, software or file:<path>",
)


def _policy(*when: Condition, **parameters: str) -> Process:
    node = Node("ros_nodes.policy_node", {"run": "{run}", "begin": "{begin}", **parameters})
    return Process("policy", node, when=(_ACTS, *when), ready=ACTIVE, after=(*_MANNED, "teleop"))


def _teleop(device: str, *when: Condition, at_end: AtEnd = AtEnd.FAILURE, **parameters: str) -> Process:
    told = {"device": device, "path": "{path}", "task": "{task}", "variant": "{variant}", **parameters}
    return Process(
        "teleop",
        Node("ros_nodes.teleop_node", told),
        when=when,
        ready=ACTIVE,
        after=_MANNED,
        at_end=at_end,
        terminal=True,
    )


_ACTING = (_teleop("{human}", _WATCHED), _policy(_ALONE), _policy(_WATCHED, human="true"))
_FINETUNE = """
    finetune robot=ros robot_config.namespace={namespace} mode=async task={task} variant={variant}
    data={data} base={base} agent={agent} steps={steps} out={out}
"""
_HELPED = "human=ros teleop_config.device=/{namespace}"


def _learner(when: Condition, *further: str) -> Process:
    return Process(
        "finetune",
        Command((*_FINETUNE.split(), *further)),
        when=(when,),
        after=(*_MANNED, "teleop"),
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
_ARM_IT = (
    "python -m ros_nodes.call {namespace} supervisor/arm   # lets an arm go on that is held (an FR3 is at its start)"
)
_STOP = "robot-rl safety estop {motor}   # the emergency stop in software"
_LOOK = (
    "python -m ros_nodes.first_action {namespace}   # one command that stays where the arm is",
    "robot-rl safety status {motor}   # what the supervisor says",
    _STOP,
)
_POLICY_TOLD = (RUN, BEGIN, HUMAN, PATH)

BRINGUPS = (
    BringUp(
        "sim",
        "A simulated arm behind the topics of a real one.",
        (SIMULATOR, *ARM, CAMERA, CAMERA_NAME, *_POLICY_TOLD, RECORD),
        (*_SIMULATED_ARM, _CAMERA, *_recorders("{robot}"), *_ACTING),
        purpose=("controller",),
        next=_LOOK,
    ),
    BringUp(
        "robot",
        "The arm of this robot PC, with its supervisor; camera, recorder and policy if asked for.",
        (ROBOT, ROBOT_IP, ROBOT_CONFIG, *ARM, CAMERA, CAMERA_NAME, *_POLICY_TOLD, RECORD),
        (*_EITHER_ARM, _CAMERA, *_recorders("{robot}"), *_ACTING),
        purpose=("controller",),
        next=(_ARM_IT, *_LOOK),
        refusals=(_NOT_RENDERED,),
    ),
    BringUp(
        "teleop",
        "An arm driven by hand, recorded if asked for.",
        (EITHER, ROBOT_IP, ROBOT_CONFIG, *ARM, DEVICE, PATH, DRIVE, CAMERA, CAMERA_NAME, RECORD),
        (
            *_EITHER_ARM,
            _CAMERA,
            *_recorders("{robot}"),
            _teleop("{device}", at_end=AtEnd.DONE, drive="{drive}"),
        ),
        purpose=("controller", "teleop"),
        next=(_ARM_IT, "python -m ros_nodes.call {namespace} teleop/start   # the arm follows the device", _STOP),
        refusals=(_NOT_RENDERED,),
    ),
    BringUp(
        "train",
        "An arm and the learner that practises with it.",
        (EITHER, ROBOT_IP, ROBOT_CONFIG, *ARM, CAMERA, CAMERA_NAME, HUMAN, PATH, *_LEARNING),
        (
            *_EITHER_ARM,
            _CAMERA,
            _teleop("{human}", _WATCHED),
            _learner(_ALONE),
            _learner(_WATCHED, *_HELPED.split()),
        ),
        purpose=("controller", "finetune"),
        next=(_ARM_IT, _STOP, "robot-rl report {out}"),
        refusals=(_NOT_RENDERED,),
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
