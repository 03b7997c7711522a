"""The last layer before the drive, for any wish."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.torque_limits import TorqueLimitConfig, limit_torque

RATED = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
LIMITS = TorqueLimitConfig().to_record(RATED, 0.001)
BOUND = np.array(RATED) * 0.8
STEP = 0.5
any_float = st.floats(allow_nan=True, allow_infinity=True, width=64)
wishes = st.lists(st.lists(any_float, min_size=7, max_size=7), min_size=1, max_size=20)


@given(wishes)
def test_bound_and_rate_hold_for_any_wishes(stream: list[list[float]]) -> None:
    previous = np.zeros(7)
    for wish in stream:
        out = np.empty(7)
        code = limit_torque(np.array(wish), previous, LIMITS[()], out)
        assert np.isfinite(out).all()
        assert (np.abs(out) <= BOUND).all()
        assert (np.abs(out - previous) <= STEP + 1e-12).all()
        assert (code == 3) == (not np.isfinite(wish).all())
        previous = out


@given(st.lists(st.floats(-0.4, 0.4), min_size=7, max_size=7))
def test_a_small_wish_passes_untouched(wish: list[float]) -> None:
    out = np.empty(7)
    assert limit_torque(np.array(wish), np.zeros(7), LIMITS[()], out) == 0
    assert out.tolist() == wish


@given(st.lists(st.floats(-200.0, 200.0), min_size=7, max_size=7))
def test_a_torque_beyond_its_bound_is_scaled_as_a_whole(wish: list[float]) -> None:
    """One joint that is cut by itself would change the direction of the force at the tool, and may raise it."""
    wide = TorqueLimitConfig(max_rate_nm_s=1000.0).to_record(RATED, 1.0)[()]
    out = np.empty(7)
    code = limit_torque(np.array(wish), np.zeros(7), wide, out)
    share = min(1.0, *(BOUND / np.maximum(np.abs(wish), 1e-300)))
    np.testing.assert_allclose(out, share * np.array(wish), rtol=1e-12)
    assert (code == 2) == (share < 1.0)


def test_codes_tell_what_bit() -> None:
    out = np.empty(7)
    assert limit_torque(np.full(7, 1.0), np.zeros(7), LIMITS[()], out) == 1
    assert limit_torque(BOUND + 0.1, BOUND, LIMITS[()], out) == 2
    assert limit_torque(np.full(7, np.nan), np.ones(7), LIMITS[()], out) == 3
    assert out.tolist() == [0.5] * 7, "a wish that is no number lets go at the rate limit"
    assert limit_torque(np.full(7, np.nan), np.zeros(7), LIMITS[()], out) == 3
    assert not out.any(), "and stays at zero there"


def test_a_torque_from_outside_its_bound_comes_back_at_the_rate_limit() -> None:
    out = np.empty(7)
    limit_torque(np.full(7, 100.0), BOUND + 5.0, LIMITS[()], out)
    np.testing.assert_allclose(out, BOUND + 4.5)


@pytest.mark.parametrize("changes", [{"share_of_rated": 1.1}, {"share_of_rated": 0.0}, {"max_rate_nm_s": 1001.0}])
def test_limits_above_the_drives_own_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be in"):
        TorqueLimitConfig(**changes)
