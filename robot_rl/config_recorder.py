"""What `robot-rl bench recorder` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.options import Config, option


@dataclass
class BenchRecorderConfig(Config):
    """Record a made-up arm and camera for minutes, then kill recorders; exit status 1 where anything is lost."""

    seconds: float = option(600.0, "Time of the endurance run; 0 leaves it out.", unit="s", low=0.0)
    repeats: int = option(50, "Recorders killed (SIGKILL) at random times.", low=0)
    seed: int = option(0, "Of the random times.", low=0)
    out: str = option("runs/recorder.jsonl", "File of the results, a line each; what it holds is not run again.")
    work: str = option("runs/recorder-bench", "Folder of what is recorded (1.5 GB a minute); removed afterwards.")
