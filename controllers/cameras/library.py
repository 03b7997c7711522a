"""Loads librealsense late: it is an extra, and its wheel needs a libusb that the system may not have."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
from typing import Any

from controllers.cameras.base import CameraError

_INSTALL = "pip install -c constraints.txt -e '.[realsense]'"


@functools.cache
def load_realsense() -> Any:
    """Returns the module pyrealsense2. Raises CameraError, with the cure, where it or its libusb is missing."""
    _load_libusb()
    try:
        return importlib.import_module("pyrealsense2")
    except ModuleNotFoundError:
        raise CameraError(f"no driver for RealSense cameras is installed: {_INSTALL}") from None
    except ImportError as error:
        raise CameraError(
            f"the driver for RealSense cameras does not load ({error}): apt-get install libusb-1.0-0, or {_INSTALL}"
        ) from error


def _load_libusb() -> None:
    """Makes libusb's symbols known to the process: from the system, else from the wheel `libusb-package`."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libusb-1.0.so.0", ctypes.RTLD_GLOBAL)
        return
    with contextlib.suppress(ModuleNotFoundError, OSError):
        wheel = importlib.import_module("libusb_package")
        ctypes.CDLL(str(wheel.get_library_path()), ctypes.RTLD_GLOBAL)
