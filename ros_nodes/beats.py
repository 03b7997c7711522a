"""Signs of life of several senders of one kind: the motor process watches a kind, and the oldest of them counts."""

from __future__ import annotations

from safety.supervision import Heartbeat


class Beats:
    """The newest beat of each name. One that says 0 is no longer in use; one that was started again goes on by name."""

    def __init__(self) -> None:
        self._newest_ns: dict[Heartbeat, dict[bytes, int]] = {}

    def newest(self, source: Heartbeat, name: bytes, stamp_ns: int) -> int:
        """Takes a beat in; returns the kind's sign of life [ns], 0 when nobody of it is in use any more."""
        named = self._newest_ns.setdefault(source, {})
        if stamp_ns == 0:
            named.pop(name, None)
        else:
            named[name] = max(stamp_ns, named.get(name, 0))
        return min(named.values(), default=0)
