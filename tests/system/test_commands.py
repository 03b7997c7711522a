"""Every command as a user types it, one after the other, with settings that make it short."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import pytest

from robot_rl.training import checkpoint as checkpoints
from tests.system.command_line import (
    COLLECT,
    PRETRAIN,
    QUICKSTART,
    RESIDUAL,
    RLPD,
    SHORT,
    TINY_AGENT,
    content,
    records,
    typed,
)
from tests.system.conftest import Practice

pytestmark = pytest.mark.slow
RATE = r"\d+% of \d+ episodes, violations in \d+% of them, \S+ reflexes each"


def assert_self_contained(page: Path, pictures: int) -> str:
    """A page that needs nothing but itself, with at least so many pictures inside."""
    text = page.read_text()
    loaded = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s)>]+)""", text)
    assert all(target.startswith(("data:", "#")) for target in loaded), loaded
    assert not re.search(r"<script[^>]+src|<link|@import|https?://", text)
    assert len(re.findall(r"<img[^>]+src=.data:image/", text)) + text.count("<svg") >= pictures
    return text


def step_of(run: Path) -> int:
    found = checkpoints.newest(run / "checkpoints")
    assert found is not None
    return found.step


def test_tasks_and_doctor(tmp_path: Path) -> None:
    listed = typed("tasks --json", tmp_path)
    assert set(listed.figures["tasks"]) >= {"peg_insertion", "maze", "gym"}
    assert "peg_insertion  insert a square peg into a hole" in listed.out
    assert typed("doctor --json", tmp_path).figures["ok"] is True
    assert list(tmp_path.iterdir()) == []


def test_collect_pretrain_and_finetune_say_what_they_made(practice: Practice) -> None:
    done, folder = practice.done, practice.folder
    assert re.fullmatch(r"demos.zarr: 8 episodes, \d of them successful\n", done["collect"].out)
    assert re.fullmatch(rf"runs/base: the imitated policy succeeds in {RATE}\n", done["pretrain"].out)
    for name, run in (("rlpd", "runs/x"), ("residual", "runs/r")):
        assert re.fullmatch(rf"{run}: success in {RATE}, mean return \S+, after 120 steps\n", done[name].out)
        assert step_of(folder / run) == 120
        names = [record["name"] for record in records(folder / run, "eval")]
        assert names[0] == ("base" if name == "residual" else "")
        assert names[-1] == "final"
        assert set(names[1:-1]) == {""}
    before, taken = (records(folder / run, "eval")[0] for run in ("runs/base", "runs/r"))
    assert taken == before
    shares = [record["source_share"] for record in records(folder / "runs/r", "episode")]
    assert all(sum(share.values()) == pytest.approx(1.0) for share in shares)


@pytest.mark.parametrize("line", [COLLECT, PRETRAIN, RLPD, RESIDUAL], ids=["collect", "pretrain", "rlpd", "residual"])
def test_the_same_command_again_changes_nothing(practice: Practice, line: str) -> None:
    before = content(practice.folder)
    again = typed(line, practice.folder)
    assert again.out in {done.out for done in practice.done.values()}
    assert content(practice.folder) == before


def test_more_steps_go_on_where_the_run_was(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path)
    before = records(folder / "runs/x", "episode")
    done = typed(RLPD.replace("steps=120", "steps=180") + " --json", folder)
    assert done.figures["step"] == step_of(folder / "runs/x") == 180
    after = records(folder / "runs/x", "episode")
    assert after[: len(before)] == before
    assert len(after) > len(before)


@pytest.mark.parametrize("run", ["runs/x", "runs/r", "runs/base"])
def test_evaluate_ends_with_one_json_object(practice: Practice, tmp_path: Path, run: str) -> None:
    folder = practice.copy(tmp_path)
    figures = typed(f"evaluate run={run} episodes=3 --json", folder).figures
    assert {"success_rate", "mean_return", "episodes", "step", "low", "high"} <= set(figures)
    assert figures["episodes"] == 3
    assert figures["step"] == (0 if run == "runs/base" else 120)
    last = records(folder / run, "eval")[-1]
    assert (last["name"], [episode["seed"] for episode in last["episodes"]]) == (
        "evaluate",
        [1000000, 1000001, 1000002],
    )


def test_a_base_that_was_never_evaluated_is_measured_and_training_does_not_notice(
    practice: Practice, tmp_path: Path
) -> None:
    folder = practice.copy(tmp_path)
    typed(PRETRAIN.replace("runs/base", "runs/plain").replace("eval_episodes=2", "eval_episodes=0"), folder)
    typed(RESIDUAL.replace("runs/base", "runs/plain").replace("out=runs/r", "out=runs/s"), folder)
    base, *others = records(folder / "runs/s", "eval")
    assert (base["name"], base["step"], len(base["episodes"])) == ("base", 0, 2)
    assert [record["episodes"] for record in others] == (
        [record["episodes"] for record in records(folder / "runs/r", "eval")[1:]]
    )
    for part in ("checkpoints", "replay"):
        left, right = (content(folder / run / part) for run in ("runs/r", "runs/s"))
        assert {key: left[key] for key in left if key != "clock.json"} == (
            {key: right[key] for key in right if key != "clock.json"}
        )


def test_a_run_does_without_the_folder_of_its_base(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path)
    line = "evaluate run=runs/r episodes=2 --json"
    first = typed(line, folder).figures
    (folder / "runs/base/policy.safetensors").write_bytes(b"of another training")
    before = content(folder / "runs/base")
    assert typed(line, folder).figures == first
    assert content(folder / "runs/base") == before
    shutil.rmtree(folder / "runs/base")
    assert typed(line, folder).figures == first
    assert not (folder / "runs/base").exists()
    typed(RESIDUAL.replace("steps=120", "steps=150"), folder)
    (folder / "runs/r/base.safetensors").unlink()
    said = typed("evaluate run=runs/r episodes=2", folder, status=2).complaint
    assert said.startswith("expected the imitated policy that runs/r fine-tunes at runs/r/base.safetensors, found none")


def test_a_base_that_the_agent_does_not_use_is_said(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path)
    done = typed(RLPD.replace("out=runs/x", "out=runs/new base=runs/base"), folder)
    assert done.out.splitlines()[0] == "base=runs/base is not used: agent=rlpd learns without an imitated policy"


def test_evaluate_without_json_is_a_table_and_repeats_itself(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path)
    first, second = (typed("evaluate run=runs/x episodes=2", folder).out for _ in range(2))
    assert first == second
    assert re.search(r"^success_rate +\S+$", first, re.MULTILINE)


def test_finetune_in_two_processes(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path)
    line = RLPD.replace("out=runs/x", "out=runs/a mode=async") + " --json"
    assert typed(line, folder).figures["step"] == 120
    updates = records(folder / "runs/a", "update")[-1]["updates"]
    assert updates > 0
    assert typed(line + " pacing_config.max_ahead_steps=5", folder, status=2).complaint.startswith("runs/a holds a run")
    assert typed(line, folder).figures["step"] == 120
    assert typed("evaluate run=runs/a episodes=1 --json", folder).figures["episodes"] == 1


def test_report_is_one_file(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path)
    for line in ("report run=runs/x", "report runs/r"):
        assert typed(line, folder).out == f"report: {line[-6:]}/report.html\n"
        text = assert_self_contained(folder / line[-6:] / "report.html", pictures=2)
        assert "peg_insertion" in text
        assert "hidden" in text  # the configuration


def test_data_tells_verifies_plays_and_repairs(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path)
    assert typed("data info demos.zarr --json", folder).figures["episodes"] == 8
    assert typed("data verify demos.zarr", folder).out.startswith("demos.zarr: 8 episodes, all as written")
    before = content(folder / "demos.zarr")
    typed("data repair demos.zarr", folder)
    assert content(folder / "demos.zarr") == before
    assert typed("data play demos.zarr out=page.html", folder).out == "episodes: page.html\n"
    assert_self_contained(folder / "page.html", pictures=1)
    damaged = folder / "demos.zarr/episodes/000003/observations/state/c/0/0"
    first, *others = damaged.read_bytes()
    damaged.write_bytes(bytes([first ^ 1, *others]))
    assert typed("data verify demos.zarr --json", folder, status=1).figures["ok"] is False
    assert "000003" in typed(PRETRAIN.replace("runs/base", "runs/other"), folder, status=2).complaint
    assert typed("data repair demos.zarr --json", folder).figures["quarantined"]
    assert typed("data verify demos.zarr --json", folder).figures["ok"] is True
    typed(PRETRAIN.replace("runs/base", "runs/other"), folder)


def assert_strips_of_both_outcomes(run: Path) -> None:
    """A failed and a successful insertion are shown; those of an evaluation are as long as its record says."""
    assert sorted(path.name for path in (run / "strips").glob("*.png")) == ["failed.png", "success.png"]
    captions = json.loads((run / "strips/captions.json").read_text())
    evaluated = {record["name"]: record["episodes"] for record in records(run, "eval")}
    for outcome, caption in captions.items():
        found = re.fullmatch(r"(imitated|final) policy, evaluation seed (\d+): \w+ after (\S+) s", caption)
        if found is None:
            assert re.fullmatch(rf"demonstration \d: {outcome} after \S+ s", caption)
            continue
        episodes = evaluated["base" if found[1] == "imitated" else "final"]
        (episode,) = (item for item in episodes if item["seed"] == int(found[2]))
        assert (episode["success"], f"{episode['robot_s']:.1f}") == (outcome == "success", found[3])


def test_quickstart_ends_with_three_lines_and_a_page(tmp_path: Path) -> None:
    line = QUICKSTART.replace(" ablation=false", "")
    done = typed(line, tmp_path)
    learned, result, report = done.out.splitlines()[-3:]
    assert re.fullmatch(
        r"learned: peg_insertion \(default\) by residual, from 8 demonstrations, \d successful", learned
    )
    assert re.fullmatch(
        r"result:  \d+% imitated -> \d+% fine-tuned \(95 % interval \d+%-\d+% of 2 episodes\) "
        r"after 120 steps, \S+ robot minutes with resets, \d+ s of training",
        result,
    )
    assert report == "report:  runs/q/report.html"
    text = assert_self_contained(tmp_path / "runs/q/report.html", pictures=3)
    for part in ("peg_insertion", "numba", "residual on an untrained base", "for 40 steps (a third"):
        assert part in text
    noted = json.loads((tmp_path / "runs/q/versions.json").read_text())["demonstrations"]
    assert noted[-1]["episodes"] == 8
    assert noted[-1]["sha256"] in text
    assert list((tmp_path / "runs/q/tensorboard").iterdir())
    assert_strips_of_both_outcomes(tmp_path / "runs/q")
    assert typed("evaluate run=runs/q episodes=1 --json", tmp_path).figures["step"] == 120
    before = records(tmp_path / "runs/q", "eval")
    again = typed(line + " --json", tmp_path)
    assert again.out.splitlines()[-4:-1] == [learned, result, report]
    assert again.figures["report"] == "runs/q/report.html"
    assert records(tmp_path / "runs/q", "eval") == before


def test_bench_env_measures(tmp_path: Path) -> None:
    figures = typed("bench env seconds=1 --json", tmp_path).figures
    assert figures["state_steps_per_s"] > 0
    assert "image_steps_per_s" in figures


def test_any_gymnasium_environment(tmp_path: Path) -> None:
    line = f"finetune task=gym env_id=Pendulum-v1 steps=300 out=runs/p {SHORT} {TINY_AGENT}"
    figures = typed(line + " --json", tmp_path).figures
    assert figures["mean_return"] < 0
    again = typed("evaluate run=runs/p episodes=2 --json", tmp_path).figures
    assert again["mean_return"] == figures["mean_return"]
    typed("report run=runs/p", tmp_path)
    assert_self_contained(tmp_path / "runs/p/report.html", pictures=1)


def test_pictures_in_a_page_are_whole(practice: Practice, tmp_path: Path) -> None:
    folder = practice.copy(tmp_path)
    typed("report run=runs/x", folder)
    text = (folder / "runs/x/report.html").read_text()
    for kind, encoded in re.findall(r"data:image/([a-z+]+);base64,([A-Za-z0-9+/=]+)", text):
        decoded = base64.b64decode(encoded, validate=True)
        assert decoded.lstrip().startswith(b"<?xml" if kind == "svg+xml" else b"\x89PNG")
