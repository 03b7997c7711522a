"""A run as it stands on the disk: what of it is saved when, and how it goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.learning import journal
from robot_rl.learning.replay import Replay
from robot_rl.learning.states import pack_rng, unpack_rng
from robot_rl.training import checkpoint as checkpoints
from robot_rl.training.checkpoint import Checkpoint, State
from robot_rl.training.settings import WALL_CLOCK, Counters, TrainSettings
from robot_rl.training.workplace import Workplace

Tick = Callable[[Counters, dict[str, float]], None]
CLOCK_FILE = "clock.json"


def no_tick(counters: Counters, metrics: dict[str, float]) -> None:
    """Shows no progress."""


class StoredRun:
    """Agent, replay and counters of a run, saved in `folder`: replay/, checkpoints/.

    With `journalled`, each transition is on its way to the disk before the next step, and the run goes on after the
    last one instead of from the last checkpoint: so where the world cannot be put back.
    """

    def __init__(
        self, agent: Any, workplace: Workplace, folder: Path, settings: TrainSettings, tick: Tick = no_tick
    ) -> None:
        self.agent, self.workplace, self.folder, self.settings, self.tick = agent, workplace, folder, settings, tick
        # one row a transition and one more an episode; episodes are at least one step long
        capacity = 2 * settings.steps + 1000
        self.replay = Replay(capacity, workplace.obs_size, len(workplace.action_names), agent.extras_shapes)
        self.counters = Counters(next_eval=settings.eval_every, next_checkpoint=settings.checkpoint_every)
        self.journalled = not workplace.restorable
        self._prepare_rng = np.random.default_rng([settings.seed, 3])
        self._metrics: dict[str, float] = {}
        self._saved_step = -1

    def resume(self) -> bool:
        """Goes on where the folder's run was left; False if nothing of it is left and it begins anew.

        A world that can be put back goes on from the newest checkpoint, to the same numbers as if nothing had happened.
        With `journalled` it goes on after the last recorded transition, the updates that are due for those after the
        checkpoint made up. Either way `counters.step` is where the metrics log must be cut off.
        """
        found = checkpoints.newest(self.folder / "checkpoints")
        saved = 0
        if found is not None:
            saved = self._take(found)
            checkpoints.tidy(self.folder / "checkpoints", found.step)
        upto = None if self.journalled and (self.folder / "replay" / journal.FILE).is_file() else saved
        self.replay.load(self.folder / "replay", upto)  # what a killed save wrote beyond its checkpoint is cut off
        self._loaded()
        if self.replay.added > saved:
            self._make_up(saved)
        return found is not None or self.replay.added > 0

    def _loaded(self) -> None:
        """The replay holds again what it held; nothing has been learned from it yet."""

    def _take(self, found: Checkpoint) -> int:
        """Takes a checkpoint; returns how many transitions it knows."""
        counters = dict(found.counters)
        try:
            saved = int(counters.pop("replay_added"))
            self.counters = Counters(**{"step": found.step, **counters, **self._read_clock()})
            packed = np.array(self.counters.prepare_rng, np.uint64)
        except (KeyError, TypeError, ValueError) as error:
            message = f"the checkpoint in {self.folder} was written by another version ({error}): use that one"
            raise UserError(message) from error
        self.agent.load_state(found.agent)
        unpack_rng("prepare_rng", {"prepare_rng": packed}, self._prepare_rng)
        if self.workplace.restorable:
            self.workplace.restore(found.world)
        self._saved_step = found.step
        return saved

    def _make_up(self, saved: int) -> None:
        """Counts the transitions that the journal holds beyond the checkpoint."""
        rows = np.flatnonzero(self.replay.has_action & (self.replay.serial >= saved))
        counters = self.counters
        counters.episode += int(self.replay.starts[rows].sum())
        for row in rows[np.argsort(self.replay.serial[rows])]:
            self._count_step(float(self.replay.steps[row]))
            self._learn()
            self.tick(counters, self._metrics)

    def save(self) -> None:
        """Writes replay and checkpoint; call between two episodes."""
        state = self._agent_state()
        self.counters.prepare_rng = pack_rng(self._prepare_rng).tolist()
        self.replay.save_increment(self.folder / "replay")
        counters = {key: value for key, value in vars(self.counters).items() if key not in ("step", *WALL_CLOCK)}
        counters["replay_added"] = self.replay.added
        world = self.workplace.snapshot() if self.workplace.restorable else {}
        checkpoints.save(self.folder / "checkpoints", Checkpoint(self.counters.step, state, world, counters))
        clock = {name: getattr(self.counters, name) for name in WALL_CLOCK}
        write_atomic(self.folder / "checkpoints" / CLOCK_FILE, json.dumps(clock))
        self._saved_step = self.counters.step

    def _read_clock(self) -> dict[str, float]:
        """The wall-clock times of the last save; a run killed before it wrote them counts them from zero."""
        path = self.folder / "checkpoints" / CLOCK_FILE
        if not path.is_file():
            return {}
        clock = json.loads(path.read_text())
        return {name: float(clock[name]) for name in WALL_CLOCK}

    def _count_step(self, steps: float) -> None:
        """Counts one decision that lasted `steps` decision periods."""
        self.counters.step += 1
        if self.workplace.rate_hz:
            self.counters.robot_s += steps / self.workplace.rate_hz

    def _learn(self) -> None:
        """After each step, the replay holding its transition and the counters counting it."""
        raise NotImplementedError

    def _agent_state(self) -> State:
        """The agent's whole state, for a checkpoint."""
        state: State = self.agent.state()
        return state
