"""Export and import: nothing changes on the way, and a damaged export is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.exchange import export_npz, import_npz
from data.store import EpisodeStore
from data.synthetic import synthetic_episode, synthetic_spec

SPEC = synthetic_spec(image_px=3)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with EpisodeStore.create(tmp_path / "a.zarr", SPEC) as store:
        for steps in (3, 5):
            store.append(synthetic_episode(SPEC, steps, rng))
        assert export_npz(store, tmp_path / "plain") == 2
    return tmp_path / "plain"


def test_round_trip(exported: Path, tmp_path: Path) -> None:
    with import_npz(exported, tmp_path / "b.zarr") as again, EpisodeStore.open(tmp_path / "a.zarr") as store:
        assert again.spec == store.spec and len(again) == 2
        assert all(one.equals(other) for one, other in zip(again, store, strict=True))


def test_any_program_can_read_the_files(exported: Path) -> None:
    with np.load(exported / "episode_000001.npz", allow_pickle=False) as arrays:
        assert arrays["observations/position_m"].shape == (6, 3)
        assert arrays["action_executed"].shape == (5, 4)


def test_a_damaged_file_is_named_and_the_episodes_before_it_stay(exported: Path, tmp_path: Path) -> None:
    file = exported / "episode_000001.npz"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match="episode_000001.npz is not a whole .npz file"):
        import_npz(exported, tmp_path / "b.zarr")
    with EpisodeStore.open(tmp_path / "b.zarr", writable=True) as store:
        assert len(store) == 1


def test_an_index_cannot_lead_out_of_its_folder(exported: Path, tmp_path: Path) -> None:
    index = exported / "index.jsonl"
    text = index.read_text()
    index.write_text(text.replace("episode_000000.npz", "../secret.npz"))
    with pytest.raises(UserError, match=r"line 2 of .*index.jsonl: expected file \(a name without folders\)"):
        import_npz(exported, tmp_path / "b.zarr")
    index.write_text(text.replace("{", "", 1))
    with pytest.raises(UserError, match="line 1 of .*index.jsonl is not valid JSON"):
        import_npz(exported, tmp_path / "b.zarr")


def test_folders_that_hold_something_else_are_refused(exported: Path, tmp_path: Path) -> None:
    with EpisodeStore.open(tmp_path / "a.zarr") as store, pytest.raises(UserError, match="found other things"):
        export_npz(store, exported)
    with pytest.raises(UserError, match="expected an exported folder at .*found no index.jsonl"):
        import_npz(tmp_path, tmp_path / "b.zarr")
