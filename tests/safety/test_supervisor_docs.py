"""The page of the supervisor tells the defaults and states that the code has."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from controllers.flight.config import FlightConfig
from safety.supervision import Heartbeat, HeartbeatConfig, SupervisorConfig, SupervisorState

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "safety-supervisor.md").read_text()


@pytest.mark.parametrize("kind", [SupervisorConfig, FlightConfig])
def test_the_tables_are_the_dataclasses(kind: Any) -> None:
    for field in fields(kind):
        if field.default is not MISSING and isinstance(field.default, bool | int | float):
            text = str(field.default) if isinstance(field.default, bool) else f"{field.default:g}"
            assert f"| `{field.name}` | {text} |" in PAGE, field.name
    assert all(name in PAGE for name in SupervisorConfig().automatic)


def test_heartbeats_and_states_are_the_codes() -> None:
    for source in Heartbeat:
        soft_s, hard_s = HeartbeatConfig().limits_s(source)
        hard = "-" if hard_s == float("inf") else f"{hard_s:g} s"
        assert f"| `{source.name.lower()}_s` | {soft_s:g} s | {hard} |" in PAGE
    for state in SupervisorState:
        assert f"\n| {state.name} |" in PAGE
