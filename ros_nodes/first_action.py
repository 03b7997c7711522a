"""One command over topics that stays where the arm is: `python -m ros_nodes.first_action <namespace>`.

Shows that everything between a commanding process and the motors works, and when the first torque that followed the
command was written.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from controllers.types import Command
from data.errors import UserError
from ros_nodes.topic_link import TopicLink
from safety.reasons import Reason

SOFT = np.array([400.0] * 3 + [30.0] * 3)
_TRY_S, _LIMIT_S = 0.5, 10.0


def act(namespace: str) -> dict[str, float]:
    """Sends the command; returns when it was sent and when the first tick that followed it wrote its torque [s].

    Times are of the monotonic clock, which all processes of a machine share. An arm that is held, on a machine with too
    much to do, is asked again. Raises UserError if no controller answers, or nothing is followed within 10 s.
    """
    link = TopicLink(namespace)
    try:
        deadline_s = time.monotonic() + _LIMIT_S
        while time.monotonic() < deadline_s:
            times = _once(link)
            if times is not None:
                return times
            reason = Reason(int(link.latest().reason)).name
            link.reset()
        raise UserError(f"not followed within {_LIMIT_S:g} s (reason {reason}): robot-rl safety status {namespace}")
    finally:
        link.close()


def _once(link: TopicLink) -> dict[str, float] | None:
    here = link.latest()
    sent_ns = time.monotonic_ns()
    link.send(Command(here.position_base_m, here.quaternion_base_xyzw, SOFT))
    while time.monotonic_ns() - sent_ns < _TRY_S * 1e9:
        reports = link.step(0.02)
        followed = reports[(reports["sequence"] >= 0) & (reports["stamp_ns"] >= sent_ns)]
        if len(followed):
            written_ns = int(followed["stamp_ns"][0]) + int(followed["work_ns"][0])
            return {"sent_s": sent_ns / 1e9, "written_s": written_ns / 1e9}
    return None


def main(arguments: list[str] | None = None) -> int:
    """Prints one sentence, or with --json the two times; status 2 with one line if nobody followed the command."""
    words = sys.argv[1:] if arguments is None else arguments
    names = [word for word in words if word != "--json"]
    if len(names) > 1 or any(name.startswith("-") for name in names):
        print("usage: python -m ros_nodes.first_action [NAMESPACE] [--json]", file=sys.stderr)
        return 2
    try:
        times = act(names[0] if names else "arm")
    except UserError as error:
        print(f"first_action: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    took_ms = (times["written_s"] - times["sent_s"]) * 1e3
    sentence = f"the arm follows: torque written {took_ms:.1f} ms after the command"
    print(json.dumps(times) if "--json" in words else sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
