"""The asynchronous trainer: this process acts, another one learns; neither waits for the other within bounds.

Not bit-reproducible: which weights take which decision depends on timing. Nothing that was recorded is ever lost: each
transition is in the journal before it crosses to the learner.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

from data.errors import UserError
from robot_rl.training.checkpoint import State
from robot_rl.training.pacing import Credit, Pacing
from robot_rl.training.process_seam import LearnerProcess, LearnerSetup
from robot_rl.training.recipe import AgentRecipe
from robot_rl.training.settings import StopRequested
from robot_rl.training.trainer import Trainer
from robot_rl.training.wire import records_of

_WAIT_S = 0.2
_STATE_S = 60.0
_ACTORS_OWN = ("acting_rng",)
"""Parts of an agent's state that only acting changes, so that the learner's copy of them is of no use."""


class AsyncTrainer(Trainer):
    """Takes what `Trainer` takes; `agent` must be what `recipe` builds, which the learner does once more."""

    def __init__(self, *arguments: Any, recipe: AgentRecipe, pacing: Pacing | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.journalled = True
        self.recipe, self.pacing = recipe, pacing or Pacing()
        self._seam: LearnerProcess | None = None
        self._former_update_s = 0.0
        self._former_cores: set[int] = set()
        self._held_since, self._held_updates = 0.0, -1

    @property
    def running(self) -> bool:
        """Whether there is a learner."""
        return self._seam is not None

    @property
    def seam(self) -> LearnerProcess:
        """The learner, which there is during `run` only."""
        if self._seam is None:
            raise RuntimeError("there is no learner outside of run()")
        return self._seam

    def _begin(self) -> None:
        counters = self.counters
        if counters.step >= self.settings.steps and counters.step == self._saved_step:
            return  # a finished run
        credit = Credit(self.pacing, self.settings.warmup, updates=counters.updates)
        self._former_update_s = counters.update_s
        self._seam = LearnerProcess(self.pacing, credit)  # a child inherits all cores, so it is started first
        joins = self.partition is not None
        setup = LearnerSetup.of(self.recipe, credit, self.replay, self.demos, self._share_cores(), joins)
        self._seam.start(setup, self.agent.state(), self.demos, self.replay)

    def _share_cores(self) -> int | None:
        """Keeps the actor to the first core it may use; returns the last, for the learner. None where there is one."""
        cores = sorted(os.sched_getaffinity(0))
        if not self.pacing.pin or len(cores) < 2:
            return None
        self._former_cores = set(cores)
        os.sched_setaffinity(0, {cores[0]})
        return cores[-1]

    def _before_step(self) -> bool:
        """Holds while the learner lags too far behind; takes new weights, between two decisions and never within."""
        if not self.seam.wait_for_credit(_WAIT_S):
            self._check_stall()
            return False
        self._held_since = 0.0
        self._take_weights()
        age = self.seam.credit.policy_age_steps(self.seam.version)
        if age > self.pacing.max_policy_age_steps:
            raise UserError(
                f"the policy is {age:.0f} steps old, more than {self.pacing.max_policy_age_steps}: "
                f"{self.seam.refused or 'the learner sent no newer weights'}; what was recorded is kept"
            )
        return True

    def _check_stall(self) -> None:
        """Raises UserError when holding is of no use, for the learner does not get on."""
        now, updates = time.monotonic(), self.seam.credit.updates
        if not self._held_since or updates != self._held_updates:
            self._held_since, self._held_updates = now, updates
        elif now - self._held_since > self.pacing.stall_s:
            refused = self.seam.refused or "it updates no more"
            message = f"held for {self.pacing.stall_s:g} s while the learner did not get on: {refused}"
            raise UserError(f"{message}; what was recorded is kept")

    def _take_weights(self) -> None:
        newest = self.seam.weights()
        if newest is not None:
            self.agent.load_weights(newest.arrays)

    def _learn(self) -> None:
        """Hands the newest transition over; while a run is being resumed the learner gets all at once later."""
        if self._seam is None:
            return
        self._seam.push(records_of(self.replay, self.replay.added - 1))
        self._take_figures()

    def _take_figures(self) -> None:
        progress = self.seam.progress
        self.counters.updates = max(self.counters.updates, progress.updates)
        self.counters.update_s = self._former_update_s + progress.update_s
        self._metrics = progress.metrics or self._metrics

    def _settle(self) -> None:
        """Waits until all updates that are due are done and act. Raises StopRequested if somebody stops it."""
        if self._seam is None:
            return
        self._held_since = 0.0
        while not self.seam.wait_for_credit(_WAIT_S, slack_steps=0):
            self._pressed()
            if self.stopping:
                raise StopRequested
            self._check_stall()
        self._held_since = 0.0
        self._take_weights()
        self._take_figures()

    def _agent_state(self) -> State:
        """The learner's agent, which is then the actor's as well, but for what only acting changes."""
        if self._seam is None:
            return super()._agent_state()
        with suppress(StopRequested):  # who wants to stop gets the state as it is
            self._settle()
        state, _ = self._seam.state(_STATE_S)
        self._take_figures()
        own = self.agent.state()
        state |= {name: own[name] for name in _ACTORS_OWN if name in own}
        self.agent.load_state(state)
        return state

    def _finish(self) -> None:
        if self._seam is not None:
            self._seam.close()
            self._seam = None
        if self._former_cores:
            os.sched_setaffinity(0, self._former_cores)
            self._former_cores = set()
