"""Every layer can be switched off by configuration, on every task; all are on by default."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.errors import UserError
from robot_rl.envs.layers import SafetyLayers, layers_from
from robot_rl.envs.make import make_env
from robot_rl.tasks.registry import make_task, task_names
from safety.reasons import Reason


def run(settings: dict[str, Any], steps: int = 5) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """A peg that is driven sideways and down at full speed."""
    env = make_env(make_task("peg_insertion"), teleport=True, layers=layers_from(settings))
    _, _ = env.reset(seed=3)
    torques, infos, original = [], [], env.link.step

    def step(duration_s: float, interruptible: bool = False) -> Any:
        reports = original(duration_s, interruptible)
        torques.append(reports["tau_executed_nm"].copy())
        return reports

    env.link.step = step  # type: ignore[method-assign]  # observed, not replaced
    for _ in range(steps):
        action = np.zeros(env.action_space.shape or (), np.float32)
        action[[0, 2]] = 1.0
        infos.append(env.step(action)[-1])
    env.close()
    return infos, torques


@pytest.mark.parametrize("name", task_names())
def test_all_layers_are_on_by_default(name: str) -> None:
    chain = SafetyLayers().apply_to(make_task(name).chain_config())
    assert chain.ledger.mode == "enforce" and chain.watch.enabled
    assert max(chain.limiter.leash[:3]) <= 0.03


def test_a_full_tank_and_quiet_limits_change_no_torque() -> None:
    _, with_all = run({})
    infos, without = run({"ledger": "off", "watch": False})
    np.testing.assert_allclose(np.concatenate(with_all), np.concatenate(without), rtol=0.0, atol=1e-12)
    assert np.isnan(infos[-1]["tank_energy_j"]) and "energy_spent_j" not in infos[-1]


def test_an_empty_budget_bites_unless_it_is_only_observed() -> None:
    poor, _ = run({"tank_start_j": 0.02})
    observed, _ = run({"tank_start_j": 0.02, "ledger": "observe"})
    assert min(info["granted"] for info in poor) < 1.0
    assert any(Reason.ENERGY_SHARE in info["reasons"] for info in poor)
    assert all(info["granted"] == 1.0 for info in observed)
    assert observed[-1]["tank_energy_j"] < 0.0 <= poor[-1]["tank_energy_j"] + 1e-3
    assert poor[-1]["action_executed"][2] < observed[0]["action_executed"][2]


def test_an_open_limiter_lets_the_reference_run_away() -> None:
    chain = SafetyLayers(limiter=False).apply_to(make_task("peg_insertion").chain_config())
    assert chain.limiter.leash[0] == pytest.approx(0.2)
    assert chain.torque == make_task("peg_insertion").chain_config().torque, "torque limits stay"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"leger": "off"}, "unknown setting safety_config.leger; did you mean ledger"),
        ({"ledger": "on"}, "safety_config.ledger=on is unknown; expected one of: enforce, observe, off"),
        ({"watch": 3}, "watch=3 does not fit SafetyLayers: expected true or false"),
        ({"tank_start_j": 100.0}, "safety_config.tank_start_j=100.0 does not fit"),
        ({"limiter": False, "critic_file": "any"}, "limiter=false opens the leash .* leave limiter on"),
    ],
)
def test_layers_that_do_not_exist_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        layers_from(settings).apply_to(make_task("peg_insertion").chain_config())


def test_a_bare_off_is_what_yaml_makes_of_it() -> None:
    assert layers_from({"ledger": False}).ledger == "off"
