"""Film strips: a failed and a successful episode, drawn again from the recorded joint angles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.robots.rendering import RenderError
from data.atomic import write_atomic
from data.episode import Episode
from data.spec import StoreSpec
from data.store import EpisodeStore
from robot_rl.envs.capabilities import first_camera
from robot_rl.metrics import read_metrics
from robot_rl.training.evaluation import evaluate
from robot_rl.training.workplace import ArmWorkplace, Workplace
from robot_rl.workflows.common import BASE_FILE, load_base
from robot_rl.workflows.evaluate import load_actor

Picture = NDArray[np.uint8]
FRAMES = 8
WIDTH_PX, HEIGHT_PX = 320, 240


def film_strips(path: Path, settings: dict[str, Any], fresh: Callable[[], Workplace]) -> list[Path]:
    """Writes strips/failed.png and strips/success.png with captions.json.

    A failed one is of the imitated policy's evaluation, else of the final policy's, else a demonstration; a successful
    one the other way round. Where nothing can be drawn, captions.json says why: pictures are no result.

    fresh: makes a workplace as untouched as the one of each evaluation was, so that its episodes come out again.
    """
    folder, captions, written = path / "strips", {}, []
    folder.mkdir(exist_ok=True)
    try:
        for name, success, evaluated in (("failed", False, ("base", "final")), ("success", True, ("final", "base"))):
            with closing(fresh()) as workplace:
                if not isinstance(workplace, ArmWorkplace):
                    return []
                first_camera(workplace.env.task)
                shown = _shown(path, settings, success, evaluated, workplace)
                if shown is None:
                    wished = "success" if success else "failure"
                    captions[name] = f"no episode to show: no evaluation and no demonstration ended as {wished}"
                    continue
                save_strip(render_path(workplace, shown.q_rad, shown.fixtures, FRAMES), folder / f"{name}.png")
                written.append(folder / f"{name}.png")
                duration_s = (len(shown.q_rad) - 1) / workplace.env.task.rate_hz
                captions[name] = f"{shown.origin}: {name} after {duration_s:.1f} s"
    except RenderError as error:
        captions["missing"] = f"no pictures: {error}"
        print(captions["missing"])
    write_atomic(folder / "captions.json", json.dumps(captions, indent=1))
    return written


@dataclass(frozen=True)
class _Shown:
    """An episode to draw."""

    q_rad: NDArray[np.float64]
    """(T + 1, 7)."""
    fixtures: Mapping[str, Pose]
    origin: str


def _shown(
    path: Path, settings: dict[str, Any], success: bool, evaluated: Sequence[str], workplace: ArmWorkplace
) -> _Shown | None:
    """Returns the first episode that ended as wished: of the evaluations in their order, else a demonstration."""
    start = workplace.snapshot()
    for name in evaluated:
        if any(bool(episode["success"]) == success for episode in _evaluated_episodes(path, name)):
            workplace.restore(start)
            found = _evaluated_again(path, name, success, _actor(path, name, settings, workplace), workplace)
            if found is not None:
                return found
    return _demonstrated(settings.get("data"), success)


def _actor(path: Path, name: str, settings: dict[str, Any], workplace: ArmWorkplace) -> Any:
    from robot_rl.training.base_actor import BaseActor

    if name == "base":
        return BaseActor(load_base(path / BASE_FILE, workplace))
    return load_actor(path, settings, workplace)[0]


def _evaluated_episodes(path: Path, name: str) -> list[dict[str, Any]]:
    """The episodes of the newest evaluation of this name, in the order in which they were run."""
    named = [record for record in read_metrics(path) if record["kind"] == "eval" and record.get("name") == name]
    episodes: list[dict[str, Any]] = named[-1]["episodes"] if named else []
    return episodes


def _evaluated_again(path: Path, name: str, success: bool, actor: Any, workplace: ArmWorkplace) -> _Shown | None:
    """Runs an evaluation's episodes again, from the first on since each begins where the last one ended."""
    for episode in _evaluated_episodes(path, name):
        seed = int(episode["seed"])
        paths: dict[int, NDArray[np.float64]] = {}
        if evaluate(actor, workplace, [seed], paths=paths)[0].success == success:
            who = "imitated policy" if name == "base" else "final policy"
            return _Shown(paths[seed], dict(workplace.env.draw.fixtures), f"{who}, evaluation seed {seed}")
    return None


def _demonstrated(data: str | None, success: bool) -> _Shown | None:
    if data is None:
        return None
    with EpisodeStore.open(data) as store:
        for index in range(len(store)):
            if store.summary(index).success == success:
                episode = store[index]
                q_rad = np.asarray(episode.extras["q_rad"], np.float64)
                return _Shown(q_rad, _fixtures(episode), f"demonstration {index}")
    return None


def render_path(
    workplace: ArmWorkplace, q_rad: NDArray[np.float64], fixtures: Mapping[str, Pose], frames: int
) -> list[Picture]:
    """Draws `frames` moments of a path (T + 1, 7) evenly from first to last.

    Raises RenderError where nothing can be drawn.
    """
    world = workplace.env.world
    for name, pose in fixtures.items():
        world.place(name, pose)
    camera = first_camera(workplace.env.task)
    pictures = []
    for index in np.linspace(0, len(q_rad) - 1, frames).round().astype(int):
        world.teleport(q_rad[index])
        pictures.append(world.render(camera, WIDTH_PX, HEIGHT_PX).copy())
    return pictures


def render_episode(workplace: ArmWorkplace, episode: Episode, frames: int = FRAMES) -> list[Picture]:
    """Draws a recorded episode from its joint angles and fixtures."""
    return render_path(workplace, np.asarray(episode.extras["q_rad"], np.float64), _fixtures(episode), frames)


def _fixtures(episode: Episode) -> dict[str, Pose]:
    stored = episode.info.get("fixtures", {})
    return {name: Pose(np.array(values[:3]), np.array(values[3:])) for name, values in stored.items()}


def renderer_for(spec: StoreSpec, frames: int = FRAMES) -> Any:
    """Returns a callable episode -> pictures for a store's task."""
    from robot_rl.training.workplace import make_workplace

    variant, settings = spec.config.get("variant", "default"), spec.config.get("task_config") or {}
    workplace = make_workplace(spec.task, variant=variant, task_config=settings)
    if not isinstance(workplace, ArmWorkplace):
        return lambda episode: []
    return lambda episode: render_episode(workplace, episode, frames)


def save_strip(pictures: Sequence[Picture], path: Path) -> None:
    """Writes pictures side by side as one PNG."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(buffer, "PNG", optimize=True)
    write_atomic(path, buffer.getvalue())
