"""Weights of the safety critic on their way into a real motor process: swapped at a reset, or refused and counted."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.motor_config import MotorConfig
from controllers.realtime import RealtimeConfig
from controllers.shared_memory.mailbox import MailboxWriter, record_bytes
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from data.errors import UserError
from safety.risk_critic import RiskCriticConfig
from safety.risk_weights import WeightsRefusal
from tests.safety.critic_tools import constant_weights

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PYTHONPATH": f"{ROOT / 'tests' / 'controllers'}{os.pathsep}{ROOT}"}


@pytest.fixture(scope="module")
def link() -> Iterator[SharedMemoryLink]:
    ordinary = RealtimeConfig(priority=0, core=-2, lock_memory=False)
    motor = MotorConfig(f"test-{uuid.uuid4().hex[:12]}", "motor_fakes:real_chain", {"noisy": True}, ordinary)
    with SharedMemoryLink(SharedMemoryLinkConfig(motor), ENVIRONMENT) as link:
        yield link


def risk_of(link: SharedMemoryLink) -> float:
    link.step(0.02)
    return float(link.latest().risk)


@pytest.fixture
def in_use(link: SharedMemoryLink) -> int:
    """Weights that answer 0.25, in use; returns their version."""
    version = link.status().critic_version + 10
    link.load_critic(constant_weights(0.25, version))
    link.reset()
    assert link.status().critic_version == version
    return version


def test_weights_are_swapped_between_episodes(link: SharedMemoryLink, in_use: int) -> None:
    assert risk_of(link) == pytest.approx(0.25, abs=1e-5)
    link.load_critic(constant_weights(0.5, in_use + 1))
    assert risk_of(link) == pytest.approx(0.25, abs=1e-5), "not before the reset"
    link.reset()
    assert risk_of(link) == pytest.approx(0.5, abs=1e-5)
    assert link.status().critic_refusal == WeightsRefusal.ACCEPTED


def publish(link: SharedMemoryLink, weights: Any, flip: int | None = None) -> None:
    """Writes weights into the block past every check of the link; flip: a byte that is damaged on the way."""
    mailbox = link.side.critic
    assert isinstance(mailbox, MailboxWriter)
    number = mailbox.begin()
    mailbox.fill(number, bytes(record_bytes(weights)))
    if flip is not None:
        mailbox._slots.payloads[number & 1][flip] ^= 0xFF
    mailbox.commit(number)


@pytest.mark.parametrize("refusal", [refusal for refusal in WeightsRefusal if refusal != WeightsRefusal.ACCEPTED])
def test_f19_wrong_weights_are_refused_and_the_old_ones_stay(
    link: SharedMemoryLink, in_use: int, refusal: WeightsRefusal
) -> None:
    weights = constant_weights(0.9, in_use + 1)
    flip = None
    if refusal == WeightsRefusal.DAMAGED:
        flip = weights.nbytes // 2
    elif refusal == WeightsRefusal.LAYOUT:
        weights["layout"] += 1
    elif refusal == WeightsRefusal.NOT_FINITE:
        weights["first"][1, 7, 7] = np.nan
    elif refusal == WeightsRefusal.OLDER:
        weights["version"] = in_use - 1
    elif refusal == WeightsRefusal.SAME_VERSION:
        weights["version"] = in_use
    elif refusal == WeightsRefusal.LIMITS:
        weights = constant_weights(0.9, in_use + 1, RiskCriticConfig(max_force_n=12.0))
    else:
        weights["discount"] = 1.5
    before = link.status().critic_refused
    publish(link, weights, flip)
    link.reset()
    status = link.status()
    assert (status.critic_refusal, status.critic_refused) == (refusal, before + 1)
    assert status.critic_version == in_use
    assert risk_of(link) == pytest.approx(0.25, abs=1e-5)


def test_the_link_itself_turns_nan_down(link: SharedMemoryLink, in_use: int) -> None:
    weights = constant_weights(0.9, in_use + 1)
    weights["risk_bias"][0] = np.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        link.load_critic(weights)
    link.reset()
    assert link.status().critic_version == in_use


def test_a_reset_tells_that_the_motor_refused_what_was_handed_over(link: SharedMemoryLink, in_use: int) -> None:
    link.load_critic(constant_weights(0.9, in_use + 1, RiskCriticConfig(max_force_n=12.0)))
    with pytest.raises(UserError, match="were refused: they were trained for other violation limits"):
        link.reset()
    link.reset()  # said once; the old ones go on
    assert link.status().critic_version == in_use
    assert risk_of(link) == pytest.approx(0.25, abs=1e-5)
    link.load_critic(constant_weights(0.9, in_use))
    with pytest.raises(UserError, match="other ones of the same version are in use"):
        link.reset()
    link.load_critic(constant_weights(0.5, in_use + 1))
    link.reset()
    assert risk_of(link) == pytest.approx(0.5, abs=1e-5)
