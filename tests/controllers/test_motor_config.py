from __future__ import annotations

import numpy as np
import pytest

from controllers.description.fr3 import fr3
from controllers.description.scene import Scene
from controllers.description.tool import square_peg_tool
from controllers.description.urdf import to_urdf
from controllers.motor_config import MotorConfig, mujoco_motor
from controllers.motor_loop import TorqueRamp, forbidden_modules
from controllers.plain import from_plain, to_plain
from controllers.realtime import RealtimeConfig
from data.errors import UserError


def test_a_configuration_survives_its_json() -> None:
    config = MotorConfig("arm", "a:b", {"x": [1, 2]}, RealtimeConfig(priority=50), leave_after_s=3.0)
    assert MotorConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": "x"}', '{"name": "x", "builder": "a:b", "colour": 1}'])
def test_text_that_is_no_configuration_is_a_users_error(text: str) -> None:
    with pytest.raises(UserError, match="expected a motor configuration as JSON"):
        MotorConfig.from_json(text)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("builder", "nothing", "builder must read 'module:function'"),
        ("orphan_after_s", 0.0, "orphan_after_s must be 0.05..5"),
        ("leave_after_s", 0.1, "leave_after_s must be above orphan_after_s"),
        ("hold_s", float("nan"), "hold_s must be 0..2"),
        ("max_torque_step_nm", 0.0, "max_torque_step_nm must be above 0"),
        ("warm_ticks", 0, "warm_ticks must be"),
    ],
)
def test_values_out_of_bounds_are_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MotorConfig(**{"name": "arm", "builder": "a:b", field: value})  # type: ignore[arg-type]


def test_an_unknown_builder_is_a_users_error() -> None:
    with pytest.raises(UserError, match="no builder 'nowhere:build'"):
        MotorConfig("arm", "nowhere:build").build()


def test_arm_and_scene_survive_the_plain_form() -> None:
    arm, tool = fr3(), square_peg_tool()
    there = MotorConfig.from_json(mujoco_motor("arm", arm=arm, scene=Scene(tool=tool)).to_json())
    arm_again, scene_again = from_plain(there.options["arm"]), from_plain(there.options["scene"])
    assert to_urdf(arm_again, scene_again.tool) == to_urdf(arm, tool)
    assert to_plain(arm_again) == to_plain(arm) and to_plain(scene_again) == to_plain(Scene(tool=tool))


@pytest.mark.parametrize(
    "name", ["os:system", "subprocess:Popen", "controllers.plain:to_plain", "controllers.types:Source"]
)
def test_the_plain_form_makes_nothing_but_this_projects_dataclasses(name: str) -> None:
    with pytest.raises(ValueError, match="dataclass"):
        from_plain({"class": name, "fields": {}})


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="function has no plain form"):
        to_plain(to_plain)


def test_the_ramp_holds_then_falls_to_zero_and_never_faster_than_its_step() -> None:
    ramp = TorqueRamp(hold_ticks=5, ramp_ticks=20, max_step_nm=0.5)
    wish = np.array([40.0, -3.0, 0.0, 1.0, 2.0, -1.0, 0.5])
    applied = []
    while not ramp.done:
        applied.append(ramp.limit(wish))
        assert len(applied) < 1000
    taus = np.array(applied)
    assert (taus[:6] == wish).all()
    assert np.abs(np.diff(taus, axis=0)).max() <= 0.5 + 1e-12
    assert not taus[-1].any()
    assert (np.abs(taus[1:]) <= np.abs(taus[:-1]) + 1e-12).all()


def test_the_ramp_takes_a_broken_wish_for_zero() -> None:
    ramp = TorqueRamp(0, 1, 0.5)
    assert not ramp.limit(np.array([np.nan, np.inf, -np.inf, 0.0, 0.0, 0.0, 0.0])).any()


def test_torch_and_rclpy_are_named_when_loaded() -> None:
    assert forbidden_modules({"numpy": 1, "torch": 1, "rclpy": 1}) == ["rclpy", "torch"]
    assert forbidden_modules({"numpy": 1}) == []
