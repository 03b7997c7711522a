"""What the commands about Gazebo can be told."""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.options import Config, option


@dataclass
class GazeboInstallConfig(Config):
    """Bring Gazebo Classic 11 into the user's cache, without root, for robot=gazebo."""

    mirror: str | None = option(
        None, "Address of a mirror with Debian 11, http://<host>/debian; by default that of this host's own apt."
    )
