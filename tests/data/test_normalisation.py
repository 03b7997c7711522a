"""Normalisers: ranges, inverse, constants, files and widths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.normalisation import MODES, Mode, Normaliser

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, mode=st.sampled_from(MODES), width=st.integers(1, 6), size=st.floats(1e-3, 1e3))
def test_invert_undoes_apply(seed: int, mode: Mode, width: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(rng.normal(size=width), size, (20, width))
    normaliser = Normaliser.fit(rows, mode)
    other = rng.normal(0, size, (3, 2, width))
    np.testing.assert_allclose(normaliser.invert(normaliser.apply(other)), other, atol=1e-9 * (1 + size))


@given(seed=SEEDS, width=st.integers(1, 6))
def test_fitted_data_fills_its_range(seed: int, width: int) -> None:
    rows = np.random.default_rng(seed).normal(3.0, 2.0, (30, width))
    limits = Normaliser.fit(rows).apply(rows)
    np.testing.assert_allclose([limits.min(axis=0), limits.max(axis=0)], [[-1] * width, [1] * width], atol=1e-12)
    gaussian = Normaliser.fit(rows, "gaussian").apply(rows)
    np.testing.assert_allclose([gaussian.mean(axis=0), gaussian.std(axis=0)], [[0] * width, [1] * width], atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_a_constant_dimension_maps_to_zero_and_keeps_deviations(mode: Mode) -> None:
    rows = np.stack([np.full(5, 0.7), np.arange(5.0)], axis=1)
    normaliser = Normaliser.fit(rows, mode)
    np.testing.assert_allclose(normaliser.apply(rows)[:, 0], 0.0, atol=1e-12)
    assert normaliser.apply(np.array([0.9, 0.0]))[0] == pytest.approx(0.2)


def test_the_float_type_is_kept() -> None:
    normaliser = Normaliser.fit(np.arange(6.0).reshape(3, 2))
    assert normaliser.apply(np.zeros((4, 2), np.float32)).dtype == np.float32
    assert normaliser.invert(np.zeros(2, np.float64)).dtype == np.float64


@pytest.mark.parametrize("mode", MODES)
def test_files_and_arrays_give_the_same_back(tmp_path: Path, mode: Mode) -> None:
    normaliser = Normaliser.fit(np.random.default_rng(0).normal(size=(9, 3)), mode)
    normaliser.save(tmp_path / "n.safetensors")
    for again in (
        Normaliser.load(tmp_path / "n.safetensors"),
        Normaliser.from_arrays(normaliser.to_arrays("a."), "a."),
    ):
        assert again.mode == mode
        np.testing.assert_array_equal(again.offset, normaliser.offset)
        np.testing.assert_array_equal(again.scale, normaliser.scale)


def test_misuse_is_said_plainly() -> None:
    normaliser = Normaliser.fit(np.arange(6.0).reshape(3, 2))
    with pytest.raises(
        UserError, match=r"a normaliser of width 2 got an array of shape \(5, 3\); was it fitted to another"
    ):
        normaliser.apply(np.zeros((5, 3)))
    with pytest.raises(UserError, match=r"a normaliser of width 2 got an array of shape \(\)"):
        normaliser.invert(np.zeros(()))
    with pytest.raises(UserError, match=r"expected finite numbers .* in dimensions \[1\]"):
        Normaliser.fit(np.array([[0.0, np.nan], [1.0, 2.0]]))
    with pytest.raises(UserError, match=r"expected rows of vectors .* got shape \(0, 3\)"):
        Normaliser.fit(np.zeros((0, 3)))
    with pytest.raises(UserError, match="not there: normaliser.scale"):
        Normaliser.from_arrays({name: array for name, array in normaliser.to_arrays().items() if "scale" not in name})
    with pytest.raises(UserError, match="scale must be above 0"):
        Normaliser("limits", np.zeros(2), np.zeros(2))
