"""Signs of life of several of one kind: the motor process watches a kind, and the oldest of them counts.

A camera is known by its name, so that one that was started again goes on where the former one fell silent. A link has
no name that outlives it: its entries end with it, or when another link starts the arm over.
"""

from __future__ import annotations

from typing import NamedTuple

from ros_nodes.wire import MalformedMessage
from safety.supervision import Heartbeat, believed_ns

LINK = b"link"
_ALIVE_NS = 300_000_000
"""A name whose sender gave a beat within this time belongs to that sender."""


class _Beat(NamedTuple):
    sender: int
    stamp_ns: int
    heard_ns: int


class Beats:
    """The newest beat of each name."""

    def __init__(self) -> None:
        self._beats: dict[Heartbeat, dict[tuple[bytes, int], _Beat]] = {}

    def take(self, source: Heartbeat, name: bytes, sender: int, stamp_ns: int, now_ns: int) -> int:
        """Takes a beat in; returns the kind's sign of life [ns], 0 when nobody of it is in use any more.

        stamp_ns: 0 for one that is no longer in use. Raises MalformedMessage for a stamp from the future, which would
        never age, and for a second living sender of one name, which would hide the death of the first.
        """
        if believed_ns(stamp_ns, now_ns) is None:
            raise MalformedMessage(
                f"expected a sign of life of the past, got one {1e-9 * (stamp_ns - now_ns):.1f} s ahead"
            )
        named = self._beats.setdefault(source, {})
        key = (name, sender if name == LINK else 0)
        former = named.get(key)
        if former is not None and former.sender != sender and now_ns - former.heard_ns < _ALIVE_NS:
            raise MalformedMessage(
                f"two programs give signs of life as {name.decode('utf-8', 'replace')!r}: give each a name of its own"
            )
        if stamp_ns == 0:
            named.pop(key, None)
        else:
            newest_ns = stamp_ns if former is None or former.sender != sender else max(stamp_ns, former.stamp_ns)
            named[key] = _Beat(sender, newest_ns, now_ns)
        return self.oldest(source)

    def oldest(self, source: Heartbeat) -> int:
        """Returns a kind's sign of life [ns], 0 when nobody of it is in use."""
        return min((beat.stamp_ns for beat in self._beats.get(source, {}).values()), default=0)

    def keep_link(self, sender: int) -> list[Heartbeat]:
        """Forgets the links but one, which has started the arm over; returns the kinds that this changed."""
        changed = []
        for source, named in self._beats.items():
            gone = [key for key in named if key[0] == LINK and key[1] != sender]
            for key in gone:
                del named[key]
            changed += [source] if gone else []
        return changed
