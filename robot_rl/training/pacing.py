"""How far actor and learner may drift apart, as counts that both sides keep alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data.errors import UserError


@dataclass(frozen=True)
class Pacing:
    """Bounds of asynchronous training."""

    updates_per_step: float = 1.0
    """Blocks of updates per environment step after the warm-up, above 0; the synchronous trainer has 1."""
    max_ahead_steps: int = 20
    """The actor holds when the learner owes it the updates of more than these steps, at least 1."""
    max_policy_age_steps: int = 100
    """The actor stops when the newest valid weights lag behind by more than these steps, above max_ahead_steps."""
    publish_every_s: float = 0.05
    """Time between two sets of weights [s], at least 0; less where the actor would have to hold for them."""
    heartbeat_s: float = 0.5
    """Longest silence of a healthy learner between two blocks of updates [s], above 0."""
    timeout_s: float = 10.0
    """Silence after which the other process counts as dead [s], above two heartbeats."""
    start_timeout_s: float = 120.0
    """Time for the learner to start and to take demonstrations and replay [s], above 0."""
    stall_s: float = 60.0
    """Time without a single update while the actor holds, after which it stops [s], above 0."""
    pin: bool = True
    """Whether actor and learner keep to a core each, where there are two."""

    def __post_init__(self) -> None:
        rules = {
            "updates_per_step": (self.updates_per_step > 0.0, "above 0"),
            "max_ahead_steps": (self.max_ahead_steps >= 1, "at least 1"),
            "max_policy_age_steps": (self.max_policy_age_steps > self.max_ahead_steps, "above max_ahead_steps"),
            "publish_every_s": (self.publish_every_s >= 0.0, "at least 0"),
            "heartbeat_s": (self.heartbeat_s > 0.0, "above 0"),
            "timeout_s": (self.timeout_s > 2.0 * self.heartbeat_s, "above two heartbeats"),
            "start_timeout_s": (self.start_timeout_s > 0.0, "above 0"),
            "stall_s": (self.stall_s > 0.0, "above 0"),
        }
        for name, (valid, expected) in rules.items():
            if not valid:
                raise UserError(f"{name}={getattr(self, name)} does not fit: expected a number {expected}")


@dataclass
class Credit:
    """Counts steps and updates; s steps, w warm-up, r updates a step allow floor(r max(0, s - w + 1)) blocks."""

    pacing: Pacing
    warmup: int
    """Steps before the first update, at least 1."""
    steps: int = 0
    """Environment steps whose transitions the learner has, or is being sent."""
    updates: int = 0
    """Blocks of updates done."""

    @property
    def allowed(self) -> int:
        """Blocks that may have been done by now."""
        return math.floor(self.pacing.updates_per_step * max(0, self.steps - self.warmup + 1))

    @property
    def may_update(self) -> bool:
        """The upper bound, kept by the learner: never more blocks than allowed."""
        return self.updates < self.allowed

    def may_act(self, slack_steps: int | None = None) -> bool:
        """The lower bound, kept by the actor: allowed - done <= r times the slack (by default max_ahead_steps)."""
        slack = self.pacing.max_ahead_steps if slack_steps is None else slack_steps
        return self.allowed - self.updates <= self.pacing.updates_per_step * slack

    def policy_age_steps(self, version: int) -> float:
        """By how many steps weights made after `version` blocks lag behind."""
        return max(0, self.allowed - version) / self.pacing.updates_per_step
