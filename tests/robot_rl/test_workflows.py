"""What the commands are made of: what is not done twice, which settings hold, which seeds are used."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.store import EpisodeStore
from data.synthetic import synthetic_episode, synthetic_spec
from robot_rl.config import TRAINING_SEEDS_BELOW, CollectConfig, FinetuneConfig, QuickstartConfig
from robot_rl.metrics import MetricsLog
from robot_rl.options import as_declared
from robot_rl.runs import note_demonstrations
from robot_rl.tasks.base import Task
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.training.demonstrations import digest_of
from robot_rl.training.pacing import Pacing
from robot_rl.training.settings import EVALUATION_SEED, TrainSettings
from robot_rl.workflows import collect
from robot_rl.workflows.common import former_evaluation, read_setup, resolve_agent_options, resolve_reflex_penalty
from robot_rl.workflows.finetune import pacing_of
from robot_rl.workflows.quickstart import conclusion, finetune_settings


@dataclass(frozen=True)
class Settings:
    """One of each kind."""

    count: int = 1
    rate: float = 1.0
    on: bool = True
    name: str = "a"
    limit: float | None = None
    widths: tuple[int, ...] = (1,)
    bounds: tuple[float, float] = (0.0, 1.0)


@given(st.integers(-(10**6), 10**6), st.lists(st.integers(0, 999), max_size=4), st.floats(allow_nan=False))
def test_what_the_command_line_reads_gets_the_declared_types(count: int, widths: list[int], rate: float) -> None:
    read = {"count": float(count), "rate": count, "limit": rate, "widths": widths, "bounds": [0, 1]}
    fitting = as_declared(Settings, read)
    expected = {"count": count, "rate": float(count), "limit": rate, "widths": tuple(widths), "bounds": (0.0, 1.0)}
    assert fitting == expected
    types: dict[str, Any] = {"count": int, "rate": float, "limit": float, "widths": tuple, "bounds": tuple}
    assert all(type(fitting[name]) is kind for name, kind in types.items())
    assert as_declared(Settings, fitting) == fitting
    assert as_declared(Settings, {"limit": None, "on": False, "name": "b"}) == {"limit": None, "on": False, "name": "b"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", "many", "count=many does not fit Settings: expected an integer"),
        ("count", 2.5, "count=2.5 does not fit Settings: expected an integer"),
        ("count", True, "count=True does not fit Settings: expected an integer"),
        ("count", None, "count=None does not fit Settings: expected an integer"),
        ("count", float("inf"), "count=inf does not fit Settings: expected an integer"),
        ("count", float("nan"), "count=nan does not fit Settings: expected an integer"),
        ("rate", "high", "rate=high does not fit Settings: expected a number"),
        ("limit", [1], r"limit=\[1\] does not fit Settings: expected a number"),
        ("on", 1, "on=1 does not fit Settings: expected true or false"),
        ("name", 3, "name=3 does not fit Settings: expected a text"),
        ("widths", 3, r"widths=3 does not fit Settings: expected a list such as \[1,2\]"),
        ("widths", [1, "a"], r"widths=\[1, 'a'\] does not fit Settings: expected a list, each entry an integer"),
        ("bounds", [1], r"bounds=\[1\] does not fit Settings: expected a list of 2"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: object, expected: str) -> None:
    with pytest.raises(UserError, match=f"^{expected}$"):
        as_declared(Settings, {name: value})


def test_an_evaluation_is_known_by_name_step_and_size(tmp_path: Path) -> None:
    assert former_evaluation(tmp_path, "final", 100, 2) is None
    with MetricsLog(tmp_path, tensorboard=False) as log:
        for step, rate in ((100, 0.5), (200, 0.7)):
            log.write({"kind": "episode", "step": step})
            log.write({"kind": "eval", "step": step, "success_rate": 0.1, "name": "", "episodes": [{}, {}]})
            log.write({"kind": "eval", "step": step, "success_rate": rate, "name": "final", "episodes": [{}, {}]})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "ev')  # torn by a kill
    found = former_evaluation(tmp_path, "final", 200, 2)
    assert found is not None
    assert found["success_rate"] == 0.7
    assert former_evaluation(tmp_path, "final", 200, 3) is None
    assert former_evaluation(tmp_path, "final", 300, 2) is None
    assert former_evaluation(tmp_path, "base", 200, 2) is None


def test_given_settings_win_over_the_recommended_ones() -> None:
    recommended = PegInsertion().agent_options["rlpd"]
    name = next(iter(recommended))
    assert resolve_agent_options("peg_insertion", "default", "rlpd", {}) == recommended
    assert resolve_agent_options("peg_insertion", "default", "rlpd", {name: -1})[name] == -1
    assert resolve_agent_options("peg_insertion", "tight", "rlpd", {}) != recommended
    usual = {"gamma": 0.99, "n_step": 1, "hidden": [256, 256]}
    assert resolve_agent_options("gym", "default", "rlpd", {"utd": 3}) == {**usual, "utd": 3}
    assert resolve_agent_options("gym", "default", "rlpd", {"gamma": 0.9})["gamma"] == 0.9
    assert resolve_agent_options("gym", "default", "an agent of others", {}) == {}


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a run folder with config\.json at .*, found none: give the out of"):
        read_setup(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot read .*config\.json"):
        read_setup(tmp_path)


def test_the_quick_start_fine_tunes_as_finetune_does() -> None:
    config = QuickstartConfig(
        out="runs/q", steps=70, seed=3, agent="expo", agent_config={"utd": 3}, variant="tight", mode="async"
    )
    settings = finetune_settings(config, Path("runs/q"))
    assert set(settings) == {entry.name for entry in fields(FinetuneConfig)}
    made = FinetuneConfig(**settings)
    assert (made.steps, made.seed, made.agent, made.agent_config, made.variant) == (70, 3, "expo", {"utd": 3}, "tight")
    assert (made.data, made.base, made.mode) == ("runs/q/demos.zarr", "runs/q", "async")


def test_the_quick_start_ends_with_three_lines() -> None:
    after = {"success_rate": 0.97, "low": 0.9, "high": 0.99, "episodes": [{}] * 100, "step": 6000}
    after |= {"robot_s": 600.0, "reset_s": 120.0, "wall_s": 93.4}
    config = QuickstartConfig(out="runs/q")
    demos = {"episodes": 20, "successes": 13}
    assert conclusion(config, demos, {"success_rate": 0.61}, after, Path("runs/q/report.html")).splitlines() == [
        "learned: peg_insertion (default) by residual, from 20 demonstrations, 13 successful",
        "result:  61% imitated -> 97% fine-tuned (95 % interval 90%-99% of 100 episodes) after 6000 steps, "
        "12.0 robot minutes with resets, 93 s of training",
        "report:  runs/q/report.html",
    ]


@pytest.mark.parametrize("seed", [0, 7, TRAINING_SEEDS_BELOW - 1])
def test_demonstrations_never_have_a_seed_of_an_evaluation(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "demos.zarr"
    figures = collect.run(CollectConfig(out=str(path), task="peg_insertion", episodes=2, seed=seed))
    assert figures["episodes"] == 2
    with EpisodeStore.open(path) as store:
        seeds = [episode.info["seed"] for episode in store]
    assert seeds[0] != seeds[1]
    assert all(0 <= number < TRAINING_SEEDS_BELOW for number in seeds)


def test_a_run_notes_the_digest_of_its_demonstrations(tmp_path: Path) -> None:
    spec, rng = synthetic_spec(0), np.random.default_rng(0)
    episodes = [synthetic_episode(spec, 6, rng) for _ in range(3)]
    digests = []
    for name, chosen in (("a", episodes[:2]), ("b", episodes[:2]), ("c", episodes), ("d", episodes[1::-1])):
        with EpisodeStore.create(tmp_path / name, spec) as store:
            for episode in chosen:
                store.append(episode)
        digests.append(digest_of(str(tmp_path / name)))
    assert [count for count, _ in digests] == [2, 2, 3, 2]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    for count, digest in (digests[0], digests[1], digests[2]):
        note_demonstrations(tmp_path, count, digest)
    noted = json.loads((tmp_path / "versions.json").read_text())["demonstrations"]
    assert noted == [{"episodes": count, "sha256": digest} for count, digest in (digests[0], digests[2])]


def test_pacing_is_checked_and_goes_with_two_processes() -> None:
    def paced(mode: str, **options: Any) -> Pacing | None:
        return pacing_of(vars(FinetuneConfig(out="x", task="t", mode=mode, pacing_config=options)))

    assert paced("async") == Pacing()
    assert paced("async", max_ahead_steps=7, stall_s=5) == Pacing(max_ahead_steps=7, stall_s=5.0)
    assert paced("sync") is None
    with pytest.raises(UserError, match="unknown pacing option 'max_ahed_steps'; did you mean max_ahead_steps"):
        paced("async", max_ahed_steps=7)
    with pytest.raises(UserError, match="max_ahead_steps=0 does not fit: expected a number at least 1"):
        paced("async", max_ahead_steps=0)
    with pytest.raises(UserError, match="pacing_config bounds mode=async"):
        paced("sync", max_ahead_steps=7)


def test_one_place_for_defaults_and_for_the_seeds_of_evaluations() -> None:
    config = FinetuneConfig(out="x", task="t")
    settings = TrainSettings(config.steps)
    assert config.reflex_penalty is None, "the task's own"
    config.reflex_penalty = resolve_reflex_penalty("gym", "default", None)
    assert all(getattr(config, entry.name) == getattr(settings, entry.name) for entry in fields(TrainSettings))
    assert resolve_reflex_penalty("peg_insertion", "tight", None) == PegInsertion.reflex_penalty < Task.reflex_penalty
    assert resolve_reflex_penalty("peg_insertion", "tight", 0.3) == 0.3
    assert EVALUATION_SEED == TRAINING_SEEDS_BELOW == 1_000_000


def test_a_store_keeps_to_what_made_it(tmp_path: Path) -> None:
    config: dict[str, Any] = {"out": str(tmp_path / "demos.zarr"), "task": "peg_insertion"}
    collect.run(CollectConfig(episodes=1, **config))
    with pytest.raises(UserError, match=r"was collected with other settings: seed \(there 0, asked 1\); choose anoth"):
        collect.run(CollectConfig(episodes=2, seed=1, **config))
    with pytest.raises(UserError, match=r"task_config \(there \{\}, asked \{'tilt': False\}\)"):
        collect.run(CollectConfig(episodes=2, task_config={"tilt": False}, **config))
    with pytest.raises(UserError, match=r"fresh=true needs an absent or empty out, but .* holds episodes"):
        collect.run(CollectConfig(episodes=1, fresh=True, **config))
    assert collect.run(CollectConfig(episodes=1, **config))["episodes"] == 1
