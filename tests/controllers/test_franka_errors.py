"""Every error of the robot has words and a cure, in one line."""

from __future__ import annotations

import pytest

from controllers.robots.franka_errors import FLAGS, MODES, explain_exception, explain_flags, raised_flags

franka = pytest.importorskip("pylibfranka", reason="pip install '.[franka]'")


def test_every_flag_of_the_library_has_words_and_a_cure() -> None:
    there = {name for name in dir(franka.Errors) if not name.startswith("_")}
    assert set(FLAGS) == there
    assert all(words and cure and "\n" not in words + cure for words, cure in FLAGS.values())


def test_every_mode_in_which_no_torque_is_taken_has_words() -> None:
    there = {name for name in dir(franka.RobotMode) if not name.startswith("_") and name not in ("name", "value")}
    assert set(MODES) == there - {"Idle"}


def test_no_flag_is_raised_in_a_fresh_record_of_errors() -> None:
    assert raised_flags(franka.Errors()) == [] and explain_flags([]) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('libfranka: Move command aborted: motion aborted by reflex! ["cartesian_reflex"]', "stop threshold"),
        ('motion aborted by reflex! ["joint_reflex", "power_limit_violation"]', "more power than allowed"),
        ("libfranka: Connection to FCI refused. Please install FCI feature or enable FCI mode.", "activate FCI"),
        ("libfranka: Incompatible library version (server version: 9, library version: 10).", "system version"),
        ("libfranka: Move command rejected: command not possible in the current mode (User stopped)!", "current mode"),
        ("libfranka: Move command aborted: User Stop pressed!", "user stop pressed"),
        ("libfranka: UDP receive: Timeout", "sends nothing any more"),
        ("libfranka: TCP connection got interrupted", "connection broke"),
        ("libfranka: server closed connection", "connection broke"),
        ("libfranka: unable to set realtime scheduling: Operation not permitted", "PREEMPT_RT"),
        ("command rejected due to activated safety function! Please disable all safety functions.", "safety function"),
    ],
)
def test_what_the_library_throws_becomes_one_line_with_a_cure(text: str, words: str) -> None:
    said = explain_exception(text + "\nsome more of it")
    assert words in said and "\n" not in said and "libfranka:" not in said


def test_an_exception_that_nobody_knows_keeps_its_words() -> None:
    assert explain_exception("libfranka: something new").startswith("something new: ")
