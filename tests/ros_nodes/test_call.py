"""`python -m ros_nodes.call`: a service's words, and the status that says whether it was done."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from rclpy.node import Node
from std_srvs.srv import Trigger

from data.errors import UserError
from ros_nodes import call
from tests.ros_nodes.conftest import here, namespace, ros_domain

__all__ = ["here", "namespace", "ros_domain"]


@pytest.mark.parametrize(("done", "status"), [(True, 0), (False, 1)])
def test_the_words_are_printed_and_the_status_tells(
    here: Node, namespace: str, capsys: pytest.CaptureFixture[str], done: bool, status: int
) -> None:
    def serve(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = done, "words for a person"
        return response

    service: Any = here.create_service(Trigger, "supervisor/arm", serve)
    assert call.main([namespace, "supervisor/arm"]) == status
    said = capsys.readouterr()
    assert (said.out if done else said.err) == "words for a person\n"
    here.destroy_service(service)


def test_where_nobody_offers_the_service_one_line_says_so(ros_domain: int) -> None:
    with pytest.raises(UserError, match="nobody offers /nobody/supervisor/arm: is its node up"):
        call.call("nobody", "supervisor/arm", find_s=0.2)


@pytest.mark.parametrize("words", [[], ["arm"], ["arm", "--help"], ["arm", "a", "b"], ["arm", "no name"]])
def test_a_mistake_is_answered_with_one_line_and_status_2(
    ros_domain: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
