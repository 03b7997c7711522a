"""Replay: transitions in a ring of rows, each observation stored once, and n-step batches drawn from it."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.types import Source
from data.errors import UserError
from robot_rl.learning import journal

F32 = NDArray[np.float32]
EPISODES_KEPT = 100
"""Finished episodes whose cost is remembered."""
NOT_IMITATED = (int(Source.HOLD), int(Source.RECOVERY))
"""Sources of decisions in recorded episodes that no demonstrator made: nobody acted, or a recovery did."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Batch:
    """B transitions; arrays float32 unless said otherwise."""

    obs: F32
    """(B, n_obs)."""
    action: F32
    """(B, A), the action that was executed."""
    reward: F32
    """(B,) sum over the n steps of gamma^elapsed * reward."""
    next_obs: F32
    """(B, n_obs) after the last of these steps."""
    discount: F32
    """(B,) gamma to the number of environment steps really executed, fractional where one was cut short."""
    mask: F32
    """(B,) 0 where the episode terminated, 1 where it goes on or was truncated: whether the target bootstraps."""
    source: NDArray[np.int64]
    """(B,) who acted, see controllers.types.Source."""
    demo: NDArray[np.bool_]
    """(B,) whether the row comes from demonstrations."""
    extras: dict[str, F32] = field(default_factory=dict)
    """Per name (B, ...): what was cached for `obs`."""
    next_extras: dict[str, F32] = field(default_factory=dict)
    """Per name (B, ...): what was cached for `next_obs`."""
    cost: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    """(B,) sum over the n steps of gamma^elapsed * cost [J]."""
    proposed: F32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(B, A), the action that the policy wished."""

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def imitable(self) -> NDArray[np.bool_]:
        """(B,) demonstrations that the demonstrator executed: what a recovery did instead is nothing to imitate."""
        own: NDArray[np.bool_] = self.demo & ~np.isin(self.source, NOT_IMITATED)
        return own


class Replay:
    """Ring buffer of `capacity` rows. A row is one observation, with the action that followed it if there was one.

    The observation after an episode's last action takes a row of its own, without action; a row's next observation is
    thus always the next row, also at borders. Rows are drawn uniformly among those with an action.

    Args:
        capacity: rows, at least 2.
        obs_size: width of a flat observation.
        action_size: width of an action.
        extras: per name the shape of a float32 array cached with each observation, such as a base policy's candidates.
    """

    def __init__(
        self, capacity: int, obs_size: int, action_size: int, extras: dict[str, tuple[int, ...]] | None = None
    ) -> None:
        if capacity < 2:
            raise UserError(f"replay capacity {capacity} does not fit: expected at least 2 rows")
        self.capacity, self.obs_size, self.action_size = capacity, obs_size, action_size
        self.extras_shapes = {name: tuple(shape) for name, shape in sorted((extras or {}).items())}
        self.obs = np.zeros((capacity, obs_size), np.float32)
        self.action = np.zeros((capacity, action_size), np.float32)
        self.proposed = np.zeros((capacity, action_size), np.float32)
        self.reward = np.zeros(capacity, np.float32)
        self.cost = np.zeros(capacity, np.float32)
        self.terminated = np.zeros(capacity, np.bool_)
        self.truncated = np.zeros(capacity, np.bool_)
        self.cut = np.zeros(capacity, np.bool_)
        """Per row: whether its episode was truncated by `interrupt`, not by its own time limit."""
        self.source = np.zeros(capacity, np.int64)
        self.steps = np.ones(capacity)
        self.extras = {name: np.zeros((capacity, *shape), np.float32) for name, shape in self.extras_shapes.items()}
        self.has_action = np.zeros(capacity, np.bool_)
        self.starts = np.zeros(capacity, np.bool_)
        """Per row: whether its transition does not continue the one before."""
        self.serial = np.zeros(capacity, np.int64)
        """Per row: how many transitions had been added before its own."""
        self._saved, self._saved_open = 0, False
        self.head = 0
        """Row that is written next."""
        self.filled = 0
        """Rows that have ever been written, at most the capacity."""
        self.open = False
        """Whether the newest row waits for its action: the episode goes on."""
        self.added = 0
        """Transitions added since the beginning, overwritten ones included."""
        self.size = 0
        """Transitions that can be drawn."""
        self.episodes = 0
        """Episodes that came to their own end; those cut by `interrupt` do not count."""
        self.episode_costs: deque[float] = deque(maxlen=EPISODES_KEPT)
        """Whole cost [J] of the newest of them, undiscounted, oldest first."""
        self._cost_so_far = 0.0

    def __len__(self) -> int:
        return self.size

    def add(
        self,
        obs: Any,
        action: Any,
        reward: float,
        next_obs: Any,
        terminated: bool,
        truncated: bool,
        source: int = 0,
        extras: dict[str, Any] | None = None,
        next_extras: dict[str, Any] | None = None,
        steps: float = 1.0,
        cost: float = 0.0,
        proposed: Any = None,
    ) -> None:
        """Adds one transition. Within an episode `obs` must be the previous call's `next_obs`.

        `action` is the one that was executed, `proposed` the one that the policy wished (None: the same). `steps` is
        the number of environment steps that it really took, above 0: a chunk cut short by the episode's end counts what
        was executed, a decision that a reflex ended early counts the fraction of its period that passed. `reward` is
        then their sum, discounted within it. `cost` is the energy spent meanwhile [J], at least 0.

        Raises:
            UserError: a number is not finite, a width does not fit, the cost is negative, or `obs` does not continue
                the open episode.
        """
        obs, next_obs = self._vector(obs, self.obs_size, "obs"), self._vector(next_obs, self.obs_size, "next_obs")
        action = self._vector(action, self.action_size, "action")
        wished = action if proposed is None else self._vector(proposed, self.action_size, "proposed")
        if not np.isfinite(reward) or not 0.0 < steps < np.inf:
            wanted = "expected a finite reward and a finite number of steps above 0"
            raise UserError(f"transition {self.added}: {wanted}, got {reward}, {steps}")
        if not 0.0 <= cost <= _LARGEST:
            raise UserError(f"transition {self.added}: expected a finite cost of at least 0 J, got {cost}")
        now, then = self._extras(extras, "extras"), self._extras(next_extras, "next_extras")
        if self.open and not np.array_equal(obs, self.obs[self.head - 1]):
            raise UserError(
                f"transition {self.added}: obs is not the previous transition's next_obs; end the episode (terminated "
                "or truncated) or call interrupt() before another begins"
            )
        starts = not self.open
        if starts:
            self._write_observation(obs, now)
        row = self.head - 1  # -1 is the last row of the ring
        self.action[row], self.reward[row], self.source[row], self.steps[row] = action, reward, source, steps
        self.proposed[row], self.cost[row] = wished, cost
        self.terminated[row], self.truncated[row], self.cut[row] = terminated, truncated, False
        self.starts[row], self.serial[row] = starts, self.added
        self._write_observation(next_obs, then)
        self.has_action[row] = True
        self.size += 1
        self.added += 1
        self.open = not (terminated or truncated)
        self._count_cost(float(self.cost[row]), starts)

    def _count_cost(self, cost: float, starts: bool) -> None:
        """Adds up the episode's cost, as it is stored: a replay that is loaded again counts the same."""
        self._cost_so_far = cost + (0.0 if starts else self._cost_so_far)
        if not self.open:
            self.episodes += 1
            self.episode_costs.append(self._cost_so_far)

    def interrupt(self) -> None:
        """Ends an open episode without another step, as a truncation: its last transition still bootstraps."""
        if self.open:
            self.truncated[self.head - 2] = self.cut[self.head - 2] = True
            self.open = False

    def save_increment(self, folder: str | os.PathLike[str], sync: bool = True) -> None:
        """Appends what was added since the last call to the file in `folder`; see robot_rl.learning.journal.append."""
        journal.append(self, folder, self._saved, self._saved_open, sync)
        self._saved, self._saved_open = self.added, self.open

    def load(self, folder: str | os.PathLike[str], upto: int | None = None) -> None:
        """Fills this empty replay with the first `upto` transitions saved in `folder` (all if None).

        Transitions saved later are cut off, so that a resumed run goes on from there. An episode that was open is ended
        as by `interrupt`: its environment is gone.

        Raises:
            UserError: this replay is not empty, or as robot_rl.learning.journal.read tells.
        """
        if self.added:
            raise UserError(f"load needs an empty replay, this one has {self.added} transitions")
        journal.read(self, folder, upto)
        self._saved, self._saved_open = self.added, self.open
        self.interrupt()

    def sample(self, batch: int, rng: np.random.Generator, n_step: int, gamma: float, demo: bool = False) -> Batch:
        """Draws `batch` transitions uniformly, with replacement, each extended to up to `n_step` consecutive ones.

        reward = sum_k gamma^(t_k) r_k with t_k the environment steps before the k-th; the sum stops after a transition
        that ended its episode, and before data that is not there yet. discount = gamma^(all steps executed);
        mask = 1 - terminated of the last transition, so that a truncation bootstraps. cost is summed as reward is.

        Raises:
            UserError: nothing has been added.
        """
        if self.size == 0:
            raise UserError("cannot draw from an empty replay: add transitions first")
        first = self._draw(batch, rng)
        last, elapsed = first.copy(), self.steps[first].copy()
        reward, cost = self.reward[first].astype(np.float64), self.cost[first].astype(np.float64)
        for _ in range(n_step - 1):
            following = (last + 1) % self.capacity
            goes_on = ~(self.terminated[last] | self.truncated[last]) & self.has_action[following]
            weight = np.where(goes_on, gamma**elapsed, 0.0)
            reward += weight * self.reward[following]
            cost += weight * self.cost[following]
            elapsed += np.where(goes_on, self.steps[following], 0.0)
            last = np.where(goes_on, following, last)
        end = (last + 1) % self.capacity
        return Batch(
            obs=self.obs[first],
            action=self.action[first],
            reward=reward.astype(np.float32),
            next_obs=self.obs[end],
            discount=(gamma**elapsed).astype(np.float32),
            mask=1.0 - self.terminated[last].astype(np.float32),
            source=self.source[first],
            demo=np.full(batch, demo),
            extras={name: values[first] for name, values in self.extras.items()},
            next_extras={name: values[end] for name, values in self.extras.items()},
            cost=cost.astype(np.float32),
            proposed=self.proposed[first],
        )

    def _draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draws rows with an action: uniform rows, those without an action drawn again."""
        rows = rng.integers(0, self.filled, count)
        missing = np.flatnonzero(~self.has_action[rows])
        while missing.size:
            rows[missing] = rng.integers(0, self.filled, missing.size)
            missing = missing[~self.has_action[rows[missing]]]
        return rows

    def _write_observation(self, obs: F32, extras: dict[str, F32]) -> None:
        row = self.head
        self.size -= int(self.has_action[row])
        self.has_action[row] = False
        self.obs[row] = obs
        for name, value in extras.items():
            self.extras[name][row] = value
        self.filled = max(self.filled, row + 1)
        self.head = (row + 1) % self.capacity

    def _vector(self, values: Any, size: int, name: str) -> F32:
        array = np.asarray(values, np.float32)
        if array.shape != (size,):
            raise UserError(f"transition {self.added}: {name} needs {size} numbers, got shape {array.shape}")
        if not np.isfinite(array).all():
            where = np.flatnonzero(~np.isfinite(array)).tolist()
            raise UserError(f"transition {self.added}: {name} has numbers that are not finite at {where}")
        return array

    def _extras(self, values: dict[str, Any] | None, name: str) -> dict[str, F32]:
        arrays = {key: np.asarray(value, np.float32) for key, value in (values or {}).items()}
        shapes = {key: array.shape for key, array in sorted(arrays.items())}
        if shapes != self.extras_shapes:
            raise UserError(f"transition {self.added}: {name} need shapes {self.extras_shapes}, got {shapes}")
        for key, array in arrays.items():
            if not np.isfinite(array).all():
                raise UserError(f"transition {self.added}: {name}[{key!r}] has numbers that are not finite")
        return arrays
