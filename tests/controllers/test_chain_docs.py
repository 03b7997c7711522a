"""The pages tell the defaults that the code has."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from controllers.impedance import ImpedanceConfig
from controllers.robots.mujoco_arm import WristSensorConfig
from robot_rl.envs.reset import ResetConfig
from safety.ledger import LedgerConfig
from safety.reasons import Reason, Refusal
from safety.reference_limiter import ReferenceLimiterConfig
from safety.reflex import ReflexConfig
from safety.torque_limits import TorqueLimitConfig
from safety.watch import WatchConfig

DOCS = Path(__file__).resolve().parents[2] / "docs"


def text_of(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return " ".join(f"{number:g}" for number in (value if isinstance(value, tuple) else (value,)))


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        (ReferenceLimiterConfig, "control.md"),
        (ImpedanceConfig, "control.md"),
        (TorqueLimitConfig, "control.md"),
        (LedgerConfig, "safety.md"),
        (WatchConfig, "safety.md"),
        (ReflexConfig, "safety-reflex.md"),
        (WristSensorConfig, "environment.md"),
        (ResetConfig, "environment.md"),
    ],
)
def test_the_tables_are_the_dataclasses(kind: Any, page: str) -> None:
    text = (DOCS / page).read_text()
    for field in fields(kind):
        if field.default is not MISSING:
            assert f"| `{field.name}` | {text_of(field.default)} |" in text, f"{page}: {kind.__name__}.{field.name}"


@pytest.mark.parametrize("codes", [Reason, Refusal])
def test_every_code_is_explained(codes: Any) -> None:
    text = (DOCS / "control.md").read_text()
    for code in codes:
        assert f"| {int(code)} | {code.name} |" in text
