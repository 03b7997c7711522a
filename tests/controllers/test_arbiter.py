"""What the modes of the reflex arbiter do to the arm. The critic is whoever writes the risk record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controllers.chain import ChainConfig
from controllers.types import Source
from safety.reasons import Reason
from safety.reflex import Mode, ReflexConfig
from safety.risk_critic import RiskCriticConfig
from tests.controllers.chain_rig import ARM, WIDE, Rig
from tests.controllers.risk_tools import tell


def rig_with(risk: float = 0.0, config: ChainConfig = WIDE, **command: Any) -> Rig:
    """A rig that follows a command 15 mm ahead, with a critic that says `risk` at every tick."""
    rig = Rig(config)
    say(rig, risk)
    rig.aim((0.015, 0.0, 0.0))
    rig.send(**{"source": Source.POLICY, **command})
    rig.tick(50)
    return rig


def say(rig: Rig, risk: float, recovery: tuple[float, ...] | None = None) -> None:
    tell(rig.chain, risk, recovery)


def stretch_m(rig: Rig) -> float:
    return float(np.abs(rig.memory["reference_position"] - rig.terms.position_base_m).max())


def live(rig: Rig, ticks: int, risk: float) -> Any:
    """Ticks with a policy that sends its target every 100 ms."""
    say(rig, risk)
    for tick in range(ticks):
        if tick % 100 == 0:
            rig.aim((0.015, 0.0, 0.0))
            rig.send()
        report = rig.tick()
    return report


def test_without_a_critic_and_at_low_risk_the_torque_is_the_same_to_the_last_bit() -> None:
    off = replace(WIDE, reflex=ReflexConfig(enabled=False))
    without, disabled, low = Rig(WIDE), Rig(off), Rig(WIDE)
    say(disabled, 0.9)
    say(low, 0.14)
    rng = np.random.default_rng(3)
    for _ in range(40):
        offset, turn, speed = rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.1, 0.1, 3), rng.uniform(-0.2, 0.2, 7)
        torques = []
        for rig in (without, disabled, low):
            rig.state["qd_rad_s"] = speed
            rig.aim(offset, turn)
            rig.send(feedforward_wrench_base=[1.0, 0.0, 2.0, 0.0, 0.1, 0.0])
            reports = [rig.tick().copy() for _ in range(20)]
            assert {int(report["mode"]) for report in reports} == {Mode.NORMAL}
            torques.append([report["tau_executed_nm"].tolist() for report in reports])
        assert torques[0] == torques[1] == torques[2]
    assert np.isnan(without.report["risk"]).all()


def test_soft_softens_damps_and_slows_in_proportion_and_gives_it_back() -> None:
    rig = rig_with()
    say(rig, 0.225)  # half way between the thresholds
    report = rig.tick(200)
    assert (report["mode"], report["reason"], report["source"]) == (Mode.SOFT, Reason.SOFT, Source.POLICY)
    assert report["executed_stiffness"] == pytest.approx([400 * 0.65] * 3 + [30 * 0.65] * 3, rel=1e-5)
    assert report["executed_damping_ratio"] == pytest.approx(1.1, rel=1e-5)
    assert report["proposed_stiffness"].tolist() == [400.0] * 3 + [30.0] * 3
    say(rig, 0.0)
    rig.send()
    report = rig.tick(150)
    assert report["mode"] == Mode.NORMAL
    assert report["executed_stiffness"].tolist() == [400.0] * 3 + [30.0] * 3
    assert report["executed_damping_ratio"] == pytest.approx(0.9)


def test_soft_halves_the_speed_of_the_reference_and_never_stiffens() -> None:
    fast = [rig_with(risk, stiffness=[40.0] * 3 + [3.0] * 3) for risk in (0.0, 0.2)]
    speeds = []
    for rig in fast:
        rig.stand(0, rig.state["q_rad"][0, 0] + 0.02)  # ahead of the reference: else the leash hides the speed
        rig.measure()
        rig.aim((0.3, 0.0, 0.0))
        rig.send()
        speed = 0.0
        for _ in range(200):
            rig.tick()
            speed = max(speed, float(np.linalg.norm(rig.memory["reference_velocity"])))
        speeds.append(speed)
    limit = WIDE.limiter.max_speed_m_s
    assert speeds[1] <= 0.5 * limit + 1e-12
    assert speeds[0] > speeds[1]
    assert (fast[1].report["executed_stiffness"][0] <= [40.0] * 3 + [3.0] * 3).all()


def test_soft_keeps_the_stiffness_that_the_limiter_asks_for_at_least() -> None:
    config = replace(WIDE, limiter=replace(WIDE.limiter, stiffness_min=(300.0,) * 3 + (10.0,) * 3))
    rig = rig_with(config=config)
    say(rig, 0.2999)
    assert rig.tick(100)["executed_stiffness"].tolist() == [300.0] * 3 + [10.0] * 3


def test_a_reflex_drops_spring_feed_forward_and_command_at_once() -> None:
    rig = rig_with(feedforward_wrench_base=[10.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    rig.tick(80)
    assert stretch_m(rig) > 0.005
    tank_j = float(rig.report["tank_energy_j"][0])
    say(rig, 0.31)
    report = rig.tick()
    assert (report["mode"], report["reason"], report["source"]) == (Mode.REFLEX, Reason.REFLEX, Source.RECOVERY)
    assert stretch_m(rig) < 0.001, "the first tick of the recovery"
    assert report["executed_wrench_base"].tolist() == [0.0] * 6
    assert report["tank_energy_j"] > tank_j, "the spring's energy goes to the tank"
    report = rig.tick(50)
    assert report["executed_stiffness"].tolist() == [150.0] * 3 + [15.0] * 3
    assert report["executed_damping_ratio"] == pytest.approx(1.3)


def test_commands_are_refused_during_a_reflex_and_the_old_target_is_never_resumed() -> None:
    rig = rig_with()
    say(rig, 0.9)
    rig.tick()
    rig.send()
    report = rig.tick(30)
    assert rig.chain.refusals == {"reflex": 1}
    assert report["reason"] == Reason.REFLEX
    say(rig, 0.1)
    report = rig.tick(100)
    assert (report["mode"], report["source"]) == (Mode.NORMAL, Source.HOLD)
    rig.command["stamp_ns"] = rig.state["stamp_ns"]  # the link keeps the refused record alive
    report = rig.tick(100)
    assert stretch_m(rig) < 0.001, "it waits where it is"
    rig.aim((0.015, 0.0, 0.0))
    rig.send()
    report = rig.tick(100)
    assert stretch_m(rig) > 0.004
    assert (report["source"], report["mode"]) == (Source.POLICY, Mode.NORMAL)


def test_the_dropped_command_cannot_be_renewed() -> None:
    rig = rig_with()
    say(rig, 0.9)
    rig.tick(10)
    say(rig, 0.0)
    for _ in range(40):
        rig.command["stamp_ns"] = rig.state["stamp_ns"]
        report = rig.tick(10)
    assert stretch_m(rig) < 1e-6
    assert report["reason"] == Reason.STALE, "nobody sent anything since"


def test_waiting_after_a_reflex_ages_from_its_end_into_hold_and_latch() -> None:
    rig = rig_with()
    say(rig, 0.9)
    assert rig.tick(400)["reason"] == Reason.REFLEX, "longer than the age limit"
    say(rig, 0.0)
    assert rig.tick(280)["reason"] == Reason.NONE
    assert rig.tick(20)["reason"] == Reason.STALE
    assert rig.tick(800)["reason"] == Reason.HOLD
    assert rig.tick(4100)["latched"] == Reason.LATCHED


def test_reflexes_of_a_dead_policy_do_not_put_off_the_latch() -> None:
    rig = rig_with()
    for _ in range(60):
        say(rig, 0.9)
        rig.tick(20)
        say(rig, 0.0)
        rig.tick(100)
    assert rig.report["latched"][0] == Reason.LATCHED


def test_an_adversarial_recovery_is_held_after_its_time_and_the_third_hold_latches() -> None:
    rig = rig_with(stiffness=[800.0] * 3 + [50.0] * 3)
    for hold in range(3):
        say(rig, 0.9, recovery=(20.0, 20.0, 20.0, 20.0))  # as far and as stiff as it can
        for tick in range(600):
            report = rig.tick()
            assert report["mode"] == Mode.REFLEX, tick
            assert np.linalg.norm(rig.memory["goal_position"] - rig.terms.position_base_m) <= 0.02 + 1e-12
        assert rig.memory["goal_stiffness"] == pytest.approx([150.0] * 3 + [15.0] * 3)
        report = rig.tick()
        if hold < 2:
            assert (report["mode"], report["reason"], report["latched"]) == (Mode.HOLD, Reason.RISK_HOLD, 0)
            assert stretch_m(rig) == 0.0
            live(rig, 600, 0.0)
            assert rig.report["mode"][0] == Mode.NORMAL
    assert (report["mode"], report["latched"]) == (Mode.STOP, Reason.RISK_STOP)
    assert live(rig, 300, 0.0)["latched"] == Reason.RISK_STOP
    rig.chain.reseed(rig.state, rig.terms)
    assert live(rig, 50, 0.0)["mode"] == Mode.NORMAL


def test_seeds_out_of_a_reflex_latch_at_the_third() -> None:
    rig = rig_with()
    for latched in (0, 0, int(Reason.RISK_STOP)):
        live(rig, 50, 0.9)
        assert rig.report["mode"][0] == Mode.REFLEX
        rig.chain.reseed(rig.state, rig.terms)
        assert rig.chain.latched == latched
    report = live(rig, 300, 0.0)
    assert (report["mode"], report["latched"]) == (Mode.STOP, Reason.RISK_STOP)
    rig.chain.reseed(rig.state, rig.terms)
    assert live(rig, 50, 0.0)["latched"] == 0


def test_a_learned_recovery_is_no_stiffer_than_configured() -> None:
    soft = replace(WIDE, reflex=ReflexConfig(max_recovery_stiffness=(90.0,) * 3 + (5.0,) * 3, max_offset_m=0.004))
    rig = rig_with(config=soft)
    say(rig, 0.9, recovery=(0.0, 20.0, 0.0, 20.0))
    report = rig.tick(200)
    assert report["executed_stiffness"].tolist() == [90.0] * 3 + [5.0] * 3
    assert np.linalg.norm(rig.memory["reference_position"] - rig.terms.position_base_m) == pytest.approx(0.004)


def test_a_hold_for_risk_ages_into_the_latch_if_the_force_stays() -> None:
    rig = rig_with()
    rig.state["wrench_tool"][0, 0] = 20.0
    say(rig, 0.9)
    rig.tick(602)
    assert live(rig, 4900, 0.0)["mode"] == Mode.HOLD
    report = live(rig, 200, 0.0)
    assert (report["mode"], report["latched"]) == (Mode.STOP, Reason.LATCHED)


def test_a_learned_recovery_stays_in_the_workspace_box() -> None:
    here = Rig().terms.position_base_m
    limiter = replace(WIDE.limiter, box_min_base_m=tuple(here - 0.002), box_max_base_m=tuple(here + 0.002))
    rig = rig_with(config=replace(WIDE, limiter=limiter))
    say(rig, 0.9, recovery=(20.0, 20.0, 20.0, 0.0))
    rig.tick(10)
    assert np.abs(rig.memory["goal_position"] - here).max() == pytest.approx(0.002)


def test_a_joint_limit_ends_the_motion_of_a_recovery() -> None:
    rig = rig_with()
    say(rig, 0.9, recovery=(20.0, 20.0, 20.0, 0.0))
    rig.tick(10)
    assert np.linalg.norm(rig.memory["goal_position"] - rig.terms.position_base_m) > 0.01
    rig.stand(3, ARM.upper_rad[3] - 0.01)
    report = rig.tick()
    assert (report["mode"], report["reason"]) == (Mode.REFLEX, Reason.JOINT_LIMIT)
    assert rig.memory["goal_position"].tolist() == rig.terms.position_base_m.tolist()


def test_the_scripted_recovery_goes_back_along_the_measured_path() -> None:
    rig = rig_with(config=replace(WIDE, reflex=ReflexConfig(recovery="scripted", retreat_m=0.01)))
    start = rig.terms.position_base_m.copy()
    for _ in range(200):  # the arm moves sideways
        rig.state["q_rad"][0, 0] += 3e-4
        rig.tick()
    here = rig.terms.position_base_m.copy()
    forward = (here - start) / np.linalg.norm(here - start)
    say(rig, 0.9)
    for _ in range(300):
        rig.tick()
        offset = rig.memory["reference_position"] - rig.terms.position_base_m
    assert -0.0125 < offset @ forward < -0.008
    assert np.linalg.norm(offset - forward * (offset @ forward)) < 1e-3
    assert rig.memory["reflex"]["path"]["gone_m"] == pytest.approx(0.011, abs=0.002)


def test_the_learned_recovery_is_followed_at_each_evaluation() -> None:
    seldom = replace(WIDE, critic=RiskCriticConfig(period_ticks=50))
    rig, axis = rig_with(config=seldom), Rig().terms.rotation_base[:, 1]
    say(rig, 0.9, recovery=(0.0, np.arctanh(0.25), 0.0, -20.0))
    report = rig.tick(200)
    assert rig.memory["reference_position"] - rig.terms.position_base_m == pytest.approx(0.005 * axis, abs=1e-7)
    assert report["executed_stiffness"] == pytest.approx([50.0] * 3 + [9.0] * 3)
    say(rig, 0.9, recovery=(0.0, -np.arctanh(0.25), 0.0, -20.0))
    goals = []
    for _ in range(50):
        rig.tick()
        goals.append((rig.memory["goal_position"] - rig.terms.position_base_m) @ axis)
    assert goals[0] == pytest.approx(0.005, abs=1e-7), "not asked yet"
    assert goals[-1] == pytest.approx(-0.005, abs=1e-7)


def test_a_recovery_whose_answer_is_no_number_is_replaced_by_the_script() -> None:
    rig = rig_with()
    say(rig, 0.9, recovery=(np.nan, 0.0, 0.0, 0.0))
    rig.tick(20)
    assert rig.report["mode"][0] == Mode.REFLEX
    assert np.isfinite(rig.memory["goal_position"]).all()
    assert rig.memory["goal_stiffness"].tolist() == [150.0] * 3 + [15.0] * 3


def test_a_critic_at_the_decision_rate_hands_back_when_its_decision_is_over() -> None:
    rig = rig_with(config=replace(WIDE, critic=RiskCriticConfig(mode="decision")), duration_s=0.3)
    say(rig, 0.9)
    assert rig.tick(20)["mode"] == Mode.NORMAL, "not asked before the next command"
    rig.send()
    assert rig.tick()["mode"] == Mode.REFLEX, "judged before it moves anything"
    say(rig, 0.0)
    assert rig.tick(295)["mode"] == Mode.REFLEX
    assert rig.tick(3)["mode"] == Mode.NORMAL, "just before the command would have ended"
    say(rig, 0.9)
    rig.tick()
    rig.send()  # exactly one decision after the one before
    assert rig.tick()["mode"] == Mode.REFLEX
    say(rig, 0.0)
    rig.tick(350)
    rig.send()
    assert rig.tick()["mode"] == Mode.NORMAL


def test_an_answer_that_is_no_number_is_certain_risk() -> None:
    rig = rig_with()
    say(rig, np.nan)
    assert rig.tick()["mode"] == Mode.REFLEX


def test_a_critic_that_was_not_asked_yet_alarms_nobody() -> None:
    rig = Rig(replace(WIDE, critic=RiskCriticConfig(period_ticks=100)))
    say(rig, 0.0)
    rig.chain.reseed(rig.state, rig.terms)
    rig.send()
    assert {int(rig.tick()["mode"]) for _ in range(150)} == {Mode.NORMAL}
    assert rig.report["risk"][0] == pytest.approx(0.0, abs=1e-5)


def test_a_wrench_that_stands_still_is_certain_risk_before_it_stops_the_arm() -> None:
    rig = rig_with()
    rig.state["wrench_tool"][0, 5] = -0.5e-9  # this value changes nothing from one tick to the next
    modes = [int(rig.tick()["mode"]) for _ in range(30)]
    assert modes[5] == Mode.NORMAL
    assert modes[-1] == Mode.REFLEX


def test_the_automatic_reset_and_an_arm_that_holds_are_left_alone() -> None:
    rig = rig_with(0.9, source=Source.RESET)
    assert rig.report["mode"][0] == Mode.NORMAL
    rig.send(source=Source.POLICY)
    assert rig.tick()["mode"] == Mode.REFLEX
    waiting = Rig()
    say(waiting, 0.9)
    report = waiting.tick(50)
    assert (report["mode"], report["reason"]) == (Mode.NORMAL, Reason.UNSEEDED)
