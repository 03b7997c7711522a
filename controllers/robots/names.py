"""The arms that commands, nodes and launch files may name by `robot=...`."""

from __future__ import annotations

SIMULATED = ("mujoco", "gazebo", "gz")
"""Each process has such an arm of its own. `gz`, the modern Gazebo, is only a name so far: see gazebo/modern.py."""
ARMS = (*SIMULATED, "fr3")
"""What a motor process may drive."""
