"""Care of stores: `verify` finds damage, `repair` mends it and never deletes what was recorded, `info` sums up."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from data.atomic import FolderLock, is_disk_full
from data.episode_folder import DamagedEpisode, read_episode, read_manifest, strangers, write_folder
from data.errors import UserError
from data.salvage import salvage
from data.spec import StoreSpec
from data.store import EpisodeStore
from data.store_layout import (
    EPISODES,
    INCOMING,
    QUARANTINE,
    ROOT,
    SALVAGE,
    SPEC_COPY,
    described_spec,
    descriptions,
    episode_indices,
    episode_name,
    place,
    quarantine,
    recover_leftovers,
    write_descriptions,
)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was written."""

    where: str
    problem: str
    harmless: bool = False
    """Whether every episode reads all the same."""

    def __str__(self) -> str:
        return f"{'note' if self.harmless else 'DAMAGED'}: {self.where}: {self.problem}"


@dataclass(frozen=True)
class VerifyReport:
    """Result of `verify`."""

    path: Path
    episodes: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all episodes and descriptions are as they were written."""
        return all(finding.harmless for finding in self.findings)

    def __str__(self) -> str:
        state = "all as written" if self.ok else f"damaged; run: robot-rl data repair {self.path}"
        return "\n".join([*map(str, self.findings), f"{self.path}: {self.episodes} episodes, {state}"])


@dataclass(frozen=True)
class RepairReport:
    """Result of `repair`; `actions` tells everything that was done, in sentences."""

    path: Path
    episodes: int
    actions: list[str]
    salvaged: dict[int, int]
    """Steps saved, by index of the episode before renumbering."""
    quarantined: list[Path]
    """Where damaged episodes lie now."""
    renumbered: dict[int, int]
    """New index by old one, of episodes that moved up to close a gap."""

    def __str__(self) -> str:
        done = self.actions or ["nothing to mend"]
        return "\n".join([*done, f"{self.path}: {self.episodes} episodes"])


@dataclass(frozen=True)
class StoreInfo:
    """Figures of a store, taken from its manifests."""

    path: Path
    spec: StoreSpec
    episodes: int
    steps: int
    successes: int
    seconds: float
    sources: dict[int, int]
    """Executed actions by code of who proposed them."""
    size_bytes: int
    quarantined: int
    """Damaged episodes that were put aside."""


def info(path: str | os.PathLike[str]) -> StoreInfo:
    """Returns the figures of a store; `UserError` where a manifest is damaged."""
    with EpisodeStore.open(path) as store:
        summaries = [store.summary(index) for index in range(len(store))]
        aside = store.path / QUARANTINE
        return StoreInfo(
            path=store.path,
            spec=store.spec,
            episodes=len(summaries),
            steps=sum(item.steps for item in summaries),
            successes=sum(item.success for item in summaries),
            seconds=sum(item.seconds for item in summaries),
            sources=dict(sum((Counter(item.sources) for item in summaries), Counter())),
            size_bytes=sum(item.size_bytes for item in summaries),
            quarantined=len(list(aside.iterdir())) if aside.is_dir() else 0,
        )


def verify(path: str | os.PathLike[str]) -> VerifyReport:
    """Reads a whole store and compares it with its checksums and rules; `UserError` where there is none."""
    folder = Path(path)
    spec, findings = _descriptions(folder)
    indices = episode_indices(folder)
    missing = sorted(set(range(max(indices, default=-1) + 1)) - set(indices))
    findings += [Finding(f"{EPISODES}/{episode_name(index)}", "missing") for index in missing]
    for index in indices:
        findings += _episode_findings(folder, index, spec)
    known = {episode_name(index) for index in indices} | {ROOT}
    found = {item.name for item in (folder / EPISODES).glob("*")} - known
    findings += [Finding(f"{EPISODES}/{name}", "not of this store; ignored", harmless=True) for name in sorted(found)]
    left = sorted(item.name for item in (folder / INCOMING).glob("*"))
    note = "of a writer at work or killed; the next writer tidies up"
    findings += [Finding(f"{INCOMING}/{name}", note, harmless=True) for name in left]
    return VerifyReport(folder, len(indices), findings)


def repair(path: str | os.PathLike[str]) -> RepairReport:
    """Makes a damaged store readable again; `UserError` where there is no store or somebody writes to it.

    Damaged episodes move to the quarantine, untouched; the steps that could still be read take their place. Gaps are
    closed by moving later episodes up, whose files stay as they are. Killed at any moment, it can simply be run again.
    """
    folder = Path(path)
    spec, findings = _descriptions(folder)
    salvaged: dict[int, int] = {}
    aside: list[Path] = []
    with FolderLock(folder):
        (folder / EPISODES).mkdir(exist_ok=True)
        (folder / INCOMING).mkdir(exist_ok=True)
        actions = recover_leftovers(folder)
        if findings:
            write_descriptions(folder, spec)
            actions += [f"wrote {finding.where} anew" for finding in findings]
        for index in episode_indices(folder):
            problems = [str(item.problem) for item in _episode_findings(folder, index, spec) if not item.harmless]
            if problems:
                actions.append(_mend(folder, index, spec, salvaged, aside) + f" ({'; '.join(problems)})")
        renumbered = _close_gaps(folder)
        actions += [f"episode {old} is now episode {new}" for old, new in renumbered.items()]
        return RepairReport(folder, len(episode_indices(folder)), actions, salvaged, aside, renumbered)


def _descriptions(folder: Path) -> tuple[StoreSpec, list[Finding]]:
    """Returns the spec from whichever copy is whole, and what is wrong with the descriptions."""
    specs = []
    for name in (ROOT, SPEC_COPY):
        with suppress(DamagedEpisode):  # found below, by its text
            specs.append(described_spec(folder / name))
    if not specs:
        raise UserError(f"expected an episode store at {folder}, found no whole {ROOT} or {SPEC_COPY}; check the path")
    findings = []
    for name, text in descriptions(specs[0]).items():
        there = (folder / name).is_file()
        if not there or (folder / name).read_bytes() != text.encode():
            findings.append(Finding(name, "not as written" if there else "missing"))
    return specs[0], findings


def _episode_findings(folder: Path, index: int, spec: StoreSpec) -> list[Finding]:
    name = f"{EPISODES}/{episode_name(index)}"
    try:
        read_episode(folder / name).check(spec)
        surplus = strangers(folder / name, read_manifest(folder / name))
    except UserError as error:
        return [Finding(name, str(error))]
    return [Finding(f"{name}/{item}", "not in the manifest; ignored", harmless=True) for item in surplus]


def _mend(folder: Path, index: int, spec: StoreSpec, salvaged: dict[int, int], aside: list[Path]) -> str:
    """Puts a damaged episode into the quarantine and what can be read of it in its place; returns what was done."""
    source = folder / EPISODES / episode_name(index)
    saved = salvage(source, spec)
    temporary = folder / INCOMING / f"{SALVAGE}{episode_name(index)}"
    if saved:
        try:
            write_folder(temporary, saved)
        except OSError as error:
            if is_disk_full(error):
                message = f"disk full while repairing {folder}: nothing is lost; free some space and run it again"
                raise UserError(message) from error
            raise
    aside.append(quarantine(folder, source))
    done = f"moved the damaged episode {index} to {QUARANTINE}/{aside[-1].name}"
    if not saved:
        return f"{done}; none of its steps could be read"
    place(temporary, source)
    salvaged[index] = len(saved)
    return f"{done}; {len(saved)} of its steps stay in the store"


def _close_gaps(folder: Path) -> dict[int, int]:
    moved = {old: new for new, old in enumerate(episode_indices(folder)) if old != new}
    for old, new in moved.items():  # upwards, so that each target is free
        place(folder / EPISODES / episode_name(old), folder / EPISODES / episode_name(new))
    return moved
