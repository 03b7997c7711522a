"""One description of arm, tool and scene, from which every model is made."""

from controllers.description.arm import ArmDescription
from controllers.description.fr3 import fr3
from controllers.description.geometry import Box, Capsule, ContactSoftness, Cylinder, Geom, Pose, Sphere, look_at
from controllers.description.gripper import FingerDescription
from controllers.description.mjcf import SimulationOptions, to_mjcf
from controllers.description.scene import CameraDescription, Fixture, Scene, Sliding, table
from controllers.description.tool import ToolDescription, parallel_gripper_tool, round_finger_tool, square_peg_tool
from controllers.description.urdf import to_urdf

__all__ = [
    "ArmDescription",
    "Box",
    "CameraDescription",
    "Capsule",
    "ContactSoftness",
    "Cylinder",
    "FingerDescription",
    "Fixture",
    "Geom",
    "Pose",
    "Scene",
    "SimulationOptions",
    "Sliding",
    "Sphere",
    "ToolDescription",
    "fr3",
    "look_at",
    "parallel_gripper_tool",
    "round_finger_tool",
    "square_peg_tool",
    "table",
    "to_mjcf",
    "to_urdf",
]
