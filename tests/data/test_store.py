"""The store in use: what comes back, who may write, what a full disk does."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from data.episode import Episode
from data.errors import UserError
from data.maintenance import info, verify
from data.store import EpisodeStore
from data.synthetic import synthetic_episode, synthetic_spec

SPEC = synthetic_spec(image_px=6)


def episodes(count: int, steps: int = 5) -> list[Episode]:
    rng = np.random.default_rng(0)
    return [synthetic_episode(SPEC, steps + number, rng) for number in range(count)]


def test_episodes_come_back_bit_for_bit(tmp_path: Path) -> None:
    made = episodes(3, steps=31)  # 31, 32 and 33 steps: below, at and above a chunk's border
    with EpisodeStore.create(tmp_path / "a.zarr", SPEC) as store:
        assert [store.append(episode) for episode in made] == [0, 1, 2]
    with EpisodeStore.open(tmp_path / "a.zarr") as store:
        assert store.spec == SPEC
        assert len(store) == 3
        assert all(stored.equals(episode) for stored, episode in zip(store, made, strict=True))
        assert store[-1].equals(made[2])
        assert not store[0].equals(made[1])
        with pytest.raises(IndexError, match="episode 3 of 3"):
            store[3]


def test_plain_zarr_reads_the_store(tmp_path: Path) -> None:
    made = episodes(1)[0]
    with EpisodeStore.create(tmp_path / "a.zarr", SPEC) as store:
        store.append(made)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    array = group["episodes/000000/observations/wrist"]
    assert isinstance(array, zarr.Array) and array.chunks == (1, 6, 6, 3)
    np.testing.assert_array_equal(np.asarray(array[...]), made.observations["wrist"])
    assert group["episodes/000000"].attrs["success"] == made.success


def test_a_reader_sees_what_a_writer_adds(tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "a.zarr", SPEC) as writer, EpisodeStore.open(tmp_path / "a.zarr") as reader:
        assert len(reader) == 0 and list(reader) == []
        for number, episode in enumerate(episodes(2)):
            writer.append(episode)
            assert len(reader) == number + 1 and reader[number].equals(episode)
        with pytest.raises(UserError, match="open for reading; open it with writable=True"):
            reader.append(episodes(1)[0])


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "a.zarr", SPEC):
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
            EpisodeStore.open(tmp_path / "a.zarr", writable=True)
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
            EpisodeStore.create_or_open(tmp_path / "a.zarr", SPEC)
    with EpisodeStore.open(tmp_path / "a.zarr", writable=True) as store:
        assert store.writable
    with pytest.raises(UserError, match="open for reading"):
        store.append(episodes(1)[0])


def test_paths_that_hold_no_store_or_another_thing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected an episode store at .*none, found none .*check the path"):
        EpisodeStore.open(tmp_path / "none")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").touch()
    with pytest.raises(UserError, match="expected an empty or a new folder at .*thesis, found other things"):
        EpisodeStore.create(tmp_path / "thesis", SPEC)
    assert not (tmp_path / "thesis" / ".lock").exists()
    EpisodeStore.create(tmp_path / "deep" / "a.zarr", SPEC).close()
    with pytest.raises(UserError, match="is a store already"):
        EpisodeStore.create(tmp_path / "deep" / "a.zarr", SPEC)


def test_create_or_open_goes_on_only_with_the_same_spec(tmp_path: Path) -> None:
    with EpisodeStore.create_or_open(tmp_path / "a.zarr", SPEC) as store:
        store.append(episodes(1)[0])
    with EpisodeStore.create_or_open(tmp_path / "a.zarr", replace(SPEC, config={"seed": 7})) as store:
        assert len(store) == 1
    with pytest.raises(UserError, match="does not fit: robot is 'none', needed 'fr3'"):
        EpisodeStore.create_or_open(tmp_path / "a.zarr", replace(SPEC, robot="fr3"))
    EpisodeStore.open(tmp_path / "a.zarr", writable=True).close()


def test_an_episode_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    other = synthetic_episode(synthetic_spec(), 3, np.random.default_rng(0))
    with EpisodeStore.create(tmp_path / "a.zarr", SPEC) as store:
        with pytest.raises(UserError, match=r"missing \['observations/wrist'\]"):
            store.append(other)
        good = episodes(1)[0]
        with pytest.raises(UserError, match="action_executed: expected finite numbers, got nan"):
            store.append(replace(good, action_executed=good.action_executed * np.float32(np.nan)))
        assert len(store) == 0


def test_info_sums_up(tmp_path: Path) -> None:
    made = episodes(3)
    with EpisodeStore.create(tmp_path / "a.zarr", SPEC) as store:
        for episode in made:
            store.append(episode)
        assert store.summary(1).info == made[1].info
    found = info(tmp_path / "a.zarr")
    assert (found.episodes, found.steps, found.quarantined) == (3, 5 + 6 + 7, 0)
    assert found.successes == sum(episode.success for episode in made)
    assert found.seconds == pytest.approx(sum(episode.seconds for episode in made))
    assert sum(found.sources.values()) == found.steps and found.size_bytes > 0


def test_a_file_size_limit_reads_as_a_full_disk(tmp_path: Path) -> None:
    made = episodes(2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EpisodeStore.create(tmp_path / "a.zarr", SPEC) as store:
        store.append(made[0])
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
        try:
            with pytest.raises(UserError, match=r"disk full while adding episode 1 to .*: episodes 0\.\.0 are intact"):
                store.append(made[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert verify(store.path).ok and len(store) == 1
        assert not list((store.path / ".incoming").iterdir())
        assert store.append(made[1]) == 1 and store[1].equals(made[1])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_all_that_was_stored(small_disk: Path) -> None:
    made = episodes(40)
    with EpisodeStore.create(small_disk / "a.zarr", SPEC) as store:
        with pytest.raises(UserError, match="disk full while adding episode"):
            for episode in made:
                store.append(episode)
        kept = len(store)
        assert kept > 0
    report = verify(small_disk / "a.zarr")
    assert report.ok and report.episodes == kept
    with EpisodeStore.open(small_disk / "a.zarr") as store:
        assert all(stored.equals(episode) for stored, episode in zip(store, made, strict=False))
