"""The hand of an operator who has no arm: keys move it, a spring ties the simulated flange to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from safety import so3

Array = NDArray[np.float64]

KEYS = "w/s forward, back   a/d left, right   r/f up, down   (large letters: further)   i/k j/l u/o turn"
PUSH_S = 0.1
"""A push lasts this long unless the next one comes [s]."""
_STEP_M, _FAR_M, _TURN_RAD = 0.002, 0.02, 0.05
_SPRING, _DAMPER = (400.0, 15.0), (60.0, 1.0)  # [N/m, Nm/rad], [N s/m, Nm s/rad]
_FORCE_N, _MOMENT_NM = 25.0, 3.0
_MOVES = {"w": (1, 0, 0), "s": (-1, 0, 0), "a": (0, 1, 0), "d": (0, -1, 0), "r": (0, 0, 1), "f": (0, 0, -1)}
_TURNS = {"i": (0, 1, 0), "k": (0, -1, 0), "j": (1, 0, 0), "l": (-1, 0, 0), "u": (0, 0, 1), "o": (0, 0, -1)}


class SimulatedHand:
    """Where the hand wants the tool, base frame, and how it pushes at the flange to get it there."""

    def __init__(self) -> None:
        self._wanted: Pose | None = None

    def let_go(self) -> None:
        """Takes hold again where the tool is then."""
        self._wanted = None

    def move(self, key: str, here: Pose) -> bool:
        """Moves the hand by one step; returns whether the key says so. here: T_base_tool."""
        wanted = self._wanted or here
        if key.lower() in _MOVES:
            step_m = _STEP_M if key.islower() else _FAR_M
            offset = step_m * np.array(_MOVES[key.lower()], dtype=np.float64)
            self._wanted = Pose(wanted.position_m + offset, wanted.quaternion_xyzw)
        elif key in _TURNS:
            x, y, z = (_TURN_RAD * entry for entry in _TURNS[key])
            turn = Pose(quaternion_xyzw=np.array(so3.exp((x, y, z))))
            self._wanted = Pose(wanted.position_m, turn.compose(wanted).quaternion_xyzw)
        else:
            return False
        return True

    def wrench(self, here: Pose, twist_base: Array) -> Array:
        """Returns the push (6,) [N, Nm] about the control point, base axes: a bounded spring and damper."""
        wanted = self._wanted = self._wanted or here
        turn = np.array(so3.log(so3.from_matrix(np.ascontiguousarray(wanted.rotation @ here.rotation.T))))
        force = _SPRING[0] * (wanted.position_m - here.position_m) - _DAMPER[0] * twist_base[:3]
        moment = _SPRING[1] * turn - _DAMPER[1] * twist_base[3:]
        return np.concatenate([force.clip(-_FORCE_N, _FORCE_N), moment.clip(-_MOMENT_NM, _MOMENT_NM)])
