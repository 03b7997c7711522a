"""Damaged stores: all damage is found, nothing wrong is handed out, repair recovers and deletes nothing."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.episode import Episode
from data.errors import UserError
from data.maintenance import info, repair, verify
from data.store import EpisodeStore
from data.synthetic import synthetic_episode, synthetic_spec

SPEC = synthetic_spec(image_px=4)
STEPS = 40  # more than one chunk


@pytest.fixture(scope="module")
def made() -> list[Episode]:
    rng = np.random.default_rng(1)
    return [synthetic_episode(SPEC, STEPS, rng) for _ in range(3)]


@pytest.fixture(scope="module")
def whole(made: list[Episode], module_scratch: Path) -> Path:
    path = module_scratch / "a.zarr"
    with EpisodeStore.create(path, SPEC) as store:
        for episode in made:
            store.append(episode)
    return path


@pytest.fixture
def store_path(whole: Path, scratch: Path) -> Path:
    return Path(shutil.copytree(whole, scratch / "a.zarr"))


def is_prefix(episode: Episode, of: Episode) -> bool:
    """Tells whether all arrays of `episode` but its end's flag are the first rows of those of the other."""
    theirs = of.arrays()
    arrays = {path: array for path, array in episode.arrays().items() if path != "truncated"}
    return all(array.tobytes() == theirs[path][: len(array)].tobytes() for path, array in arrays.items())


def check_recovery(path: Path, made: list[Episode]) -> None:
    """Repairs a damaged store and checks that intact episodes are the same, the others prefixes or put aside."""
    before = {item.relative_to(path): item.read_bytes() for item in path.rglob("*") if item.is_file()}
    assert not verify(path).ok
    report = repair(path)
    after = [item.read_bytes() for item in path.rglob("*") if item.is_file()]
    lost = [name for name, content in before.items() if name.parts[0] == "episodes" and content not in after]
    assert not [name for name in lost if len(name.parts) > 2], "repair deleted recorded data"
    assert verify(path).ok, str(verify(path))
    with EpisodeStore.open(path) as store:
        kept = list(store)
    assert len(kept) >= len(made) - 1
    wrong = [episode for episode in kept if not any(episode.equals(original) for original in made)]
    assert len(wrong) <= 1
    for episode in wrong:
        assert any(is_prefix(episode, original) for original in made)
        assert "salvaged" in episode.info
    assert len(report.quarantined) == info(path).quarantined <= 1
    if report.quarantined:
        assert {item.relative_to(report.quarantined[0]) for item in report.quarantined[0].rglob("*")}


FILES = st.integers(0, 10_000)
EXAMPLES = settings().max_examples // 4  # each takes about a second
KINDS = st.sampled_from(["flip", "cut", "remove"])


@settings(max_examples=EXAMPLES)
@given(file=FILES, kind=KINDS, where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_single_damage_is_found_and_mended(
    whole: Path, made: list[Episode], file: int, kind: str, where: float, bit: int
) -> None:
    with tempfile.TemporaryDirectory(dir=whole.parent) as folder:
        path = Path(shutil.copytree(whole, Path(folder) / "a.zarr"))
        files = sorted(item for item in path.rglob("*") if item.is_file() and item.name != ".lock")
        target = files[file % len(files)]
        content = bytearray(target.read_bytes())
        position = int(where * len(content))
        if kind == "flip":
            content[position] ^= 1 << bit
            target.write_bytes(content)
        elif kind == "cut":
            target.write_bytes(content[:position])
        else:
            target.unlink()
        check_recovery(path, made)


def test_damage_is_never_handed_out(store_path: Path) -> None:
    shard = store_path / "episodes/000001/observations/position_m/c/0/0"
    content = bytearray(shard.read_bytes())
    content[-9] ^= 4
    shard.write_bytes(content)
    with EpisodeStore.open(store_path) as store:
        assert len(store[0]) == STEPS
        with pytest.raises(
            UserError, match=r"episode 000001 of .*a.zarr is damaged \(observations/position_m/c/0/0: its"
        ):
            store[1]
        with pytest.raises(UserError, match=r"run: robot-rl data repair .*a.zarr"):
            list(store)


def test_the_first_steps_of_a_cut_episode_stay(store_path: Path, made: list[Episode]) -> None:
    shard = store_path / "episodes/000001/action_executed/c/0/0"
    shard.write_bytes(shard.read_bytes()[:-20])
    report = repair(store_path)
    assert report.salvaged == {1: 32} and report.renumbered == {}
    assert "32 of its steps stay in the store (action_executed/c/0/0: " in str(report)
    with EpisodeStore.open(store_path) as store:
        saved = store[1]
    assert is_prefix(saved, made[1]) and len(saved) == 32
    assert saved.truncated[-1] and not saved.terminated.any() and not saved.success
    note = {"steps": 32, "of": STEPS, "extras_lost": [], "recorded_success": made[1].success}
    assert saved.info == made[1].info | {"salvaged": note}


def test_a_damaged_picture_costs_only_what_follows(store_path: Path) -> None:
    shard = store_path / "episodes/000002/observations/wrist/c/0/0/0/0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    steps = repair(store_path).salvaged[2]
    assert 10 < steps < 30


def test_a_lost_manifest_or_extra_costs_no_step(store_path: Path, made: list[Episode]) -> None:
    (store_path / "episodes/000000/manifest.json").unlink()
    (store_path / "episodes/000001/observations/wrist/zarr.json").write_text("{")
    (store_path / "episodes/000002/extras/q_rad/c/0/0").unlink()
    assert repair(store_path).salvaged == {0: STEPS, 1: STEPS, 2: STEPS}
    with EpisodeStore.open(store_path) as store:
        first, second, third = store
    assert first.success == made[0].success and is_prefix(first, made[0])
    assert second.success == made[1].success and is_prefix(second, made[1])
    assert third.info["salvaged"]["extras_lost"] == ["q_rad"] and list(third.extras) == ["risk"]


def test_an_unreadable_episode_is_put_aside_and_the_gap_closed(store_path: Path, made: list[Episode]) -> None:
    for shard in (store_path / "episodes/000000").rglob("c/*"):
        if shard.is_file():
            shard.write_bytes(b"")
    report = repair(store_path)
    assert (report.salvaged, report.renumbered, report.episodes) == ({}, {1: 0, 2: 1}, 2)
    assert "none of its steps could be read" in str(report)
    assert (report.quarantined[0] / "manifest.json").is_file()
    with EpisodeStore.open(store_path, writable=True) as store:
        assert store[0].equals(made[1]) and store[1].equals(made[2])
        assert store.append(made[0]) == 2


def test_a_missing_episode_is_said_before_anything_is_read(store_path: Path) -> None:
    shutil.rmtree(store_path / "episodes/000001")
    with pytest.raises(UserError, match=r"lacks episodes \[1\]; run: robot-rl data repair"):
        EpisodeStore.open(store_path)
    assert [str(item) for item in verify(store_path).findings] == ["DAMAGED: episodes/000001: missing"]
    assert repair(store_path).renumbered == {2: 1}


def test_a_lost_root_is_written_anew_from_its_copy(store_path: Path) -> None:
    (store_path / "zarr.json").unlink()
    with pytest.raises(UserError, match="found none .*; run: robot-rl data repair"):
        EpisodeStore.open(store_path)
    with pytest.raises(UserError, match="other things|has episodes but no zarr.json"):
        EpisodeStore.create(store_path, SPEC)
    assert repair(store_path).actions == ["wrote zarr.json anew"]
    assert repair(store_path).actions == []
    with EpisodeStore.open(store_path) as store:
        assert store.spec == SPEC and len(store) == 3


JSON_FILES = (
    *("zarr.json", "spec.json", "episodes/000001/manifest.json"),
    *("episodes/000001/zarr.json", "episodes/000001/reward/zarr.json"),
)


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("content", [None, b"", b"\0" * 50, b"\xff\xfe{}", b"[]", b"{}", b"null", b"[" * 100_000])
def test_a_damaged_json_file_is_told_in_one_line(store_path: Path, name: str, content: bytes | None) -> None:
    """None stands for the first half of what was there."""
    file = store_path / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if content is None else content)
    assert not verify(store_path).ok
    with suppress(UserError):  # `info` reads no more than the root and the manifests
        info(store_path)
    repair(store_path)
    assert verify(store_path).ok
    assert info(store_path).episodes == 3


def test_things_that_do_not_belong_are_noted_and_left_alone(store_path: Path) -> None:
    (store_path / "episodes/000000/notes.txt").write_text("nice one")
    (store_path / "episodes/backup").mkdir()
    report = verify(store_path)
    assert report.ok and all(finding.harmless for finding in report.findings) and len(report.findings) == 2
    assert repair(store_path).actions == []
    assert (store_path / "episodes/000000/notes.txt").is_file()


def test_repair_needs_a_store_that_nobody_writes_to(store_path: Path, tmp_path: Path) -> None:
    with EpisodeStore.open(store_path, writable=True), pytest.raises(UserError, match="in use by process"):
        repair(store_path)
    with pytest.raises(UserError, match="expected an episode store at .*, found no whole zarr.json or spec.json"):
        verify(tmp_path / "none")


def test_a_finished_leftover_is_taken_in_and_a_damaged_one_kept(store_path: Path, made: list[Episode]) -> None:
    incoming = store_path / ".incoming"
    (store_path / "episodes/000002").rename(incoming / "000002-1-0")
    shutil.copytree(store_path / "episodes/000001", incoming / "000003-1-0")
    (incoming / "000003-1-0" / "reward/c/0").write_bytes(b"")
    (incoming / "000004-1-0").mkdir()
    with EpisodeStore.open(store_path, writable=True) as store:
        assert len(store) == 3 and store[2].equals(made[2])
    assert not list(incoming.iterdir())
    assert (store_path / "quarantine/000003-1-0-0/manifest.json").is_file()
