"""What `robot-rl doctor` looks at around ROS 2: which one, how it talks, what dead processes left behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from robot_rl.doctor_findings import Finding, fail, ok, warn

_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
_SHM = Path("/dev/shm")
_NEEDED_BYTES = 8 << 20
"""Room for several pictures of 640 x 480 in one shared-memory segment."""
HIGHEST_DOMAIN = 101
"""Above it the ports of DDS reach into those that Linux gives to outgoing connections (ROS 2, "The ROS_DOMAIN_ID")."""


def check_ros(environment: Mapping[str, str] = os.environ, wheels: bool | None = None) -> Finding:
    """ROS from wheels or from the system, never both: their libraries would mix in one process."""
    wheels = find_spec("ros_wheels_bootstrapper") is not None if wheels is None else wheels
    sourced = "/opt/ros" in environment.get("AMENT_PREFIX_PATH", "")
    if wheels and sourced:
        return fail(
            "ROS wheels in this environment and /opt/ros sourced",
            "open a shell without setup.bash, or use a venv without [ros]",
        )
    if wheels:
        return ok("ROS 2 from wheels")
    if sourced:
        return ok(f"ROS 2 {environment.get('ROS_DISTRO', '')} from the system")
    return ok("no ROS (needed only for ros_nodes/: pip install -c constraints.txt -e '.[ros]')")


def check_ros_libraries(environment: Mapping[str, str] = os.environ, prefix: str = sys.prefix) -> Finding:
    """The two variables by which the wheels find their libraries: both or none."""
    guarded = _GUARD in environment
    found = f"{prefix}/lib" in environment.get("LD_LIBRARY_PATH", "").split(":")
    if guarded and not found and find_spec("ros_wheels_bootstrapper") is not None:
        return fail(
            f"{_GUARD} is set, but LD_LIBRARY_PATH lacks {prefix}/lib: the wheels' libraries are not found, or another "
            "environment's are",
            f"unset {_GUARD} LD_LIBRARY_PATH",
        )
    return ok("libraries of this environment")


def check_ros_network(environment: Mapping[str, str] = os.environ) -> Finding:
    """RMW, discovery range and domain."""
    rmw = environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper()
    domain = environment.get("ROS_DOMAIN_ID") or "0"
    text = f"{rmw}, discovery {reach or 'LOCALHOST by robot-rl up (ROS itself: SUBNET)'}, domain {domain}"
    if not domain.isdigit() or int(domain) > 232:
        return fail(text, "ROS_DOMAIN_ID is a number of 0 to 101")
    if find_spec("ros_wheels_bootstrapper") is not None and rmw != "rmw_fastrtps_cpp":
        return fail(text, "the wheels hold rmw_fastrtps_cpp only: unset RMW_IMPLEMENTATION")
    if reach not in ("", "LOCALHOST", "SUBNET", "OFF", "SYSTEM_DEFAULT"):
        return fail(text, "ROS_AUTOMATIC_DISCOVERY_RANGE is LOCALHOST, SUBNET, OFF or SYSTEM_DEFAULT")
    if reach == "OFF":
        return fail(text, "not even two processes of this machine find one another: use LOCALHOST")
    if int(domain) > HIGHEST_DOMAIN:
        return warn(text, f"domains above {HIGHEST_DOMAIN} share ports with outgoing connections: take a lower one")
    if environment.get("ROS_LOCALHOST_ONLY") == "1":
        return warn(text, "ROS_LOCALHOST_ONLY is deprecated: set ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST instead")
    if reach in ("SUBNET", "SYSTEM_DEFAULT"):
        return warn(text, "whoever is in this network can command the arm: LOCALHOST, or a network of its own")
    return ok(text)


def check_ros_leftovers(folder: Path = _SHM, locks: Path = Path("/proc/locks")) -> Finding:
    """Shared memory of Fast DDS whose process was killed: it holds its lock no more."""
    held = {line.split()[5].rpartition(":")[2] for line in locks.read_text().splitlines() if len(line.split()) > 5}
    stale = [path for path in folder.glob("fastdds_*_el") if str(path.stat().st_ino) not in held]
    if not stale:
        return ok(f"no shared memory of dead processes in {folder}")
    # each lock belongs to a segment or port of the same name
    size = sum(part.stat().st_size for lock in stale if (part := lock.with_name(lock.name[:-3])).exists())
    return warn(
        f"{len(stale)} segments and ports of dead processes in {folder} ({size / 2**20:.1f} MiB)", "fastdds shm clean"
    )


def check_ros_pictures(environment: Mapping[str, str] = os.environ) -> Finding:
    """The transport profile by which whole pictures fit into shared memory."""
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    named = next((environment[name] for name in names if environment.get(name)), "")
    if not named:
        return ok("none named: nodes that keep to this machine take their own")
    cure = f"mend or unset {names[0]}: nodes then take their own"
    try:
        sizes = [
            int(entry.text or 0) for entry in ElementTree.parse(named).iter() if entry.tag.endswith("segment_size")
        ]
    except (OSError, ValueError, ElementTree.ParseError) as error:
        return fail(f"{named} cannot be read: {error}", cure)
    if max(sizes, default=0) < _NEEDED_BYTES:
        return warn(
            f"{named} gives shared memory {max(sizes, default=0) >> 10} KiB: pictures go in pieces, slowly",
            f"a segment_size of {_NEEDED_BYTES} or more, or unset {names[0]}",
        )
    return ok(f"{named}, shared memory of {max(sizes) >> 20} MiB")
