"""A scripted explorer of the maze: blind, with a noisy hand, cautious on one day and hasty on another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.tasks.actions import FIRST_STIFFNESS, ActionSpec
from robot_rl.tasks.maze import STATE_SCALE

Array = NDArray[np.float64]

TOUCH_N = 1.8
"""A push against the finger above this is felt as a wall or a bolt [N]."""
PROGRESS_M_S = 0.008
"""Slower than this against a felt push: what is there does not give way [m/s]."""
SHORT_M, SLACK_M = 0.008, 0.003
"""This far short of its wish while no spring is drawn any more: something else has led the finger [m].

A wall would have left the spring drawn.
"""
CAREFUL_S = 1.2
"""For so long after that it goes on softly [s]."""
SOFTLY = -0.2
"""Stiffness action that is not exceeded then; with the leash's 20 mm it presses with less than 7 N."""
THROUGH_M = 0.006
"""This far beyond the felt wall the finger is in a gap [m]."""


@dataclass(frozen=True)
class Haste:
    """How an episode is explored; drawn anew for each."""

    speed: float
    """Share of the largest increment that a step ahead takes."""
    slide: float
    """Share of the largest increment that a step along a wall takes."""
    press: float
    """Share of the largest increment by which a felt wall is pressed on."""
    stiffness: tuple[float, float]
    """Stiffness actions along and across the channel."""
    noise: float
    """Standard deviation of the hand's tremble, in action units, correlated over about three decisions."""


def draw_haste(rng: np.random.Generator) -> Haste:
    """From one share h in [0, 1]: 0 is slow and soft, 1 is at full speed and stiff."""
    h = float(rng.uniform())
    return Haste(
        speed=0.7 + 0.3 * h,
        slide=0.60 + 0.4 * h,
        press=0.25 + 0.35 * h,
        stiffness=(-0.1 + 1.1 * h, -0.1 + 1.1 * h),
        noise=0.08 + 0.10 * h,
    )


class MazeExplorer:
    """Goes ahead until it feels a wall, slides along it to find the gap, turns round at a side wall, goes on.

    Knows the observation only. A step that is long because decisions are rare is taken shorter along a wall, since a
    gap is soon passed by.
    """

    def __init__(self, rng: np.random.Generator, spec: ActionSpec, decision_s: float) -> None:
        self.rng, self.spec, self.decision_s = rng, spec, decision_s
        self._shorter = min(1.0, 0.03 / spec.translation_m[1])
        self.reset()

    def reset(self) -> None:
        """Forgets the last episode and draws a new haste."""
        self.haste = draw_haste(self.rng)
        self._tremble = np.zeros(2)
        self._side = float(self.rng.choice([-1.0, 1.0]))
        self._searching = False
        self._before: Array | None = None
        self._wish = np.zeros(2)
        self._wall_m = np.inf
        self._turns = self._careful = self._backing = self._sliding = 0

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        """Returns a whole action (size,) for an observation."""
        state = observation["state"].astype(np.float64) / STATE_SCALE
        wish = self._plan(state[:2], state[12:14], state[18:20])
        stiffness = np.array(self.haste.stiffness) + 0.1 * self.rng.normal(size=2)
        if self._careful > 0:
            self._careful, stiffness = self._careful - 1, np.minimum(stiffness, SOFTLY)
        self._tremble = 0.7 * self._tremble + 0.7 * self.haste.noise * self.rng.normal(size=2)
        self._before, self._wish = state[:2].copy(), wish
        whole = np.zeros(size)
        whole[:2] = np.clip(wish + self._tremble, -1.0, 1.0)
        whole[FIRST_STIFFNESS : FIRST_STIFFNESS + 2] = np.clip(stiffness, -1.0, 1.0)
        return whole.astype(np.float32)

    def _plan(self, place: Array, push: Array, spring: Array) -> Array:
        """Returns the wished increments (2,) in action units.

        It goes by the place (2,) [m], what is felt (2,) [N], and how far the spring is drawn (2,) [m].
        """
        moved = np.zeros(2) if self._before is None else place - self._before
        if self._before is not None and self._backing == 0:
            self._heed_a_hand(moved, spring)
        if self._backing > 0:
            self._backing -= 1
            return np.array([-0.4, 0.6 * self._side]) * self._shorter
        return self._along(place, push, moved) if self._searching else self._ahead(place, push, moved)

    def _heed_a_hand(self, moved: Array, spring: Array) -> None:
        """Stopped or taken back by something else: what it was about to do is too much there; now gently."""
        short = self._wish * self.spec.translation_m[:2] - moved
        towards = np.sign(self._wish)
        taken = (towards * short > SHORT_M) & (towards * spring < SLACK_M)
        if not taken.any() or self._before is None:
            return
        self._careful = math.ceil(CAREFUL_S / self.decision_s)
        if taken[0] and self._wish[0] > 0.0 and not self._searching:
            self._search(max(self._before[0], self._before[0] + moved[0]))
        elif taken[1] and self._searching and not taken[0]:
            self._turn_round()

    def _search(self, wall_m: float) -> None:
        self._searching, self._wall_m, self._sliding, self._turns = True, wall_m, 0, 0

    def _turn_round(self) -> None:
        self._side, self._turns, self._sliding = -self._side, self._turns + 1, 0

    def _stopped(self, push_n: float, moved_m: float) -> bool:
        return push_n > TOUCH_N and moved_m < PROGRESS_M_S * self.decision_s

    def _ahead(self, place: Array, push: Array, moved: Array) -> Array:
        """Straight on, giving way to what pushes from the side, until something stops it."""
        if self._stopped(-push[0], moved[0]):
            self._search(place[0])
            if abs(place[1]) > 0.025:  # near a side wall there is more to find on the other side
                self._side = -float(np.sign(place[1]))
            return self._along(place, push, np.zeros(2))
        return np.array([self.haste.speed, 0.02 * float(np.clip(push[1], -8.0, 8.0))])

    def _along(self, place: Array, push: Array, moved: Array) -> Array:
        """Slides to one side, leaning on the wall, until the wall gives way or the side ends."""
        haste, self._sliding = self.haste, self._sliding + 1
        if place[0] > self._wall_m + THROUGH_M:
            self._searching = False
            return np.array([haste.speed, 0.0])
        if self._sliding > 1 and self._stopped(-self._side * push[1], self._side * moved[1]):
            self._turn_round()
            if self._turns % 2 == 0:  # both sides felt and no gap: a bolt is in the way, or the gap was passed by
                self._backing, self._wall_m = 1, place[0]
        if push[0] < -TOUCH_N:
            self._wall_m = max(self._wall_m, place[0] - 0.004)
        elif place[0] < self._wall_m - 0.005:  # off the wall: back to it before sliding on
            return np.array([haste.press, 0.2 * self._side * haste.slide]) * self._shorter
        return np.array([haste.press, self._side * haste.slide]) * self._shorter
