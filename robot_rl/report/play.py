"""`robot-rl data play`: recorded episodes as film strips and plots in one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controllers.types import SOURCE_NAMES
from data.atomic import write_atomic
from data.episode import Episode
from data.errors import UserError
from data.spec import StoreSpec
from data.store import EpisodeStore
from robot_rl.report import page
from robot_rl.report.plots import AFTER, QUIET, SOURCE_COLOURS, data_uri, figure, svg_uri

Picture = NDArray[np.uint8]
Renderer = Callable[[Episode], Sequence[Picture]]
_LINES_SHOWN = 12
"""Components of an observation that are drawn; more would only be a thicket."""


def play(
    store_path: Path,
    out_html: Path,
    episodes: Sequence[int] = (),
    frames: int = 8,
    renderer: Renderer | None = None,
) -> Path:
    """Writes a page about the given episodes (by default the first success and the first failure) and returns its path.

    Pictures are the recorded camera frames, else those of `renderer`, by default the task's own simulator. Where
    neither gives any, the page says why. Raises `UserError` for an episode that is not there.
    """
    with EpisodeStore.open(store_path) as store:
        numbers = _chosen(store, list(episodes))
        pictures = _Pictures(store.spec, frames, renderer)
        parts = [_episode(store[number], number, store.spec, pictures) for number in numbers]
        successes = sum(store.summary(index).success for index in range(len(store)))
        total = f"{store_path.name}: {len(store)} episodes of {store.spec.task}, {successes} of them successful"
        note = [page.warning(pictures.problem)] if pictures.problem else []
        facts = {"task": store.spec.task_text, "robot": store.spec.robot, "rate": f"{store.spec.rate_hz:g} Hz"}
        setup = page.section("Store", page.pairs({**facts, **store.spec.config}))
    write_atomic(out_html, page.page(total, [page.header("recorded episodes", total), *note, *parts, setup]))
    return out_html


def _chosen(store: EpisodeStore, wished: list[int]) -> list[int]:
    count = len(store)
    if count == 0:
        raise UserError(f"{store.path} holds no episode yet; record some with robot-rl collect")
    absent = [number for number in wished if not 0 <= number < count]
    if absent:
        raise UserError(
            f"episode {absent[0]} is not in {store.path}, which holds 0 to {count - 1}; give episodes=[0,...]"
        )
    if wished:
        return wished
    outcomes = [store.summary(index).success for index in range(count)]
    return [outcomes.index(outcome) for outcome in (True, False) if outcome in outcomes]


class _Pictures:
    """Finds pictures of episodes; `problem` tells why there are none."""

    def __init__(self, spec: StoreSpec, frames: int, renderer: Renderer | None) -> None:
        self.spec, self.frames, self.problem = spec, frames, ""
        self._renderer = renderer

    def of(self, episode: Episode) -> list[Picture]:
        """Returns pictures from the first to the last moment, an empty list where there are none."""
        recorded = [
            key for key, item in self.spec.observations.items() if item.dtype == "uint8" and len(item.shape) == 3
        ]
        if recorded:
            rows = episode.observations[recorded[0]]
            return [rows[index] for index in np.linspace(0, len(rows) - 1, self.frames).round().astype(int)]
        if self.problem:
            return []
        try:
            if self._renderer is None:
                self._renderer = _task_renderer(self.spec, self.frames)
            return list(self._renderer(episode))
        except RuntimeError as error:  # of a renderer that is not ours
            self.problem = f"No pictures: nothing can be drawn here ({_first_line(error)}); robot-rl doctor tells more."
        except (UserError, KeyError) as error:
            self.problem = f"No pictures: the task cannot draw these episodes ({_first_line(error)})."
        return []


def _task_renderer(spec: StoreSpec, frames: int) -> Renderer:
    from robot_rl.workflows.pictures import renderer_for

    renderer: Renderer = renderer_for(spec, frames)
    return renderer


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _episode(episode: Episode, number: int, spec: StoreSpec, pictures: _Pictures) -> str:
    outcome = "success" if episode.success else "failure"
    title = f"Episode {number}: {outcome} after {len(episode)} steps, {episode.seconds:.1f} s"
    shown = [picture for picture in pictures.of(episode) if picture.size]
    strip = ""
    if shown:
        uri = data_uri(_strip_png(shown), "image/png")
        strip = page.picture(uri, f"Film strip of episode {number}", "From the first to the last moment.", strip=True)
    info = {key: value for key, value in episode.info.items() if not isinstance(value, dict | list)}
    return page.section(
        title,
        strip,
        page.picture(_actions(episode, spec), f"Actions of episode {number}"),
        page.picture(_observations(episode, spec), f"Observations of episode {number}"),
        page.details("what was noted about it", page.pairs(info)),
    )


def _strip_png(pictures: Sequence[Picture]) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _times_s(episode: Episode) -> NDArray[np.float64]:
    return np.asarray((episode.stamp_ns - episode.stamp_ns[0]) * 1e-9, dtype=np.float64)


def _actions(episode: Episode, spec: StoreSpec) -> str:
    """Proposed (dotted) and executed actions, one panel a component, and who proposed them."""
    times = _times_s(episode)[:-1]
    columns = min(4, len(spec.action_names))
    rows = -(-len(spec.action_names) // columns)
    with figure(columns, 10.6, 1.45 * rows + 0.4, rows=rows, sharex=True) as (drawn, axes):
        for place, name, proposed, executed in zip(
            axes.flat, spec.action_names, episode.action_proposed.T, episode.action_executed.T, strict=False
        ):
            place.step(times, proposed, where="post", color=QUIET, linestyle=":", linewidth=1.1, label="proposed")
            place.step(times, executed, where="post", color=AFTER, linewidth=1.3, label="executed")
            place.set_title(name)
        for place in list(axes.flat)[len(spec.action_names) :]:
            place.set_visible(False)
        handles, labels = axes[0][0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper right", ncols=2)
        sources = ", ".join(SOURCE_NAMES.get(int(code), str(code)) for code in np.unique(episode.source))
        drawn.supxlabel(f"seconds; actions proposed by: {sources}", fontsize=9, x=0.01, ha="left")
        return svg_uri(drawn)


def _observations(episode: Episode, spec: StoreSpec) -> str | None:
    """Each observation that is a number or a vector, its components as lines."""
    keys = [key for key, item in spec.observations.items() if len(item.shape) <= 1 and item.dtype != "uint8"]
    if not keys:
        return None
    columns = min(2, len(keys))
    rows = -(-len(keys) // columns)
    times = _times_s(episode)
    with figure(columns, 10.6, 1.9 * rows + 0.2, rows=rows, sharex=True) as (drawn, axes):
        for place, key in zip(axes.flat, keys, strict=False):
            values = episode.observations[key].reshape(len(times), -1)
            for index, line in enumerate(values.T[:_LINES_SHOWN]):
                place.plot(times, line, color=SOURCE_COLOURS[index % len(SOURCE_COLOURS)], linewidth=1.1)
            hidden = values.shape[1] - _LINES_SHOWN
            place.set_title(f"{key} ({_LINES_SHOWN} of {values.shape[1]} components)" if hidden > 0 else key)
        for place in list(axes.flat)[len(keys) :]:
            place.set_visible(False)
        for place in axes[-1]:
            place.set_xlabel("seconds")
        return svg_uri(drawn)
