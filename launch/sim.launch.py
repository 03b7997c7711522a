"""`ros2 launch robot_rl_bringup sim.launch.py`: the processes of `robot-rl up sim`."""

from launch import LaunchDescription

from robot_rl.bringup.launching import launch_description


def generate_launch_description() -> LaunchDescription:
    """Returns the bring-up of the table in robot_rl/bringup/table.py."""
    return launch_description("sim")
