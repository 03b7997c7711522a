"""`robot-rl doctor`: many small checks, each saying what is there and what to do about what is not."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.version import Version

from data.errors import UserError
from robot_rl.doctor_findings import Finding, fail, ok, warn
from robot_rl.doctor_hardware import (
    check_cameras,
    check_franka,
    check_gazebo,
    check_input_devices,
    check_motor_core,
)
from robot_rl.doctor_ros import (
    check_ros,
    check_ros_leftovers,
    check_ros_libraries,
    check_ros_network,
    check_ros_pictures,
)

OWN_TOP_LEVEL_NAMES = ("data", "safety", "controllers", "calibration")
NEEDED_FREE_GB = 5.0
_ROOT = Path(__file__).resolve().parent.parent


def check_python(current: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Python 3.11 or 3.12."""
    text = f"Python {current[0]}.{current[1]}"
    return ok(text) if current in ((3, 11), (3, 12)) else fail(text, "use Python 3.11 (tested) or 3.12")


def read_constraints(path: Path) -> dict[str, str]:
    """Returns {package: version} of a constraints file."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {name.strip().lower().replace("_", "-"): pinned.strip() for name, pinned in pairs}


def check_dependencies(needed: Mapping[str, str | None], constraints: Mapping[str, str]) -> Finding:
    """Each dependency installed (`needed`: name to installed version or None) in the version that is tested."""
    missing = [name for name, installed in needed.items() if installed is None]
    if missing:
        return fail(f"not installed: {', '.join(missing)}", "pip install -c constraints.txt -e .")
    others = [
        f"{name} {installed} (tested: {constraints[name]})"
        for name, installed in needed.items()
        if name in constraints and installed and Version(installed).public != Version(constraints[name]).public
    ]
    if others:
        return warn(f"other versions than tested: {', '.join(others)}", "pip install -c constraints.txt -e .")
    return ok(f"{len(needed)} dependencies as tested" if constraints else f"{len(needed)} dependencies installed")


def _check_dependencies_here() -> Finding:
    from importlib.metadata import requires

    names = [line for line in requires("robot-rl") or [] if "extra ==" not in line]
    bare = [line.split(">")[0].split("[")[0].split("=")[0].strip().lower() for line in names]
    path = _ROOT / "constraints.txt"
    return check_dependencies(
        {name: _installed(name) for name in bare}, read_constraints(path) if path.is_file() else {}
    )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_torch() -> Finding:
    """Which build of PyTorch, and whether it sees a GPU."""
    if find_spec("torch") is None:
        return fail("PyTorch is missing", "docs/install.md tells how to get the CPU build")
    import torch

    place = "a CUDA GPU" if torch.cuda.is_available() else "CPU"
    return ok(f"PyTorch {torch.__version__} on {place}")


def check_rendering() -> Finding:
    """Whether MuJoCo can draw pictures without a display."""
    cure = "apt-get install libegl1 libgl1-mesa-dri (everything else works without pictures)"
    if ctypes.util.find_library("EGL") is None:
        return warn("no EGL library: no pictures", cure)
    try:
        from controllers.robots.rendering import RENDER_ERRORS, no_rendering
    except UserError as error:  # without MuJoCo no task runs
        return fail(str(error), "set MUJOCO_GL=egl or unset it")
    import mujoco

    try:
        renderer = mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>"), 16, 16)
        renderer.close()
    except RENDER_ERRORS as error:
        return warn(f"EGL is there, but nothing can be drawn: {no_rendering(error)}", cure)
    return ok("pictures by EGL")


def check_realtime() -> Finding:
    """Whether a process may use the real-time scheduler, tried in a child that ends at once."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status == 0:
        return ok("SCHED_FIFO at priority 80")
    return warn(
        "no right to SCHED_FIFO: the motor process runs, but says realtime: false",
        "in /etc/security/limits.d/realtime.conf: `<user> - rtprio 90` and `<user> - memlock unlimited`; log in again",
    )


def check_cores() -> Finding:
    """Two cores: one for the motor process, one for everything else."""
    from controllers.realtime import isolated_cores

    count = len(os.sched_getaffinity(0) | isolated_cores())
    if count >= 2:
        return ok(f"{count} cores")
    return warn(
        f"{count} core", "the motor process needs a core of its own for real time; lock-step simulation does not"
    )


def check_shared_memory(path: Path = Path("/dev/shm")) -> Finding:
    """A writable /dev/shm with some room, for the link to the motor process."""
    if not (path.is_dir() and os.access(path, os.W_OK)):
        return fail(f"{path} is absent or not writable", "mount a tmpfs there (containers: --shm-size=64m)")
    free_mib = shutil.disk_usage(path).free / 2**20
    return (
        ok(f"{free_mib:.0f} MiB free in {path}")
        if free_mib >= 16
        else fail(f"{free_mib:.0f} MiB free in {path}", "free 16 MiB")
    )


def check_disk(path: Path = Path()) -> Finding:
    """Room for runs in the working folder."""
    free_gb = shutil.disk_usage(path).free / 1e9
    if free_gb >= NEEDED_FREE_GB:
        return ok(f"{free_gb:.0f} GB free here")
    return warn(f"{free_gb:.1f} GB free here", f"runs with pictures may need {NEEDED_FREE_GB:.0f} GB")


def check_kernel_cache() -> Finding:
    """Where compiled kernels are kept, and whether this version's are there."""
    from safety.compilation import cache_folder

    folder = cache_folder()
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        return fail(f"cannot write to {parent}", "set XDG_CACHE_HOME to a folder of yours")
    state = "compiled" if folder.is_dir() else "not compiled yet (the first start takes some seconds more)"
    old = len([entry for entry in folder.parent.glob("*") if entry != folder]) if folder.parent.is_dir() else 0
    return ok(f"kernels {folder.name} {state}; {old} of other versions in {folder.parent}")


def check_names(owners: Mapping[str, list[str]] | None = None) -> Finding:
    """No other distribution owns the top-level names of this project."""
    owners = packages_distributions() if owners is None else owners
    others = [
        f"{name} (of {other})"
        for name in OWN_TOP_LEVEL_NAMES
        for other in sorted(set(owners.get(name, [])))
        if other != "robot-rl"
    ]
    if others:
        return fail(f"other packages own {', '.join(others)}", "uninstall them or use a virtual environment of its own")
    return ok(f"nobody else owns {', '.join(OWN_TOP_LEVEL_NAMES)}")


def check_tensorboard() -> Finding:
    """TensorBoard's viewer."""
    if find_spec("tensorboard") is None:
        return fail("tensorboard is missing", "pip install -c constraints.txt -e .")
    return ok("tensorboard --logdir runs")


def check_bench_extra() -> Finding:
    """stable-baselines3, for the comparison in `robot-rl bench learner`."""
    if find_spec("stable_baselines3") is None:
        return warn(
            "stable-baselines3 is missing: `bench learner` cannot compare",
            "pip install -c constraints.txt -e '.[bench]'",
        )
    return ok(f"stable-baselines3 {version('stable-baselines3')}")


CHECKS: dict[str, Callable[[], Finding]] = {
    "python": check_python,
    "dependencies": _check_dependencies_here,
    "names": check_names,
    "torch": check_torch,
    "rendering": check_rendering,
    "real time": check_realtime,
    "cores": check_cores,
    "motor core": check_motor_core,
    "shared memory": check_shared_memory,
    "disk": check_disk,
    "kernels": check_kernel_cache,
    "ros": check_ros,
    "ros libraries": check_ros_libraries,
    "ros network": check_ros_network,
    "ros leftovers": check_ros_leftovers,
    "ros pictures": check_ros_pictures,
    "tensorboard": check_tensorboard,
    "bench": check_bench_extra,
    "cameras": check_cameras,
    "input devices": check_input_devices,
    "franka": check_franka,
    "gazebo": check_gazebo,
}


def run() -> dict[str, Any]:
    """Runs all checks, prints a line each, and returns them; `ok` is false if any failed."""
    width = max(map(len, CHECKS))
    results: dict[str, Any] = {}
    for name, check in CHECKS.items():
        finding = check()
        results[name] = {"status": finding.status, "text": finding.text, "cure": finding.cure}
        print(f"{finding.status:<4}  {name:<{width}}  {finding.text}", flush=True)
        if finding.cure:
            print(f"{'':<4}  {'':<{width}}  -> {finding.cure}")
    failed = [name for name, result in results.items() if result["status"] == "fail"]
    print(f"failed: {', '.join(failed)}" if failed else "everything that is needed is here")
    return {"ok": not failed, "checks": results}
