"""What the benchmarks of tick, environment, learner, safety layers and faults can be told."""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.config import robot_option, seed_option, task_option, variant_option
from robot_rl.options import Config, option


@dataclass
class BenchControlConfig(Config):
    """Measure the motor tick and the real-time motor process."""

    seconds: float = option(60.0, "Length of the real-time measurement.", unit="s", low=1.0)
    ticks: int = option(1_000_000, "Ticks of the measurement in lock-step.", unit="ticks", low=1000)


@dataclass
class BenchEnvConfig(Config):
    """Measure environment steps a second, with state and with camera observations."""

    task: str = task_option("peg_insertion")
    variant: str = variant_option()
    seconds: float = option(20.0, "Length of each measurement.", unit="s", low=0.5)
    robot: str = robot_option()
    seed: int = seed_option()


@dataclass
class BenchLearnerConfig(Config):
    """Measure learner updates a second beside stable-baselines3 and the machine's matrix-multiply limit."""


@dataclass
class BenchSafetyConfig(Config):
    """Measure what the safety layers bound and what they cost."""

    runs: int = option(10_000, "Adversarial runs against the energy books.", low=1)
    policies: int = option(1_000, "Random policies that push against rigid walls.", low=1)
    tasks: list[str] = option(["peg_insertion", "maze"], "Tasks whose scripted operators show ordinary operation.")
    episodes: int = option(30, "Episodes of each scripted operator.", low=1)
    ticks: int = option(200_000, "Ticks whose time is taken.", unit="ticks", low=1000)
    task: str = task_option("maze")
    seconds: float = option(20.0, "Length of the measurement of environment steps.", unit="s", low=0.5)
    seed: int = seed_option()


@dataclass
class BenchFaultsConfig(Config):
    """Inject faults into real processes and measure what the arm does; exit status 1 where a deadline is missed."""

    repeats: int = option(100, "Repeats of each fault.", low=1)
    faults: list[str] = option([], "Only the faults whose names are given, such as F1; by default all.")
    out: str = option("runs/faults.jsonl", "File of the results, one line a repeat; what it holds is not run again.")
    realtime: bool = option(True, "Whether the motor process takes its measures against late ticks.")
    seed: int = seed_option()
