"""Quality of service of each kind of topic (ROS 2 design, "ROS QoS: deadline, liveliness and lifespan").

QoS events run in no real-time thread: they report, the ages that bound motion are checked in the motor tick itself.

What is published at a steady rate offers a deadline of 2.5 periods: whoever listens may ask for it, and is told of
silence by DDS. Our own subscribers ask for none, since they would then hear no publisher that offers none; they look at
ages. Nor do targets offer any: who sends them may pause, and their lifespan and age say what that means.
"""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

AGE_LIMIT_S = 0.25
"""A target older than this moves no arm (ReferenceLimiterConfig.age_limit_s): it need not be delivered any more."""


def targets() -> QoSProfile:
    """Targets: the newest only, never repeated, worth nothing after the age limit."""
    return QoSProfile(
        depth=1,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        lifespan=Duration(nanoseconds=round(AGE_LIMIT_S * 1e9)),
    )


def commands() -> QoSProfile:
    """Whole commands, as read: one history serves all publishers, and a second one must not push the first one's out.

    What waits is taken in order: age and sequence tell what still counts.
    """
    profile = targets()
    profile.depth = 20
    return profile


def states(rate_hz: float | None = None) -> QoSProfile:
    """Measured values: the newest counts, a lost one is followed by the next. rate_hz: at which they are published."""
    return _steady(5, rate_hz)


def streams() -> QoSProfile:
    """What shall arrive whole: tick reports, requests, answers. The depth covers a reader that stalls for a second."""
    return QoSProfile(depth=400, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def pictures(rate_hz: float | None = None) -> QoSProfile:
    """Pictures: whole, and few of them waiting. rate_hz: at which they are published."""
    return _steady(4, rate_hz)


def latched() -> QoSProfile:
    """The last value also for those who come later: description, safety state."""
    return QoSProfile(
        depth=1,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def _steady(depth: int, rate_hz: float | None) -> QoSProfile:
    profile = QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
    if rate_hz is not None:
        profile.deadline = Duration(nanoseconds=round(2.5e9 / rate_hz))
    return profile
