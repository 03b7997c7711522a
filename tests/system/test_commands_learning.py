"""Whether it learns: one short seed of the published figures (docs/results/ has all of them)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.command_line import records, typed


@pytest.mark.slow
def test_an_imitated_policy_becomes_a_better_one(tmp_path: Path) -> None:
    typed("collect task=peg_insertion episodes=20 out=demos.zarr", tmp_path)
    line = "pretrain task=peg_insertion data=demos.zarr eval_episodes=40 out=runs/base"
    base = typed(line + " --json", tmp_path).figures["success_rate"]
    line = "finetune task=peg_insertion data=demos.zarr base=runs/base agent=residual steps=2500 out=runs/x"
    figures = typed(line + " eval_every=0 final_episodes=40 --json", tmp_path).figures
    print(f"{base:.0%} imitated, {figures['success_rate']:.0%} after 2500 steps, of 40 episodes each")
    assert 0.4 <= base <= 0.85
    assert figures["success_rate"] >= max(0.85, base + 0.1)


@pytest.mark.slow
def test_rlpd_learns_to_insert_the_peg(tmp_path: Path) -> None:
    typed("collect task=peg_insertion episodes=20 out=demos.zarr", tmp_path)
    line = "finetune task=peg_insertion data=demos.zarr agent=rlpd steps=3000 eval_every=0 final_episodes=40 out=runs/x"
    figures = typed(line + " --json", tmp_path).figures
    (final,) = records(tmp_path / "runs/x", "eval")
    assert final["deterministic"] is True
    interval = f"{final['low']:.0%}-{final['high']:.0%}"
    print(
        f"{figures['success_rate']:.0%} ({interval}) of 40 episodes after 3000 steps, {final['wall_s']:.0f} s training"
    )
    assert figures["success_rate"] >= 0.8
