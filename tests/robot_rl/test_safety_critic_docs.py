"""The page on the safety critic tells the defaults and the features that the code has."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from robot_rl.bench.critic import measure_critic
from robot_rl.safety_critic.calibration import MAX_ECE, MAX_FALSE_REFLEXES, MIN_RECALL
from robot_rl.safety_critic.online import OnlineConfig
from robot_rl.safety_critic.training import CriticTrainingConfig
from safety.risk_critic import RiskCriticConfig
from safety.risk_memory import ACTION_FEATURES, FEATURES, PLACE_FEATURES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "safety-critic.md").read_text()


@pytest.mark.parametrize("kind", [RiskCriticConfig, CriticTrainingConfig, OnlineConfig])
def test_the_tables_are_the_dataclasses(kind: Any) -> None:
    for field in fields(kind):
        value = field.default if isinstance(field.default, str | None) else f"{field.default:g}"
        assert f"| `{field.name}` | {value} |" in PAGE, field.name


def test_features_and_gate_are_those_of_the_code() -> None:
    assert f"{FEATURES} numbers in tool axes" in PAGE
    assert f"| 38-{ACTION_FEATURES.stop - 1} | stiffness of the goal |" in PAGE
    assert f"| {PLACE_FEATURES.start}, {PLACE_FEATURES.start + 1} | depth of tool and reference" in PAGE
    for figure in (f"≤ {MAX_ECE}", f"≥ {MIN_RECALL}", f"≤ {MAX_FALSE_REFLEXES}"):
        assert figure in PAGE


def test_the_bench_times_the_critic() -> None:
    figures = measure_critic(200)
    assert 0.0 < figures["critic_p50_us"] <= figures["critic_p99_us"] <= figures["critic_p999_us"]
