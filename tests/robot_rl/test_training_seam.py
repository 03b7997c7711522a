"""Pacing, weights and frames of the asynchronous mode, without processes."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from robot_rl.agents.registry import make_agent
from robot_rl.learning.replay import Replay
from robot_rl.training import wire
from robot_rl.training.learner_process import Learner
from robot_rl.training.pacing import Credit, Pacing
from robot_rl.training.recipe import AgentRecipe
from robot_rl.training.seam import Progress, Pulled, SeamError, State, Weights
from robot_rl.training.wire import Channel, Kind, PeerGone
from tests.robot_rl.training_fakes import TINY, PoorBase


@given(st.floats(0.1, 8.0), st.integers(1, 50), st.integers(1, 50), st.lists(st.booleans(), max_size=400))
def test_updates_a_step_are_bounded_from_both_sides(rate: float, warmup: int, ahead: int, turns: list[bool]) -> None:
    """However actor and learner are scheduled: r (s - w + 1 - ahead) - r - 1 <= updates <= r (s - w + 1)."""
    credit = Credit(Pacing(rate, ahead, max_policy_age_steps=ahead + 1), warmup)
    for actors_turn in turns:
        if actors_turn and credit.may_act():
            credit.steps += 1
        elif not actors_turn and credit.may_update:
            credit.updates += 1
        due = rate * max(0, credit.steps - warmup + 1)
        assert credit.updates <= due
        assert credit.updates >= due - rate * (ahead + 1) - 1
    assert credit.may_act() or credit.may_update, "both wait for each other"


def test_at_one_update_a_step_the_bound_is_what_the_synchronous_trainer_does() -> None:
    credit = Credit(Pacing(), warmup=20, steps=120)
    assert credit.allowed == 101


def test_the_age_of_weights_is_told_in_steps() -> None:
    credit = Credit(Pacing(updates_per_step=2.0), warmup=1, steps=50)
    assert credit.policy_age_steps(100) == 0.0
    assert credit.policy_age_steps(40) == 30.0


@pytest.mark.parametrize(
    "changes",
    [
        {"updates_per_step": 0.0},
        {"max_ahead_steps": 0},
        {"max_policy_age_steps": 20},
        {"timeout_s": 1.0},
        {"stall_s": 0},
    ],
)
def test_pacing_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(changes))}=.* does not fit: expected a number"):
        Pacing(**changes)


def test_damaged_or_infinite_weights_are_found() -> None:
    arrays = {"actor": np.arange(4, dtype=np.float32), "updates": np.array([7])}
    weights = Weights.of(7, arrays)
    assert weights.fault() is None
    arrays["actor"][2] = 5.0
    assert weights.fault() == "version 7 does not fit its checksum"
    arrays["actor"][2] = np.nan
    assert Weights.of(7, arrays).fault() == "version 7 has numbers that are not finite in actor"


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    one, other = (Channel(end) for end in socket.socketpair())
    yield one, other
    one.close()
    other.close()


@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
def test_frames_arrive_as_they_were_sent(channels: tuple[Channel, Channel], size: int) -> None:
    one, other = channels
    payload = np.random.default_rng(size).bytes(size)
    sender = threading.Thread(target=one.send, args=(Kind.STATE, payload))
    sender.start()
    assert other.receive(5.0) == (Kind.STATE, payload)
    sender.join()
    assert other.receive(0.0) is None


def test_trap_19_every_wait_for_the_other_side_has_an_end(channels: tuple[Channel, Channel]) -> None:
    one, other = channels
    assert other.receive(0.05) is None
    with pytest.raises(SeamError, match="took nothing for 0.1 s"):
        one.send(Kind.STATE, bytes(10_000_000), deadline_s=0.1)
    with pytest.raises(SeamError, match="fell silent in the midst of a frame"):
        other.receive(0.1, deadline_s=0.1)


def test_the_end_of_the_other_side_is_noticed(channels: tuple[Channel, Channel]) -> None:
    one, other = channels
    one.hang_up()
    with pytest.raises(PeerGone):
        other.receive(10.0)
    with pytest.raises(PeerGone):
        other.send(Kind.CLOSE)


@pytest.mark.parametrize(("place", "message"), [(0, "no frame of this program"), (4, "no frame"), (30, "checksum")])
def test_a_damaged_frame_is_refused(place: int, message: str) -> None:
    ends = socket.socketpair()
    Channel(ends[0]).send(Kind.WEIGHTS, b"0123456789abcdef")
    content = bytearray(ends[1].recv(1000))
    content[place] ^= 0xFF
    ends[0].sendall(content)
    with pytest.raises(SeamError, match=message):
        Channel(ends[1]).receive(1.0)
    for end in ends:
        end.close()


def filled(count: int, capacity: int, extras: bool = True) -> Replay:
    rng = np.random.default_rng(3)
    replay = Replay(capacity, 3, 2, {"base": (2, 2)} if extras else {})

    def see() -> tuple[Any, dict[str, Any]]:
        return rng.standard_normal(3), {"base": rng.standard_normal((2, 2))} if extras else {}

    now = see()
    for i in range(count):
        then = see()
        ends = i % 7 == 6
        replay.add(now[0], rng.uniform(-1, 1, 2), 0.5 * i, then[0], ends, False, 4, now[1], then[1])
        if i % 10 == 5:
            replay.interrupt()
        now = then if not ends and replay.open else see()
    return replay


def test_transitions_cross_one_by_one_to_the_same_replay() -> None:
    source = filled(40, 100)
    target = Replay(100, 3, 2, {"base": (2, 2)})
    records = wire.records_of(source, 0)
    assert len(records) == 40
    for record in records:
        wire.add_records(target, np.frombuffer(record.tobytes(), records.dtype))
    target.interrupt()
    for name in ("obs", "action", "reward", "terminated", "has_action", "source"):
        np.testing.assert_array_equal(getattr(target, name), getattr(source, name), err_msg=name)
    np.testing.assert_array_equal(target.extras["base"], source.extras["base"])


@pytest.mark.parametrize("count", [1, 5, 6, 7, 20, 33])
def test_the_newest_transition_is_found_also_where_the_ring_begins_anew(count: int) -> None:
    source = filled(count, 13, extras=False)
    (record,) = wire.records_of(source, source.added - 1)
    assert (record["serial"], record["reward"]) == (count - 1, 0.5 * (count - 1))


def test_a_recipe_builds_the_same_agent_in_any_process() -> None:
    recipe = AgentRecipe("rlpd", 3, ("dx", "gripper"), TINY, seed=5)
    again = AgentRecipe.from_json({**recipe.to_json(), "action_names": ["dx", "gripper"]})
    assert again == recipe
    first, second = recipe.build(), again.build()
    assert first.spec.gripper_index == 1
    for name, array in first.state().items():
        np.testing.assert_array_equal(array, second.state()[name])


@pytest.mark.parametrize("name", ["rlpd", "residual", "expo"])
def test_trap_9_the_action_called_gripper_is_the_one_that_the_temperature_does_not_count(name: str) -> None:
    recipe = AgentRecipe("rlpd", 3, ("dx", "gripper", "dz"), TINY)
    spec = recipe.build().spec
    assert spec.entropy_dims().tolist() == [True, False, True]
    base = None if name == "rlpd" else PoorBase(3, 3)
    agent: Any = make_agent(name, spec, TINY | ({} if name == "rlpd" else {"scale": 0.5}), base)
    assert agent.sac.counted.tolist() == [1.0, 0.0, 1.0]
    assert agent.sac.target_entropy == pytest.approx(-1.0 if name == "rlpd" else -1.0 + 2 * math.log(0.5))
    assert AgentRecipe("rlpd", 3, ("dx", "dy", "dz"), TINY).build().spec.gripper_index is None


class Script:
    """A whole LearnerSeam that plays prepared messages and keeps what the learner sends."""

    def __init__(self, messages: list[Pulled]) -> None:
        self.messages, self.published, self.states = messages, list[Weights](), list[Progress]()

    def pull(self, wait_s: float) -> Pulled | None:
        if wait_s > 0.0 and not self.messages:
            return None  # the learner has done what it may, and the actor goes
        return self.messages.pop(0) if self.messages else Pulled()

    def publish(self, weights: Weights) -> None:
        self.published.append(weights)

    def report(self, progress: Progress) -> None:
        assert progress.updates >= 0

    def give_state(self, state: State, progress: Progress) -> None:
        self.states.append(progress)


def test_trap_13_versions_rise_and_updates_stay_within_the_credit() -> None:
    source = filled(40, 100, extras=False)
    records = wire.records_of(source, 0)
    messages = [Pulled([records[i : i + 1]]) for i in range(40)] + [Pulled(state_wanted=True)]
    script = Script(messages)
    agent = AgentRecipe("rlpd", 3, ("a", "b"), TINY).build()
    credit = Credit(Pacing(updates_per_step=2.0, publish_every_s=0.0), warmup=11)
    Learner(agent, Replay(100, 3, 2), None, script, credit).run()
    assert credit.updates == agent.updates == 60
    versions = [weights.version for weights in script.published]
    assert versions == sorted(set(versions))
    assert versions[-1] == 60
    assert all(weights.fault() is None for weights in script.published)
    assert 0 < script.states[0].updates <= 60
