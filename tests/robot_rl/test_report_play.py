"""A page of recorded episodes: the wished ones, with pictures or the reason why there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.episode import Episode
from data.errors import UserError
from data.store import EpisodeStore
from data.synthetic import synthetic_episode, synthetic_spec
from robot_rl.report.play import Picture, play


def store_of(folder: Path, episodes: int, image_px: int = 0) -> Path:
    spec, rng = synthetic_spec(image_px), np.random.default_rng(0)
    with EpisodeStore.create(folder, spec) as store:
        for _ in range(episodes):
            store.append(synthetic_episode(spec, 6, rng))
    return folder


def test_first_success_and_first_failure_are_shown(tmp_path: Path) -> None:
    path = store_of(tmp_path / "demos.zarr", 8)
    with EpisodeStore.open(path) as store:
        outcomes = [store.summary(index).success for index in range(8)]
    assert len(set(outcomes)) == 2
    page = play(path, tmp_path / "demos.html").read_text()
    assert f"Episode {outcomes.index(True)}: success after 6 steps" in page
    assert f"Episode {outcomes.index(False)}: failure after 6 steps" in page
    assert page.count("<h2>Episode") == 2


def test_without_a_renderer_the_page_says_why_there_are_no_pictures(tmp_path: Path) -> None:
    path = store_of(tmp_path / "demos.zarr", 2)
    page = play(path, tmp_path / "demos.html", episodes=[1]).read_text()
    assert "No pictures: the task cannot draw these episodes (unknown task" in page
    assert "data:image/svg+xml" in page
    assert "data:image/png" not in page


def test_a_renderer_that_fails_is_asked_once_and_named(tmp_path: Path) -> None:
    calls: list[int] = []

    def without_egl(episode: Episode) -> list[Picture]:
        calls.append(len(episode))
        raise RuntimeError("cannot make a context\nmore")

    path = store_of(tmp_path / "demos.zarr", 3)
    page = play(path, tmp_path / "demos.html", episodes=[0, 1, 2], renderer=without_egl).read_text()
    assert "nothing can be drawn here (cannot make a context); robot-rl doctor tells more" in page
    assert len(calls) == 1


def test_a_renderer_and_recorded_frames_become_film_strips(tmp_path: Path) -> None:
    def black(episode: Episode) -> list[Picture]:
        return [np.zeros((8, 8, 3), np.uint8)] * 3

    plain = play(store_of(tmp_path / "a.zarr", 1), tmp_path / "a.html", episodes=[0], renderer=black).read_text()
    assert plain.count("data:image/png") == 1
    recorded = play(
        store_of(tmp_path / "b.zarr", 1, image_px=8), tmp_path / "b.html", episodes=[0], frames=4
    ).read_text()
    assert recorded.count("data:image/png") == 1


def test_absent_episodes_and_empty_stores_are_said_plainly(tmp_path: Path) -> None:
    path = store_of(tmp_path / "demos.zarr", 2)
    with pytest.raises(UserError, match=r"episode 5 is not in .*which holds 0 to 1; give episodes="):
        play(path, tmp_path / "demos.html", episodes=[1, 5])
    with pytest.raises(UserError, match="holds no episode yet; record some with robot-rl collect"):
        play(store_of(tmp_path / "empty.zarr", 0), tmp_path / "empty.html")
    assert not (tmp_path / "demos.html").exists()
