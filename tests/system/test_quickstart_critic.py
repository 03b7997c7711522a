"""The quick start of a task that says how its safety critic is made runs with that critic, in every part."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from data.errors import UserError
from robot_rl.config import QuickstartConfig
from robot_rl.envs.make import chain_of
from robot_rl.safety_critic.calibration import Calibration
from robot_rl.safety_critic.files import CRITIC_FILE, Critic, load_critic, save_critic
from robot_rl.tasks.base import CriticRecipe
from robot_rl.tasks.maze import Maze
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.tasks.registry import make_task
from robot_rl.workflows.quickstart import run
from tests.safety.critic_tools import constant_weights
from tests.system.command_line import TINY_AGENT, TINY_POLICY, begun, finish, records, typed

pytestmark = pytest.mark.slow
LINE = (
    "quickstart task=maze episodes=6 steps=60 eval_every=0 final_episodes=1 ablation=false out=runs/q "
    f"{TINY_POLICY} {TINY_AGENT}"
)


def made_before(folder: Path, passes: bool) -> Path:
    """Begins the quick start, kills it and writes the critic that it would have made itself in some minutes."""
    run = folder / "runs/q"
    process = begun(LINE, folder, lambda: (run / "safety/maze-episodes-0-0/config.json").is_file())
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    path = run / "safety/maze-critic-0" / CRITIC_FILE
    path.parent.mkdir(parents=True)
    figures = Calibration(0.3, 0.2, 0.01, 0.97 if passes else 0.5, 0.9, 0.01, 0.0, 40, 100, 1000, 0.05)
    weights = constant_weights(0.01, 3, chain_of(make_task("maze")).critic)
    save_critic(path, Critic(weights, 0.3, "maze", calibration=figures))
    return path


def test_every_part_runs_with_the_critic_and_the_run_keeps_it(tmp_path: Path) -> None:
    made = made_before(tmp_path, passes=True)
    done = typed(LINE, tmp_path)
    lines = [line for line in done.error.splitlines() if line.startswith("safety layers")]
    assert lines and all(re.search(r"safety critic \(on, every tick, threshold 0.3", line) for line in lines)
    assert "no safety critic" not in done.error
    own = tmp_path / "runs/q" / CRITIC_FILE
    assert own.read_bytes() == made.read_bytes()
    noted = json.loads((tmp_path / "runs/q/versions.json").read_text())["safety_critics"]
    assert noted
    made.unlink()
    assert "every tick, threshold 0.3" in typed("evaluate run=runs/q episodes=1", tmp_path).error
    typed("evaluate run=runs/q episodes=1 safety_config.ledger=off", tmp_path)
    layers = [record["safety_layers"]["passivity ledger"] for record in records(tmp_path / "runs/q", "eval")[-2:]]
    assert layers == ["on", "off"]
    before = records(tmp_path / "runs/q", "eval")
    typed(LINE, tmp_path)
    assert records(tmp_path / "runs/q", "eval") == before


def test_a_critic_that_does_not_pass_ends_it(tmp_path: Path) -> None:
    made_before(tmp_path, passes=False)
    message = typed(LINE, tmp_path, status=2).complaint
    assert "recall" in message and not (tmp_path / "runs/q/demos.zarr").exists()


def test_without_it_on_request(tmp_path: Path) -> None:
    done = typed(LINE + " critic=false", tmp_path)
    assert "no safety critic" in done.error and not (tmp_path / "runs/q" / CRITIC_FILE).exists()


def test_it_collects_trains_and_calibrates_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a few episodes only: what they make cannot pass the gate, which then ends the quick start."""
    monkeypatch.setattr(Maze, "critic_recipe", CriticRecipe(12, ({},), "heldout"))
    config = QuickstartConfig(task="maze", episodes=6, steps=60, ablation=False, out=str(tmp_path / "q"))
    with pytest.raises(UserError, match="does not pass its calibration gate"):
        run(config)
    made = load_critic(tmp_path / "q/safety/maze-critic-0" / CRITIC_FILE, override_gate=True)
    assert made.calibration is not None and made.calibration.episodes == 12
    assert not (tmp_path / "q" / CRITIC_FILE).exists() and not (tmp_path / "q/demos.zarr").exists()


def test_the_default_one_makes_and_uses_a_critic_that_sees_the_plate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a few episodes only: it cannot pass the gate and would let nobody work, so that nothing obeys it."""
    recipe, trembling = PegInsertion.critic_recipe, {"operator_noise": 1.0}
    assert recipe.surface is not None
    few = replace(recipe, episodes=16, task_configs=(trembling,), held_out_configs=(trembling,))
    monkeypatch.setattr(PegInsertion, "critic_recipe", few)
    config = QuickstartConfig(
        episodes=8,
        steps=60,
        eval_every=0,
        final_episodes=1,
        ablation=False,
        out=str(tmp_path / "q"),
        policy_config={"steps": 200, "width": 16, "blocks": 1},
        agent_config={"hidden": [16, 16], "batch_size": 16},
        safety_config={"critic_gate": False, "reflex": False},
    )
    run(config)
    critic = load_critic(tmp_path / "q" / CRITIC_FILE, override_gate=True)
    assert critic.task == "peg_insertion" and critic.weights["surface"].tolist() == list(recipe.surface)
    versions = (tmp_path / "q/versions.json").read_text()
    assert critic.sha256 in versions and "on, every tick" in versions
