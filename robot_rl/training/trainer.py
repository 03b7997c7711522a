"""What the synchronous and the asynchronous trainer share: episodes, keys, evaluations, checkpoints, resuming."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.atomic import fsync
from data.errors import UserError
from robot_rl.learning import journal
from robot_rl.learning.replay import Replay
from robot_rl.learning.torch_setup import quick_torch
from robot_rl.training.decision import decision_of
from robot_rl.training.evaluation import EpisodeMeter, EpisodeRecord, evaluate, summary_of
from robot_rl.training.interventions import InterventionPartition
from robot_rl.training.keys import Keys, Pressed
from robot_rl.training.onlooker import Onlooker
from robot_rl.training.settings import EVALUATION_SEED, StopRequested, TrainSettings, episode_seed
from robot_rl.training.stopping import StopSwitch
from robot_rl.training.stored import StoredRun, Tick, no_tick
from robot_rl.training.takeover import Takeover
from robot_rl.training.wire import records_of
from robot_rl.training.workplace import F32, Outcome, Workplace

Log = Callable[[dict[str, Any]], None]
_NO_ENERGY = (
    "energy_budget_j needs the energy of each step as info['energy_spent_j'], and this environment does not tell it: "
    "switch its energy ledger on, or leave energy_budget_j unset"
)
PATIENCE_S = 10.0
"""For how long a run that is to stop may go on to the end of its episode."""


@dataclass
class _Episode:
    """The episode that goes on."""

    obs: F32
    extras: dict[str, F32]
    meter: EpisodeMeter
    ended: bool = False
    mark: bool | None = None
    """A person's verdict given while no decision could be taken: it counts for the next one."""


class Trainer(StoredRun):
    """One agent, one workplace. `log` receives metrics records, `tick` one call a step for a progress bar.

    Subclasses say how learning happens, by the methods at the end.
    """

    def __init__(
        self, agent: Any, workplace: Workplace, evaluation: Workplace | None, demos: Replay | None, folder: Path,
        settings: TrainSettings, log: Log, tick: Tick = no_tick, keys: Keys | None = None,
        onlooker: Onlooker | None = None, takeover: Takeover | None = None,
    ) -> None:  # fmt: skip
        """takeover: who may take the arm from the agent; what such a person does joins `demos`, which must be there."""
        super().__init__(agent, workplace, folder, settings, tick)
        self.onlooker, self.takeover = onlooker or Onlooker(), takeover or Takeover()
        self.partition = None if takeover is None or demos is None else InterventionPartition(demos)
        self.evaluation, self.demos, self.log, self.keys = evaluation, demos, log, keys or Keys(-1)
        self._switch = StopSwitch()
        self._key_stop, self._stop_wished = False, 0.0
        apart = evaluation is not None and evaluation.restorable and evaluation is not workplace
        self._evaluation_start = evaluation.snapshot() if evaluation is not None and apart else None

    def resume(self) -> bool:
        """As every stored run; the onlooker goes on from the same moment."""
        found = super().resume()
        self.onlooker.resume(self.counters.episode)
        return found

    def _loaded(self) -> None:
        """Makes the partition of interventions again from the replay."""
        if self.partition is not None:
            self.partition.add(records_of(self.replay, 0))

    def save(self) -> None:
        """As every stored run."""
        super().save()
        self.onlooker.saved(self.counters.episode)

    @quick_torch()
    def run(self) -> None:
        """Trains to the wished number of steps.

        Raises StopRequested after the key q and KeyboardInterrupt after Ctrl-C or SIGTERM, both when all is saved.
        Where the world can be put back the episode is finished first, so that the run then goes on to the same numbers;
        not after a reset that was left while it waited for a person, which begins anew from where the arm stands.
        """
        self._key_stop, self._stop_wished = False, 0.0
        for workplace in (self.workplace, self.evaluation):
            if workplace is not None:
                workplace.leave_resets(self._wants_to_stop)
        with self.keys, self._switch:
            try:
                self._begin()
                while not self.stopping and self._boundary():
                    self._episode()
                if self.stopping:
                    self.save()
            finally:
                self._finish()
        if self.stopping:
            raise StopRequested if self._key_stop else KeyboardInterrupt

    @property
    def stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._key_stop or self._switch.pressed

    def _boundary(self) -> bool:
        """What is due between two episodes. Returns whether there are steps left."""
        counters, settings = self.counters, self.settings
        if settings.eval_every and counters.step >= counters.next_eval:
            try:
                self.evaluate()
            except StopRequested:
                return False  # still due when the run is taken up again
            counters.next_eval = (counters.step // settings.eval_every + 1) * settings.eval_every
        done = counters.step >= settings.steps
        if (counters.step >= counters.next_checkpoint or done) and counters.step != self._saved_step:
            counters.next_checkpoint = counters.step + settings.checkpoint_every
            self.save()
        return not done

    def _episode(self) -> None:
        counters = self.counters
        seed = episode_seed(self.settings.seed, counters.episode)
        counters.episode += 1
        started = time.monotonic()
        try:
            obs, info = self.workplace.reset(seed)
        except StopRequested:  # while it waited for a person: this episode is still to be begun
            counters.episode -= 1
            return
        self.onlooker.begin()
        self.agent.begin_episode()
        self.takeover.begin(seed)
        extras = self.agent.prepare(obs, self._prepare_rng)
        now = _Episode(obs, extras, EpisodeMeter(seed, info, self.workplace.rate_hz))
        counters.reset_s += now.meter.record.reset_s
        while not now.ended and counters.step < self.settings.steps and not self._cut_short():
            started += self._step(now)
        self.agent.begin_episode()  # nothing of this one stands in the checkpoint
        if not now.ended:
            self.replay.interrupt()
            now.meter.record.end = "cut"
        if self.journalled:
            self.replay.save_increment(self.folder / "replay")
            fsync(self.folder / "replay" / journal.FILE)
        noted = self.onlooker.end(counters.episode)
        counters.train_s += time.monotonic() - started
        if now.meter.record.length:
            self.takeover.tell(now.meter.record)
            self._log_episode(now.meter.finish())
        if noted is not None:
            self.log({"step": counters.step, "wall_s": counters.train_s, **noted})

    def _cut_short(self) -> bool:
        """Whether an episode ends here because somebody wants to stop: at once, or if it lasts too long."""
        if not self.stopping:
            return False
        self._stop_wished = self._stop_wished or time.monotonic()
        return self.journalled or time.monotonic() - self._stop_wished > PATIENCE_S

    def _step(self, now: _Episode) -> float:
        """One decision and what is learned from it. Returns for how long a person paused it [s]."""
        if not self._before_step():
            return self._look_at_keys(now)
        proposal = self.takeover.propose(self.agent, now.obs, now.extras, deterministic=False)
        outcome = self.workplace.step(proposal.action, proposal.source)
        self.onlooker.step(outcome)
        paused_s = self._look_at_keys(now)
        if now.mark is not None:  # a person's verdict is the end of the task, whatever the task itself says
            outcome = replace(outcome, terminated=True, reward=float(now.mark), success=now.mark)
        outcome = self.takeover.look(outcome, self.agent)
        steps = self._record(now, outcome, proposal)
        if now.mark is not None:
            now.meter.record.success, now.meter.record.end = now.mark, "marked"
        self._count_step(steps)
        self._learn()
        self.tick(self.counters, self._metrics)
        return paused_s

    def _record(self, now: _Episode, outcome: Outcome, proposal: Any) -> float:
        """Stores proposed and executed action and what the decision took, and moves on. Returns its decision periods.

        A decision that was mostly not the policy's own costs `reflex_penalty`, so that provoking reflexes does not pay.
        """
        decision = decision_of(outcome.info, self.workplace.rate_hz, proposal.source)
        if decision.energy_j is None and self.agent.needs_energy:
            raise UserError(_NO_ENERGY)
        reward = outcome.reward - (self.settings.reflex_penalty if decision.preempted else 0.0)
        next_extras = self.agent.prepare(outcome.obs, self._prepare_rng)
        truncated = outcome.truncated and not outcome.terminated
        self.replay.add(
            now.obs, outcome.executed, reward, outcome.obs, outcome.terminated, truncated,
            decision.source, now.extras, next_extras, decision.steps, decision.energy_j or 0.0, proposal.action,
        )  # fmt: skip
        if self.partition is not None:
            self.partition.add(records_of(self.replay, self.replay.added - 1))
        if self.journalled:
            # handed to the system, not forced to the disk: a killed process loses nothing, and no step waits for a disk
            self.replay.save_increment(self.folder / "replay", sync=False)
        now.meter.add(outcome, proposal.action, proposal.source)
        now.obs, now.extras, now.ended = outcome.obs, next_extras, outcome.terminated or outcome.truncated
        return decision.steps

    def _look_at_keys(self, now: _Episode) -> float:
        """Keeps a mark for the newest decision or, before there is one, for the next. Returns the time paused [s]."""
        pressed, paused_s = self._pressed()
        for mark in (pressed.mark, self.takeover.verdict()):
            now.mark = now.mark if mark is None else mark
        return paused_s

    def _pressed(self) -> tuple[Pressed, float]:
        """Returns the keys since the last look, after a pause if there was one, and how long that was [s]."""
        pressed, paused_s = self.keys.poll_and_pause(lambda: self._switch.pressed)
        self._key_stop = self._key_stop or pressed.stop
        return pressed, paused_s

    def _wants_to_stop(self) -> bool:
        self._pressed()
        return self.stopping

    def _mark(self) -> bool | None:
        """Returns a person's verdict on the newest decision of an evaluation."""
        return self._pressed()[0].mark

    def _log_episode(self, record: EpisodeRecord) -> None:
        counters = self.counters
        clock = {"step": counters.step, "wall_s": counters.train_s}
        clock |= {"robot_total_s": counters.robot_s, "reset_total_s": counters.reset_s}
        self.log({"kind": "episode", **clock, "episode": counters.episode, **record.as_dict()})
        if self._metrics:
            done = {"updates": counters.updates, "update_s": counters.update_s}
            self.log({"kind": "update", **clock, **done, **self._metrics})

    def evaluate(
        self, episodes: int | None = None, name: str = "", on_episode: Callable[[EpisodeRecord], None] | None = None
    ) -> dict[str, Any]:
        """Evaluates deterministically, always from the same state of the evaluation workplace's world.

        Logs and returns the record; {} without an evaluation workplace. Changes nothing that training depends on.
        Raises StopRequested between two of its episodes during `run`.
        """
        if self.evaluation is None:
            return {}
        self._settle()
        if self._evaluation_start is not None:
            self.evaluation.restore(self._evaluation_start)
        started = time.monotonic()
        seeds = range(EVALUATION_SEED, EVALUATION_SEED + (episodes or self.settings.eval_episodes))

        def between(record: EpisodeRecord) -> None:
            if on_episode is not None:
                on_episode(record)
            if self._wants_to_stop():
                raise StopRequested

        with nullcontext() if self.keys.available else self.keys:  # also in an evaluation after the last step
            records = evaluate(self.agent, self.evaluation, seeds, on_episode=between, mark=self._mark)
        self.agent.begin_episode()
        counters = self.counters
        clock = {"wall_s": counters.train_s, "robot_s": counters.robot_s, "reset_s": counters.reset_s}
        summary = {**summary_of(records, counters.step, True, started), **clock, "name": name}
        self.log(summary)
        return summary

    def _begin(self) -> None:
        """Before the first step."""

    def _before_step(self) -> bool:
        """Before each decision; False where the next one may not be taken yet."""
        return True

    def _settle(self) -> None:
        """Before an evaluation: everything that is due has been learned, and is what acts."""

    def _finish(self) -> None:
        """After the last step, however the run ends."""
