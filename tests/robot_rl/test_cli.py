"""The command line: one line for a mistake, an explanation for every setting, and the right exit status."""

from __future__ import annotations

import errno
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import UserError
from robot_rl import config as configs
from robot_rl.cli.compose import compose_config
from robot_rl.cli.main import conclude, guarded, main
from robot_rl.cli.verbs import VERBS, Verb, find
from robot_rl.options import Config
from robot_rl.workflows.grids import GRIDS
from robot_rl.workflows.safety_grids import SAFETY_GRIDS

FINETUNE = ["finetune", "out=runs/x", "task=peg_insertion"]


def composed(*words: str) -> Any:
    verb, rest = find(list(words))
    return compose_config(verb, rest)


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of a refused command."""
    assert main(list(words)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("robot-rl: ").rstrip("\n")


def test_overrides_take_their_types() -> None:
    config = composed(
        *FINETUNE, "steps=2000", "agent_config.utd=4", "agent_config.alpha=1e-2", "base=null", "mode=async"
    )
    assert isinstance(config, configs.FinetuneConfig)
    assert (config.steps, config.base, config.mode) == (2000, None, "async")
    assert config.agent_config == {"utd": 4, "alpha": 0.01}
    assert composed("data", "play", "demos.zarr", "episodes=[3,4]").episodes == [3, 4]
    assert composed("experiment", "tight", "seeds=[7]").name == "tight"
    assert composed("report", "run=runs/x").run == composed("report", "runs/x").run == "runs/x"


def test_texts_are_taken_as_they_are() -> None:
    assert composed("report", "run=a, b (2)/x=y").run == "a, b (2)/x=y"
    assert composed("report", "run='quoted, too'").run == "quoted, too"
    assert composed(*FINETUNE, "env_id=module:Env-v1").env_id == "module:Env-v1"


def test_home_is_expanded() -> None:
    assert composed("report", "run=~/runs/x").run == str(Path.home() / "runs/x")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_setting_explains_itself(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    for entry in fields(verb.config):
        assert entry.name in text
        assert entry.metadata["help"].endswith("."), f"{entry.name} needs a whole sentence"


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_command_leads_to_a_function(verb: Verb) -> None:
    module, function = verb.target.split(":")
    path = Path(configs.__file__).parents[1] / (module.replace(".", "/") + ".py")
    assert f"def {function}(" in path.read_text()


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb.name} " in text for verb in VERBS)
    assert main([]) == 2


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_a_group_lists_its_commands(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    benches = ("control", "env", "learner", "safety", "faults", "ros", "franka", "camera", "recorder", "up")
    for group, members in (("data", ("info", "verify", "repair", "play", "replay")), ("bench", benches)):
        assert main([group, flag]) == 0
        text = capsys.readouterr().out
        assert [line.split()[1] for line in text.splitlines() if line.startswith(f"  {group} ")] == list(members)


def test_the_experiments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text and grid.question in text for name, grid in GRIDS.items())
    assert all(f"  {name} " in text and grid.question in text for name, grid in SAFETY_GRIDS.items())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("finetun", "unknown command 'finetun'; did you mean finetune? (valid: bench, cameras, check,"),
        ("data", "robot-rl data needs one of: info, verify, repair, play"),
        (
            "bench contrl",
            "unknown command 'bench contrl'; did you mean control? (valid: camera, control, env, faults, franka,",
        ),
        ("finetune", "robot-rl finetune needs out=... task=...; `robot-rl finetune --help` explains each setting"),
        ("finetune stepz=3", "unknown setting 'stepz'; did you mean steps? (valid: agent, agent_config, base,"),
        (
            "finetune out=x task=p steps=many",
            "steps takes integer: Environment steps in the end. (Value 'many' of type",
        ),
        ("finetune out=x task=p steps=0", "steps=0 is out of bounds; give a number of at least 1 steps"),
        ("finetune out=x task=p mode=asinc", "mode=asinc is unknown; did you mean async or sync? (valid: async, sync)"),
        (
            "finetune out=x task=p robot=fr9",
            "robot=fr9 is unknown; did you mean fr3? (valid: fr3, gazebo, gz, mujoco, ros)",
        ),
        ("finetune out=x task=p seed.k=2", "unknown setting 'seed.k'; write seed=integer"),
        ("data play x episodes=[1", "no viable alternative at input '[1'; quote values that hold spaces, commas or"),
        ("finetune out=null task=t", "out takes text: Run folder for checkpoints, replay, metrics and configuration."),
        ("finetune --steps=3", "unknown flag --steps=3; settings are written key=value, flags are --json and --help"),
        ("finetune steps", "expected key=value, got 'steps'; did you mean steps?"),
        ("evaluate run=x seed=3", "seed=3 is out of bounds; give a number of at least 1000000"),
        ("doctor loud=true", "unknown setting 'loud=true'; this command has no settings"),
        (
            "report run=/nowhere",
            "expected a run folder with config.json at /nowhere, found none; give run=<out of a run>",
        ),
    ],
)
def test_a_mistake_is_answered_in_one_line(words: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, *words.split()).startswith(expected)


def raising(error: BaseException, config: Config | None = None) -> Any:
    def work(started: list[Config]) -> int:
        if config is not None:
            started.append(config)
        raise error

    return work


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(KeyboardInterrupt(), configs.FinetuneConfig(out="runs/x", task="t"))) == 130
    assert capsys.readouterr().err == (
        "\nrobot-rl: stopped; what was recorded is kept in runs/x: type the same command to go on\n"
    )
    assert guarded(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "\nrobot-rl: stopped before anything began\n"


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(OSError(errno.ENOSPC, "No space left on device", "runs/x/a"))) == 2
    expected = "robot-rl: disk full at runs/x/a: what was recorded is kept; free some space and type the same command"
    assert capsys.readouterr().err.startswith(expected)


def test_a_user_error_of_several_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(UserError("expected a\n  got b"))) == 2
    assert capsys.readouterr().err == "robot-rl: expected a got b\n"


def test_an_error_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(raising(ZeroDivisionError("a bug")))
    with pytest.raises(PermissionError):
        guarded(raising(PermissionError("not ours")))


def test_figures_end_in_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"success_rate": np.float64(0.5), "worst": math.nan, "counts": np.arange(2), "ok": False}
    assert conclude(figures, as_json=True, as_table=True) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last) == {"success_rate": 0.5, "worst": None, "counts": [0, 1], "ok": False}
    assert conclude(None, as_json=True, as_table=False) == 0
    assert conclude({"rate": 12.34567, "episodes": 12345, "part": {"done": True}}, as_json=False, as_table=True) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["rate      12.35", "episodes  12,345", "part", "  done  yes"]


def test_help_needs_no_heavy_library_in_the_real_process() -> None:
    heavy = ["torch", "mujoco", "pinocchio", "numba", "matplotlib", "zarr", "hydra"]
    code = "import sys; from robot_rl.cli.main import main; main(['--help']); main(['finetune', '--help']);"
    code += f" sys.exit(','.join(name for name in {heavy} if name in sys.modules) or None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    pipe = subprocess.run(
        f"{sys.executable} -m robot_rl.cli.main --help | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in pipe.stderr


@pytest.mark.slow
def test_ctrl_c_while_collecting_keeps_whole_episodes(tmp_path: Path) -> None:
    store = tmp_path / "demos.zarr"
    words = ["collect", "task=peg_insertion", "episodes=100000", f"out={store}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "robot_rl.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (store / "episodes" / "000001").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    assert (
        errors.splitlines()[-1]
        == f"robot-rl: stopped; what was recorded is kept in {store}: type the same command to go on"
    )
    assert main(["data", "verify", str(store)]) == 0


UNSOUND = """
from robot_rl.tasks.peg_insertion import PegInsertion

class Endless(PegInsertion):
    def judge(self, sensed, draw):
        return super().judge(sensed, draw).__class__(float("nan"), False, False)
"""


def test_check_prints_one_finding_a_line_and_says_so_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unsound_module_of_test.py").write_text(UNSOUND)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "task=peg_insertion"]) == 0
    assert capsys.readouterr().out == "peg_insertion: all checks passed\n"
    assert main(["check", "task=unsound_module_of_test:Endless"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("results_have_plain_types: reward at step 0 is nan. Why it matters: ")


def test_the_documentation_names_every_command() -> None:
    text = (Path(configs.__file__).parents[1] / "docs" / "cli.md").read_text()
    for verb in VERBS:
        group, _, member = verb.name.partition(" ")
        assert f"robot-rl {group}" in text
        assert member in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("check task=maze", "it takes arbitrary actions"),
        ("pretrain task=maze data=x out=y", "it learns from stored episodes"),
        ("quickstart task=maze", "it is a tour in simulation"),
        ("bench env", "it measures how fast a simulation runs"),
    ],
)
def test_what_is_for_simulation_only_says_why(words: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, *words.split(), "robot=fr3").startswith(f"robot=fr3 is not for this command: {why}")


def test_a_real_robot_needs_its_address_and_no_unknown_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect = ("collect", "task=maze", f"out={tmp_path / 'demos.zarr'}", "robot=fr3")
    assert complaint(capsys, *collect).startswith("robot=fr3 needs the address of its control box")
    assert complaint(capsys, *collect, "robot_config.ips=1").startswith("unknown setting robot_config.ips")
    assert complaint(capsys, *collect, "robot_config.ip=a", "images=true").startswith(
        "images=true with robot=fr3: start camera nodes"
    )
