"""A person at a device as somebody who may take over from a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robot_rl.teleop.devices.base import Button
from robot_rl.teleop.operator import TeleopOperator
from robot_rl.teleop.session import Session
from robot_rl.training.takeover import TakeoverConfig
from robot_rl.training.workplace import ArmWorkplace, Outcome

if TYPE_CHECKING:
    from robot_rl.agents.base import Proposal


class DevicePerson:
    """Takes over by moving a stick with the dead-man held, or by the takeover button; a Person.

    By stick: hands back `hand_back_s` after the last motion. By button: keeps the arm until the hand-back button, also
    with the stick at rest, and holds it while the dead-man is released.
    """

    def __init__(self, workplace: ArmWorkplace, session: Session, config: TakeoverConfig) -> None:
        self.workplace, self.session, self.config = workplace, session, config
        self._operator = TeleopOperator(workplace.env, session)
        self._by_button = False

    def begin(self, seed: int) -> None:
        """The policy has the arm; what was pressed or moved during the reset no longer counts."""
        self._operator.reset()
        self._by_button = False
        self.session.release(may_grab=True)

    def wants_arm(self, outcome: Outcome | None) -> bool:
        """By what the device said until now; the episode's end takes the arm from everybody."""
        session = self.session
        state = session.look()
        pressed = session.take(Button.TAKEOVER, Button.HAND_BACK)
        if pressed is not None:
            self._by_button = pressed is Button.TAKEOVER
        handed_back = pressed is Button.HAND_BACK
        lately = state.stamp_ns - session.moved_ns <= self.config.hand_back_s * 1e9
        wants = not handed_back and (self._by_button or lately or session.grabbed)
        if outcome is not None and (outcome.terminated or outcome.truncated):
            session.release()
            self._rest(outcome)
            return False
        if wants:
            session.take_charge()
        else:
            self._operator.let_go()
            session.release(may_grab=True)
        return wants

    def _rest(self, outcome: Outcome) -> None:
        """Lets the arm hold without a command that could grow too old, for an evaluation may come in between."""
        if not outcome.info.get("held"):
            self.workplace.env.link.reset()

    def act(self) -> Proposal:
        """What the stick says now."""
        from robot_rl.agents.base import Proposal  # late: it brings torch

        self.session.look()  # the learner may have taken its time since the last look
        action = self._operator.steer()
        return Proposal(action[self.workplace.columns], self._operator.source)

    def verdict(self) -> bool | None:
        """Success and discard keys: a discarded episode of training is a failure, since it has been learned from."""
        pressed = self.session.take(Button.SUCCESS, Button.DISCARD)
        return None if pressed is None else pressed is Button.SUCCESS
