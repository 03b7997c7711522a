"""The table of commands: name, configuration, and the function that does the work (imported only when it is called)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from data.errors import UserError
from robot_rl import config as configs
from robot_rl import config_bench as bench
from robot_rl import config_bringup as bringup
from robot_rl import config_cameras as cameras
from robot_rl import config_critic as critic
from robot_rl import config_gazebo as gazebo
from robot_rl import config_recorder as recorder
from robot_rl import config_robot as robot
from robot_rl import config_safety as safety
from robot_rl import config_teach as taught
from robot_rl import config_teleop as teleop
from robot_rl.options import Config, expected_names


@dataclass(frozen=True)
class Verb:
    """One command.

    `target` is "module:function"; the function takes the configuration and returns None or a mapping of figures. A
    mapping whose `ok` is false ends the command with status 1. `positional` names the fields that may be given without
    `key=`; `table` tells whether the command line prints the figures (otherwise the function itself has told the user).
    """

    name: str
    config: type[Config]
    target: str
    positional: tuple[str, ...] = ()
    table: bool = False

    @property
    def summary(self) -> str:
        """First line of the configuration's docstring."""
        return (self.config.__doc__ or "").strip().splitlines()[0]

    def load(self) -> Callable[[Any], Mapping[str, Any] | None]:
        """Imports and returns the function that does the work."""
        module, function = self.target.split(":")
        loaded: Callable[[Any], Mapping[str, Any] | None] = getattr(import_module(module), function)
        return loaded


VERBS = (
    Verb("tasks", configs.TasksConfig, "robot_rl.cli.listing:tasks"),
    Verb("check", configs.CheckConfig, "robot_rl.cli.checking:check"),
    Verb("collect", configs.CollectConfig, "robot_rl.workflows.collect:run"),
    Verb("teleoperate", teleop.TeleoperateConfig, "robot_rl.workflows.teleoperate:run"),
    Verb("pretrain", configs.PretrainConfig, "robot_rl.workflows.pretrain:run"),
    Verb("finetune", configs.FinetuneConfig, "robot_rl.workflows.finetune:run"),
    Verb("evaluate", configs.EvaluateConfig, "robot_rl.workflows.evaluate:run", table=True),
    Verb("report", configs.ReportConfig, "robot_rl.cli.documents:report", positional=("run",)),
    Verb("data info", configs.DataConfig, "robot_rl.cli.data_verbs:info", positional=("path",)),
    Verb("data verify", configs.DataConfig, "robot_rl.cli.data_verbs:verify", positional=("path",)),
    Verb("data repair", configs.DataConfig, "robot_rl.cli.data_verbs:repair", positional=("path",)),
    Verb("data play", configs.PlayConfig, "robot_rl.cli.documents:play", positional=("path",)),
    Verb("up", bringup.UpConfig, "robot_rl.bringup.up:run", positional=("name",)),
    Verb("data replay", teleop.DataReplayConfig, "robot_rl.workflows.replay_episode:run", positional=("path",)),
    Verb("task teach", taught.TaskTeachConfig, "robot_rl.cli.task_verbs:teach", positional=("name",)),
    Verb("task show", taught.TaskShowConfig, "robot_rl.cli.task_verbs:show", positional=("name",)),
    Verb("task check", taught.TaskCheckConfig, "robot_rl.cli.task_verbs:check", positional=("name",)),
    Verb("safety collect", critic.SafetyCollectConfig, "robot_rl.workflows.safety_collect:run"),
    Verb("safety train", critic.SafetyTrainConfig, "robot_rl.workflows.safety_train:run"),
    Verb("safety calibrate", critic.SafetyCalibrateConfig, "robot_rl.workflows.safety_train:calibrate_file"),
    Verb("safety evaluate", critic.SafetyEvaluateConfig, "robot_rl.workflows.safety_evaluate:run", table=True),
    Verb("safety replay", safety.SafetyReplayConfig, "robot_rl.cli.safety_verbs:replay", positional=("path",)),
    Verb("safety status", safety.SafetyStatusConfig, "robot_rl.cli.safety_verbs:status", positional=("motor",)),
    Verb("safety reset", safety.SafetyResetConfig, "robot_rl.cli.safety_verbs:reset", positional=("motor",)),
    Verb("safety estop", safety.SafetyEstopConfig, "robot_rl.cli.safety_verbs:estop", positional=("motor",)),
    Verb("bench control", bench.BenchControlConfig, "robot_rl.cli.benches:control", table=True),
    Verb("bench env", bench.BenchEnvConfig, "robot_rl.cli.benches:env", table=True),
    Verb("bench learner", bench.BenchLearnerConfig, "robot_rl.cli.benches:learner", table=True),
    Verb("bench safety", bench.BenchSafetyConfig, "robot_rl.cli.benches:safety", table=True),
    Verb("bench faults", bench.BenchFaultsConfig, "robot_rl.cli.benches:faults", table=True),
    Verb("bench ros", robot.BenchRosConfig, "robot_rl.cli.benches:ros", table=True),
    Verb("bench franka", robot.BenchFrankaConfig, "robot_rl.cli.benches:franka", table=True),
    Verb("bench camera", cameras.BenchCameraConfig, "robot_rl.cli.benches:camera", table=True),
    Verb("bench recorder", recorder.BenchRecorderConfig, "robot_rl.cli.benches:recorder", table=True),
    Verb("bench up", bringup.BenchUpConfig, "robot_rl.bench.up:run", table=True),
    Verb("cameras", cameras.CamerasConfig, "robot_rl.cli.cameras:run", positional=("serial",)),
    Verb("gazebo install", gazebo.GazeboInstallConfig, "robot_rl.cli.gazebo:install"),
    Verb("experiment", configs.ExperimentConfig, "robot_rl.workflows.experiment:run", positional=("name",)),
    Verb("quickstart", configs.QuickstartConfig, "robot_rl.workflows.quickstart:run"),
    Verb("doctor", configs.DoctorConfig, "robot_rl.cli.documents:doctor"),
)
GROUPS = {verb.name.split()[0] for verb in VERBS if " " in verb.name}
_SUMMARIES = {
    "data info": "Say what an episode store holds.",
    "data verify": "Check a store (or a bag) against its checksums; exit status 1 where something is wrong.",
    "data repair": "Recover a damaged store or an unclosed bag: what is broken is put aside, nothing is deleted.",
}


def summary(verb: Verb) -> str:
    """Returns the one line that explains a command in lists."""
    return _SUMMARIES.get(verb.name, verb.summary)


def find(words: list[str]) -> tuple[Verb, list[str]]:
    """Splits the words of the command line into the command and its arguments.

    Raises `UserError` for an unknown or incomplete command, naming the closest ones.
    """
    by_name = {verb.name: verb for verb in VERBS}
    if words[0] in GROUPS:
        members = [name.split()[1] for name in by_name if name.startswith(words[0] + " ")]
        if len(words) < 2 or words[1].startswith("-"):
            raise UserError(f"robot-rl {words[0]} needs one of: {', '.join(members)}")
        if f"{words[0]} {words[1]}" not in by_name:
            raise UserError(f"unknown command '{words[0]} {words[1]}'; {expected_names(words[1], members)}")
        return by_name[f"{words[0]} {words[1]}"], words[2:]
    if words[0] not in by_name:
        commands = list(dict.fromkeys(verb.name.split()[0] for verb in VERBS))
        raise UserError(f"unknown command '{words[0]}'; {expected_names(words[0], commands)}")
    return by_name[words[0]], words[1:]
