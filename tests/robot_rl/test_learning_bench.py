from __future__ import annotations

import pytest

from robot_rl.bench import learner


def test_the_learner_benchmark_returns_its_figures_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("stable_baselines3", reason="the comparison needs the extra [bench]")
    figures = learner.run(rounds=1, updates=2)
    assert capsys.readouterr().out == ""
    wanted = {"updates_per_s", "ratio_sb3", "ratio_gemm", "bf16_updates_per_s"}
    assert wanted <= set(figures) and all(value > 0 for value in figures.values())


def test_an_update_costs_what_its_matrix_products_add_up_to() -> None:
    assert learner.update_flop() == pytest.approx(16 * 2 * 256**3, rel=0.25)  # sixteen hidden layers, and the thin ones
