"""Who presses the emergency stop: the service, a button's node on the topic `stop`, or that node's absence.

Only edges count. A source that begins to press presses anew, whatever the others do; the stop is released when the last
source has let go, and only by a source's own letting go.
"""

from __future__ import annotations

from enum import Enum


class Source(Enum):
    """What can press."""

    SERVICE = "the service stop"
    BUTTON = "the button on the topic stop"
    ABSENCE = "the absence of the button's node"


class Edge(Enum):
    """What follows."""

    NONE = "nothing"
    PRESS = "press"
    RELEASE = "release"


class StopSources:
    """The sources that press at the moment."""

    def __init__(self) -> None:
        self._pressing: set[Source] = set()

    def level(self, source: Source, pressed: bool) -> Edge:
        """A source's level; returns what follows from it."""
        before = source in self._pressing
        if pressed == before:
            return Edge.NONE
        if pressed:
            self._pressing.add(source)
            return Edge.PRESS
        self._pressing.discard(source)
        return Edge.NONE if self._pressing else Edge.RELEASE

    @property
    def words(self) -> str:
        """Who presses, "" if nobody does."""
        return ", ".join(source.value for source in Source if source in self._pressing)


class ButtonWatch:
    """Whether the node of a physical button is there: it was heard once, is still found, and is not silent for long."""

    def __init__(self, required: bool, silence_s: float) -> None:
        """silence_s: 0 for a button that speaks only when it is pressed or released [s]."""
        self._required, self._silence_s = required, silence_s
        self._heard_s: float | None = None

    def hear(self, now_s: float) -> None:
        """It said something."""
        self._heard_s = now_s

    @property
    def awaited(self) -> bool:
        """Whether it must be heard before the arm may move."""
        return self._required and self._heard_s is None

    def absent(self, now_s: float, publishers: int) -> bool:
        """Whether it was there and is no more. publishers: how many are found on its topic."""
        if not self._required or self._heard_s is None:
            return False
        silent = self._silence_s > 0.0 and now_s - self._heard_s > self._silence_s
        return silent or publishers == 0
