"""A trained run acts: episode after episode, over the topics of a controller node.

The episodes are those of `robot-rl evaluate`: same environment, automatic reset, limits and judgement. Whatever asks
this node to stop is heard between two looks at the arm (every few milliseconds), and leaves the arm held where it is.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from std_msgs.msg import String
from std_srvs.srv import Trigger

from data.errors import UserError
from robot_rl.teleop.session import AttendedLink
from robot_rl.training.evaluation import EpisodeRecord, evaluate
from robot_rl.training.workplace import ArmWorkplace, Workplace
from robot_rl.workflows.common import one_thread, read_setup
from robot_rl.workflows.critic_online import own_critic
from robot_rl.workflows.evaluate import load_actor
from robot_rl.workflows.human import workplace_with_human
from ros_nodes import qos
from ros_nodes.config import PolicyConfig
from ros_nodes.diagnostics import ERROR, OK, Saying
from ros_nodes.lifecycle import ManagedNode
from ros_nodes.spinning import run_node
from ros_nodes.topic_link import LinkCancelled, TopicLink

IDLE = "idle"


class PolicyNode(ManagedNode[PolicyConfig]):
    """Services `~/start` and `~/stop`; `~/state` says what it does, `~/episode` how each episode went (JSON)."""

    config_class = PolicyConfig

    def __init__(self, **options: Any) -> None:
        super().__init__("policy", **options)
        self._worker: threading.Thread | None = None
        self._stopping = threading.Event()
        self._workplace: Workplace | None = None
        self._says = self.create_publisher(String, "~/state", qos.latched())
        self._tells = self.create_publisher(String, "~/episode", qos.streams())
        self.create_service(Trigger, "~/start", self._serve_start)
        self.create_service(Trigger, "~/stop", self._serve_stop)
        self.diagnostics.say(self._say)
        self.doing = IDLE
        self.trouble = ""
        self.episodes: list[EpisodeRecord] = []

    # Lifecycle

    def setup(self) -> None:
        """Looks whether there is a run to act with."""
        self.run = Path(self.config.run).expanduser()
        self.described = read_setup(self.run)

    def start(self) -> None:
        """Begins at once, if it is to."""
        self._become(IDLE)
        if self.config.begin:
            self.play()

    def halt(self) -> None:
        """Ends the episode under way; the arm holds."""
        self.cease()

    # What it does

    def play(self) -> tuple[bool, str]:
        """Begins to act. Returns whether it does, and words."""
        if self.doing != IDLE:
            return False, "it acts already"
        if self._worker is not None:
            self._worker.join()  # idle: it is at its very end
        self._become("loading")
        self._stopping.clear()
        self.trouble = ""
        self._worker = threading.Thread(target=self._work, name="policy", daemon=True)
        self._worker.start()
        return True, "it begins"

    def cease(self) -> None:
        """Ends what it does, and waits for that."""
        self._stopping.set()
        link = self._link()
        if link is not None:
            link.cancelled.set()
        if self._worker is not None:
            self._worker.join(20.0)
            self._worker = None

    def _link(self) -> TopicLink | None:
        workplace = self._workplace
        link: Any = workplace.env.link if isinstance(workplace, ArmWorkplace) else None
        link = link.link if isinstance(link, AttendedLink) else link
        return link if isinstance(link, TopicLink) else None

    def _work(self) -> None:
        try:
            with one_thread():
                self._act()
        except LinkCancelled:
            self._become(IDLE)
        except UserError as error:
            self.trouble = " ".join(str(error).split())
            self.get_logger().error(self.trouble)
            self._become(IDLE)
            if self.config.begin:
                self.failure = self.trouble

    def _act(self) -> None:
        setup = {
            **self.described,
            "robot": "ros",
            "robot_config": {"namespace": self.get_namespace()},
            "safety_config": {**(self.described.get("safety_config") or {}), **own_critic(self.run)},
            "human": "ros" if self.config.human else "none",
            "human_config": {},
            "teleop_config": {"device": self.get_namespace()} if self.config.human else {},
            "out": None,
        }
        workplace, takeover = workplace_with_human(setup, self.config.seed)
        self._workplace = workplace
        try:
            actor, step = load_actor(self.run, self.described, workplace)
            self.get_logger().info(f"acts with {self.run} as of step {step}")
            self._become("acting")
            first, last = self.config.seed, self.config.seed + (self.config.episodes or 10**6)
            seeds = (seed for seed in range(first, last) if not self._stopping.is_set())
            evaluate(actor, workplace, seeds, self.config.deterministic, on_episode=self._took, takeover=takeover)
        finally:
            self._let_go(workplace)
        self._become(IDLE)

    def _let_go(self, workplace: Workplace) -> None:
        link = self._link()
        if link is not None:
            link.cancelled.clear()
            try:
                link.reset()  # the arm holds where it is, at once instead of as its commands age
            except UserError as error:
                self.get_logger().warning(" ".join(str(error).split()))
        self._workplace = None
        workplace.close()

    def _took(self, record: EpisodeRecord) -> None:
        self.episodes.append(record)
        self._tells.publish(String(data=json.dumps({"number": len(self.episodes), **record.as_dict()})))
        self.get_logger().info(f"episode {len(self.episodes)}: {record.end} after {record.robot_s:.1f} s")

    # What it says

    def _become(self, doing: str) -> None:
        self.doing = doing
        self._says.publish(String(data=doing))

    def _say(self) -> Saying:
        successes = sum(record.success for record in self.episodes)
        values = {"episodes": len(self.episodes), "successes": successes}
        return "policy", ERROR if self.trouble else OK, self.trouble or self.doing, values

    def _serve_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self.play() if self.active else (False, "the node is not active")
        return response

    def _serve_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.cease()
        response.success, response.message = True, "stopped, the arm holds"
        return response


def main() -> int:
    """`python -m ros_nodes.policy_node --ros-args -p run:=runs/a -r __ns:=/arm`."""
    return run_node(PolicyNode)


if __name__ == "__main__":
    sys.exit(main())
