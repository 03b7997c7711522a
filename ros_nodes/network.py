"""How far ROS traffic of this package goes: no farther than this machine, unless the environment says otherwise.

Whoever reaches the topics may command the arm and press its buttons. So where nothing is said, discovery keeps to this
machine, and Fast DDS listens on the loopback interface alone: ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST by itself limits
who is found, but leaves the sockets open on every interface. Read docs/security.md before widening either.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions

RANGE, OLD_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"
PROFILES, OLD_PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
LOOPBACK = Path(__file__).with_name("this_machine_only.xml")
_CLOSED = ("LOCALHOST", "OFF")


def stay_on_this_machine(environment: MutableMapping[str, str] | None = None) -> str | None:
    """To be called before a ROS context is made: fills in what the environment leaves open.

    Returns one line for the user where the environment opens the traffic to other machines, None where it stays here.
    environment: this process's by default. What somebody has set is never changed.
    """
    environment = os.environ if environment is None else environment
    if not environment.get(RANGE) and environment.get(OLD_RANGE, "0") in ("", "0"):
        environment[RANGE] = "LOCALHOST"
    reach = environment.get(RANGE) or "LOCALHOST"
    if reach.upper() in _CLOSED:
        if not environment.get(PROFILES) and not environment.get(OLD_PROFILES):
            environment[PROFILES] = str(LOOPBACK)
        return None
    return (
        f"{RANGE}={reach}: other machines can see these topics and command the arm; set it to LOCALHOST, or protect "
        "the network (docs/security.md)"
    )


def make_context(context: Context | None = None, arguments: list[str] | None = None) -> tuple[Context, str | None]:
    """Returns a context that is initialised, after `stay_on_this_machine`, and the line of that for the node's log.

    context: to initialise, such as the default one; None for a new one. No signal is handled.
    """
    warning = stay_on_this_machine()
    context = context or Context()
    rclpy.init(args=arguments, context=context, signal_handler_options=SignalHandlerOptions.NO)
    return context, warning
