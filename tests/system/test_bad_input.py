"""What people give by mistake: one clear line, exit status 2, and everything that was recorded stays as it was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.atomic import FolderLock
from data.episode import Episode
from data.episode_folder import write_folder
from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.cli.main import main
from robot_rl.training.workplace import make_workplace
from tests.system.command_line import RESIDUAL, RLPD, SHORT, TINY_AGENT, content, typed
from tests.system.conftest import Practice

pytestmark = pytest.mark.slow
FINETUNE = "finetune task=peg_insertion out=runs/new "
GYM = "finetune task=gym out=runs/new "
BROKEN = """
import gymnasium
import numpy as np

BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,))

class Broken(gymnasium.Env):
    observation_space = action_space = BOX

    def __init__(self, observation=0.0, reward=0.0):
        self.observation, self.reward = observation, reward

    def reset(self, seed=None, options=None):
        self.left = 30
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        bad = self.left == 5
        observation = np.full(2, self.observation if bad else 0.1, np.float32)
        return observation, self.reward if bad else 0.1, self.left == 0, False, {}

gymnasium.register("Broken-v0", Broken, disable_env_checker=True)
"""


def complaint(line: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line of a refused command, in this process; asserts that nothing that was there has changed."""
    monkeypatch.chdir(folder)
    before = content(folder)
    capsys.readouterr()
    assert main(line.split()) == 2
    errors = [text for text in capsys.readouterr().err.splitlines() if text.startswith("robot-rl: ")]
    assert len(errors) == 1
    after = content(folder)
    assert {name: after.get(name) for name in before} == before
    shutil.rmtree(folder / "runs/new", ignore_errors=True)
    return errors[0].removeprefix("robot-rl: ")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("finetune task=peg_insertio out=runs/new", "unknown task 'peg_insertio'; did you mean peg_insertion?"),
        ("collect task=nofile:Press out=new.zarr", "task 'nofile:Press' cannot be imported (No module named 'nofile')"),
        ("collect task=gym env_id=x out=new.zarr", "unknown setting 'env_id'"),
        ("collect task=gym out=new.zarr", "task=gym needs env_id=<id of gymnasium.make>"),
        (FINETUNE + "variant=tigt", "task peg_insertion has the variants default, tight, got 'tigt'"),
        (FINETUNE + "agent=sacx", "unknown agent 'sacx'; expected one of: dsrl, expo, residual, rlpd"),
        (FINETUNE + "stepz=3", "unknown setting 'stepz'; did you mean steps?"),
        (FINETUNE + "agent_config.utdd=3", "unknown agent option 'utdd'; did you mean utd"),
        (FINETUNE + "agent_config.utd=0", "utd=0 does not fit: expected at least 1"),
        (FINETUNE + "agent_config.utd=2.5", "utd=2.5 does not fit SacConfig: expected an integer"),
        (FINETUNE + "agent_config.utd=true", "utd=True does not fit SacConfig: expected an integer"),
        (FINETUNE + "agent_config.gamma=high", "gamma=high does not fit SacConfig: expected a number"),
        (FINETUNE + "agent_config.hidden=64", "hidden=64 does not fit SacConfig: expected a list such as [1,2]"),
        (FINETUNE + "agent_config.hidden=[a]", "hidden=['a'] does not fit SacConfig: expected a list, each entry an i"),
        (FINETUNE + "agent_config.layer_norm=3", "layer_norm=3 does not fit SacConfig: expected true or false"),
        (FINETUNE + "task_config.tlt=1", "peg_insertion has no setting 'tlt'; it has clearance_m"),
        (FINETUNE + "env_id=Pendulum-v1", "env_id goes with task=gym, got task=peg_insertion"),
        (FINETUNE + "agent=residual", "agent=residual fine-tunes an imitated policy: give base=<out of pretrain>"),
        (FINETUNE + "agent=residual base=runs/no", "expected an imitated policy at runs/no/policy.safetensors, found"),
        (
            FINETUNE + "agent=rlpd base=/nowhere",
            "expected an imitated policy at /nowhere/policy.safetensors, found none",
        ),
        (FINETUNE + "agent=residual base=runs/base history=1", "its observation width is 30, the task's is 60"),
        (FINETUNE + "data=no.zarr", "expected an episode store at no.zarr, found none"),
        (FINETUNE + "data=runs/x", "expected an episode store at runs/x, found none"),
        (GYM, "task=gym needs env_id=<id of gymnasium.make> or env_id=<Module:Id>"),
        (GYM + "env_id=Pendulm-v1", "gymnasium cannot make 'Pendulm-v1': Environment `Pendulm` doesn't exist."),
        (GYM + "env_id=nofile:Env-v0", "gymnasium cannot make 'nofile:Env-v0': No module named 'nofile'"),
        (GYM + "env_id=CartPole-v1", "CartPole-v1: expected a Box of floats as action space, got Discrete(2)"),
        (GYM + "env_id=Pendulum-v1 data=demos.zarr", "the store does not fit: task is 'peg_insertion', needed 'gym'"),
        ("pretrain task=peg_insertion data=demos.zarr out=runs/new policy_config.stepz=3", "unknown policy option 'st"),
        ("pretrain task=peg_insertion data=demos.zarr out=runs/new policy_config.steps=2.5", "steps=2.5 does not fit"),
        ("pretrain task=peg_insertion data=demos.zarr out=runs/base history=1", "runs/base holds a run with other se"),
        (RLPD + " warmup=70", "runs/x holds a run with other settings: warmup (there 60, asked 70); give the same"),
        (RLPD + " fresh=true", "fresh=true needs an absent or empty out, but runs/x holds"),
        ("finetune task=peg_insertion out=runs/base", "runs/base holds a run of PretrainConfig, not of FinetuneConfig"),
        ("finetune task=peg_insertion out=demos.zarr", "demos.zarr holds episodes but no config.json, so it is no run"),
        ("finetune task=peg_insertion out=runs/x/config.json", "expected a folder for the run at runs/x/config.json"),
        ("finetune task=peg_insertion out=runs/x/config.json/deeper", "cannot make the folder runs/x/config.json/deep"),
        ("collect task=peg_insertion out=demos.zarr episodes=8 fresh=true", "fresh=true needs an absent or empty out"),
        ("collect task=peg_insertion out=demos.zarr episodes=9 seed=1", "demos.zarr was collected with other settings"),
        ("collect task=peg_insertion out=demos.zarr episodes=9 variant=tight", "demos.zarr was collected with other s"),
        ("collect task=peg_insertion out=runs/x", "expected an empty or a new folder at runs/x, found other things"),
        ("collect task=peg_insertion out=runs/x/config.json", "cannot make the folder runs/x/config.json (File ex"),
        ("evaluate run=demos.zarr", "expected a run folder with config.json at demos.zarr, found none"),
        ("data info no.zarr", "expected an episode store at no.zarr, found none"),
        ("data play demos.zarr episodes=[99]", "episode 99 is not in demos.zarr, which holds 0 to 7"),
        ("experiment nope", "unknown experiment 'nope': valid ones: bresa, insertion, layers, passive, smoke, tight"),
        ("experiment smoke cells=[sac]", "experiment smoke has the cells rlpd, got 'sac'"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    practice: Practice, line: str, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = complaint(line, practice.folder, capsys, monkeypatch)
    assert expected in said
    assert "\n" not in said


def test_a_store_of_other_action_columns(
    practice: Practice, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = practice.copy(tmp_path)
    with EpisodeStore.open(folder / "demos.zarr") as store:
        spec = replace(store.spec, action_names=tuple(reversed(store.spec.action_names)))
        with EpisodeStore.create(folder / "turned.zarr", spec) as turned:
            turned.append(store[0])
    said = complaint(FINETUNE + "data=turned.zarr", folder, capsys, monkeypatch)
    assert said.startswith("the store does not fit: action_names is ('gripper', ")
    said = complaint("collect task=peg_insertion out=turned.zarr", folder, capsys, monkeypatch)
    assert said.startswith("the store turned.zarr does not fit: action_names is ('gripper', ")


def test_a_checkpoint_of_another_network(
    practice: Practice, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = practice.copy(tmp_path)
    config = folder / "runs/x/config.json"
    config.write_text(config.read_text().replace("16,\n      16", "24,\n      24"))
    expected = "weights 'actor' have 1036 numbers, this agent needs"
    assert complaint("evaluate run=runs/x", folder, capsys, monkeypatch).startswith(expected)
    said = complaint(RLPD.replace("hidden=[16,16]", "hidden=[24,24]"), folder, capsys, monkeypatch)
    assert said.startswith(expected)
    config.write_text("{")
    assert complaint("evaluate run=runs/x", folder, capsys, monkeypatch).startswith("cannot read runs/x/config.json")


def test_an_empty_store_and_one_without_success(
    practice: Practice, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with EpisodeStore.open(practice.folder / "demos.zarr") as store:
        episodes = [episode for episode in store if not episode.success][:1]
        EpisodeStore.create(tmp_path / "empty.zarr", store.spec).close()
        with EpisodeStore.create(tmp_path / "failures.zarr", store.spec) as failures:
            for episode in episodes:
                failures.append(episode)
    pretrain = "pretrain task=peg_insertion out=runs/new data="
    said = complaint(pretrain + "empty.zarr", tmp_path, capsys, monkeypatch)
    assert said.startswith("expected recorded episodes in empty.zarr, found none")
    if episodes:
        said = complaint(pretrain + "failures.zarr", tmp_path, capsys, monkeypatch)
        assert said.startswith("expected at least one success among the 1 episodes of failures.zarr, found none")


def spoiled(episode: Episode) -> Episode:
    """The same episode with one NaN in its observations."""
    state = episode.observations["state"].copy()
    state[3, 2] = np.nan
    return replace(episode, observations={**episode.observations, "state": state})


def test_nan_in_a_stored_observation(
    practice: Practice, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = practice.copy(tmp_path)
    with EpisodeStore.open(folder / "demos.zarr", writable=True) as store:
        index = next(index for index in range(len(store)) if store.summary(index).success)
        bad = spoiled(store[index])
        with pytest.raises(UserError, match="finite"):
            store.append(bad)
    place = folder / f"demos.zarr/episodes/{index:06d}"
    shutil.rmtree(place)
    write_folder(place, bad)  # as a program without our checks would
    for line in (RLPD, RESIDUAL, "pretrain task=peg_insertion data=demos.zarr out=runs/new"):
        words = line.replace("out=runs/x", "out=runs/new").replace("out=runs/r", "out=runs/new")
        assert "finite" in complaint(words, folder, capsys, monkeypatch)


def test_nan_in_an_action() -> None:
    for workplace in (make_workplace("peg_insertion"), make_workplace("gym", env_id="Pendulum-v1")):
        workplace.reset(0)
        action = np.zeros(len(workplace.action_names), np.float32)
        workplace.step(action, 0)
        before = {name: array.copy() for name, array in workplace.observation.items()}
        with pytest.raises(UserError, match="an action must be finite, got"):
            workplace.step(np.full_like(action, np.nan), 0)
        assert all(np.array_equal(before[name], array) for name, array in workplace.observation.items())
        workplace.step(action, 0)
        workplace.close()


@pytest.mark.parametrize("where", ["observation", "reward"])
def test_nan_from_an_environment(tmp_path: Path, where: str) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    line = f"finetune task=gym env_id=broken:Broken-v0 steps=200 out=runs/new {SHORT} {TINY_AGENT} task_config.{where}="
    said = typed(f"{line}nan".replace("eval_every=60", "eval_every=0"), tmp_path, status=2).complaint
    assert "finite" in said
    assert where in said


def test_a_second_process_on_a_run_or_a_store(
    practice: Practice, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = practice.copy(tmp_path)
    cases = (
        ("runs/x", ("evaluate run=runs/x episodes=1", RLPD)),
        ("demos.zarr", ("collect task=peg_insertion out=demos.zarr episodes=9", "data repair demos.zarr")),
    )
    for name, lines in cases:
        lock = FolderLock(folder / name)
        for line in lines:
            said = complaint(line, folder, capsys, monkeypatch)
            assert said.startswith(f"{name} is in use by process ")
        lock.release()
