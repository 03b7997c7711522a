"""Steps a second of an arm task: scripted episodes with contact, automatic resets included in the time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.link import LockstepLink
from controllers.robots.rendering import RenderError
from data.errors import UserError
from robot_rl.envs.capabilities import first_camera
from robot_rl.envs.make import make_env
from robot_rl.envs.real_robot import refuse_real_robot
from robot_rl.tasks.registry import make_task


def run(
    seconds: float = 20.0, task: str = "peg_insertion", variant: str = "default", seed: int = 0, robot: str = "mujoco"
) -> dict[str, Any]:
    """Returns state_steps_per_s, image_steps_per_s (None where nothing can be rendered) and how they came about.

    One step is one decision of 0.1 s. The time of a measurement is all wall-clock time: decisions, operator, resets.
    """
    refuse_real_robot(robot, "it measures how fast a simulation runs; a real arm keeps its own time")
    figures = measure_steps(seconds, task, variant, seed, robot, images=False)
    result: dict[str, Any] = {
        "state_steps_per_s": figures["steps_per_s"],
        "state_times_real_time": figures["steps_per_s"] / figures["rate_hz"],
        "state_steps_per_s_without_resets": figures["steps_per_s_without_resets"],
        "simulated_s_per_s": figures["simulated_s_per_s"],
        "success_rate": figures["success_rate"],
        "episodes": figures["episodes"],
    }
    try:
        first_camera(make_task(task, variant))
        images = measure_steps(seconds, task, variant, seed, robot, images=True)
    except RenderError as error:
        result |= {"image_steps_per_s": None, "image_missing": str(error)}
    else:
        result |= {name: images[name] for name in ("image_shape", "cameras")}
        result["image_steps_per_s"] = images["steps_per_s"]
    return result


def measure_steps(
    seconds: float, name: str, variant: str, seed: int, robot: str, images: bool, critic: NDArray[Any] | None = None
) -> dict[str, Any]:
    """Returns the figures of one measurement, with or without the task's cameras and weights of a safety critic."""
    task = make_task(name, variant)
    env = make_env(task, robot=robot, seed=seed, images=images)
    if critic is not None:
        if not isinstance(env.link, LockstepLink):
            raise UserError(f"expected a link that takes a critic, got {type(env.link).__name__}")
        env.link.load_critic(critic)
    operator = task.operator(np.random.default_rng(seed))
    env.reset(seed=seed)  # compiles and warms up
    steps, episodes, successes, stepping_s, reset_s = 0, 0, 0, 0.0, 0.0
    begun = time.perf_counter()
    observation: dict[str, Any] = {}
    while time.perf_counter() - begun < seconds:
        observation, info = env.reset(seed=seed + 1 + episodes)
        reset_s += info["reset_s"]
        operator.reset()
        started = time.perf_counter()
        while True:
            observation, _, terminated, truncated, info = env.step(operator.act(observation, task.action.size))
            steps += 1
            if terminated or truncated:
                break
        stepping_s += time.perf_counter() - started
        episodes, successes = episodes + 1, successes + int(info["success"])
    elapsed = time.perf_counter() - begun
    env.close()
    pictures = [value for key, value in observation.items() if key.startswith("image_")]
    return {
        "steps_per_s": steps / elapsed,
        "steps_per_s_without_resets": steps / stepping_s,
        "simulated_s_per_s": (steps / task.rate_hz + reset_s) / elapsed,
        "rate_hz": task.rate_hz,
        "success_rate": successes / episodes,
        "episodes": episodes,
        "cameras": len(pictures),
        "image_shape": list(pictures[0].shape) if pictures else None,
    }
