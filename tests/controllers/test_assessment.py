"""The safety critic in the tick: what it sees, when it is asked, and weights that change between episodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from controllers.arm_model import ArmModel
from controllers.chain import ChainConfig
from controllers.description import fr3, square_peg_tool
from controllers.description.scene import Scene
from controllers.link import LockstepLink
from controllers.robots.mujoco_arm import MujocoArm
from controllers.types import Command
from data.errors import UserError
from safety.risk_critic import RiskCriticConfig
from safety.risk_memory import FEATURE_NAMES, FEATURES
from tests.controllers.chain_rig import WIDE, Rig
from tests.safety.critic_tools import constant_weights, random_weights, reference_risk

STIFFNESS = [400.0] * 3 + [30.0] * 3


def rig_with(mode: str = "control", weights: Any = None, **critic: Any) -> Rig:
    rig = Rig(replace(WIDE, critic=RiskCriticConfig(mode=mode, **critic)))
    if weights is not None:
        assert rig.chain.adopt_critic(weights) == 0
    return rig


def feature(rig: Rig, name: str) -> float:
    return float(rig.memory["risk"]["features"][FEATURE_NAMES.index(name)])


def test_without_weights_no_risk_is_claimed() -> None:
    rig = rig_with()
    rig.send()
    assert np.isnan(rig.tick(3)["risk"])
    assert rig.memory["risk"]["version"] == 0 and rig.memory["risk"]["fresh"] == 0


def test_features_stand_in_tool_axes_and_units_of_their_limits() -> None:
    rig = rig_with()
    rig.state["wrench_tool"] = [15.0, 0.0, -30.0, 0.0, 1.5, 0.0]
    rig.aim(offset_m=(0.05, 0.0, 0.0))
    rig.send(stiffness=[1000.0, 100.0, 100.0, 10.0, 10.0, 10.0])
    rig.tick(40)
    assert feature(rig, "fx") == pytest.approx(0.5, abs=1e-4) and feature(rig, "fz") == pytest.approx(-1.0, abs=1e-4)
    assert feature(rig, "my") == pytest.approx(0.5, abs=1e-4)
    assert feature(rig, "force_now") == pytest.approx(np.hypot(15.0, 30.0) / 30.0, abs=1e-5)
    assert feature(rig, "moment_now") == pytest.approx(0.5, abs=1e-5)
    assert feature(rig, "dfx") == pytest.approx(0.0, abs=1e-6), "a steady force has no rate"
    R = rig.terms.rotation_base
    lead = R.T @ (rig.memory["reference_position"] - rig.terms.position_base_m) / 0.02
    reach_m = rig.chain.config_record["critic"]["travel"][0, 0]
    ahead = R.T @ (rig.memory["goal_position"] - rig.memory["reference_position"]) / reach_m
    for index, axis in enumerate("xyz"):
        assert feature(rig, f"spring_{axis}") == pytest.approx(lead[index], abs=0.02)  # one tick of the reference
        assert feature(rig, f"ahead_{axis}") == pytest.approx(np.clip(ahead[index], -1.0, 1.0), abs=0.01)
        stiffness = R[:, index] ** 2 @ [1000.0, 100.0, 100.0]
        assert feature(rig, f"goal_stiffness_{axis}") == pytest.approx(np.log10(stiffness / 100.0), abs=1e-5)


def test_the_force_right_now_is_the_mean_of_three_ticks() -> None:
    rig = rig_with()
    rig.tick(3)
    seen = []
    for force_n in (30.0, 30.0, 30.0, 30.0):
        rig.state["wrench_tool"][0, 0] = force_n
        rig.tick()
        seen.append(feature(rig, "force_now"))
    np.testing.assert_allclose(seen, [1 / 3, 2 / 3, 1.0, 1.0], atol=1e-6)


def test_features_do_not_know_where_the_arm_stands() -> None:
    rows = []
    for turn in (0.0, 1.2):
        rig = rig_with()
        rig.state["q_rad"][0, 0] += turn  # the same arm, turned about the vertical axis
        rig.measure()
        rig.chain.reseed(rig.state, rig.terms)
        offset = Rotation.from_rotvec([0.0, 0.0, turn]).apply([0.01, 0.02, -0.01])
        rig.aim(offset_m=offset)
        rig.send()
        rig.tick(30)
        rows.append(rig.memory["risk"]["features"].copy())
    np.testing.assert_allclose(rows[0], rows[1], atol=2e-3)


def test_depth_and_tilt_are_about_the_surface_that_a_task_names() -> None:
    rig = rig_with(surface=(0.3, 0.0, 0.2, 0.0, 0.0, -1.0))
    rig.aim(offset_m=(0.01, 0.0, -0.02))
    rig.send()
    rig.tick(30)
    assert feature(rig, "depth") == pytest.approx((0.2 - rig.terms.position_base_m[2]) / 0.05, abs=1e-5)
    reference_m = rig.memory["reference_position"].reshape(-1)
    assert feature(rig, "reference_depth") == pytest.approx((0.2 - reference_m[2]) / 0.05, abs=2e-3)  # one tick
    across = rig.terms.rotation_base.T @ [0.0, 0.0, -1.0]
    assert feature(rig, "tilt_x") == pytest.approx(across[0] / 0.1, abs=1e-4)
    assert feature(rig, "tilt_y") == pytest.approx(across[1] / 0.1, abs=1e-4)


def test_the_tick_reports_what_the_networks_say() -> None:
    weights = random_weights()
    rig = rig_with(weights=weights)
    rig.aim(offset_m=(0.0, 0.02, -0.01))
    rig.send()
    for _ in range(20):
        report = rig.tick()
        risk, offset_m, stiffness = reference_risk(weights, rig.memory["risk"]["features"])
        assert report["risk"] == pytest.approx(risk, abs=1e-5)
        offset_base = rig.terms.rotation_base @ offset_m
        np.testing.assert_allclose(rig.memory["risk"]["recovery_offset_base_m"], offset_base, atol=1e-6)
        np.testing.assert_allclose(rig.memory["risk"]["recovery_stiffness"], stiffness, rtol=1e-4)


def test_modes_ask_never_once_a_command_or_every_so_many_ticks() -> None:
    fresh = {}
    for mode, period in (("never", 1), ("decision", 1), ("control", 1), ("control", 5)):
        rig = rig_with(mode, constant_weights(0.25), period_ticks=period)
        seen = []
        for tick in range(20):
            if tick % 10 == 0:
                rig.send()
            report = rig.tick()
            seen.append(int(rig.memory["risk"]["fresh"]))
            if mode == "never":
                assert np.isnan(report["risk"])
            elif 1 in seen:
                assert report["risk"] == pytest.approx(0.25), "an answer stands until the next"
        fresh[mode, period] = seen
    assert sum(fresh["never", 1]) == 0
    assert [tick for tick, one in enumerate(fresh["decision", 1]) if one] == [0, 10]
    assert sum(fresh["control", 1]) == 20
    assert sum(fresh["control", 5]) == 4


def test_a_force_sensor_that_stands_still_is_certain_risk() -> None:
    rig = rig_with(weights=constant_weights(0.1))
    rig.send()
    assert rig.tick(5)["risk"] == pytest.approx(0.1)
    stale = rig.chain.config_record["watch"]["stale_ticks"][0]
    values = []
    for _ in range(stale + 2):
        rig.state["stamp_ns"] += 1_000_000
        rig.chain.tick(rig.state, rig.terms, rig.command, rig.report)
        values.append(float(rig.report["risk"][0]))
    assert values[0] == pytest.approx(0.1) and values[-1] == 1.0


def test_a_seed_forgets_the_risk_and_the_wrench_before_it() -> None:
    rig = rig_with("decision", constant_weights(0.9))
    rig.state["wrench_tool"][0, 0] = 20.0
    rig.send()
    assert rig.tick(3)["risk"] == pytest.approx(0.9)
    rig.state["wrench_tool"][0, 0] = 0.0
    rig.chain.reseed(rig.state, rig.terms)
    assert np.isnan(rig.tick()["risk"]), "no command since the seed, so nothing was asked"
    assert feature(rig, "fx") == pytest.approx(0.0, abs=1e-9)


@pytest.fixture
def link() -> LockstepLink:
    scene = Scene(tool=square_peg_tool())
    arm = MujocoArm(fr3(), scene)
    return LockstepLink(arm, ArmModel(fr3(), scene.tool), ChainConfig())


def test_weights_change_at_a_reset_only(link: LockstepLink) -> None:
    link.load_critic(constant_weights(0.2, version=1))
    assert np.isnan(link.step(0.01)["risk"]).all()
    link.reset()
    np.testing.assert_allclose(link.step(0.01)["risk"], 0.2, rtol=1e-5)
    link.load_critic(constant_weights(0.4, version=2))
    np.testing.assert_allclose(link.step(0.01)["risk"], 0.2, rtol=1e-5)
    link.reset()
    np.testing.assert_allclose(link.step(0.01)["risk"], 0.4, rtol=1e-5)


def test_a_link_refuses_wrong_weights_and_keeps_the_old_ones(link: LockstepLink) -> None:
    link.load_critic(constant_weights(0.2, version=5))
    link.reset()
    broken = constant_weights(0.9, version=6)
    broken["second"][1, 3, 3] = np.nan
    older = constant_weights(0.9, version=4)
    other = constant_weights(0.9, version=6, config=RiskCriticConfig(max_force_n=12.0))
    for weights, word in ((broken, "NaN"), (older, "version"), (other, "limits")):
        with pytest.raises(UserError, match=word):
            link.load_critic(weights)
        link.reset()
        np.testing.assert_allclose(link.step(0.01)["risk"], 0.2, rtol=1e-5)
    assert link.chain.critic_version == 5


def test_logged_features_are_those_that_the_tick_computed(link: LockstepLink) -> None:
    weights = random_weights()
    link.load_critic(weights)
    link.reset()
    link.take_features()
    here = link.latest()
    goal = here.position_base_m + np.array([0.0, 0.02, 0.0])
    link.send(Command(goal, here.quaternion_base_xyzw, np.array(STIFFNESS), duration_s=0.1))
    reports = link.step(0.07)
    features, wrench_tool = link.take_features()
    np.testing.assert_array_equal(wrench_tool, reports["wrench_tool"])
    assert features.shape == (70, FEATURES) and features.dtype == np.float32
    expected = [reference_risk(weights, row)[0] for row in features]
    np.testing.assert_allclose(reports["risk"], expected, atol=1e-5)
    assert len(link.take_features().features) == 0
