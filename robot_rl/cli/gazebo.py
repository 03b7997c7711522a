"""`robot-rl gazebo install`: Gazebo Classic for robot=gazebo."""

from __future__ import annotations

import time
from typing import Any

from controllers.robots.gazebo.install import install as bring
from robot_rl.config_gazebo import GazeboInstallConfig


def install(config: GazeboInstallConfig) -> dict[str, Any]:
    """Fetches Gazebo and builds its plugin; what is there already is left as it is."""
    began_s = time.monotonic()
    done = bring(config.mirror, lambda step: print(f"{step} ...", flush=True))
    took_s = time.monotonic() - began_s
    fetched = f"{done.fetched_bytes / 1e6:.0f} MB fetched" if done.fetched_bytes else "it was there already"
    print(f"Gazebo 11 is in {done.where.root} ({fetched}, {took_s:.0f} s): robot-rl up sim robot=gazebo")
    return {
        "prefix": str(done.where.root),
        "fetched_mb": round(done.fetched_bytes / 1e6, 1),
        "took_s": round(took_s, 1),
    }
