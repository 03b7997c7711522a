"""What a recorder says about itself: its figures, the short state on its topic, diagnostics."""

from __future__ import annotations

import json
from typing import Any

from ros_nodes.diagnostics import ERROR, OK, WARN, Saying
from ros_nodes.recorder_desk import Desk
from ros_nodes.recorder_ears import Ears
from ros_nodes.recorder_threads import BagThread, BoundedQueue

_MB = 1_000_000
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("active", "recording"), False),
    **dict.fromkeys(("steps", "episodes", "refused", "bag_messages", "malformed"), 0),
    **dict.fromkeys(("lost_reports", "lost_in_queues", "lost_by_dds"), 0),
    **dict.fromkeys(("bag_mb", "queue_mb", "queue_peak_mb"), 0.0),
    "last": "not active",
    "problem": None,
    "bag": None,
    "not_recorded": {},
}
"""The figures of a recorder that was never active."""
_STATE = ("active", "recording", "episodes", "refused", "last", "problem", "lost_reports", "lost_in_queues")


def figures_of(
    desk: Desk, bag: BagThread | None, ears: Ears | None, waiting: BoundedQueue[Any], problem: str | None
) -> dict[str, Any]:
    """Returns the state as JSON values. waiting: the queue of the episodes; ears: None while not active."""
    queues = [waiting, *([bag.worker.queue] if bag else [])]
    return {
        "active": ears is not None,
        "recording": desk.recording,
        "steps": desk.steps,
        "episodes": desk.count,
        "refused": desk.refused,
        "last": desk.last,
        "problem": problem,
        "bag": str(bag.writer.folder) if bag else None,
        "bag_mb": bag.writer.bytes_written / _MB if bag else 0.0,
        "bag_messages": bag.writer.messages if bag else 0,
        "lost_reports": desk.lost_reports,
        "lost_in_queues": sum(queue.lost for queue in queues),
        "lost_by_dds": ears.lost if ears else 0,
        "malformed": desk.malformed,
        "queue_mb": sum(queue.size_bytes for queue in queues) / _MB,
        "queue_peak_mb": max(queue.peak_bytes for queue in queues) / _MB,
        "not_recorded": dict(ears.problems) if ears else {},
    }


def state_text(figures: dict[str, Any]) -> str:
    """Returns what stands on `recorder/state`: what changes with events, not with every message."""
    return json.dumps({name: figures[name] for name in _STATE})


def bag_saying(figures: dict[str, Any]) -> Saying:
    """Returns what diagnostics say of the bag: ERROR where it stopped or lost something, WARN where others did."""
    if not figures["active"]:
        return "bag", OK, "not active", {}
    lost = figures["lost_in_queues"] + figures["lost_by_dds"] + figures["lost_reports"]
    level = ERROR if figures["problem"] or figures["lost_in_queues"] else WARN if lost else OK
    words = figures["problem"] or (f"{lost} messages lost" if lost else "")
    names = ("bag", "bag_mb", "bag_messages", "queue_mb", "queue_peak_mb")
    losses = ("lost_reports", "lost_in_queues", "lost_by_dds", "malformed")
    return "bag", level, words, {name: figures[name] for name in (*names, *losses)}


def episodes_saying(figures: dict[str, Any]) -> Saying:
    """Returns what diagnostics say of the episodes."""
    names = ("recording", "steps", "episodes", "refused")
    return "episodes", OK, figures["last"], {name: figures[name] for name in names}
