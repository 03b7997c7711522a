"""Makes the camera that a configuration names."""

from __future__ import annotations

from controllers.cameras.base import Camera
from controllers.cameras.config import CameraConfig
from controllers.cameras.devices import Query
from controllers.cameras.scene_feed import SceneFeed
from controllers.description.arm import ArmDescription
from controllers.description.scene import Scene
from data.errors import UserError


def make_camera(
    config: CameraConfig,
    *,
    arm: ArmDescription | None = None,
    scene: Scene | None = None,
    feed: SceneFeed | None = None,
    query: Query | None = None,
) -> Camera:
    """Returns a camera, not started yet: hand it to a CameraReader.

    arm, scene and feed: what source=mujoco draws and who knows where its arm is. query: where devices are looked for,
    the USB bus by default. Raises UserError where source=mujoco lacks its scene.
    """
    if config.kind == "mujoco":
        if arm is None or scene is None or feed is None:
            raise UserError(
                f"camera {config.name}: source=mujoco draws a simulated scene, and there is none here: "
                "use source=serial:<number>"
            )
        from controllers.cameras.simulated import SimulatedCamera

        return SimulatedCamera(config, arm, scene, feed)
    if config.kind == "software":
        from controllers.cameras.software import SoftwareCamera

        return SoftwareCamera(config)
    from controllers.cameras.realsense import RealSenseCamera

    return RealSenseCamera(config, query)
