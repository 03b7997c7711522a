"""Calls one service of type std_srvs/Trigger and prints its answer: `python -m ros_nodes.call arm supervisor/arm`.

For a person at a terminal: it needs no ROS installation beyond this Python environment.
"""

from __future__ import annotations

import sys
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidServiceNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from data.errors import UserError
from ros_nodes.network import stay_on_this_machine

_FIND_S, _ANSWER_S = 10.0, 60.0


def call(namespace: str, service: str, find_s: float = _FIND_S) -> tuple[bool, str]:
    """Returns whether it was done, and the service's words.

    find_s: how long to look for the service. Raises UserError if nobody offers it, or answers within a minute.
    """
    name = f"/{namespace.strip('/')}/{service.strip('/')}"
    stay_on_this_machine()
    context = Context()
    rclpy.init(context=context)
    try:
        node = Node("robot_rl_call", context=context, start_parameter_services=False)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            client: Any = node.create_client(Trigger, name)
        except InvalidServiceNameException as error:
            raise UserError(f"{name} is no name of a service: {error}") from error
        if not client.wait_for_service(find_s):
            raise UserError(f"nobody offers {name}: is its node up, with the same ROS_DOMAIN_ID?")
        answer = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(answer, _ANSWER_S)
        if not answer.done():
            raise UserError(f"{name} did not answer within {_ANSWER_S:g} s")
        response: Any = answer.result()
        return bool(response.success), str(response.message)
    finally:
        context.try_shutdown()


def main(arguments: list[str] | None = None) -> int:
    """Status 0 if it was done, 1 if it was refused, 2 with one line if nobody answered."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 2 or any(word.startswith("-") for word in words):
        print("usage: python -m ros_nodes.call NAMESPACE SERVICE, such as: arm supervisor/arm", file=sys.stderr)
        return 2
    try:
        done, said = call(words[0], words[1])
    except UserError as error:
        print(f"call: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(said or ("done" if done else "refused, without a word"), file=sys.stdout if done else sys.stderr)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
