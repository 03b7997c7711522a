"""MuJoCo with a rendering library that is chosen without a display, and its many ways to say that there is none."""

from __future__ import annotations

import os

from data.errors import UserError


class RenderError(UserError):
    """No picture can be drawn here, for want of a rendering library or of a camera; all else works."""


_CURE = "install libegl1 and libgl1-mesa-dri; robot-rl doctor tells more"
if "DISPLAY" not in os.environ:  # MuJoCo chooses its rendering library at import
    os.environ.setdefault("MUJOCO_GL", "egl")
try:
    import mujoco
except (RuntimeError, AttributeError, ImportError) as error:
    chosen = os.environ.get("MUJOCO_GL")
    raise RenderError(f"MuJoCo does not load with MUJOCO_GL={chosen} ({error}): unset MUJOCO_GL, or {_CURE}") from error

RENDER_ERRORS: tuple[type[Exception], ...] = (mujoco.FatalError, RuntimeError, AttributeError, ImportError)
"""What MuJoCo and PyOpenGL raise where nothing can be drawn."""


def no_rendering(error: Exception) -> RenderError:
    """Returns what to raise for one of RENDER_ERRORS."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return RenderError(f"rendering is not available ({reason}): {_CURE}")
