"""`robot-rl check`."""

from __future__ import annotations

from typing import Any

from robot_rl.config import CheckConfig


def check(config: CheckConfig) -> dict[str, Any]:
    """Runs the environment's checks; prints one finding a line; `ok` is false where there is one."""
    from robot_rl.envs.checker import check_env
    from robot_rl.envs.layers import layers_from
    from robot_rl.envs.make import make_env
    from robot_rl.envs.real_robot import refuse_real_robot
    from robot_rl.tasks.registry import make_task

    refuse_real_robot(config.robot, "it takes arbitrary actions to provoke findings; check the task in simulation")
    task, layers = make_task(config.task, config.variant, config.task_config), layers_from(config.safety_config)
    env = make_env(task, robot=config.robot, seed=config.seed, layers=layers)
    findings = [str(finding) for finding in check_env(env, seed=config.seed)]
    env.close()
    print("\n".join(findings) if findings else f"{config.task}: all checks passed")
    return {"ok": not findings, "findings": findings}
