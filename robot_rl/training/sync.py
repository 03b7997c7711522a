"""The synchronous trainer: act one step, learn one block, in one process; bit-reproducible and exactly resumable."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.learning.replay import Replay
from robot_rl.training import checkpoint as checkpoints
from robot_rl.training.checkpoint import Checkpoint, pack_state, unpack_state
from robot_rl.training.evaluation import EpisodeMeter, EpisodeRecord, evaluate, summary_of
from robot_rl.training.keys import Keys
from robot_rl.training.workplace import Workplace

EVALUATION_SEED = 1_000_000
_EPISODES_PER_SEED = 100_000


@dataclass(frozen=True)
class TrainSettings:
    """Figures of a training run that do not belong to the agent."""

    steps: int
    """Environment steps in the end."""
    seed: int = 0
    """Seed of the training episodes and of what the agent prepares."""
    warmup: int = 300
    """Steps before the first update."""
    eval_every: int = 500
    """Steps between evaluations; 0 for none."""
    eval_episodes: int = 50
    """Episodes of an evaluation during training."""
    checkpoint_every: int = 500
    """Steps between checkpoints, taken at the next end of an episode."""


@dataclass
class Counters:
    """What is counted over the whole run, across resumes."""

    step: int = 0
    episode: int = 0
    robot_s: float = 0.0
    reset_s: float = 0.0
    train_s: float = 0.0
    """Wall-clock time of acting and learning, without evaluations."""
    update_s: float = 0.0
    next_eval: int = 0
    next_checkpoint: int = 0
    prepare_rng: str = field(default="", repr=False)


class StopRequested(Exception):
    """Somebody asked to stop; everything is saved."""


class SyncTrainer:
    """One agent, one workplace. `log` receives metrics records, `tick` one call a step for a progress bar."""

    def __init__(
        self,
        agent: Any,
        workplace: Workplace,
        evaluation: Workplace | None,
        demos: Replay | None,
        folder: Path,
        settings: TrainSettings,
        log: Callable[[dict[str, Any]], None],
        tick: Callable[[Counters, dict[str, float]], None] = lambda counters, metrics: None,
        keys: Keys | None = None,
    ) -> None:
        self.agent, self.workplace, self.evaluation, self.demos = agent, workplace, evaluation, demos
        self.folder, self.settings, self.log, self.tick, self.keys = folder, settings, log, tick, keys or Keys(-1)
        # one row a transition and one more an episode; episodes are at least one step long
        capacity = 2 * settings.steps + 1000
        self.replay = Replay(capacity, workplace.obs_size, len(workplace.action_names), agent.extras_shapes)
        self.sampler = agent.make_sampler(self.replay, demos)
        self.counters = Counters(next_eval=settings.eval_every, next_checkpoint=settings.checkpoint_every)
        self._prepare_rng = np.random.default_rng([settings.seed, 3])
        self._evaluation_start = evaluation.snapshot() if evaluation is not None else {}
        self._metrics: dict[str, float] = {}

    def resume(self) -> bool:
        """Goes on from the newest checkpoint of the folder; False if there is none."""
        found = checkpoints.newest(self.folder / "checkpoints")
        if found is None:
            return False
        self.agent.load_state(found.agent)
        self.replay.load(self.folder / "replay", found.counters.pop("replay_added"))
        self.counters = Counters(step=found.step, **found.counters)
        unpack_state(self._prepare_rng, self.counters.prepare_rng)
        self.workplace.restore(found.world)
        return True

    def save(self) -> None:
        """Writes replay and checkpoint; call between two episodes."""
        self.counters.prepare_rng = pack_state(self._prepare_rng)
        self.replay.save_increment(self.folder / "replay")
        counters = {key: value for key, value in vars(self.counters).items() if key != "step"} | {"replay_added": self.replay.added}
        checkpoints.save(
            self.folder / "checkpoints", Checkpoint(self.counters.step, self.agent.state(), self.workplace.snapshot(), counters)
        )

    def run(self) -> None:
        """Trains to the wished number of steps. Raises StopRequested after a key, KeyboardInterrupt after Ctrl-C; both saved."""
        with self.keys:
            try:
                while self.counters.step < self.settings.steps:
                    self._episode()
                    every = self.settings.eval_every
                    if every and self.counters.step >= self.counters.next_eval:
                        self.counters.next_eval = (self.counters.step // every + 1) * every
                        self.evaluate()
                    if self.counters.step >= self.counters.next_checkpoint or self.counters.step >= self.settings.steps:
                        self.counters.next_checkpoint = self.counters.step + self.settings.checkpoint_every
                        self.save()
            except (KeyboardInterrupt, StopRequested):
                self.replay.interrupt()
                self.save()
                raise

    def _episode(self) -> None:
        counters, settings = self.counters, self.settings
        seed = settings.seed * _EPISODES_PER_SEED + counters.episode
        counters.episode += 1
        started = time.monotonic()
        obs, info = self.workplace.reset(seed)
        self.agent.begin_episode()
        extras = self.agent.prepare(obs, self._prepare_rng)
        meter = EpisodeMeter(seed, info, self.workplace.rate_hz)
        counters.reset_s += meter.record.reset_s
        ended = False
        while not ended and counters.step < settings.steps:
            proposal = self.agent.act(obs, extras, deterministic=False)
            outcome = self.workplace.step(proposal.action, proposal.source)
            pressed = self.keys.poll()
            terminated, reward = outcome.terminated, outcome.reward
            if pressed.mark is not None:  # a person's verdict counts as the end of the task
                terminated, reward = True, float(pressed.mark)
            next_extras = self.agent.prepare(outcome.obs, self._prepare_rng)
            self.replay.add(
                obs, outcome.executed, reward, outcome.obs, terminated, outcome.truncated and not terminated,
                proposal.source, extras, next_extras,
            )  # fmt: skip
            meter.add(outcome, proposal.action, proposal.source)
            if pressed.mark is not None:
                meter.record.success, meter.record.end = pressed.mark, "marked"
            obs, extras = outcome.obs, next_extras
            counters.step += 1
            if self.workplace.rate_hz:
                counters.robot_s += 1.0 / self.workplace.rate_hz
            if counters.step >= settings.warmup:
                begun = time.monotonic()
                self._metrics = self.agent.update(self.sampler)
                counters.update_s += time.monotonic() - begun
            self.tick(counters, self._metrics)
            ended = terminated or outcome.truncated
            if pressed.pause:
                self._pause()
            if pressed.stop:
                raise StopRequested
        if not ended:
            self.replay.interrupt()
        counters.train_s += time.monotonic() - started
        self._log_episode(meter.finish())

    def _log_episode(self, record: EpisodeRecord) -> None:
        counters = self.counters
        clock = {"step": counters.step, "wall_s": counters.train_s, "robot_total_s": counters.robot_s, "reset_total_s": counters.reset_s}
        self.log({"kind": "episode", **clock, "episode": counters.episode, **record.as_dict()})
        if self._metrics:
            self.log({"kind": "update", **clock, "update_s": counters.update_s, **self._metrics})

    def evaluate(
        self, episodes: int | None = None, name: str = "", on_episode: Callable[[EpisodeRecord], None] | None = None
    ) -> dict[str, Any]:
        """Evaluates deterministically, always from the same state of the evaluation workplace's world; logs and returns the record."""
        if self.evaluation is None:
            return {}
        self.evaluation.restore(self._evaluation_start)
        started = time.monotonic()
        seeds = range(EVALUATION_SEED, EVALUATION_SEED + (episodes or self.settings.eval_episodes))
        records = evaluate(self.agent, self.evaluation, seeds, on_episode=on_episode)
        counters = self.counters
        clock = {"wall_s": counters.train_s, "robot_s": counters.robot_s, "reset_s": counters.reset_s}
        summary = {**summary_of(records, counters.step, True, started), **clock, "name": name}
        self.log(summary)
        return summary

    def _pause(self) -> None:
        """Holds between two decisions until p is pressed again: the motor chain freezes and holds by itself."""
        while not self.keys.poll(0.2).pause:
            pass
