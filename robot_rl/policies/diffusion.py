"""Diffusion policy: imitates action chunks by denoising (Chi et al., 2023); sampled by DDIM with eta = 0."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor, nn

from data.atomic import load_arrays, save_arrays_atomic
from data.errors import UserError
from data.normalisation import Normaliser
from robot_rl.learning.config import check
from robot_rl.policies.denoiser import Denoiser
from robot_rl.policies.encoders import ImageShape, make_encoder

F32 = NDArray[np.float32]
FORMAT = "robot-rl diffusion policy 1"
PREDICTIONS = ("epsilon", "sample", "v_prediction")
OBS_LIMIT = 5.0
"""Normalised observations are clipped here: what hardly varied in the demonstrations must not blow up later."""


@dataclass(frozen=True)
class DiffusionConfig:
    """Settings of the diffusion policy and of its training."""

    horizon: int = 4
    """Actions in a chunk, at least 1."""
    execute: int = 2
    """Actions of a chunk that are executed before the next is drawn, 1..horizon: more keep to one plan, fewer react."""
    width: int = 256
    """Width of the denoiser's hidden layers, at least 1."""
    blocks: int = 3
    """Residual blocks of the denoiser, at least 1."""
    encoder: str = "state"
    """Name of the encoder, see robot_rl.policies.encoders."""
    image_shape: tuple[int, int, int] | None = None
    """Height, width, channels of the image at the end of the flat observation; None without image."""
    prediction: str = "sample"
    """What the network predicts: epsilon (the noise), sample (the clean chunk: learns sooner, its chunks vary less) or
    v_prediction (in between)."""
    train_times: int = 50
    """Diffusion times in training, at least 2."""
    sample_times: int = 8
    """Denoising steps when sampling, 1..train_times."""
    steps: int = 2000
    """Gradient steps of the training, at least 1."""
    batch_size: int = 256
    """Chunks a gradient step, at least 1."""
    rate: float = 1e-3
    """Peak learning rate of AdamW, above 0; it falls to 0 along a cosine."""
    weight_decay: float = 1e-6
    """Decay of AdamW, at least 0."""
    ema: float = 0.995
    """Share of the average that a gradient step keeps of the averaged weights, in [0, 1)."""

    def __post_init__(self) -> None:
        if self.image_shape is not None:
            object.__setattr__(self, "image_shape", tuple(int(size) for size in self.image_shape))
        for name in ("horizon", "width", "blocks", "steps", "batch_size"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        check("execute", self.execute, 1 <= self.execute <= self.horizon, f"a number from 1 to horizon={self.horizon}")
        check("prediction", self.prediction, self.prediction in PREDICTIONS, f"one of {', '.join(PREDICTIONS)}")
        check("train_times", self.train_times, self.train_times >= 2, "at least 2")
        fits = 1 <= self.sample_times <= self.train_times
        check("sample_times", self.sample_times, fits, f"a number from 1 to train_times={self.train_times}")
        check("rate", self.rate, self.rate > 0.0, "a number above 0")
        check("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "a number of at least 0")
        check("ema", self.ema, 0.0 <= self.ema < 1.0, "a number in [0, 1)")


class DiffusionPolicy:
    """A base policy (see robot_rl.policies.base): chunks as a deterministic function of observation and noise.

    Args:
        config: settings.
        obs_keys: names of what the flat observation is made of, kept with the weights.
        action_names: names of the A action dimensions.
        obs_normaliser: of the state part of observations.
        action_normaliser: of single actions.
        seed: of the initial weights.
    """

    def __init__(
        self, config: DiffusionConfig, obs_size: int, action_names: tuple[str, ...], obs_normaliser: Normaliser,
        action_normaliser: Normaliser, seed: int = 0, obs_keys: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.config, self.obs_size, self.action_names, self.obs_keys = config, obs_size, action_names, obs_keys
        self.action_size, self.horizon, self.execute = len(action_names), config.horizon, config.execute
        self.obs_normaliser, self.action_normaliser = obs_normaliser, action_normaliser
        self.state_size = state_size(obs_size, config.image_shape)
        with torch.random.fork_rng(devices=[]):  # layers draw their initial weights from the global generator
            torch.manual_seed(seed)
            self.encoder = make_encoder(config.encoder, self.state_size, config.image_shape)
            chunk = config.horizon * self.action_size
            self.denoiser = Denoiser(int(self.encoder.width), chunk, config.width, config.blocks)  # type: ignore[arg-type]
        self.scheduler = make_scheduler(config)
        self.scheduler.set_timesteps(config.sample_times)
        self.modules().eval()

    @property
    def noise_size(self) -> int:
        """Width horizon * A of one chunk's noise."""
        return self.horizon * self.action_size

    def modules(self) -> nn.ModuleDict:
        """Returns encoder and denoiser as one module."""
        return nn.ModuleDict({"encoder": self.encoder, "denoiser": self.denoiser})

    def normalised(self, obs: F32) -> Tensor:
        """Returns observations (B, n_obs) with their state part normalised; an image stays as it is."""
        state = self.obs_normaliser.apply(obs[:, : self.state_size]).clip(-OBS_LIMIT, OBS_LIMIT)
        return torch.from_numpy(np.concatenate([state, obs[:, self.state_size :]], 1).astype(np.float32))

    @torch.inference_mode()
    def base(self, obs: F32, noise: F32, n: int) -> F32:
        """Returns chunks (B, n, horizon, A) in [-1, 1] for observations (B, n_obs) and noise (B, n, horizon * A)."""
        rows = len(obs)
        if obs.shape[1:] != (self.obs_size,):
            raise UserError(f"base policy needs observations of {self.obs_size} numbers, got shape {obs.shape}")
        x = torch.from_numpy(np.ascontiguousarray(noise, np.float32)).reshape(rows * n, self.noise_size)
        features = self.encoder(self.normalised(obs)).repeat_interleave(n, 0)
        for time in self.scheduler.timesteps:
            predicted = self.denoiser(features, x, time.expand(len(x)))
            x = self.scheduler.step(predicted, int(time), x, eta=0.0).prev_sample
        actions: F32 = self.action_normaliser.invert(x.reshape(-1, self.action_size).numpy())
        return actions.clip(-1.0, 1.0).reshape(rows, n, self.horizon, self.action_size)

    def save(self, path: str | Path) -> None:
        """Writes weights, normalisers and metadata as one safetensors file, wholly or not at all."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, tensor in self.modules().state_dict().items():
            arrays[f"weights.{name}"] = tensor.numpy()
        for prefix, normaliser in (("obs", self.obs_normaliser), ("action", self.action_normaliser)):
            arrays |= {f"{prefix}.{name}": array for name, array in normaliser.to_arrays().items()}
        about = {
            "config": asdict(self.config), "obs_size": self.obs_size, "obs_keys": self.obs_keys,
            "action_names": self.action_names, "horizon": self.horizon,
        }  # fmt: skip
        save_arrays_atomic(path, arrays, {"format": FORMAT, "about": json.dumps(about)})

    @classmethod
    def load(
        cls, path: str | Path, obs_size: int | None = None, action_names: tuple[str, ...] | None = None,
        obs_keys: tuple[str, ...] | None = None,
    ) -> DiffusionPolicy:  # fmt: skip
        """Reads what `save` wrote, and checks it against what the task has, where given.

        Raises:
            UserError: the file is none of ours, or widths, names or keys differ; tells both.
        """
        arrays, metadata = load_arrays(path)
        if metadata.get("format") != FORMAT:
            got = metadata.get("format")
            raise UserError(f"{path} is not a diffusion policy: expected format {FORMAT!r}, got {got!r}")
        about = json.loads(metadata["about"])
        _require(path, "observation width", about["obs_size"], obs_size)
        _require(path, "action names", tuple(about["action_names"]), action_names)
        _require(path, "observation keys", tuple(about["obs_keys"]), obs_keys)
        known = {entry.name for entry in fields(DiffusionConfig)}
        config = DiffusionConfig(**{key: value for key, value in about["config"].items() if key in known})
        policy = cls(
            config, about["obs_size"], tuple(about["action_names"]), Normaliser.from_arrays(_part(arrays, "obs.")),
            Normaliser.from_arrays(_part(arrays, "action.")), obs_keys=tuple(about["obs_keys"]),
        )  # fmt: skip
        weights = {name: torch.from_numpy(array) for name, array in _part(arrays, "weights.").items()}
        try:
            policy.modules().load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"{path}: weights do not fit their own configuration: {error}") from error
        return policy


def state_size(obs_size: int, image_shape: ImageShape | None) -> int:
    """Returns how many numbers of a flat observation come before its image."""
    size = obs_size - (int(np.prod(image_shape)) if image_shape else 0)
    if size < 0:
        raise UserError(f"observations of {obs_size} numbers cannot hold an image of shape {image_shape}")
    return size


def make_scheduler(config: DiffusionConfig) -> Any:
    """Returns the schedule: squared cosine, samples clipped to [-1, 1]."""
    return DDIMScheduler(  # type: ignore[no-untyped-call]
        num_train_timesteps=config.train_times, beta_schedule="squaredcos_cap_v2", clip_sample=True,
        prediction_type=config.prediction, timestep_spacing="trailing",
    )  # fmt: skip


def _part(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def _require(path: str | Path, what: str, saved: object, wanted: object) -> None:
    if wanted is not None and saved != wanted:
        cure = "pretrain a policy for this task"
        raise UserError(f"{path} does not fit: its {what} is {saved}, the task's is {wanted}; {cure}")
