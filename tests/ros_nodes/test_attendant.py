"""Who sits at the buttons: what is refused is not done later."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from controllers.person import look
from ros_nodes.attendant import Attendant
from safety.supervision import SupervisorState
from tests.system.test_motor_process import eventually, link_to, motor, name

__all__ = ["name"]


def test_a_release_that_was_refused_leaves_the_stop_pressed(name: str) -> None:
    attendant = Attendant(name, False, 0.1, lambda: True, lambda: None)
    assert "a motor process that appears will be stopped" in attendant.press_stop()[1]
    released, words = attendant.release_stop()
    assert not released and words.startswith("refused")
    with link_to(motor(name)):
        assert look(name).state < SupervisorState.PROTECTIVE_STOP
        attendant.start()
        try:
            assert eventually(lambda: look(name).state >= SupervisorState.PROTECTIVE_STOP)
            assert attendant.release_stop()[0]
        finally:
            attendant.leave()
