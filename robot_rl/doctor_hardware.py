"""What `robot-rl doctor` says of the motor's core, cameras, input devices, the FR3's driver and Gazebo."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from data.errors import UserError
from robot_rl.doctor_findings import Finding, ok, warn


def check_motor_core(isolated: set[int] | None = None, kernel: str = "") -> Finding:
    """Whether other programs are kept off the core that a motor process takes.

    SCHED_FIFO does not interrupt another program's system call where the kernel runs without preemption: a program that
    read /proc once a second made ticks 0.5 to 1.3 ms late (docs/motor.md).
    """
    from controllers.realtime import choose_core, isolated_cores

    core = choose_core(-1)
    if core in (isolated_cores() if isolated is None else isolated):
        return ok(f"core {core} is kept free of other programs (isolcpus)")
    if "PREEMPT_RT" in (kernel or platform.version()):
        return ok(f"core {core} is shared with other programs, on a kernel that a real-time loop interrupts anywhere")
    cure = f"isolcpus={core} on the kernel's command line (docs/motor.md); lock-step simulation does without"
    return warn(f"core {core} is shared with other programs: a real arm's ticks may begin 1 or 2 ms late", cure)


def check_cameras(installed: bool | None = None) -> Finding:
    """Whether the driver of RealSense cameras loads, and which cameras are connected."""
    installed = find_spec("pyrealsense2") is not None if installed is None else installed
    cure = "pip install -c constraints.txt -e '.[realsense]'"
    if not installed:
        return ok(f"no driver for RealSense cameras (needed only for them: {cure})")
    from controllers.cameras.devices import connected, info_of

    try:
        serials = [info_of(device).serial for device in connected()()]
    except UserError as error:
        return warn(str(error), cure)
    return ok(f"pyrealsense2 {version('pyrealsense2')}, cameras connected: {', '.join(serials) or 'none'}")


def check_input_devices(folder: Path = Path("/dev/input")) -> Finding:
    """What a person may teleoperate with, and whether it may be read."""
    from robot_rl.teleop.devices.finding import INSTALL, RIGHTS, look_around

    if find_spec("evdev") is None:
        return warn("no evdev: teleoperation by the terminal's keyboard only", INSTALL)
    found, closed = look_around(folder)
    devices = [f"{device.kind} {device.path} ({device.name})" for device in found if device.kind]
    text = f"{', '.join(devices) or 'no gamepad and no SpaceMouse'}; a terminal's keyboard always"
    return warn(f"{text}; {len(closed)} input devices may not be read", RIGHTS) if closed and not devices else ok(text)


def check_franka() -> Finding:
    """pylibfranka, for robot=fr3."""
    if find_spec("pylibfranka") is None:
        return warn("pylibfranka is missing: no robot=fr3", "pip install -c constraints.txt -e '.[franka]'")
    return ok(f"pylibfranka {version('pylibfranka')} (FR3; `robot-rl bench franka` tries it without a robot)")


def check_gazebo() -> Finding:
    """Gazebo Classic with our plugin, for robot=gazebo; whether the modern one is here is said as well."""
    from controllers.robots.gazebo.plugin import built
    from controllers.robots.gazebo.prefix import INSTALL, prefix

    modern = f"gz-sim is here ({gz}), and not driven by this version" if (gz := shutil.which("gz")) else "no gz-sim"
    found = prefix()
    if not found.complete:
        return warn(f"Gazebo 11 is not installed: no robot=gazebo; {modern}", f"{INSTALL} (docs/gazebo.md)")
    if built(found) is None and shutil.which("g++") is None:
        return warn("Gazebo 11 is here, but its plugin is not built and there is no g++", "apt-get install g++")
    state = "its plugin is built" if built(found) else "its plugin is built at the first start"
    return ok(f"Gazebo 11 in {found.root}, {state}; {modern}")
