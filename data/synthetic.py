"""Episodes of random numbers that keep all rules: for tests, benchmarks and trying out tools without a robot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.builder import EpisodeBuilder
from data.episode import Episode, Step
from data.spec import ArraySpec, StoreSpec


def synthetic_spec(image_px: int = 0) -> StoreSpec:
    """Returns the spec of a made-up robot: a vector, a number and, if `image_px` > 0, a square colour picture."""
    observations = {"position_m": ArraySpec((3,), "float32"), "gripper_m": ArraySpec((), "float64")}
    if image_px:
        observations["wrist"] = ArraySpec((image_px, image_px, 3), "uint8")
    return StoreSpec(
        task="synthetic",
        task_text="Move at random.",
        robot="none",
        rate_hz=10.0,
        observations=observations,
        action_names=("dx", "dy", "dz", "gripper"),
        cameras=("wrist",) if image_px else (),
        config={"image_px": image_px},
    )


def synthetic_episode(spec: StoreSpec, steps: int, rng: np.random.Generator) -> Episode:
    """Returns an episode of `spec` with random content and two extras, one of T + 1 rows and one of T."""
    builder = EpisodeBuilder(spec)
    builder.start(_observation(spec, rng), 0, {"q_rad": rng.normal(size=7)})
    success = bool(rng.integers(2))
    for number in range(1, steps + 1):
        last = number == steps
        wish = rng.uniform(-1.0, 1.0, spec.action_size)
        step = Step(
            observation=_observation(spec, rng),
            action_proposed=wish,
            action_executed=np.clip(wish, -0.8, 0.8),
            reward=float(last and success),
            terminated=last and success,
            truncated=last and not success,
            source=int(rng.integers(1, 4)),
            stamp_ns=number * 100_000_000 + int(rng.integers(1_000_000)),
            extras={"q_rad": rng.normal(size=7), "risk": np.nan},
        )
        builder.add(step)
    return builder.finish(success, {"seed": int(rng.integers(1000)), "end": "success" if success else "time limit"})


def _observation(spec: StoreSpec, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    return {key: _random(item, rng) for key, item in spec.observations.items()}


def _random(spec: ArraySpec, rng: np.random.Generator) -> NDArray[Any]:
    if np.dtype(spec.dtype).kind == "f":
        return np.asarray(rng.normal(size=spec.shape)).astype(spec.dtype)
    return rng.integers(0, 2 if spec.dtype == "bool" else 100, spec.shape).astype(spec.dtype)
