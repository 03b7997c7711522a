"""`robot-rl bench control|env|learner|safety|faults|franka|camera|recorder`: the measured figures, as mappings."""

from __future__ import annotations

from typing import Any

from robot_rl.config_bench import (
    BenchControlConfig,
    BenchEnvConfig,
    BenchFaultsConfig,
    BenchLearnerConfig,
    BenchSafetyConfig,
)
from robot_rl.config_cameras import BenchCameraConfig
from robot_rl.config_recorder import BenchRecorderConfig
from robot_rl.config_robot import BenchFrankaConfig, BenchRosConfig


def control(config: BenchControlConfig) -> dict[str, Any]:
    """Returns the figures of motor tick and real-time loop."""
    from robot_rl.bench import control as bench

    return bench.run(seconds=config.seconds, ticks=config.ticks)


def env(config: BenchEnvConfig) -> dict[str, Any]:
    """Returns environment steps a second."""
    from robot_rl.bench import env as bench

    return bench.run(config.seconds, config.task, config.variant, config.seed, config.robot)


def learner(config: BenchLearnerConfig) -> dict[str, Any]:
    """Returns learner updates a second."""
    from robot_rl.bench import learner as bench

    return dict(bench.run())


def safety(config: BenchSafetyConfig) -> dict[str, Any]:
    """Returns what the safety layers bound and what they cost."""
    from robot_rl.bench import safety as bench

    return bench.run(config)


def faults(config: BenchFaultsConfig) -> dict[str, Any]:
    """Returns what became of the faults."""
    from robot_rl.bench.faults import runner

    return runner.run(config)


def franka(config: BenchFrankaConfig) -> dict[str, Any]:
    """Returns the figures of the FR3 driver."""
    from robot_rl.bench import franka as bench

    return bench.run(config)


def camera(config: BenchCameraConfig) -> dict[str, Any]:
    """Returns latency, rate and losses of the camera driver."""
    from robot_rl.bench import camera as bench

    return bench.run(config)


def recorder(config: BenchRecorderConfig) -> dict[str, Any]:
    """Returns what the recorder node lost, and what it costs."""
    from robot_rl.bench import recorder as bench

    return bench.run(config)


def ros(config: BenchRosConfig) -> dict[str, Any]:
    """Returns the figures of commands and pictures over topics, and of the FR3 driver."""
    from robot_rl.bench import ros as bench

    return bench.run(config)
