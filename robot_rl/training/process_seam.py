"""The actor's side of a learner in a process of its own on the same machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from robot_rl.learning.replay import Replay
from robot_rl.training import wire
from robot_rl.training.pacing import Credit, Pacing
from robot_rl.training.recipe import AgentRecipe
from robot_rl.training.seam import Progress, Records, SeamError, State, Weights
from robot_rl.training.wire import Channel, Kind

_CHUNK = 512
_GRACE_S = 2.0


@dataclass(frozen=True)
class LearnerSetup:
    """What a learner must know before it can begin, as JSON values."""

    recipe: dict[str, Any]
    pacing: dict[str, Any]
    warmup: int
    updates: int
    """Blocks of updates that the run has behind it."""
    obs_size: int
    action_size: int
    extras: dict[str, list[int]]
    capacity: int
    """Rows of the replay."""
    demo_capacity: int
    """Rows of the demonstrations, 0 for none."""
    core: int | None
    """Processor core to keep to."""
    joins: bool = False
    """Whether what a person did instead of the policy joins the demonstrations."""

    @classmethod
    def of(
        cls,
        recipe: AgentRecipe,
        credit: Credit,
        replay: Replay,
        demos: Replay | None,
        core: int | None,
        joins: bool = False,
    ) -> LearnerSetup:
        """Returns the setup of a run."""
        extras = {name: list(shape) for name, shape in replay.extras_shapes.items()}
        rows = 0 if demos is None else demos.capacity
        sizes = (replay.obs_size, replay.action_size, extras, replay.capacity, rows)
        return cls(recipe.to_json(), asdict(credit.pacing), credit.warmup, credit.updates, *sizes, core, joins)

    def empty_replay(self, capacity: int) -> Replay:
        """Returns a replay of the run's widths."""
        extras = {name: tuple(shape) for name, shape in self.extras.items()}
        return Replay(capacity, self.obs_size, self.action_size, extras)


class LearnerProcess:
    """Starts a learner and talks to it: an ActorSeam. A thread of its own takes in what the learner sends."""

    def __init__(self, pacing: Pacing, credit: Credit) -> None:
        self.pacing, self.credit = pacing, credit
        self.progress = Progress()
        self.version = credit.updates
        """Version of the newest valid weights that have arrived."""
        self.refused = ""
        """Why the last weights were refused; empty if none were since valid ones."""
        self._weights: Weights | None = None
        self._state: State | None = None
        self._ready = False
        self._error: SeamError | None = None
        self._news = threading.Condition()
        self._heard, self._silent_since = time.monotonic(), 0.0
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        self._process = _spawn(theirs)
        theirs.close()
        self._reader = threading.Thread(target=self._read, name="learner-messages", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of the learner."""
        return self._process.pid

    def start(self, setup: LearnerSetup, state: State, demos: Replay | None, replay: Replay) -> None:
        """Hands over what the run has, and waits until the learner is ready. Raises SeamError if it never is."""
        deadline_s = self.pacing.start_timeout_s
        self._send(Kind.SETUP, json.dumps(asdict(setup)).encode(), deadline_s)
        self._send(Kind.LOAD_STATE, wire.pack({}, state), deadline_s)
        if demos is not None:
            self._send_all(Kind.DEMOS, demos)
        self._send_all(Kind.TRANSITIONS, replay)
        self._send(Kind.START, b"", deadline_s)
        until = time.monotonic() + deadline_s
        with self._news:
            while not self._ready:
                self._raise_if_gone()
                if time.monotonic() > until:
                    raise SeamError(f"the learner was not ready within {deadline_s:g} s; raise start_timeout_s")
                self._news.wait(0.1)
            self.credit.steps = replay.added

    def push(self, records: Records) -> None:
        """Sends transitions; see ActorSeam."""
        self._send(Kind.TRANSITIONS, records.tobytes(), self.pacing.timeout_s)
        with self._news:
            self.credit.steps += len(records)

    def weights(self) -> Weights | None:
        """Takes the newest weights; see ActorSeam."""
        with self._news:
            self._raise_if_gone()
            newest, self._weights = self._weights, None
            return newest

    def wait_for_credit(self, deadline_s: float, slack_steps: int | None = None) -> bool:
        """Waits until the actor may act; see ActorSeam."""
        until = time.monotonic() + deadline_s
        with self._news:
            while True:
                self._raise_if_gone()
                delivered = slack_steps != 0 or self.version >= self.credit.allowed
                if self.credit.may_act(slack_steps) and delivered:
                    return True
                if time.monotonic() >= until:
                    return False
                self._news.wait(max(0.0, min(0.1, until - time.monotonic())))

    def state(self, deadline_s: float) -> tuple[State, Progress]:
        """Asks for the learner's agent; see ActorSeam."""
        self._forget_state()
        self._send(Kind.STATE_WANTED, b"", self.pacing.timeout_s)
        until = time.monotonic() + deadline_s
        with self._news:
            while self._state is None:
                self._raise_if_gone()
                if time.monotonic() > until:
                    raise SeamError(f"the learner did not give its state within {deadline_s:g} s")
                self._news.wait(0.1)
            return self._state, self.progress

    def _forget_state(self) -> None:
        self._state = None

    def close(self) -> None:
        """Ends the learner: by word, and if that does not help within seconds, by force."""
        if self._process.poll() is None:
            try:
                self._channel.send(Kind.CLOSE, b"", 1.0)
                self._process.wait(3.0)
            except (SeamError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait()
        self._channel.hang_up()
        self._reader.join()
        self._channel.close()

    def _send_all(self, kind: Kind, source: Replay) -> None:
        records = wire.records_of(source, 0)
        for begin in range(0, len(records), _CHUNK):
            self._send(kind, records[begin : begin + _CHUNK].tobytes(), self.pacing.start_timeout_s)

    def _send(self, kind: Kind, payload: bytes, deadline_s: float) -> None:
        try:
            self._channel.send(kind, payload, deadline_s)
        except wire.PeerGone:
            self._reader.join(2.0)  # its last words may still be on the way
            with self._news:
                self._raise_if_gone()
            raise

    def _raise_if_gone(self) -> None:
        """Raises SeamError if the learner has ended or is silent for too long; call with the lock held."""
        if self._error is not None:
            raise self._error
        now = time.monotonic()
        if now - self._heard <= self.pacing.timeout_s or not self._ready:
            self._silent_since = 0.0
            return
        # both processes may have been stopped together (Ctrl-Z) and woken up a moment ago: give the learner one
        self._silent_since = self._silent_since or now
        if now - self._silent_since > _GRACE_S:
            raise SeamError(
                f"the learner process {self._process.pid} has been silent for {now - self._heard:.0f} s: {_KEPT}"
            )

    def _read(self) -> None:
        try:
            while True:
                frame = self._channel.receive(60.0, self.pacing.timeout_s)
                if frame is not None:
                    self._take(*frame)
        except wire.PeerGone:
            status = self._process.wait()
            self._fail(SeamError(f"the learner process ended ({_ending(status)}): {_KEPT}"))
        except SeamError as error:
            self._fail(error)

    def _fail(self, error: SeamError) -> None:
        with self._news:
            self._error = self._error or error
            self._news.notify_all()

    def _take(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.FAILED:
            self._fail(SeamError(f"the learner stopped: {payload.decode()}"))
            return
        about, arrays = wire.unpack(payload)
        with self._news:
            self._heard = time.monotonic()
            self._ready = self._ready or kind is Kind.READY
            if kind is Kind.WEIGHTS:
                self._take_weights(Weights(int(about["version"]), arrays, int(about["checksum"])))
            else:
                self.progress = Progress(**about)
                self.credit.updates = max(self.credit.updates, self.progress.updates)
            if kind is Kind.STATE:
                self._state = arrays
            self._news.notify_all()

    def _take_weights(self, weights: Weights) -> None:
        """Versions only rise; what is damaged or not finite never acts."""
        fault = weights.fault()
        if fault is None and weights.version < self.version:
            fault = f"version {weights.version} is older than version {self.version}"
        if fault is not None:
            self.refused = fault
            return
        self._weights, self.version, self.refused = weights, weights.version, ""
        self.credit.updates = max(self.credit.updates, weights.version)


_KEPT = "what was recorded is kept; type the same command to go on"


def _ending(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Starts the learner. Ctrl-C on the terminal is for the actor: it is blocked in the child from the first moment."""
    command = [sys.executable, "-m", "robot_rl.training.learner_process", str(theirs.fileno())]
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
