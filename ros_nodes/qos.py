"""Quality of service of each kind of topic (ROS 2 design, "ROS QoS: deadline, liveliness and lifespan").

QoS events run in no real-time thread: they report, the ages that bound motion are checked in the motor tick itself.
"""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

AGE_LIMIT_S = 0.25
"""A target older than this moves no arm (ReferenceLimiterConfig.age_limit_s): it need not be delivered any more."""


def targets(period_s: float | None = None) -> QoSProfile:
    """Targets: the newest only, never repeated, worth nothing after the age limit. period_s: of a steady sender."""
    profile = QoSProfile(
        depth=1,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        lifespan=Duration(nanoseconds=round(AGE_LIMIT_S * 1e9)),
    )
    if period_s is not None:
        profile.deadline = Duration(nanoseconds=round(2.5 * period_s * 1e9))
    return profile


def commands() -> QoSProfile:
    """Whole commands, as read: one history serves all publishers, and a second one must not push the first one's out.

    What waits is taken in order: age and sequence tell what still counts.
    """
    profile = targets()
    profile.depth = 20
    return profile


def states() -> QoSProfile:
    """Measured values: the newest counts, a lost one is followed by the next."""
    return QoSProfile(depth=5, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def streams() -> QoSProfile:
    """What shall arrive whole: tick reports, requests, answers. The depth covers a reader that stalls for a second."""
    return QoSProfile(depth=400, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def pictures() -> QoSProfile:
    """Pictures: whole, and few of them waiting."""
    return QoSProfile(depth=4, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """The last value also for those who come later: description, safety state."""
    return QoSProfile(
        depth=1,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
