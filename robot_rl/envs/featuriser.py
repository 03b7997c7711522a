"""From dict observations to the flat vectors that learners take, with a short memory where asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError

Vector = NDArray[np.float32]


class Featuriser:
    """Concatenates the vector observations of `keys` and of the last `history` before (at first the first)."""

    def __init__(self, sizes: Mapping[str, int], history: int = 0) -> None:
        if history < 0:
            raise UserError(f"history must be 0 or more past observations, got {history}")
        self.keys, self.history = tuple(sizes), history
        self.frame_size = sum(sizes.values())
        self.size = self.frame_size * (history + 1)
        self._frames: list[Vector] = []

    def _frame(self, observation: Mapping[str, NDArray[np.floating]]) -> Vector:
        missing = [key for key in self.keys if key not in observation]
        if missing:
            raise UserError(
                f"expected the observations {', '.join(self.keys)}, {', '.join(missing)} not among "
                f"{', '.join(observation)}"
            )
        frame = np.concatenate([np.ravel(observation[key]) for key in self.keys]).astype(np.float32)
        if not np.isfinite(frame).all():
            raise UserError("an observation holds a number that is not finite: check the sensors before going on")
        return frame

    def reset(self, observation: Mapping[str, NDArray[np.floating]]) -> Vector:
        """Starts an episode; returns its first feature vector (size,)."""
        self._frames = [self._frame(observation)] * (self.history + 1)
        return self._stack()

    def step(self, observation: Mapping[str, NDArray[np.floating]]) -> Vector:
        """Returns the feature vector (size,) after one more observation; the newest frame stands first."""
        self._frames = [self._frame(observation), *self._frames[:-1]]
        return self._stack()

    def _stack(self) -> Vector:
        return np.concatenate(self._frames)

    def episode(self, observations: Mapping[str, NDArray[np.floating]]) -> Vector:
        """Returns the features (T + 1, size) of a whole episode's observations {key: (T + 1, ...)}."""
        length = len(next(iter(observations.values())))
        rows: Sequence[Mapping[str, NDArray[np.floating]]] = [
            {key: observations[key][t] for key in self.keys if key in observations} for t in range(length)
        ]
        return np.stack([self.reset(rows[0]), *(self.step(row) for row in rows[1:])])
