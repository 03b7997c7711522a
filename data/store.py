"""Append-only store of episodes: one writer, any number of readers, each episode there wholly or not at all.

Layout and guarantees are described in docs/data.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from data.atomic import FolderLock, fsync, is_disk_full, is_leftover
from data.episode import Episode
from data.episode_folder import DamagedEpisode, Summary, read_episode, read_manifest, write_folder
from data.errors import UserError
from data.spec import StoreSpec
from data.store_layout import (
    EPISODES,
    INCOMING,
    ROOT,
    SPEC_COPY,
    episode_indices,
    episode_name,
    place,
    read_spec,
    recover_leftovers,
    write_descriptions,
)

_serial = count()


class EpisodeStore:
    """A store opened for reading or, by one process at a time, for appending; made by the class methods.

    `len(store)` and iteration see episodes that a writer adds meanwhile. Use it as a context manager, or `close` it.
    """

    def __init__(self, path: Path, spec: StoreSpec, lock: FolderLock | None) -> None:
        self.path = path
        self.spec = spec
        self._lock = lock
        self._count = 0

    @classmethod
    def create(cls, path: str | os.PathLike[str], spec: StoreSpec) -> EpisodeStore:
        """Makes an empty store at `path` (new or empty) and returns it, writable; `UserError` where it is neither."""
        folder = Path(path)
        _refuse_occupied(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
        try:
            _refuse_occupied(folder)  # somebody may have made one before the lock was ours
            (folder / EPISODES).mkdir(exist_ok=True)
            (folder / INCOMING).mkdir(exist_ok=True)
            write_descriptions(folder, spec)
            fsync(folder.parent)
        except BaseException:
            lock.release()
            raise
        return cls(folder, spec, lock)

    @classmethod
    def open(cls, path: str | os.PathLike[str], writable: bool = False) -> EpisodeStore:
        """Opens an existing store; `UserError` if there is none, episodes are missing, or it is being written to.

        Opening it writable first tidies up after a writer that was killed: a temporary folder that holds a whole
        episode is taken in, an unfinished one is removed.
        """
        folder = Path(path)
        spec = read_spec(folder)
        lock = FolderLock(folder) if writable else None
        try:
            store = cls(folder, spec, lock)
            store._refuse_gaps()
            if writable:
                recover_leftovers(folder)
            return store
        except BaseException:
            if lock:
                lock.release()
            raise

    @classmethod
    def create_or_open(cls, path: str | os.PathLike[str], spec: StoreSpec) -> EpisodeStore:
        """Opens the store at `path` for appending, making it if there is none; `UserError` if it is of another spec."""
        if not (Path(path) / ROOT).exists():
            return cls.create(path, spec)
        store = cls.open(path, writable=True)
        try:
            store.spec.check_fits(spec, f"the store {store.path}")
        except UserError:
            store.close()
            raise
        return store

    @property
    def writable(self) -> bool:
        """Whether this object may append."""
        return self._lock is not None and self._lock.held

    def __len__(self) -> int:
        while (self.path / EPISODES / episode_name(self._count)).is_dir():
            self._count += 1
        return self._count

    def __getitem__(self, index: int) -> Episode:
        """Returns an episode, bit for bit as appended; `DamagedEpisode` (a `UserError`) if its files changed."""
        folder = self._folder(index)
        try:
            return read_episode(folder)
        except DamagedEpisode as error:
            raise self._damaged(folder, error) from error

    def __iter__(self) -> Iterator[Episode]:
        index = 0
        while index < len(self):
            yield self[index]
            index += 1

    def summary(self, index: int) -> Summary:
        """Returns steps, success, duration, reward, sources and info of an episode without reading its arrays."""
        folder = self._folder(index)
        try:
            return read_manifest(folder).summary()
        except DamagedEpisode as error:
            raise self._damaged(folder, error) from error

    def append(self, episode: Episode) -> int:
        """Adds an episode and returns its index; when this returns, the episode is on the disk.

        Raises `UserError` where the episode breaks a rule or does not fit the spec, and where the disk is full; the
        store then is as it was before.
        """
        if not self.writable:
            raise UserError(f"{self.path} is open for reading; open it with writable=True to append")
        episode.check(self.spec)
        index = len(self)
        temporary = self.path / INCOMING / f"{episode_name(index)}-{os.getpid()}-{next(_serial)}"
        try:
            write_folder(temporary, episode)
            place(temporary, self.path / EPISODES / episode_name(index))
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if is_disk_full(error):
                intact = f"episodes 0..{index - 1} are intact" if index else "no episode was stored yet"
                message = f"disk full while adding episode {index} to {self.path}: {intact}; free some space"
                raise UserError(message) from error
            raise
        return index

    def close(self) -> None:
        """Gives the store free for another writer; harmless when called again."""
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _folder(self, index: int) -> Path:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"episode {index} of {count}")
        return self.path / EPISODES / episode_name(index % count)

    def _damaged(self, folder: Path, error: DamagedEpisode) -> DamagedEpisode:
        return DamagedEpisode(
            f"episode {folder.name} of {self.path} is damaged ({error}); run: robot-rl data repair {self.path}"
        )

    def _refuse_gaps(self) -> None:
        indices = episode_indices(self.path)
        missing = sorted(set(range(max(indices, default=-1) + 1)) - set(indices))
        missing = [index for index in missing if not (self.path / EPISODES / episode_name(index)).is_dir()]
        if missing or not (self.path / EPISODES).is_dir():
            what = f"episodes {missing[:5]}" if missing else f"the folder {EPISODES}"
            raise UserError(f"{self.path} lacks {what}; run: robot-rl data repair {self.path}")


def _refuse_occupied(folder: Path) -> None:
    if (folder / ROOT).exists():
        raise UserError(f"{folder} is a store already; open it to append, or choose another path")
    if folder.exists() and not (folder.is_dir() and all(_is_ours(item.name) for item in folder.iterdir())):
        raise UserError(f"expected an empty or a new folder at {folder}, found other things; choose another path")
    if episode_indices(folder):
        raise UserError(f"{folder} has episodes but no {ROOT}; run: robot-rl data repair {folder}")


def _is_ours(name: str) -> bool:
    """Tells whether a creation that was killed may have left this."""
    return name in {".lock", SPEC_COPY, EPISODES, INCOMING} or is_leftover(name)
