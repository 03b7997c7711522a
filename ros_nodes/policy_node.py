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
from ros_nodes.topic_link import LinkCancelled, TopicLink, links_cancelled_by
from ros_nodes.worker import Worker

IDLE = "idle"


class PolicyNode(ManagedNode[PolicyConfig]):
    """Services `~/start` and `~/stop`; `~/state` says what it does, `~/episode` how each episode went (JSON)."""

    config_class = PolicyConfig

    def __init__(self, **options: Any) -> None:
        super().__init__("policy", **options)
        self._says = self.create_publisher(String, "~/state", qos.latched())
        self._tells = self.create_publisher(String, "~/episode", qos.streams())
        self.actor = Worker(self, "policy", self._work, "it begins", lambda: self._become(IDLE))
        self.diagnostics.say(self._say)
        self.doing = IDLE
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
            self.actor.start()

    def halt(self) -> None:
        """Ends the episode under way; the arm holds."""
        self.actor.halt()

    # What it does

    def _work(self, stopping: threading.Event) -> None:
        self._become("loading")
        try:
            with one_thread(), links_cancelled_by(stopping):
                self._act(stopping)
        except LinkCancelled:
            raise
        except UserError as error:
            if self.config.begin:
                self.failure = " ".join(str(error).split())
            raise

    def _act(self, stopping: threading.Event) -> None:
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
        try:
            actor, step = load_actor(self.run, self.described, workplace)
            self.get_logger().info(f"acts with {self.run} as of step {step}")
            self._become("acting")
            first, last = self.config.seed, self.config.seed + (self.config.episodes or 10**6)
            seeds = (seed for seed in range(first, last) if not stopping.is_set())
            evaluate(actor, workplace, seeds, self.config.deterministic, on_episode=self._took, takeover=takeover)
        finally:
            self._let_go(workplace)

    def _let_go(self, workplace: Workplace) -> None:
        link: Any = workplace.env.link if isinstance(workplace, ArmWorkplace) else None
        link = link.link if isinstance(link, AttendedLink) else link
        if isinstance(link, TopicLink):
            try:
                link.leave()  # before devices and cameras are closed, which takes a while
            except UserError as error:
                self.get_logger().warning(" ".join(str(error).split()))
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
        trouble = self.actor.trouble
        return "policy", ERROR if trouble else OK, trouble or self.doing, values


def main() -> int:
    """`python -m ros_nodes.policy_node --ros-args -p run:=runs/a -r __ns:=/arm`."""
    return run_node(PolicyNode)


if __name__ == "__main__":
    sys.exit(main())
