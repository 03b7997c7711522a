"""One small training run as a program of its own, to be killed. Started by tests of this folder.

training_program.py WORLD MODE OUT STEPS [KEY=VALUE of the settings]...; WORLD: pendulum, peg, line (which cannot be put
back). Prints "step N" when step N is done, and ends with 2 and one line for a user error.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data.errors import UserError
from robot_rl.learning.torch_setup import quick_torch
from robot_rl.metrics import MetricsLog
from robot_rl.training.asynchronous import AsyncTrainer
from robot_rl.training.keys import Keys
from robot_rl.training.pacing import Pacing
from robot_rl.training.recipe import AgentRecipe
from robot_rl.training.settings import StopRequested, TrainSettings
from robot_rl.training.sync import SyncTrainer
from robot_rl.training.trainer import Trainer
from robot_rl.training.workplace import Workplace, make_workplace
from tests.robot_rl.training_fakes import Line

OPTIONS: dict[str, Any] = {"hidden": (16, 16), "batch_size": 16}


def workplace(world: str, seed: int) -> Workplace:
    if world == "pendulum":
        return make_workplace("gym", env_id="Pendulum-v1", history=1)
    return Line(restorable=False) if world == "line" else make_workplace("peg_insertion", seed=seed)


def trainer(world: str, mode: str, out: Path, settings: TrainSettings, log: MetricsLog) -> Trainer:
    place, evaluation = workplace(world, 0), workplace(world, 500_000) if settings.eval_every else None
    recipe = AgentRecipe("rlpd", place.obs_size, place.action_names, OPTIONS)
    learner: list[int] = []

    def tick(counters: Any, metrics: Any) -> None:
        print(f"step {counters.step}", flush=True)
        if isinstance(made, AsyncTrainer) and made.running and not learner:
            learner.append(made.seam.pid)
            print(f"learner {made.seam.pid}", flush=True)

    made: Trainer
    common = (recipe.build(), place, evaluation, None, out, settings, log.write, tick, Keys())
    if mode == "sync":
        made = SyncTrainer(*common)
    else:
        made = AsyncTrainer(*common, recipe=recipe, pacing=Pacing(timeout_s=3.0, heartbeat_s=0.2))
    return made


@quick_torch()
def main() -> int:
    world, mode, out, steps, *changes = sys.argv[1:]
    figures: dict[str, Any] = {"warmup": 20, "eval_every": 0, "eval_episodes": 1, "checkpoint_every": 60}
    figures |= {key: int(value) for key, _, value in (change.partition("=") for change in changes)}
    largest = figures.pop("largest_file", None)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    folder = Path(out)
    folder.mkdir(exist_ok=True)
    with MetricsLog(folder, tensorboard=False) as log:
        run = trainer(world, mode, folder, TrainSettings(int(steps), **figures), log)
        run.resume()
        log.truncate_to(run.counters.step)
        print(f"from {run.counters.step}", flush=True)
        try:
            run.run()
        except UserError as error:
            print(f"program: {error}", file=sys.stderr)
            return 2
        except (KeyboardInterrupt, StopRequested):
            return 130
    print(json.dumps({"step": run.counters.step, "updates": run.counters.updates}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
