"""The learner as a process: takes transitions from a socket, updates within its credit, sends weights."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import numpy as np

from data.errors import UserError
from robot_rl.learning import journal
from robot_rl.learning.replay import Replay
from robot_rl.training import wire
from robot_rl.training.interventions import InterventionPartition
from robot_rl.training.pacing import Credit, Pacing
from robot_rl.training.process_seam import LearnerSetup
from robot_rl.training.recipe import AgentRecipe
from robot_rl.training.seam import LearnerSeam, Progress, Pulled, SeamError, State, Weights
from robot_rl.training.wire import Channel, Kind, PeerGone


class SocketSeam:
    """The learner's side of a socket: a LearnerSeam."""

    def __init__(self, channel: Channel, record_type: np.dtype[Any], timeout_s: float) -> None:
        self._channel, self._record_type, self._timeout_s = channel, record_type, timeout_s

    def pull(self, wait_s: float) -> Pulled | None:
        """Takes in all that is there; see LearnerSeam."""
        pulled = Pulled()
        try:
            while (frame := self._channel.receive(wait_s, self._timeout_s)) is not None:
                wait_s = 0.0
                kind, payload = frame
                if kind is Kind.CLOSE:
                    return None
                if kind is Kind.STATE_WANTED:
                    pulled.state_wanted = True
                else:
                    pulled.records.append(np.frombuffer(payload, self._record_type))
        except PeerGone:
            return None
        return pulled

    def publish(self, weights: Weights) -> None:
        """Sends weights; see LearnerSeam."""
        about = {"version": weights.version, "checksum": weights.checksum}
        self._channel.send(Kind.WEIGHTS, wire.pack(about, weights.arrays), self._timeout_s)

    def report(self, progress: Progress) -> None:
        """Sends a sign of life; see LearnerSeam."""
        self._channel.send(Kind.PROGRESS, wire.pack(vars(progress), {}), self._timeout_s)

    def give_state(self, state: State, progress: Progress) -> None:
        """Sends the agent; see LearnerSeam."""
        self._channel.send(Kind.STATE, wire.pack(vars(progress), state), self._timeout_s)


class Learner:
    """Pulls, updates, publishes, until the actor goes. Free of how the seam is made."""

    def __init__(
        self, agent: Any, replay: Replay, demos: Replay | None, seam: LearnerSeam, credit: Credit, joins: bool = False
    ) -> None:
        """joins: what a person did instead of the policy joins `demos`."""
        self._partition = InterventionPartition(demos) if joins and demos is not None else None
        self.agent, self.replay, self.seam, self.credit = agent, replay, seam, credit
        self._sampler = agent.make_sampler(replay, demos)
        self._progress = Progress(credit.updates)
        self._published = credit.updates
        self._published_at = self._reported_at = -1e9

    def run(self) -> None:
        """Serves until the actor closes the seam or dies."""
        pacing = self.credit.pacing
        while (pulled := self.seam.pull(0.0 if self.credit.may_update else pacing.heartbeat_s)) is not None:
            for records in pulled.records:
                wire.add_records(self.replay, records)
                if self._partition is not None:
                    self._partition.add(records)
                self.credit.steps += len(records)
            if pulled.state_wanted:
                self.seam.give_state(self.agent.state(), self._progress)
            if self.credit.may_update:
                self._update()
            self._publish()

    def _update(self) -> None:
        begun = time.monotonic()
        metrics = self.agent.update(self._sampler)
        self.credit.updates += 1
        update_s = self._progress.update_s + time.monotonic() - begun
        self._progress = Progress(self.credit.updates, update_s, dict(metrics))

    def _publish(self) -> None:
        """Sends weights every so often in time and updates, and at once when no more are due; else a sign of life."""
        now, pacing = time.monotonic(), self.credit.pacing
        unseen = self.credit.updates - self._published
        many = unseen >= 0.5 * pacing.updates_per_step * pacing.max_ahead_steps  # before the actor has to hold for them
        if unseen and (many or not self.credit.may_update or now - self._published_at >= pacing.publish_every_s):
            self.seam.publish(Weights.of(self.credit.updates, self.agent.weights()))
            self._published, self._published_at = self.credit.updates, now
        elif now - self._reported_at < 0.5 * pacing.heartbeat_s:
            return
        self.seam.report(self._progress)
        self._reported_at = now


def set_up(channel: Channel) -> Learner:
    """Takes the setup, the agent's state, demonstrations and history; returns the learner.

    Raises UserError for what does not fit, PeerGone if the actor goes meanwhile.
    """
    kind, payload = _next(channel)
    setup = LearnerSetup(**json.loads(payload))
    if setup.core is not None:
        os.sched_setaffinity(0, {setup.core})
    pacing = Pacing(**setup.pacing)
    agent = AgentRecipe.from_json(setup.recipe).build()
    replay = setup.empty_replay(setup.capacity)
    demos = setup.empty_replay(setup.demo_capacity) if setup.demo_capacity else None
    record_type = journal.record_type(replay)
    while (kind := (frame := _next(channel))[0]) is not Kind.START:
        if kind is Kind.LOAD_STATE:
            agent.load_state(wire.unpack(frame[1])[1])
            continue
        target = demos if kind is Kind.DEMOS and demos is not None else replay
        wire.add_records(target, np.frombuffer(frame[1], record_type))
    for part in (replay, demos):
        if part is not None:
            part.interrupt()
    credit = Credit(pacing, setup.warmup, replay.added, setup.updates)
    channel.send(Kind.READY, wire.pack(vars(Progress(setup.updates)), {}), pacing.timeout_s)
    seam = SocketSeam(channel, record_type, pacing.timeout_s)
    return Learner(agent, replay, demos, seam, credit, setup.joins)


def _next(channel: Channel) -> tuple[Kind, bytes]:
    """Returns the next frame of the setup; the actor may take its time, but its end is noticed."""
    while (frame := channel.receive(1.0)) is None:
        continue
    return frame


def main() -> int:
    """Serves the socket whose file descriptor is the first argument."""
    from robot_rl.learning.torch_setup import quick_torch

    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    try:
        with quick_torch():
            set_up(channel).run()
    except PeerGone:
        return 0  # without an actor there is nothing to do, and nothing here that it had not recorded
    except UserError as error:
        with suppress(SeamError):  # the actor may be what failed
            channel.send(Kind.FAILED, str(error).encode(), 1.0)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
