"""`robot-rl bench recorder`, short: ten seconds at full rate, three kills; results go on where they were stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")
pytest.importorskip("mcap", reason="install the extra [record]")

from data.errors import UserError
from robot_rl.bench.recorder import run
from robot_rl.config_recorder import BenchRecorderConfig


@pytest.mark.slow
@pytest.mark.calm
def test_three_kills_cost_no_stored_episode(tmp_path: Path) -> None:
    config = BenchRecorderConfig(seconds=10.0, repeats=3, out=str(tmp_path / "out.jsonl"), work=str(tmp_path / "work"))
    figures = run(config)
    assert figures["recorder_kills"] == 3 and figures["recorder_episodes_answered"] > 0
    assert figures["recorder_episodes_lost_beyond_the_open_one"] == 0 and figures["recorder_bags_unreadable"] == 0
    # of a machine that tests share only this much is asked: nothing is lost that was heard
    assert figures["recorder_reports"] > 2000 and figures["recorder_images"] > 50
    (line, *_) = [json.loads(text) for text in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert line["lost_in_queues"] == 0 and line["episodes_lost"] <= 0 and line["exit_status"] == 0
    assert not (tmp_path / "work").exists()
    assert run(config) == figures, "nothing is run again"


def test_a_folder_with_other_things_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="holds other things, and would be removed in the end: choose another work"):
        run(BenchRecorderConfig(out=str(tmp_path / "out.jsonl"), work=str(tmp_path)))
    assert (tmp_path / "mine.txt").exists()
