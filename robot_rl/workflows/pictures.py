"""Film strips: a failed and a successful episode, drawn again from the recorded joint angles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.atomic import write_atomic
from data.episode import Episode
from data.spec import StoreSpec
from robot_rl.training.evaluation import evaluate
from robot_rl.training.workplace import ArmWorkplace, Workplace
from robot_rl.workflows.evaluate import load_actor

Picture = NDArray[np.uint8]
FRAMES = 8
WIDTH_PX, HEIGHT_PX = 320, 240
_TRIES = 5


def film_strips(path: Path, settings: dict[str, Any], workplace: Workplace, evaluation: Workplace) -> list[Path]:
    """Writes strips/failed.png (of the imitated policy) and strips/success.png (of the final one) with captions.json.

    Where nothing can be drawn (no rendering library), says so in captions.json and goes on: pictures are no result.
    """
    if not isinstance(evaluation, ArmWorkplace):
        return []
    from robot_rl.training.base_actor import BaseActor
    from robot_rl.workflows.common import BASE_FILE, load_base

    folder, captions, written = path / "strips", {}, []
    folder.mkdir(exist_ok=True)
    wanted: list[tuple[str, str, bool, Any]] = []
    if (path / BASE_FILE).is_file():
        wanted.append(("failed", "base", False, BaseActor(load_base(path, evaluation))))
    wanted.append(("success", "final", True, load_actor(path, settings, evaluation)[0]))
    try:
        for name, evaluated, success, actor in wanted:
            found = _episode_like(path, evaluated, success, actor, evaluation)
            if found is None:
                wished = "success" if success else "failure"
                captions[name] = f"no episode to show: none of the tries ended as {wished}"
                continue
            q_rad, fixtures, seed = found
            written.append(folder / f"{name}.png")
            save_strip(render_path(evaluation, q_rad, fixtures, FRAMES), written[-1])
            duration_s = (len(q_rad) - 1) / evaluation.env.task.rate_hz
            captions[name] = f"{evaluated} policy, evaluation seed {seed}: {name} after {duration_s:.1f} s"
    except RuntimeError as error:
        captions["missing"] = f"no pictures: {str(error).splitlines()[0]}; robot-rl doctor tells more"
        print(captions["missing"])
    write_atomic(folder / "captions.json", json.dumps(captions, indent=1))
    return written


def _episode_like(
    path: Path, evaluated: str, success: bool, actor: Any, workplace: ArmWorkplace
) -> tuple[NDArray[np.float64], dict[str, Pose], int] | None:
    """Runs seeds again that ended as wished in an evaluation until one does so again.

    Returns its joint angles (T + 1, 7), fixtures and seed; None if none does.
    """
    seeds: list[int] = []
    for line in (path / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record.get("kind") == "eval" and record.get("name") == evaluated:
            seeds = [int(episode["seed"]) for episode in record["episodes"] if bool(episode["success"]) == success]
    for seed in seeds[:_TRIES]:
        paths: dict[int, NDArray[np.float64]] = {}
        record = evaluate(actor, workplace, [seed], paths=paths)[0]
        if record.success == success:
            return paths[seed], dict(workplace.env.draw.fixtures), seed
    return None


def render_path(
    workplace: ArmWorkplace, q_rad: NDArray[np.float64], fixtures: Mapping[str, Pose], frames: int
) -> list[Picture]:
    """Draws `frames` moments of a path (T + 1, 7) evenly from first to last.

    Raises RuntimeError where nothing can be drawn.
    """
    world = workplace.env.world
    for name, pose in fixtures.items():
        world.place(name, pose)
    camera = workplace.env.task.scene().cameras[0].name
    pictures = []
    for index in np.linspace(0, len(q_rad) - 1, frames).round().astype(int):
        world.teleport(q_rad[index])
        pictures.append(world.render(camera, WIDTH_PX, HEIGHT_PX).copy())
    return pictures


def render_episode(workplace: ArmWorkplace, episode: Episode, frames: int = FRAMES) -> list[Picture]:
    """Draws a recorded episode from its joint angles and fixtures."""
    stored = episode.info.get("fixtures", {})
    fixtures = {name: Pose(np.array(values[:3]), np.array(values[3:])) for name, values in stored.items()}
    return render_path(workplace, np.asarray(episode.extras["q_rad"], np.float64), fixtures, frames)


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
